"""Two engines' boxes on the same frame, paired one to one.

The definition of agreement: within one frame and one class, pairs of boxes (one of each engine) are taken in
the order of falling IoU, each box once, down to the IoU asked for (0.5, and 0.9 for exactness). With M pairs
of A boxes of the reference and B of the candidate, summed over all frames, the agreement is 2 M / (A + B):
the share of both engines' boxes that have a partner. It counts what was lost (M / A) and what was invented
(M / B) alike. A box is one whose score is above the recipe's least; whoever just crosses it counts as a
difference, and is reported as one that only crossed it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edgevid import kernels
from edgevid.detect.detector import Detector
from edgevid.optimize.compare.pair import Pair, TaskFigures
from edgevid.optimize.frames import NamedFrame
from edgevid.runtime import Engine, Recipe
from edgevid.types import Array, Detections

IOU, EXACT_IOU = 0.5, 0.9
NEAR = 0.1
"""A lost box whose partner lies less than this below the score limit only crossed the limit."""
MEANING = (
    "share of both engines' boxes with a partner of the same class at IoU 0.5, one to one: 2 M / (A + B)"
)


def pair_boxes(a: Detections, b: Detections, least: float = IOU) -> tuple[Array, Array]:
    """(M, 2) rows of `a` and `b` that are partners, and their IoU (M,), best first.

    >>> one = Detections.of(boxes=[[0, 0, 10, 10]], scores=[0.9], labels=[0])
    >>> two = Detections.of(boxes=[[0, 0, 10, 9], [0, 0, 10, 10]], scores=[0.5, 0.6], labels=[0, 1])
    >>> pair_boxes(one, two)[0].tolist()
    [[0, 0]]
    """
    overlap = kernels.iou(a.boxes, b.boxes) * (a.labels[:, None] == b.labels[None])
    left, right = np.nonzero(overlap >= np.float32(least))
    values = overlap[left, right]
    rows: list[tuple[int, int, float]] = []
    free_a, free_b = np.ones(len(a), bool), np.ones(len(b), bool)
    for k in np.argsort(-values, kind="stable"):
        i, j = int(left[k]), int(right[k])
        if free_a[i] and free_b[j]:
            free_a[i] = free_b[j] = False
            rows.append((i, j, float(values[k])))
    pairs = np.array([r[:2] for r in rows], np.int64).reshape(-1, 2)
    return pairs, np.array([r[2] for r in rows], np.float32)


@dataclass(slots=True)
class _Sums:
    reference: int = 0
    candidate: int = 0
    matched: int = 0
    matched_exact: int = 0
    crossed: int = 0
    renamed: int = 0
    ious: list[Array] = field(default_factory=list)
    scores: list[Array] = field(default_factory=list)


class BoxTask:
    """Pairs the boxes of two detectors frame by frame."""

    notes: tuple[str, ...] = ()

    def __init__(self, a: Engine, b: Engine, recipe: Recipe, other: Recipe, score: float | None) -> None:
        self._limits, self._eyes = [], []
        for engine, how in ((a, recipe), (b, other)):
            assert how.decode is not None
            limit = how.decode.score if score is None else score
            # Boxes below the limit are read too, to tell a lost box from one that just fell below it;
            # suppression goes from the best score down, so they change nothing above it.
            self._eyes.append(Detector(engine, how, score=max(limit - NEAR, 0.0)))
            self._limits.append(np.float32(limit))
        self._names, self._sums = recipe.names, _Sums()

    def look(self, given: NamedFrame) -> Pair:
        """Both engines' boxes of one frame, and which of them agree."""
        faint = [eye.detect([given.frame])[0] for eye in self._eyes]
        a, b = (found[found.scores > limit] for found, limit in zip(faint, self._limits, strict=True))
        rows, ious = pair_boxes(a, b)
        drift = b.scores[rows[:, 1]] - a.scores[rows[:, 0]]
        s = self._sums
        s.reference, s.candidate = s.reference + len(a), s.candidate + len(b)
        s.matched, s.matched_exact = s.matched + len(rows), s.matched_exact + int((ious >= EXACT_IOU).sum())
        s.ious.append(ious)
        s.scores.append(np.stack((a.scores[rows[:, 0]], b.scores[rows[:, 1]]), axis=1))
        only_a, only_b = _others(a, rows[:, 0]), _others(b, rows[:, 1])
        for only, seen in ((only_a, faint[1]), (only_b, faint[0])):
            s.crossed += _held(only, seen[seen.scores <= self._limits[0 if seen is faint[0] else 1]])
        s.renamed += _renamed(only_a, only_b)
        high = float(np.abs(drift).max(initial=0.0))
        words = f"{len(only_a)} lost, {len(only_b)} added, {len(rows)} alike, score off by up to {high:.2f}"
        return Pair(given, 2.0 * len(rows), float(len(a) + len(b)), high, words, a, b, rows)

    def figures(self) -> TaskFigures:
        """The sums over all frames."""
        s = self._sums
        ious = np.concatenate([np.zeros(0, np.float32), *s.ious])
        scores = np.concatenate([np.zeros((0, 2), np.float32), *s.scores])
        drift = scores[:, 1] - scores[:, 0]
        total = s.reference + s.candidate
        more: dict[str, Any] = {
            "boxes of the reference": s.reference,
            "boxes of the candidate": s.candidate,
            "matched at IoU 0.5": s.matched,
            "matched at IoU 0.9": s.matched_exact,
            "reference found, IoU 0.5": _share(s.matched, s.reference),
            "candidate confirmed, IoU 0.5": _share(s.matched, s.candidate),
            "agreement at IoU 0.9": _share(2 * s.matched_exact, total),
            "mean IoU of pairs": float(ious.mean()) if len(ious) else 0.0,
            "score drift, mean": float(drift.mean()) if len(drift) else 0.0,
            "score drift, mean size": float(np.abs(drift).mean()) if len(drift) else 0.0,
            "score drift, largest": float(np.abs(drift).max(initial=0.0)),
            "unmatched that only crossed the score limit": s.crossed,
            "unmatched with another class": s.renamed,
        }
        share = _share(2 * s.matched, total)
        how = " at IoU 0.5"
        return TaskFigures("detect", share, float(total), total, "boxes", how, MEANING, more, scores)


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def _others(table: Detections, rows: Array) -> Detections:
    keep = np.ones(len(table), bool)
    keep[rows] = False
    return table[keep]


def _held(lost: Detections, faint: Detections) -> int:
    """How many of `lost` the other engine saw too, only too faintly to count."""
    return len(pair_boxes(lost, faint)[0])


def _renamed(only_a: Detections, only_b: Detections) -> int:
    """How many of the boxes without a partner have one of another class."""
    flat = [Detections(d.boxes, d.scores, np.zeros_like(d.labels)) for d in (only_a, only_b)]
    return len(pair_boxes(flat[0], flat[1])[0])
