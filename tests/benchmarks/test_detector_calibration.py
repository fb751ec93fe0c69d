"""Temperature, class biases and thresholds of the shipped detectors."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs torch: pip install 'edgevid[train]'")
pytest.importorskip("onnx", reason="export needs onnx")
from detector_samples import blank_sample

from edgevid.types import Detections

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture(autouse=True)
def _path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(BENCHMARKS), *sys.path])


def test_a_detection_is_right_once_and_counts_outside_of_ignored_places() -> None:
    from detector_calibration import _judged

    sample = blank_sample("a", boxes=1)
    sample.boxes = np.concatenate([sample.boxes, [[70, 0, 90, 20]]]).astype(np.float32)
    sample.labels, sample.weights = np.array([2, 2]), np.array([1, -1], np.float32)
    found = Detections.of(
        boxes=[[20, 10, 60, 48], [21, 10, 60, 50], [70, 1, 90, 20]], scores=[0.5, 0.7, 0.9], labels=[2, 2, 2]
    )
    assert _judged(found, sample, 2) == [(pytest.approx(0.7), True), (pytest.approx(0.5), False)]


def test_a_fitted_score_is_the_share_that_is_right() -> None:
    """Logits that are true with the probability of their doubles plus a bias."""
    from detector_calibration import Judged, calibrated, fit

    random = np.random.default_rng(0)
    logits = random.normal(-1, 1.5, 20_000)
    right = random.random(20_000) < 1 / (1 + np.exp(-(2 * logits + 0.5)))
    judged = Judged(1 / (1 + np.exp(-logits)), right, np.zeros(20_000, int))
    temperature, bias = fit(judged)
    assert temperature == pytest.approx(0.5, abs=0.03)
    assert bias == pytest.approx(0.5, abs=0.1)
    scores = calibrated(judged.scores, temperature, bias)
    assert right[(scores > 0.65) & (scores < 0.75)].mean() == pytest.approx(0.7, abs=0.04)


def test_a_threshold_is_the_lowest_score_with_the_precision_and_rare_classes_take_that_of_all() -> None:
    from detector_calibration import Judged, thresholds

    scores = np.concatenate([np.linspace(0.9, 0.5, 20), [0.99, 0.98]])
    right = np.array([True] * 18 + [False] * 2 + [True] * 2)  # 18 of 20 are 0.9
    labels = np.array([0] * 20 + [1] * 2)
    assert thresholds(Judged(scores, right, labels), 2) == [0.5, 0.5]
