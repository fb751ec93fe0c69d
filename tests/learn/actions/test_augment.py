"""Augmentations preserve what they must."""

from __future__ import annotations

import numpy as np
import pytest

from edgevid.types import Array

torch = pytest.importorskip("torch", reason="training needs torch: pip install 'edgevid[train]'")

from edgevid.learn.actions.fit import augment  # noqa: E402
from edgevid.learn.classifier.network import augment_crops, jpeg  # noqa: E402

torch.set_num_threads(1)


def test_augmented_joints_are_finite_and_keep_their_scores() -> None:
    rows = np.random.default_rng(0).normal(size=(9, 31)).astype(np.float32)
    rows[:, -1] = 1
    augmented = augment(rows, "jhmdb15", 1e-9 + 1.0, np.random.default_rng(0))
    assert augmented.shape[1] == 31
    assert np.isfinite(augmented).all()
    assert (augmented[:, -1] == 1).all()


def crops() -> Array:
    rng = np.random.default_rng(0)
    return rng.integers(0, 255, (2, 32, 32, 3), np.uint8)


def test_crops_are_augmented_alike_and_jpeg_is_near_the_real_one() -> None:
    pytest.importorskip("kornia", reason="augmentation needs kornia: pip install 'edgevid[train]'")
    cv2 = pytest.importorskip("cv2")

    still = np.repeat(crops()[:1], 3, axis=0)
    augmented = augment_crops(still, seed=4)
    assert augmented.shape == still.shape
    np.testing.assert_array_equal(augmented[0], augmented[2])
    smooth = cv2.GaussianBlur(cv2.resize(crops()[0], (48, 40)), (0, 0), 3)
    _, data = cv2.imencode(".jpg", smooth[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 60])
    real = cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1]
    batch = torch.from_numpy(smooth.copy()).permute(2, 0, 1)[None].float() / 255
    batch.requires_grad_(True)
    mine = jpeg(batch, torch.tensor([60.0]))
    assert mine.shape == batch.shape  # sides that are no multiple of 16 come back as they were
    assert np.abs(mine.detach()[0].permute(1, 2, 0).numpy() * 255 - real).mean() < 3
    mine.sum().backward()
    assert bool(torch.isfinite(batch.grad).all())
    assert float(batch.grad.abs().sum()) > 0
