"""Accuracy of action recognition: per class for clips, and the MS-TCN measures for segmentation. Segmentation
measures follow the evaluation of Farha and Gall, "MS-TCN" (2019): segments are half open; the edit score is
averaged over videos; F1@k pools true and false positives over all videos."""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from edgevid.errors import InputError
from edgevid.evaluate.evaluation import Figure
from edgevid.evaluate.tune.risk import student_t
from edgevid.types import Array


@dataclass(frozen=True, slots=True)
class ClassReport:
    """Accuracy, and precision, recall and F1 of each class."""

    confusion: Array  # (C, C) counts; rows are the truth, columns the predictions
    names: tuple[str, ...] = ()  # Of the classes; their numbers where `of` was given none

    @classmethod
    def of(cls, true: Any, found: Any, classes: int, names: Sequence[str] = ()) -> ClassReport:
        """From labels (N,); a label outside 0..classes-1 is an InputError."""
        truth, predicted = np.asarray(true, np.int64), np.asarray(found, np.int64)
        if truth.shape != predicted.shape or truth.ndim != 1:
            raise InputError(f"report: expected as many predictions as truths, got {predicted.shape} for {truth.shape}")
        for name, labels in (("truth", truth), ("predictions", predicted)):
            if len(labels) and not (labels.min() >= 0 and labels.max() < classes):
                raise InputError(f"report: expected {name} from 0 to {classes - 1}, got {labels.min()} to "
                                 f"{labels.max()}; was the model trained for other classes?")  # fmt: skip
        counts = np.bincount(truth * classes + predicted, minlength=classes * classes)
        return cls(counts.reshape(classes, classes), tuple(names or map(str, range(classes))))

    @property
    def accuracy(self) -> float:
        return _ratio(float(np.trace(self.confusion)), float(self.confusion.sum()))

    @property
    def support(self) -> Array:
        """(C,) clips of each class."""
        return np.asarray(self.confusion.sum(axis=1))

    @property
    def precision(self) -> Array:
        """(C,) 0 where a class was never predicted."""
        return _ratios(np.diag(self.confusion), self.confusion.sum(axis=0))

    @property
    def recall(self) -> Array:
        """(C,) 0 where a class has no clip."""
        return _ratios(np.diag(self.confusion), self.support)

    @property
    def f1(self) -> Array:
        """(C,) 0 without true positives."""
        return _ratios(2 * np.diag(self.confusion), self.confusion.sum(axis=0) + self.support)

    def confused(self, most: int = 6) -> list[tuple[str, str, int, float]]:
        """The pairs of classes confused most: the true one, the predicted one, how often, and percent of the true."""
        wrong = self.confusion * (1 - np.eye(len(self.confusion), dtype=int))
        order = np.argsort(-wrong, axis=None, kind="stable")[:most]
        pairs = [(int(a), int(b)) for a, b in zip(*np.unravel_index(order, wrong.shape), strict=True)]
        return [(self.names[a], self.names[b], int(n), float(100 * n / self.support[a]))
                for a, b in pairs if (n := wrong[a, b])]  # fmt: skip

    def macro(self) -> list[float]:
        """Mean precision, recall and F1 of the classes."""
        return np.mean((self.precision, self.recall, self.f1), 1).tolist()  # type: ignore[no-any-return]

    def weighted(self) -> list[float]:
        """The same, weighted by the support of each class."""
        sums = np.stack((self.precision, self.recall, self.f1)) @ self.support
        return _ratios(sums, self.support.sum()).tolist()  # type: ignore[no-any-return]


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def _ratios(part: Array, whole: Array) -> Array:
    return np.divide(part, whole, out=np.zeros(part.shape), where=np.asarray(whole > 0))


def interval(values: Sequence[float]) -> Figure:
    """The mean of a few runs and its 95 % Student interval (of no width for one run).

    >>> [round(v, 3) for v in interval([0.7, 0.8])]
    [0.75, 0.115, 1.385]
    """
    if not len(values):
        raise InputError("interval: expected at least one value, got none")
    mean = float(np.mean(values))
    n = len(values)
    half = student_t(n - 1) * float(np.std(values, ddof=1)) / math.sqrt(n) if n > 1 else 0.0
    return Figure(mean, mean - half, mean + half)


