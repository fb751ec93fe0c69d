"""How well tracks follow the truth: HOTA (Luiten 2021, arXiv 2009.07736), IDF1 (Ristani 2016) and CLEAR MOT.

The values are those of the trackeval package within rounding, at a fraction of its time.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields

import numpy as np

from edgevid import kernels
from edgevid.types import F64, Array

ALPHAS = np.arange(0.05, 0.99, 0.05)
"""HOTA is the mean over these localization thresholds; IDF1 and CLEAR MOT ask for an overlap of 0.5."""
ROUNDING = 1e-12
Frame = tuple[Array, Array]
"""Ids (N,) and boxes (N, 4), x1 y1 x2 y2."""


@dataclass(frozen=True)
class TrackCounts:
    """What the metrics are made of; the sum of two is that of both sequences together."""

    tp: F64
    """Matched boxes, one number per threshold of ALPHAS."""
    association: F64
    """Sum over the matched boxes of how far their tracks agree, per threshold."""
    truth: float
    found: float
    id_tp: float
    matched: float
    switches: float

    def __add__(self, other: TrackCounts) -> TrackCounts:
        return TrackCounts(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    @property
    def hota(self) -> float:
        """0 to 1: the geometric mean of detection and association accuracy."""
        detection = self.tp / np.maximum(self.truth + self.found - self.tp, 1)
        return float(np.sqrt(detection * self.association / np.maximum(self.tp, 1)).mean())

    @property
    def idf1(self) -> float:
        """0 to 1: boxes with the right identity, as an F1 score."""
        return self.id_tp / max(0.5 * (self.truth + self.found), 0.5)

    @property
    def mota(self) -> float:
        """At most 1: 1 less misses, false boxes and identity switches per true box."""
        false = self.found - self.matched
        return (self.matched - false - self.switches) / max(self.truth, 1)


def count_tracks(truth: Iterable[Frame], found: Iterable[Frame]) -> TrackCounts:
    """Compares the tracks `found` in the frames of one sequence with the `truth`, frame by frame."""
    true_numbers: dict[int, int] = {}
    numbers: dict[int, int] = {}
    frames = [
        (_numbered(ids, true_numbers), _numbered(other, numbers), overlaps(boxes, others))
        for (ids, boxes), (other, others) in zip(truth, found, strict=True)
    ]
    shape = max(len(true_numbers), 1), max(len(numbers), 1)
    together, near = np.zeros(shape), np.zeros(shape)
    per_true, per_found = np.zeros(shape[0]), np.zeros(shape[1])
    for rows, columns, similar in frames:
        per_true[rows] += 1
        per_found[columns] += 1
        pairs = np.ix_(rows, columns)
        whole = similar.sum(0) + similar.sum(1)[:, None] - similar
        together[pairs] += np.where(whole > 0, similar / np.where(whole > 0, whole, 1), 0)
        near[pairs] += similar >= 0.5
    alignment = together / np.maximum(per_true[:, None] + per_found - together, 1e-9)
    matched = []
    for rows, columns, similar in frames:
        for r, c in kernels.max_weight_matching(alignment[np.ix_(rows, columns)] * similar):
            matched.append((rows[r] * shape[1] + columns[c], similar[r, c]))
    pair, value = np.array(matched).reshape(-1, 2).T
    tp, association = np.zeros(len(ALPHAS)), np.zeros(len(ALPHAS))
    both = (per_true[:, None] + per_found).ravel()
    for n, alpha in enumerate(ALPHAS):
        counts = np.bincount(pair[value >= alpha - ROUNDING].astype(int), minlength=len(both))
        tp[n], association[n] = counts.sum(), (counts**2 / np.maximum(both - counts, 1)).sum()
    id_tp = sum(near[r, c] for r, c in kernels.max_weight_matching(near))
    return TrackCounts(tp, association, per_true.sum(), per_found.sum(), float(id_tp), *_clear(frames, shape[0]))


def _clear(frames: list[tuple[Array, Array, F64]], objects: int) -> tuple[float, float]:
    """Matched boxes and identity switches of CLEAR MOT: a match is kept for as long as it can be."""
    last, before = np.full(objects, -1), np.full(objects, -1)
    matches = switches = 0
    for rows, columns, similar in frames:
        kept = (before[rows][:, None] == columns) * 1000.0
        pairs = kernels.max_weight_matching(np.where(similar >= 0.5 - ROUNDING, similar + kept, 0.0))
        before[:] = -1
        for r, c in pairs:
            object_, number = rows[r], columns[c]
            switches += last[object_] not in (-1, number)
            last[object_] = before[object_] = number
        matches += len(pairs)
    return float(matches), float(switches)


def _numbered(ids: Array, numbers: dict[int, int]) -> Array:
    """Consecutive numbers for ids, in the order in which they come."""
    return np.array([numbers.setdefault(int(i), len(numbers)) for i in ids], int)


def overlaps(a: Array, b: Array, of_first: bool = False) -> F64:
    """(N, M) intersection over union of boxes (N, 4) and (M, 4), or over the first one's own area."""
    low, high = np.maximum(a[:, None, :2], b[None, :, :2]), np.minimum(a[:, None, 2:4], b[None, :, 2:4])
    inter = (high - low).clip(0).prod(-1)
    area_a, area_b = ((x[:, 2:4] - x[:, :2]).prod(1) for x in (a, b))
    whole = area_a[:, None] + (0 * inter if of_first else area_b - inter)
    return np.asarray(inter / np.maximum(whole, 1e-9), np.float64)
