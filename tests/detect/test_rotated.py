"""Rotated boxes: corners by hand, similarity by its formula, suppression by enumeration."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edgevid.detect import instance as rotated
from edgevid.detect.instance import corners, enclosing, prob_iou, rotated_nms


def boxes(*rows: tuple[float, ...]) -> np.ndarray:
    return np.array(rows, np.float32)


def test_corners_go_around_the_box() -> None:
    flat, quarter = corners(boxes((10, 20, 4, 2, 0), (10, 20, 4, 2, math.pi / 2)))
    np.testing.assert_allclose(flat, [[8, 19], [12, 19], [12, 21], [8, 21]], atol=1e-5)
    np.testing.assert_allclose(quarter, [[11, 18], [11, 22], [9, 22], [9, 18]], atol=1e-5)


def test_the_enclosing_box_of_a_diagonal_one() -> None:
    (found,) = enclosing(boxes((0, 0, 2, 2, math.pi / 4)))
    np.testing.assert_allclose(found, [-math.sqrt(2), -math.sqrt(2), math.sqrt(2), math.sqrt(2)], atol=1e-6)


def test_similarity_of_two_shifted_squares() -> None:
    """Variance side^2 / 12 each: for a shift d along x, the Bhattacharyya distance is d^2 / (8 * 3)."""
    side, shift = 6.0, 2.0
    (found,) = prob_iou(boxes((0, 0, side, side, 0)), boxes((shift, 0, side, side, 0)))[0]
    assert found == pytest.approx(1 - math.sqrt(1 - math.exp(-(shift**2) / (8 * side**2 / 12))), abs=1e-5)


def test_similarity_is_symmetric_and_one_for_equal_boxes() -> None:
    random = np.random.default_rng(0)
    some = np.column_stack([random.random((6, 2)) * 9, 1 + random.random((6, 2)) * 9, random.random(6) * 3])
    some = some.astype(np.float32)
    both = prob_iou(some, some)
    np.testing.assert_allclose(both, both.T, atol=1e-6)
    assert np.diag(both).min() > 0.99
    turned = some.copy()
    turned[:, 2:4], turned[:, 4] = some[:, [3, 2]], some[:, 4] + math.pi / 2  # the same boxes
    np.testing.assert_allclose(prob_iou(some, turned), both, atol=1e-4)


@pytest.mark.parametrize("block", [1, 3, 256])
@pytest.mark.parametrize("class_aware", [True, False])
def test_suppression_equals_its_definition(monkeypatch: pytest.MonkeyPatch, block: int, class_aware: bool) -> None:
    monkeypatch.setattr(rotated, "_BLOCK", block)
    random = np.random.default_rng(1)
    some = np.column_stack([random.random((40, 2)) * 20, 4 + random.random((40, 2)) * 9, random.random(40) * 3])
    some = some.astype(np.float32)
    scores, labels = random.permutation(40).astype(np.float32), random.integers(0, 2, 40)
    similar = prob_iou(some, some)
    stays = [
        row
        for row in np.argsort(-scores)
        if not any(
            similar[other, row] > 0.5 and (labels[other] == labels[row] or not class_aware)
            for other in np.flatnonzero(scores > scores[row])
        )
    ]
    for most in (40, 7):
        found = rotated_nms(some, scores, labels, 0.5, class_aware=class_aware, max_detections=most)
        assert found.tolist() == stays[:most]


def test_nothing_is_kept_of_nothing() -> None:
    empty = rotated_nms(
        np.zeros((0, 5), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int32), 0.5,
        class_aware=True, max_detections=9,
    )  # fmt: skip
    assert len(empty) == 0
