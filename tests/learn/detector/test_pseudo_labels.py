"""Pseudo-labels of composed images."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch: pip install 'edgevid[train]'")
pytest.importorskip("onnx", reason="export needs onnx")
from detector_samples import blank_sample  # noqa: E402

from edgevid.learn.detector.data import Composer  # noqa: E402
from edgevid.learn.detector.network import CLASSES  # noqa: E402
from edgevid.learn.detector.pseudo_labels import PseudoLabeler, merge_labels  # noqa: E402
from edgevid.types import Detections, Frame  # noqa: E402


class FakeDetector:
    """A detector with fixed results that keeps its input images."""

    names = ("cat", "car", "person")

    def __init__(self, scored: Detections) -> None:
        self.scored, self.shown = scored, []

    def detect(self, frames: list[Frame]) -> list[Detections]:
        self.shown += [frame.image.copy() for frame in frames]
        return [self.scored for _ in frames]


def test_pseudo_labels_add_what_has_no_label() -> None:
    scored = Detections.of(
        boxes=[[0, 0, 9, 9], [20, 10, 60, 48], [1, 2, 30, 40], [70, 40, 90, 60]],
        scores=[0.9, 0.9, 0.1, 0.7],
        labels=[0, 1, 1, 2],
    )
    pseudo_labels = PseudoLabeler(FakeDetector(scored), CLASSES)  # type: ignore[arg-type]
    seen = pseudo_labels.label(np.zeros((64, 96, 3), np.uint8))
    assert seen[1].tolist() == [2, 2, 0]  # the cat is none of the classes
    assert seen[2].tolist() == pytest.approx([1, 0.2, 1])
    mine = np.array([[20, 10, 60, 50], [70, 40, 90, 60]], np.float32), np.array([2, 0])
    boxes, labels, weights = merge_labels(*mine, np.array([1, -1], np.float32), seen)
    assert labels.tolist() == [2, 0, 2, 0]  # the second label is an ignored region: it gets a pseudo-label
    assert weights.tolist() == pytest.approx([1, -1, 0.2, 1])
    assert boxes[2].tolist() == [1, 2, 30, 40]


def test_composed_images_get_pseudo_labels() -> None:
    fake = FakeDetector(Detections.of(boxes=[[2, 2, 20, 20]], scores=[0.3], labels=[2]))
    pseudo_labels = PseudoLabeler(fake, CLASSES)  # type: ignore[arg-type]
    composer = Composer([blank_sample("a", boxes=0)], 96, 64, paste=0.0, pseudo_labels=pseudo_labels)
    made = composer.compose()
    assert fake.shown[0].shape == made.image.shape
    assert made.labels.tolist() == [0]
    assert made.weights.tolist() == pytest.approx([0.6])
