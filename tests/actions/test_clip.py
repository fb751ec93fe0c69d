"""Clip models through real ONNX files with known outputs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from recognizer_models import (
    clip_model,
    clips_of,
    sure,
)

from edgevid.actions import (
    ClipRecognizer,
    load_recognizer,
)
from edgevid.actions.clip import fill_steps
from edgevid.errors import InputError, ModelError
from edgevid.types import Clips


@pytest.mark.parametrize("layout", ["NTCHW", "NCTHW", "NTHWC"])
@pytest.mark.parametrize("batch", ["n", 2])
def test_clip_models_of_every_layout(tmp_path: Path, layout: str, batch: int | str) -> None:
    recognizer = load_recognizer(clip_model(tmp_path, layout, batch))
    found = recognizer.recognize(clips_of([[255] * 4, [0] * 4, [0, 0, 255, 255]], [1, 2, 3]))
    np.testing.assert_allclose(found.values, [sure(1), sure(0), sure(0.5)], atol=1e-5)
    assert found.times.tolist() == [0.375] * 3


def test_missing_steps_repeat_their_neighbor(tmp_path: Path) -> None:
    recognizer = load_recognizer(clip_model(tmp_path, "NTCHW"))
    found = recognizer.recognize(clips_of([[np.nan, np.nan, 255, 255]], [1]))
    np.testing.assert_allclose(found.values, [sure(1)], atol=1e-5)
    assert fill_steps(np.array([[True, False, False, True]])).tolist() == [[0, 0, 3, 3]]


def test_overlapping_windows_of_a_track_are_averaged(tmp_path: Path) -> None:
    recognizer = load_recognizer(clip_model(tmp_path, "NTCHW"))
    recognizer.recognize(clips_of([[255] * 4], [1]))
    found = recognizer.recognize(clips_of([[0] * 4], [1], start=0.25))  # half a window later
    expected = (0.5 * sure(1) + sure(0)) / 1.5
    np.testing.assert_allclose(found.values, [expected], atol=1e-5)
    far = recognizer.recognize(clips_of([[0] * 4], [1], start=5.0))
    np.testing.assert_allclose(far.values, [sure(0)], atol=1e-5)


def test_a_clip_of_another_length_is_rejected(tmp_path: Path) -> None:
    recognizer = load_recognizer(clip_model(tmp_path, "NTCHW"))
    with pytest.raises(InputError, match=r"clips of 4 steps, got 3"):
        recognizer.recognize(clips_of([[0] * 3], [1]))


def test_a_recipe_of_another_shape_is_rejected(tmp_path: Path) -> None:
    clip_model(tmp_path, "NTCHW")
    path = tmp_path / "recipe.toml"
    path.write_text(path.read_text().replace("steps = 4", "steps = 5"))
    with pytest.raises(ModelError, match="5, 3, 8, 8"):
        load_recognizer(tmp_path)


def test_clip_recognizer_without_clips(tmp_path: Path) -> None:
    recognizer = load_recognizer(clip_model(tmp_path, "NTCHW"))
    assert isinstance(recognizer, ClipRecognizer)
    assert recognizer.recognize(Clips.empty()).values.shape == (0, 2)
