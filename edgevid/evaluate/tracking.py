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
    (true_sizes, true_ids, true_boxes), (sizes, ids, boxes) = (_columns(one) for one in (truth, found))
    shape = int(max(true_ids, default=0)) + 1, int(max(ids, default=0)) + 1
    per_true, per_found = (np.bincount(one, minlength=n) for one, n in zip((true_ids, ids), shape, strict=True))
    frames = [(a, b, overlaps(c, d)) for a, b, c, d in zip(
        *(np.split(one, n.cumsum()[:-1]) for one, n in
          ((true_ids, true_sizes), (ids, sizes), (true_boxes, true_sizes), (boxes, sizes))), strict=True)]  # fmt: skip
    similar = np.concatenate([one.ravel() for *_, one in frames] + [np.zeros(0)])
    # Of every pair of boxes in one frame: the rows of both, and the number of the pair of tracks
    per_row = np.repeat(sizes, true_sizes)
    rows = np.repeat(np.arange(len(true_ids)), per_row)
    shift = np.repeat(sizes.cumsum() - sizes, true_sizes) - per_row.cumsum() + per_row
    columns = np.arange(len(rows)) + np.repeat(shift, per_row)
    pairs, count = true_ids[rows] * shape[1] + ids[columns], shape[0] * shape[1]
    whole = np.bincount(rows, similar, len(true_ids))[rows] + np.bincount(columns, similar, len(ids))[columns] - similar
    together = np.bincount(pairs, np.divide(similar, whole, out=np.zeros(len(rows)), where=whole > 0), count)
    near = np.bincount(pairs, similar >= 0.5, count).reshape(shape).astype(float)
    both = (per_true[:, None] + per_found).ravel()
    weights, matched, begin = (together / np.maximum(both - together, 1e-9))[pairs] * similar, [], 0
    for *_, one in frames:
        if one.size:
            found_pairs = kernels.max_weight_matching(weights[begin : begin + one.size].reshape(one.shape))
            matched += [begin + r * one.shape[1] + c for r, c in found_pairs]
        begin += one.size
    pair, value = pairs[np.array(matched, int)], similar[np.array(matched, int)]
    tp, association = np.zeros(len(ALPHAS)), np.zeros(len(ALPHAS))
    for n, alpha in enumerate(ALPHAS):
        counts = np.bincount(pair[value >= alpha - ROUNDING], minlength=count)
        tp[n], association[n] = counts.sum(), (counts**2 / np.maximum(both - counts, 1)).sum()
    id_tp = sum(near[r, c] for r, c in kernels.max_weight_matching(near))
    return TrackCounts(tp, association, per_true.sum(), per_found.sum(), float(id_tp), *_clear(frames, shape[0]))


def _columns(frames: Iterable[Frame]) -> tuple[Array, Array, Array]:
    """The number of boxes in each frame, and of all boxes the track, numbered from 0, and the corners."""
    frames = [(np.asarray(ids).astype(np.int64), boxes) for ids, boxes in frames]
    ids = np.concatenate([ids for ids, _ in frames] + [np.zeros(0, np.int64)])
    boxes = np.concatenate([np.asarray(boxes, float).reshape(-1, 4) for _, boxes in frames] + [np.zeros((0, 4))])
    return np.array([len(ids) for ids, _ in frames], int), np.unique(ids, return_inverse=True)[1], boxes


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
