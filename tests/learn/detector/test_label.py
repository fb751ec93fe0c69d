"""Labels from an ensemble of detectors."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="training needs torch: pip install 'edgevid[train]'")
pytest.importorskip("onnx", reason="export needs onnx")

from edgevid.learn.detector.label import label_lines, smooth_scores  # noqa: E402
from edgevid.learn.detector.network import (  # noqa: E402
    CLASSES,
)
from edgevid.types import Detections  # noqa: E402


def test_steady_boxes_keep_their_score_and_flicker_is_ignored() -> None:
    steady = [(n / 5, Detections.of(boxes=[[10, 10, 50, 90]], scores=[0.6], labels=[0])) for n in range(6)]
    lines = [label_lines(d, CLASSES) for d in smooth_scores(steady)]
    assert lines[3] == "person 10.0 10.0 50.0 90.0 1.00\n"
    flicker = [(t, d if n == 2 else Detections.empty()) for n, (t, d) in enumerate(steady)]
    assert label_lines(smooth_scores(flicker)[2], CLASSES).endswith("-1.00\n")