class Run(NamedTuple):
    """A segment [start, end) in steps."""

    label: Any
    start: int
    end: int


def runs(labels: Sequence[Any] | Array, background: Collection[Any] = ()) -> list[Run]:
    """Segments of equal labels, without those of the background classes.

    >>> [tuple(r) for r in runs("AAB")]
    [('A', 0, 2), ('B', 2, 3)]
    """
    values = list(labels)
    edges = [i for i in range(len(values)) if i == 0 or values[i] != values[i - 1]] + [len(values)]
    return [Run(values[a], a, b) for a, b in itertools.pairwise(edges) if values[a] not in background]


OVERLAPS = (10, 25, 50)  # Overlaps (IoU) in percent from which segments match


def segment_counts(truth: Sequence[Any], predicted: Sequence[Any], background: Collection[Any] = ()) -> list[float]:
    """Of one video: correct steps, steps, edit score (0 to 1), and true positives, false positives and false negatives
    of segments at each of OVERLAPS. Those of several videos are their sum."""
    if len(truth) != len(predicted):
        raise InputError(f"segmentation: expected a label for each of {len(truth)} steps, got {len(predicted)}")
    right = sum(a == b for a, b in zip(truth, predicted, strict=True))
    expected, found = runs(truth, background), runs(predicted, background)
    edit = _edit([r.label for r in found], [r.label for r in expected])
    return [right, len(truth), edit, *(n for k in OVERLAPS for n in _matches(expected, found, k / 100))]


def _edit(a: list[Any], b: list[Any]) -> float:
    """1 - Levenshtein / longer between the orders of segments."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        before, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (x != y))
    return 1 - row[-1] / max(len(a), len(b), 1)


def _matches(expected: list[Run], found: list[Run], overlap: float) -> tuple[int, int, int]:
    """True positives, false positives and false negatives. A found segment matches the true one of its label with the
    largest IoU, if that reaches `overlap` and was not matched before (the second largest is not tried)."""
    taken = set[int]()
    for segment in found:
        ious = [_iou(segment, other) for other in expected]
        best = int(np.argmax(ious)) if ious else -1
        if best >= 0 and ious[best] >= overlap:
            taken.add(best)
    return len(taken), len(found) - len(taken), len(expected) - len(taken)


def _iou(a: Run, b: Run) -> float:
    shared = min(a.end, b.end) - max(a.start, b.start)
    return float(a.label == b.label) * max(shared, 0) / (max(a.end, b.end) - min(a.start, b.start))


class SegmentReport(NamedTuple):
    """The usual row of a segmentation table, in percent."""

    accuracy: float
    edit: float
    f1_10: float
    f1_25: float
    f1_50: float

    @classmethod
    def of(cls, truths: Sequence[Any], predicted: Sequence[Any], background: Collection[Any] = ()) -> SegmentReport:
        """Of labels by step, one sequence per video; `background` classes are left out of edit and F1."""
        rows = [segment_counts(a, b, background) for a, b in zip(truths, predicted, strict=True)]
        return cls.of_counts(np.sum(rows, 0), len(rows))

    @classmethod
    def of_counts(cls, counts: Array, videos: int) -> SegmentReport:
        """Of the sum of the `segment_counts` of so many videos: the edit score is averaged, the others are pooled."""
        right, steps, edit, *matches = counts.tolist()
        f1 = [100 * _ratio(2 * tp, 2 * tp + fp + fn) for tp, fp, fn in np.reshape(matches, (-1, 3)).tolist()]
        return cls(100 * _ratio(right, steps), 100 * edit / max(videos, 1), *f1)


def report_lines(report: ClassReport) -> list[tuple[Any, ...]]:
    """Rows for a table: class, precision, recall, F1, clips; then the macro and weighted means."""
    columns = (one.tolist() for one in (report.precision, report.recall, report.f1, report.support))
    rows, total = list(zip(report.names, *columns, strict=True)), int(report.support.sum())
    return [*rows, ("macro mean", *report.macro(), total), ("weighted mean", *report.weighted(), total)]
