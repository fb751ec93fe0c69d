"""Masks and key points in frame pixels."""

from __future__ import annotations

import numpy as np
import pytest

from edgevid.detect.instance import keypoints, masks
from edgevid.detect.preprocess import LetterboxTransform
from edgevid.runtime.engine import InputSpec

SPEC = InputSpec(32, 32)


def test_key_points_undo_the_letterbox() -> None:
    transform = LetterboxTransform.of((64, 32), SPEC)  # half size, 8 rows of padding above
    three = keypoints(np.float32([[16, 16, 0.5, 0, 8, 0.1]]), transform, 3)
    np.testing.assert_allclose(three, [[[32, 16, 0.5], [0, 0, 0.1]]], rtol=1e-6)
    two = keypoints(np.float32([[16, 16, 0, 8]]), transform, 2)
    np.testing.assert_allclose(two, [[[32, 16, 1], [0, 0, 1]]], rtol=1e-6)
    assert keypoints(np.zeros((0, 6), np.float32), transform, 3).shape == (0, 2, 3)


def test_masks_are_where_the_weighted_sum_is_positive() -> None:
    """A ramp over 8 cells of 4 input pixels: its zero lies at cell 3.5, input pixel 16, frame column 32."""
    ramp = np.tile(np.arange(8, dtype=np.float32) - 3.5, (8, 1))
    prototypes = np.stack([ramp, np.ones((8, 8), np.float32)])
    boxes = np.float32([[10.2, 4, 50, 20], [10.2, 4, 50, 20]])
    coefficients = np.float32([[1, 0], [1, -100]])
    transform = LetterboxTransform.of((64, 32), SPEC)
    half, nothing = masks(coefficients, prototypes, boxes, transform, SPEC)
    assert (half.left, half.top, half.pixels.shape) == (11, 4, (16, 39))
    assert np.flatnonzero(half.pixels[0]).tolist() == list(range(32 - 11, 39))
    assert (half.pixels == half.pixels[0]).all()
    assert not nothing.pixels.any()


@pytest.mark.parametrize("box", [[0, 0, 0.4, 5], [63.5, 0, 64, 32]])
def test_the_smallest_boxes_have_masks(box: list[float]) -> None:
    transform = LetterboxTransform.of((64, 32), SPEC)
    ones = np.ones((1, 1, 1), np.float32)
    (mask,) = masks(np.float32([[1]]), ones, np.float32([box]), transform, SPEC)
    assert mask.pixels.shape == (5 if box[0] == 0 else 32, 1 if box[0] == 0 else 0)
