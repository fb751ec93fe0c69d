"""The bias of the class logits."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch: pip install 'edgevid[train]'")
pytest.importorskip("onnx", reason="export needs onnx")
from detector_samples import blank_sample  # noqa: E402

from edgevid.learn.detector.network import Deployed, Shape, StreetDetector  # noqa: E402
from edgevid.types import Detections  # noqa: E402

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
SMALL = Shape(96, 64, (8, 8, 16, 16, 16), (1, 1, 1), 16)


@pytest.fixture(autouse=True)
def _path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(BENCHMARKS), *sys.path])


def test_the_threshold_with_the_best_f1() -> None:
    from logit_bias import SCORE_THRESHOLD, best_threshold, true_positives

    assert best_threshold([], 5) == SCORE_THRESHOLD
    # After 0.8: 2 of 3 found, none wrong, F1 = 4/5; after 0.3: 3 found, 2 wrong, 6/8; at the end 6/9.
    scored = [(0.9, True), (0.8, True), (0.6, False), (0.5, False), (0.3, True), (0.1, False)]
    assert best_threshold(scored, 3) == 0.8
    sample = blank_sample("a", boxes=1)
    sample.boxes = np.concatenate([sample.boxes, [[70, 0, 90, 20]]]).astype(np.float32)
    sample.labels, sample.weights = np.array([2, 2]), np.array([1, -1], np.float32)
    found = Detections.of(
        boxes=[[20, 10, 60, 48], [21, 10, 60, 50], [70, 1, 90, 20], [0, 50, 9, 60]],
        scores=[0.5, 0.7, 0.9, 0.4],
        labels=[2, 2, 2, 0],
    )
    assert true_positives(found, sample, 2) == [(pytest.approx(0.7), True), (pytest.approx(0.5), False)]


def test_a_logit_bias_needs_enough_objects() -> None:
    from logit_bias import MIN_OBJECTS, SCORE_THRESHOLD, fit_logit_bias

    network = Deployed(StreetDetector(SMALL)).eval()
    few = [blank_sample("a", boxes=1) for _ in range(3)]
    assert fit_logit_bias(network, few) == 0.0
    network.network.to_class[1].bias.data[2] = 0.5  # it says cars everywhere, at 0.6
    many = fit_logit_bias(network, few * (MIN_OBJECTS // 3 + 1))
    assert many == pytest.approx(np.log(SCORE_THRESHOLD / (1 - SCORE_THRESHOLD)) - 0.5, abs=0.2)
