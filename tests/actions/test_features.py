"""Extractors."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from recognizer_models import clips_of, pose_model, window_head

from edgevid.actions import PoseExtractor, load_extractor, load_recognizer
from edgevid.actions.features import COCO17, JHMDB15, DetectedPose, width_of
from edgevid.errors import InputError
from edgevid.files import toml_table, vars_of


def test_keypoints_return_to_frame_pixels(tmp_path: Path) -> None:
    folder, points = pose_model(tmp_path)
    extractor = load_extractor(folder)
    assert isinstance(extractor, PoseExtractor)
    found = extractor.keypoints(np.zeros((2, 8, 8, 3), np.uint8), np.float32([[0, 0, 8, 8], [100, 50, 180, 130]]))
    np.testing.assert_allclose(found[0, :, 0], points[:, 1] * 8, atol=1e-5)  # the model answers y, x, score
    np.testing.assert_allclose(found[1, :, 0], 100 + points[:, 1] * 80, atol=1e-4)
    np.testing.assert_allclose(found[1, :, 1], 50 + points[:, 0] * 80, atol=1e-4)
    np.testing.assert_allclose(found[1, :, 2], points[:, 2], atol=1e-6)


def test_a_skeleton_head_from_crops_to_scores(tmp_path: Path) -> None:
    pose_model(tmp_path / "features")
    width = width_of(JHMDB15)
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


def test_a_head_takes_the_key_points_of_the_detector(tmp_path: Path) -> None:
    """No pose model is there: joints are the detector's, and a step without them holds no person."""
    width = width_of(COCO17)
    folder = window_head(tmp_path / "head", features=width)
    text = (folder / "recipe.toml").read_text()
    text = text.replace("features = 3", f"features = {width}").replace("../features", "detector")
    (folder / "recipe.toml").write_text("\n".join([text, *toml_table("layout", vars_of(COCO17)), ""]))
    recognizer = load_recognizer(folder)
    points = np.random.default_rng(0).random((1, 1, 17, 3)) + np.array([5, 5, 0])
    clips = dataclasses.replace(clips_of([[255]], [1]), keypoints=points.astype(np.float32))
    assert len(recognizer.recognize(clips)) == 1
    assert isinstance(recognizer.extractor, DetectedPose)
    (row,) = recognizer.extractor.rows(points[0])
    np.testing.assert_allclose(COCO17.split(row)[0], points[0, 0, :, :2], rtol=1e-6)
    (gone,) = recognizer.extractor.rows(np.full((1, 17, 3), np.nan))
    assert not recognizer.extractor.encode(gone[None, None], np.ones((1, 1), bool))[1].any()
    with pytest.raises(InputError, match="use a pose detector"):
        recognizer.recognize(clips_of([[255]], [2]))
    with pytest.raises(InputError, match="COCO's 17 key points"):
        recognizer.extractor.rows(np.zeros((1, 5, 3)))
