"""Masks over a frame, and their run lengths."""

from __future__ import annotations

import numpy as np
import pytest

from edgevid.types.frame import Mask, mask_of_rle


@pytest.mark.parametrize("place", [(0, 0), (2, 1), (5, 4)])
@pytest.mark.parametrize("seed", range(4))
def test_run_lengths_and_back(place: tuple[int, int], seed: int) -> None:
    pixels = (np.random.default_rng(seed).random((3, 4)) > (0.5, 0.0, 1.0, 0.2)[seed]).astype(np.uint8)
    mask, size = Mask(*place, pixels), (9, 7)
    rle = mask.rle(size)
    assert rle["size"] == [7, 9]
    assert sum(rle["counts"]) == 63 or not pixels.any()
    assert all(n > 0 for n in rle["counts"][1:])
    np.testing.assert_array_equal(mask_of_rle(rle).pixels, mask.full(size))


def test_run_lengths_by_hand() -> None:
    """Columns first: of a 3 x 2 frame, the object covers the middle column and the last pixel."""
    mask = Mask(1, 0, np.array([[1, 0], [1, 1]], np.uint8))
    assert mask.rle((3, 2)) == {"size": [2, 3], "counts": [2, 2, 1, 1]}
    assert Mask(0, 0, np.zeros((2, 3), np.uint8)).rle((3, 2)) == {"size": [2, 3], "counts": [6]}
