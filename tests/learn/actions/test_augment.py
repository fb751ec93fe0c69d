"""Augmentations preserve what they must."""

from __future__ import annotations

import numpy as np
import pytest

from edgevid.types import Array

torch = pytest.importorskip("torch", reason="training needs torch: pip install 'edgevid[train]'")

from edgevid.actions.features import JHMDB15  # noqa: E402
from edgevid.actions.layout import JointLayout, find_layout  # noqa: E402
from edgevid.learn.actions.augment import PoseNoise, as_estimated, augment  # noqa: E402
from edgevid.learn.classifier.network import augment_crops, jpeg  # noqa: E402

torch.set_num_threads(1)


@pytest.mark.parametrize("layout", [JHMDB15, find_layout("kinect-20", dims=3)])
def test_augmented_joints_stay_a_skeleton_of_that_size(layout: JointLayout) -> None:
    rows = layout.rows(np.random.default_rng(0).normal(size=(9, len(layout.joints), layout.dims)))
    for seed in range(8):
        augmented = augment(rows, layout, np.random.default_rng(seed))
        assert augmented.shape == rows.shape
        assert np.isfinite(augmented).all()
        assert set(np.unique(layout.split(augmented)[1])) <= {0, 1}
        spread = [np.square(layout.split(one)[0] - layout.split(one)[0].mean(1, keepdims=True)).mean() for one in
                  (rows, augmented)]  # fmt: skip
        assert 0.5 < spread[1] / spread[0] < 2


def test_joints_are_spoiled_as_a_pose_model_does() -> None:
    still = np.random.default_rng(0).normal(size=(1, 15, 2)) * 10
    rows = JHMDB15.rows(np.repeat(still, 4000, axis=0))
    noise = PoseNoise(spread=0.05, hold=0.9, outliers=0, dropped=0.2, swapped=0, stays=0.7)
    points, confidence = JHMDB15.split(as_estimated(rows, JHMDB15, np.random.default_rng(0), noise))
    assert (confidence == 0).mean() == pytest.approx(0.2, abs=0.02)
    away = (points - still) / np.sqrt(np.square(still - still.mean(1)).sum(-1).mean())
    assert away.std() == pytest.approx(0.05, rel=0.05)
    assert np.corrcoef(away[1:].ravel(), away[:-1].ravel())[0, 1] == pytest.approx(0.9, abs=0.02)
    swaps = PoseNoise(0, 0, 0, 0, swapped=0.1, stays=0.5)
    points, _ = JHMDB15.split(as_estimated(rows, JHMDB15, np.random.default_rng(0), swaps))
    moved = np.abs(points - still).max(-1) > 1e-3
    assert not moved[:, :3].any()  # neck, belly and face have no other side
    assert (moved[:, 3] == moved[:, 4]).all()
    assert 0.1 < moved[:, 3].mean() < 0.3


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
