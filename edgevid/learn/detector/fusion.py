"""Weighted box fusion: one set of boxes from several detectors, views and scales.

Solovyev 2021 (arXiv 1910.13302): boxes of one class that overlap are averaged with their scores as
weights; the fused score is the mean over all views, so a box in few views gets a low score.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgevid.kernels import iou
from edgevid.types import Detections

OVERLAP = 0.55
"""IoU from which boxes of one class are one object."""


def fuse(views: Sequence[Detections], *, overlap: float = OVERLAP) -> Detections:
    """One set of boxes from the detections in each view of an image; scores in 0..1.

    The score is the summed score of the best box of each agreeing view over the number of views.

    >>> one = Detections.of(boxes=[[0, 0, 10, 10]], scores=[0.9], labels=[0])
    >>> other = Detections.of(boxes=[[0, 0, 10, 12]], scores=[0.3], labels=[0])
    >>> [round(float(x), 2) for x in fuse([one, other]).boxes[0]]
    [0.0, 0.0, 10.0, 10.5]
    """
    boxes = np.concatenate([view.boxes for view in views])
    scores = np.concatenate([view.scores for view in views])
    labels = np.concatenate([view.labels for view in views])
    origin = np.concatenate([np.full(len(view), n) for n, view in enumerate(views)])
    fused_boxes, fused_scores, fused_labels = [], [], []
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        rows = rows[np.argsort(-scores[rows], kind="stable")]
        for cluster in _clusters(boxes[rows], scores[rows], overlap):
            members = rows[cluster]
            weights = scores[members][:, None]
            fused_boxes.append((boxes[members] * weights).sum(0) / weights.sum())
            best = np.zeros(len(views), np.float32)
            np.maximum.at(best, origin[members], scores[members])
            fused_scores.append(best.sum() / len(views))
            fused_labels.append(label)
    return Detections.of(boxes=fused_boxes, scores=fused_scores, labels=fused_labels)


def _clusters(boxes: np.ndarray, scores: np.ndarray, overlap: float) -> list[list[int]]:
    """Rows of one object each, in order of score; a row joins the fused box that it overlaps most."""
    clusters: list[list[int]] = []
    centers = np.zeros((0, 4), np.float32)
    for n in range(len(boxes)):
        shared = iou(boxes[n : n + 1], centers)[0] if clusters else np.zeros(0)
        if len(shared) and shared.max() > overlap:
            k = int(shared.argmax())
            clusters[k].append(n)
            weights = scores[clusters[k]][:, None]
            centers[k] = (boxes[clusters[k]] * weights).sum(0) / weights.sum()
        else:
            clusters.append([n])
            centers = np.concatenate([centers, boxes[n : n + 1]])
    return clusters
