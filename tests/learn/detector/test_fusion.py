"""Weighted box fusion."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="training needs torch: pip install 'edgevid[train]'")
pytest.importorskip("onnx", reason="export needs onnx")

from edgevid.learn.detector.fusion import fuse  # noqa: E402
from edgevid.types import Detections  # noqa: E402


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
