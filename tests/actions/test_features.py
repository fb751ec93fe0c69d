"""Extractors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from recognizer_models import (
    clips_of,
    pose_model,
    window_head,
)

from edgevid.actions import (
    PoseExtractor,
    load_extractor,
    load_recognizer,
)
from edgevid.actions.skeleton import width_of


def test_keypoints_return_to_frame_pixels(tmp_path: Path) -> None:
    folder, points = pose_model(tmp_path)
    extractor = load_extractor(folder)
    assert isinstance(extractor, PoseExtractor)
    found = extractor.keypoints(
        np.zeros((2, 8, 8, 3), np.uint8), np.float32([[0, 0, 8, 8], [100, 50, 180, 130]])
    )
    np.testing.assert_allclose(found[0, :, 0], points[:, 1] * 8, atol=1e-5)  # the model answers y, x, score
    np.testing.assert_allclose(found[1, :, 0], 100 + points[:, 1] * 80, atol=1e-4)
    np.testing.assert_allclose(found[1, :, 1], 50 + points[:, 0] * 80, atol=1e-4)
    np.testing.assert_allclose(found[1, :, 2], points[:, 2], atol=1e-6)


def test_a_skeleton_head_from_crops_to_scores(tmp_path: Path) -> None:
    pose_model(tmp_path / "features")
    width = width_of(15)
    recognizer = load_recognizer(
        _with(window_head(tmp_path / "head", features=width), "features = 3", f"features = {width}")
    )
    found = recognizer.recognize(clips_of([[9], [200]], [4, 5]))
    assert found.ids.tolist() == [4, 5]
    np.testing.assert_allclose(found.values.sum(1), 1, atol=1e-6)


def _with(folder: Path, old: str, new: str) -> Path:
    path = folder / "recipe.toml"
    path.write_text(path.read_text().replace(old, new))
    return folder
