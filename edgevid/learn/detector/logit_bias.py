"""How sure a trained detector should say it is: one offset of its scores, from images it never learned.

A detector of few scenes is right at scores that trackers take for doubt. The threshold at which its F1 on
unseen images is best is moved to where the recipe cuts. The order of its detections stays.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from edgevid import kernels
from edgevid.detect import preprocess as imaging
from edgevid.kernels import iou
from edgevid.learn.detector.data import Picture
from edgevid.learn.detector.network import CLASSES, Deployed
from edgevid.types import Array, Detections, Frame, InputSpec

CUT = 0.4
"""Score from which the recipe of the exported detector says something."""
ENOUGH = 40
"""Objects among the images from which a threshold means something."""
MOST = 1.5
"""Largest offset, either way."""


def seen(network: Deployed, image: Array, *, score: float = 0.02, nms_iou: float = 0.5) -> Detections:
    """What a network that is not exported yet detects in `image` (H, W, 3) uint8 RGB, in its pixels."""
    shape = network.network.shape
    planes, fit = imaging.letterbox(Frame(image, 0.0, 0), InputSpec(shape.width, shape.height))
    with torch.no_grad():
        out = network(torch.from_numpy(planes[None]))[0].numpy()
    boxes, scores, labels = kernels.decode_columns(
        np.ascontiguousarray(out[:4]), np.ascontiguousarray(out[4:]), score
    )
    kept = kernels.nms(boxes, scores, labels, nms_iou)
    return Detections(boxes=fit.inverse(boxes[kept]), scores=scores[kept], labels=labels[kept])


def hits(found: Detections, picture: Picture, label: int) -> list[tuple[float, bool]]:
    """(score, right) of the detections of one class; those on places to leave out are dropped."""
    mine = found[found.labels == label]
    truth = picture.boxes[(picture.labels == label) & (picture.weights > 0)]
    doubtful = picture.boxes[picture.weights < 0]
    free = np.ones(len(truth), bool)
    said = []
    for row in np.argsort(-mine.scores, kind="stable"):
        box = mine.boxes[row : row + 1]
        overlap = np.where(free, iou(box, truth)[0], 0.0) if len(truth) else np.zeros(1)
        right = bool(overlap.max() >= 0.5)
        if right:
            free[overlap.argmax()] = False
        if right or not len(doubtful) or iou(box, doubtful).max() < 0.3:
            said.append((float(mine.scores[row]), right))
    return said


def best_threshold(said: Sequence[tuple[float, bool]], objects: int) -> float:
    """Score at which cutting gives the best F1 of (score, right) with `objects` to be found.

    >>> best_threshold([(0.9, True), (0.6, True), (0.5, False), (0.2, False)], 2)
    0.6
    """
    if not said or not objects:
        return CUT
    scores, right = (np.array(column) for column in zip(*sorted(said, reverse=True), strict=True))
    f1 = 2 * np.cumsum(right) / (np.arange(1, len(right) + 1) + objects)
    return float(scores[f1.argmax()])


def offset(network: Deployed, pictures: Sequence[Picture]) -> float:
    """What to add to the logits of all classes, so that the best threshold on `images` is CUT.

    The images should be of the kind that the detector will meet: real ones, of scenes it never learned. 0
    where they hold fewer than ENOUGH objects.
    """
    said: list[tuple[float, bool]] = []
    objects = 0
    for picture in pictures:
        found = seen(network, picture.image)
        for label in range(len(CLASSES)):
            said += hits(found, picture, label)
        objects += int((picture.weights > 0).sum())
    if objects < ENOUGH:
        return 0.0
    at = float(np.clip(best_threshold(said, objects), 0.01, 0.99))
    return round(float(np.clip(_logit(CUT) - _logit(at), -MOST, MOST)), 3)


def _logit(share: float) -> float:
    return float(np.log(share / (1 - share)))
