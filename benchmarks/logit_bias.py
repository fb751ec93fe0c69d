"""One bias of a trained detector's class logits, fitted on validation images.

A detector trained on few scenes is correct at scores below the usual thresholds of trackers. The bias moves
the threshold with the best F1 on validation images to that of the recipe; the ranking of detections stays.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from edgevid import kernels
from edgevid.detect import preprocess as imaging
from edgevid.kernels import iou
from edgevid.learn.detector.data import Sample
from edgevid.learn.detector.network import CLASSES, Deployed
from edgevid.runtime.engine import InputSpec
from edgevid.types import Array, Detections, Frame

SCORE_THRESHOLD = 0.4
"""Score threshold in the recipe of the exported detector."""
MIN_SCORE = 0.02
"""Lowest score of a detection."""
MIN_OBJECTS = 40
"""Fewest objects in the images to fit a bias on."""
MAX_BIAS = 1.5
"""Largest absolute bias."""


def detect_image(network: Deployed, image: Array, *, nms_iou: float = 0.5) -> Detections:
    """Detections of a network before its export in `image` (H, W, 3) uint8 RGB, in its pixels."""
    shape = network.network.shape
    planes, fit = imaging.letterbox(Frame(image, 0.0, 0), InputSpec(shape.width, shape.height))
    with torch.no_grad():
        out = network(torch.from_numpy(planes[None]))[0].numpy()
    boxes, scores, labels = kernels.decode_columns(
        np.ascontiguousarray(out[:4]), np.ascontiguousarray(out[4:]), MIN_SCORE
    )
    kept = kernels.nms(boxes, scores, labels, nms_iou)
    return Detections(boxes=fit.inverse(boxes[kept]), scores=scores[kept], labels=labels[kept])


def true_positives(found: Detections, sample: Sample, label: int) -> list[tuple[float, bool]]:
    """(score, whether it is a true positive) of one class; detections in ignored regions are dropped."""
    mine = found[found.labels == label]
    truth = sample.boxes[(sample.labels == label) & (sample.weights > 0)]
    ignored = sample.boxes[sample.weights < 0]
    free = np.ones(len(truth), bool)
    scored = []
    for row in np.argsort(-mine.scores, kind="stable"):
        box = mine.boxes[row : row + 1]
        overlap = np.where(free, iou(box, truth)[0], 0.0) if len(truth) else np.zeros(1)
        right = bool(overlap.max() >= 0.5)
        if right:
            free[overlap.argmax()] = False
        if right or not len(ignored) or iou(box, ignored).max() < 0.3:
            scored.append((float(mine.scores[row]), right))
    return scored


def best_threshold(scored: Sequence[tuple[float, bool]], objects: int) -> float:
    """The score threshold with the best F1 of (score, true positive) for `objects` true objects.

    >>> best_threshold([(0.9, True), (0.6, True), (0.5, False), (0.2, False)], 2)
    0.6
    """
    if not scored or not objects:
        return SCORE_THRESHOLD
    scores, right = (np.array(column) for column in zip(*sorted(scored, reverse=True), strict=True))
    f1 = 2 * np.cumsum(right) / (np.arange(1, len(right) + 1) + objects)
    return float(scores[f1.argmax()])


def fit_logit_bias(network: Deployed, samples: Sequence[Sample]) -> float:
    """The bias of all class logits with which the best threshold on `samples` is SCORE_THRESHOLD.

    The images should be like those of the deployment: real, of scenes that were not trained on. 0 for fewer
    than MIN_OBJECTS objects.
    """
    scored: list[tuple[float, bool]] = []
    objects = 0
    for sample in samples:
        found = detect_image(network, sample.image)
        for label in range(len(CLASSES)):
            scored += true_positives(found, sample, label)
        objects += int((sample.weights > 0).sum())
    if objects < MIN_OBJECTS:
        return 0.0
    at = float(np.clip(best_threshold(scored, objects), 0.01, 0.99))
    return round(float(np.clip(_logit(SCORE_THRESHOLD) - _logit(at), -MAX_BIAS, MAX_BIAS)), 3)


def _logit(share: float) -> float:
    return float(np.log(share / (1 - share)))
