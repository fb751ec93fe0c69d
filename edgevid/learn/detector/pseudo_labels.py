"""Pseudo-labels: a larger detector labels every composed training image, after its crops and mosaics.

After "Knowledge distillation: a good teacher is patient and consistent" (Beyer 2021): both networks get the
same view, which makes far zooms and mixtures of few photos useful images.
"""

from collections.abc import Sequence

import numpy as np

from edgevid.detect.detector import Detector
from edgevid.kernels import iou
from edgevid.types import Array, Detections, Frame

MATCH_IOU = 0.5  # IoU from which a pseudo-label and a label are the same object


def detect_classes(detector: Detector, classes: Sequence[str], image: Array) -> Detections:
    """Detections in `image` (H, W, 3) uint8 RGB with labels of `classes`, matched by name."""
    found = detector.detect([Frame(np.ascontiguousarray(image), 0.0, 0)])[0]
    index = {name: label for label, name in enumerate(classes)}
    labels = np.array([index.get(name, -1) for name in detector.names], np.int32)[found.labels]
    return Detections(boxes=found.boxes, scores=found.scores, labels=labels)[labels >= 0]


class PseudoLabeler:
    """A detector that labels images in the classes of the detector to be trained."""

    def __init__(self, detector: Detector, classes: Sequence[str]) -> None:
        """`detector` should keep low scores (0.05); its class names are matched to `classes` by name."""
        self.detector, self.classes = detector, tuple(classes)

    def label(self, image: Array) -> tuple[Array, Array, Array]:
        """Boxes (G, 4), labels (G,) and weights (G,) of the detections in `image` (H, W, 3) uint8 RGB.

        A weight is twice the score, at most 1.
        """
        found = detect_classes(self.detector, self.classes, image)
        weights = np.minimum(2 * found.scores, 1).astype(np.float32)
        return found.boxes, found.labels.astype(np.int64), weights


def merge_labels(
    boxes: Array, labels: Array, weights: Array, pseudo: tuple[Array, Array, Array]
) -> tuple[Array, Array, Array]:
    """The labels of an image and its additional pseudo-labels.

    Labels stay; a pseudo-label of the same object (IoU of MATCH_IOU, of any class) is dropped. Ignored
    regions get the pseudo-labels in them.
    """
    extra, kinds, shares = pseudo
    sure = weights > 0
    if len(extra) and sure.any():
        new = iou(extra, boxes[sure]).max(1) < MATCH_IOU
        extra, kinds, shares = extra[new], kinds[new], shares[new]
    return np.concatenate([boxes, extra]), np.concatenate([labels, kinds]), np.concatenate([weights, shares])
