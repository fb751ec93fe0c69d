"""The labels made by eye are well-formed, and average precision judges as defined."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from edgevid.types import Detections

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture(autouse=True)
def _path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(BENCHMARKS), *sys.path])


def test_labels_by_eye_lie_in_their_pictures_and_are_many() -> None:
    from detector_cases import EYE, read_eye

    sizes = {"vehicle_counting_tf_input": (640, 352), "intel_one-by-one-person-detection": (768, 432)}
    frames = 0
    for name, _ in EYE:
        wide, high = sizes[name]
        labels = read_eye(name)
        frames += len(labels)
        for truth, neither in labels.values():
            for x1, y1, x2, y2 in np.concatenate([truth, neither]):
                assert 0 <= x1 < x2 <= wide
                assert 0 <= y1 < y2 <= high
        assert sum(len(truth) for truth, _ in labels.values()) > 100
    assert frames >= 200


def test_average_precision_of_known_answers() -> None:
    from detector_cases import NOTHING, average_precision

    truth = np.array([[0, 0, 10, 10], [20, 0, 30, 10]], np.float32)
    both = Detections.of(boxes=truth, scores=[0.9, 0.8], labels=[0, 0])
    assert average_precision([(both, truth, NOTHING)]) == pytest.approx(1.0)
    # One hit, then a false box, then the other hit: precision 1 up to half recall, 2/3 from there.
    boxes = [[0, 0, 10, 10], [50, 50, 60, 60], [20, 0, 30, 10]]
    found = Detections.of(boxes=boxes, scores=[0.9, 0.8, 0.7], labels=[0, 0, 0])
    assert average_precision([(found, truth, NOTHING)]) == pytest.approx((51 + 50 * 2 / 3) / 101)
    # The false box lies in an area that counts neither way.
    area = np.array([[40, 40, 100, 100]], np.float32)
    assert average_precision([(found, truth, area)]) == pytest.approx(1.0)
    # A second answer for a thing already found is false.
    twice = Detections.of(boxes=[*boxes[:1], *boxes[:1]], scores=[0.9, 0.8], labels=[0, 0])
    assert average_precision([(twice, truth[:1], NOTHING)]) == pytest.approx(1.0)
    assert average_precision([(twice, truth, NOTHING)]) == pytest.approx(51 / 101)
    assert average_precision([(both[:0], truth, NOTHING)]) == 0.0
