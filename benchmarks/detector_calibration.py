"""Temperature, bias and default thresholds of a trained detector, from labeled images.

Temperature scaling (Guo 2017) with a bias: a score is the share of the detections with that score that
are right. The threshold of a class is the lowest score from which PRECISION of its detections are right. What is found
in ignored places counts neither way. The ranking of a class's detections stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from edgevid.detect.detector import Detector
from edgevid.kernels import iou
from edgevid.learn.detector.data import Sample
from edgevid.types import Array, Detections, Frame

PRECISION = 0.9
"""Of the detections from a class's threshold on."""
FEWEST = 10
"""Fewest detections of a class to choose a threshold on; other classes get that of all together."""
LOWEST, HIGHEST = 0.25, 0.8
"""Limits of a threshold."""


class Judged(NamedTuple):
    """The detections on labeled images, by class: scores, and whether each is right."""

    scores: Array
    right: Array
    labels: Array


def judge_all(detector: Detector, samples: Sequence[Sample]) -> Judged:
    """The detections in `samples` that count; `detector` should keep low scores."""
    rows: list[tuple[float, bool, int]] = []
    for sample in samples:
        found = detector.detect([Frame(np.ascontiguousarray(sample.image), 0.0, 0)])[0]
        for label in range(len(detector.names)):
            rows += [(score, right, label) for score, right in _judged(found[found.labels == label], sample, label)]
    scores, right, labels = (np.array(column) for column in zip(*rows, strict=True))
    return Judged(scores, right, labels)


def _judged(mine: Detections, sample: Sample, label: int) -> list[tuple[float, bool]]:
    truth = sample.boxes[(sample.labels == label) & (sample.weights > 0)]
    ignored = sample.boxes[sample.weights < 0]
    free, scored = np.ones(len(truth), bool), []
    for row in np.argsort(-mine.scores, kind="stable"):
        box = mine.boxes[row : row + 1]
        overlap = np.where(free, iou(box, truth)[0], 0.0) if len(truth) else np.zeros(1)
        if right := bool(overlap.max() >= 0.5):
            free[overlap.argmax()] = False
        low, high = np.maximum(box[:, :2], ignored[:, :2]), np.minimum(box[:, 2:], ignored[:, 2:])
        inside = (high - low).clip(0).prod(1) / max(float((box[0, 2:] - box[0, :2]).prod()), 1e-6)
        if right or not len(ignored) or max(inside.max(), iou(box, ignored).max()) < 0.5:
            scored.append((float(mine.scores[row]), right))
    return scored


def fit(judged: Judged, *, steps: int = 3000) -> tuple[float, float]:
    """Temperature and bias with which the scores are the likeliest: gradient descent on the log loss.

    One bias for all: with one for each class, buses on roads/val lost to the trucks of the same place (AP50 0.09
    instead of 0.25 for street-small, 0.27 instead of 0.42 for street-nano).
    """
    logits = np.log(judged.scores / (1 - judged.scores))
    scale, bias = 1.0, 0.0
    for _ in range(steps):
        error = 1 / (1 + np.exp(-(scale * logits + bias))) - judged.right
        scale, bias = scale - 0.5 * float((error * logits).mean()), bias - 0.5 * float(error.mean())
    return round(1 / max(scale, 0.2), 3), round(bias, 3)


def calibrated(scores: Array, temperature: float, bias: float) -> Array:
    """The scores of the exported detector."""
    return np.asarray(1 / (1 + np.exp(-np.log(scores / (1 - scores)) / temperature - bias)))


def thresholds(judged: Judged, classes: int) -> list[float]:
    """(C,) the lowest score of each class from which PRECISION of the detections are right; of all classes together
    for one with too few detections, or none so precise."""
    every = _lowest(judged.scores, judged.right) or HIGHEST
    own = (_lowest(judged.scores[mine], judged.right[mine]) for mine in (judged.labels == n for n in range(classes)))
    return [round(float(np.clip(one or every, LOWEST, HIGHEST)), 2) for one in own]


def _lowest(scores: Array, right: Array) -> float:
    """0 where there is none."""
    order = np.argsort(-scores, kind="stable")
    precision = np.cumsum(right[order]) / np.arange(1, len(order) + 1)
    good = np.flatnonzero((precision >= PRECISION) & (np.arange(len(order)) >= FEWEST - 1))
    return float(scores[order[good[-1]]]) if len(good) else 0.0
