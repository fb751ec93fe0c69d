"""A teacher that looks at the composed training image itself, so that every crop and mix of it is labeled.

After "Knowledge distillation: a good teacher is patient and consistent" (Beyer 2021): teacher and student see
the same view, which makes far zooms and mixtures of few photos useful images.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgevid.detect.detector import Detector
from edgevid.kernels import iou
from edgevid.types import Array, Frame

SAME = 0.5
"""Overlap from which a teacher's box and a label are the same object."""


class Teacher:
    """A detector as a labeller of images in the classes of the detector to be trained."""

    def __init__(self, detector: Detector, classes: Sequence[str]) -> None:
        """`detector` should keep low scores (0.05); its class names are matched to `classes` by name."""
        self.detector = detector
        known = list(classes)
        self._labels = np.array([known.index(n) if n in known else -1 for n in detector.names], np.int64)

    def look(self, image: Array) -> tuple[Array, Array, Array]:
        """Boxes (G, 4), labels (G,) and weights (G,) of what it sees in `image` (H, W, 3) uint8 RGB.

        A weight is twice the score, at most 1: where a label is sure, that is the weight that it has in a
        label file.
        """
        found = self.detector.detect([Frame(image, 0.0, 0)])[0]
        labels = self._labels[found.labels]
        known = labels >= 0
        weights = np.minimum(2 * found.scores, 1).astype(np.float32)
        return found.boxes[known], labels[known], weights[known]


def merged(
    boxes: Array, labels: Array, weights: Array, seen: tuple[Array, Array, Array]
) -> tuple[Array, Array, Array]:
    """The labels of an image and what a teacher saw besides.

    A label stays what it is; a teacher's box of the same object (overlap of 0.5, of whatever class) is left
    out. Places that a label leaves out get the teacher's box where it sees one.
    """
    extra, kinds, shares = seen
    sure = weights > 0
    if len(extra) and sure.any():
        new = iou(extra, boxes[sure]).max(1) < SAME
        extra, kinds, shares = extra[new], kinds[new], shares[new]
    return np.concatenate([boxes, extra]), np.concatenate([labels, kinds]), np.concatenate([weights, shares])
