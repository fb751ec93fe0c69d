"""How well tracks follow the truth: HOTA (Luiten 2021, arXiv 2009.07736), IDF1 (Ristani 2016) and CLEAR MOT. The values
are those of the trackeval package within rounding, at a fraction of its time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from edgevid import kernels
from edgevid.errors import InputError
from edgevid.evaluate.boxes import AREA, MATCHED, TRUE, BoxTable, aligned, overlaps, read_boxes
from edgevid.evaluate.evaluation import Evaluation, Plot, Table
from edgevid.types import F64, Array

ALPHAS = np.arange(0.05, 0.99, 0.05)  # HOTA is the mean over these thresholds of overlap; IDF1 and CLEAR MOT take 0.5
ROUNDING = 1e-12
Frame = tuple[Array, Array]  # Ids (N,) and boxes (N, 4), x1 y1 x2 y2


@dataclass(frozen=True)
class TrackCounts:
    """What the metrics are made of; the sum of two is that of both sequences together."""

    tp: F64  # Matched boxes, one number per threshold of ALPHAS
    association: F64  # Sum over the matched boxes of how far their tracks agree, per threshold
    truth: float
    found: float
    id_tp: float
    matched: float
    switches: float

    def __add__(self, other: TrackCounts) -> TrackCounts:
        return TrackCounts.of(self.vector + other.vector)

    @property
    def vector(self) -> F64:
        """All counts in one row; `of` is its inverse, and so is the sum of rows that of counts."""
        return np.concatenate([np.atleast_1d(getattr(self, f.name)) for f in fields(self)])

    @classmethod
    def of(cls, vector: F64) -> TrackCounts:
        """The counts of a row."""
        n = len(ALPHAS)
        return cls(vector[:n], vector[n : 2 * n], *vector[2 * n :].tolist())

    @property
    def accuracies(self) -> tuple[F64, F64]:
        """Accuracy of detection and of association, 0 to 1, per threshold; HOTA is their geometric mean."""
        return self.tp / np.maximum(self.truth + self.found - self.tp, 1), self.association / np.maximum(self.tp, 1)

    @property
    def hota(self) -> float:
        """0 to 1."""
        return float(np.sqrt(np.prod(self.accuracies, 0)).mean())

    @property
    def idf1(self) -> float:
        """0 to 1: boxes with the right identity, as an F1 score."""
        return self.id_tp / max(0.5 * (self.truth + self.found), 0.5)

    @property
    def mota(self) -> float:
        """At most 1: 1 less misses, false boxes and identity switches per true box."""
        return (self.matched - (self.found - self.matched) - self.switches) / max(self.truth, 1)

    def metrics(self) -> dict[str, float]:
        """All of them by name."""
        detection, association = self.accuracies
        return {"HOTA": self.hota, "DetA": float(detection.mean()), "AssA": float(association.mean()),
                "IDF1": self.idf1, "MOTA": self.mota, "switches": self.switches}  # fmt: skip


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
        if not similar.size:  # matches are kept across a frame that is empty on one side
            continue
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


def evaluate(results: Path, truth: Path, *, classes: tuple[str, ...] = ()) -> Evaluation:
    """HOTA, IDF1 and CLEAR MOT of all classes together, and of each class; a group is a sequence. InputError where
    results and truth have no frame or class in common."""
    true, found, notes = aligned(read_boxes(truth)[0], read_boxes(results)[0], classes)
    if (found.ids < 0).any() or (true.ids[true.labels >= 0] < 0).any():
        raise InputError("tracking: expected an id for every box, got boxes of a detector")
    owner = np.array([s for s, _ in true.frames])
    sequences, each = list(dict.fromkeys(owner.tolist())), []
    for label in range(len(true.names)):
        frames = _frames(true, found, label)
        own = [[frames[n] for n in np.flatnonzero(owner == sequence)] for sequence in sequences]
        each.append([count_tracks(*zip(*some, strict=True)).vector for some in own])
    rows, whole = np.sum(each, 0), TrackCounts.of(np.sum(each, (0, 1)))
    by_class = [(name, *TrackCounts.of(np.sum(one, 0)).metrics().values())
                for name, one in zip(true.names, each, strict=True)]  # fmt: skip
    heads = ("class", *(name if name == "switches" else f"{name} %" for name in whole.metrics()))
    kinds = ("detection accuracy", "association accuracy")
    lines = {name: (ALPHAS, values) for name, values in zip(kinds, whole.accuracies, strict=True)}
    return Evaluation("tracking", sequences, "sequence", lambda counts: TrackCounts.of(counts @ rows).metrics(),
                      {"switches": ""}, tables={"By class": Table(heads, by_class)}, notes=notes,
                      plots={"By localization threshold": Plot("threshold of overlap", "accuracy", lines)})  # fmt: skip


def _frames(true: BoxTable, found: BoxTable, label: int) -> list[tuple[Frame, Frame]]:
    """Of each frame, ids and boxes of one class, without the results that count neither way."""
    frames, tables = [], (true[np.isin(true.labels, (label, -1))], found[found.labels == label])
    for rows in zip(*(one.by_frame() for one in tables), strict=True):
        a, b = (one[some] for one, some in zip(tables, rows, strict=True))
        area = a.roles == AREA
        similar, low = overlaps(a[~area].boxes, b.boxes), b.boxes[:, 3] - b.boxes[:, 1] <= true.min_height
        drop = low | (overlaps(b.boxes, a[area].boxes, of_first=True) > 0.5).any(1)
        for r, c in kernels.max_weight_matching(np.where(similar >= 0.5 - ROUNDING, similar, 0.0)):
            drop[c] = a[~area].roles[r] == MATCHED
        a, b = a[a.roles == TRUE], b[~drop]
        frames.append(((a.ids, a.boxes), (b.ids, b.boxes)))
    return frames
