"""Corruptions of images and poses."""

from __future__ import annotations

import numpy as np
import pytest

from edgevid.errors import InputError
from edgevid.evaluate.actions.score import corrupt_images, corrupt_poses
from edgevid.types import Array


def crops() -> Array:
    rng = np.random.default_rng(0)
    return rng.integers(0, 255, (2, 32, 32, 3), np.uint8)


def test_corruption_grows_with_its_strength() -> None:
    clean = crops()
    for kind, weak, strong in (
        ("JPEG quality", 95, 10),
        ("blur, sigma px", 1, 3),
        ("noise, sigma of 255", 5, 40),
        ("scale", 0.75, 0.25),
    ):
        apart = [np.abs(corrupt_images(clean, 0, kind, s).astype(int) - clean).mean() for s in (weak, strong)]
        assert 0 < apart[0] < apart[1]
    assert corrupt_images(clean, 0, "scale", 1) is clean
    with pytest.raises(InputError, match="expected one of"):
        corrupt_images(clean, 0, "rain", 1)


def test_corrupted_poses() -> None:
    rows = np.concatenate((np.random.default_rng(0).normal(size=(50, 30)), np.ones((50, 1))), axis=1).astype(np.float32)
    assert (corrupt_poses(rows, 0, "moments lost, %", 50)[:, -1] == 0).sum() == pytest.approx(25, abs=12)
    np.testing.assert_array_equal(corrupt_poses(rows, 0, "joint noise, % of body size", 0), rows)
    lost = corrupt_poses(rows, 0, "joints lost, %", 100)
    np.testing.assert_array_equal(lost[:, :-1], np.broadcast_to(rows[0, :-1], (50, 30)))
