"""Labels from an ensemble of detectors, and weighted box fusion, worked by hand."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch: pip install 'edgevid[train]'")
pytest.importorskip("onnx", reason="export needs onnx")

from edgevid.learn.detector.label import detect_fused, fuse, label_lines, smooth_scores  # noqa: E402
from edgevid.synthetic import CLASSES  # noqa: E402
from edgevid.types import Array, Detections, Frame  # noqa: E402


def test_steady_boxes_keep_their_score_and_flicker_is_ignored() -> None:
    steady = [(n / 5, Detections.of(boxes=[[10, 10, 50, 90]], scores=[0.6], labels=[0])) for n in range(6)]
    lines = [label_lines(d) for d in smooth_scores(steady)]
    assert lines[3] == "person 10.0 10.0 50.0 90.0 1.00\n"
    flicker = [(t, d if n == 2 else Detections.empty()) for n, (t, d) in enumerate(steady)]
    assert label_lines(smooth_scores(flicker)[2]).endswith("-1.00\n")


def test_fusion_weighs_boxes_and_lowers_those_of_few_views() -> None:
    views = [
        Detections.of(boxes=[[0, 0, 10, 10], [50, 50, 60, 60]], scores=[0.8, 0.9], labels=[0, 0]),
        Detections.of(boxes=[[0, 0, 10, 14]], scores=[0.4], labels=[0]),
        Detections.of(boxes=[[0, 0, 10, 10]], scores=[0.6], labels=[1]),
    ]
    fused = fuse(views)
    rows = {(r.label, int(r.box[0])): r for r in fused}
    assert rows[0, 0].score == pytest.approx(1.2 / 3)
    assert rows[0, 0].box[3] == pytest.approx((10 * 0.8 + 14 * 0.4) / 1.2)
    assert rows[0, 50].score == pytest.approx(0.3)
    assert rows[1, 0].score == pytest.approx(0.2)


class Seer:
    """A detector that sees one box, in whatever it gets as a whole."""

    names = CLASSES

    def __init__(self, name: str, score: float) -> None:
        self.label, self.score = CLASSES.index(name), score

    def detect(self, frames: list[Frame]) -> list[Detections]:
        high, wide = frames[0].image.shape[:2]
        box = [[0.2 * wide, 0.2 * high, 0.8 * wide, 0.8 * high]]
        return [Detections.of(boxes=box, scores=[self.score], labels=[self.label])]


def test_detectors_that_name_one_object_differently_give_one_label() -> None:
    image: Array = np.zeros((90, 160, 3), np.uint8)
    found = detect_fused([Seer("car", 0.6), Seer("truck", 0.8)], image)  # type: ignore[list-item]
    whole = found[(found.boxes[:, 2] - found.boxes[:, 0]) == pytest.approx(0.6 * 160, abs=1)]
    assert [CLASSES[label] for label in whole.labels] == ["truck"]
    assert whole.scores[0] == pytest.approx(0.4)  # of four views two agree
