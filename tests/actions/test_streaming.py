"""Streaming models and their states."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from recognizer_models import clips_of, stream_model, sure

from edgevid.actions import load_recognizer
from edgevid.errors import ModelError


@pytest.mark.parametrize("axis", [0, 1])
def test_states_follow_their_tracks(tmp_path: Path, axis: int) -> None:
    recognizer = load_recognizer(stream_model(tmp_path, axis))
    recognizer.recognize(clips_of([[255], [0]], [1, 2], start=0.0))
    found = recognizer.recognize(clips_of([[0], [255], [0]], [2, 3, 1], start=0.125))
    np.testing.assert_allclose(found.values, [sure(0), sure(1), sure(0.5)], atol=1e-5)


def test_a_track_after_a_gap_or_a_reset_is_fresh(tmp_path: Path) -> None:
    recognizer = load_recognizer(stream_model(tmp_path, 0))
    recognizer.recognize(clips_of([[255]], [1], start=0.0))
    np.testing.assert_allclose(recognizer.recognize(clips_of([[0]], [1], start=1.5)).values, [sure(0)], atol=1e-5)
    recognizer.recognize(clips_of([[255]], [1], start=1.6))
    recognizer.reset()
    np.testing.assert_allclose(recognizer.recognize(clips_of([[0]], [1], start=1.7)).values, [sure(0)], atol=1e-5)


def test_time_that_runs_back_resets_a_track(tmp_path: Path) -> None:
    recognizer = load_recognizer(stream_model(tmp_path, 0))
    recognizer.recognize(clips_of([[255]], [1], start=9.0))
    np.testing.assert_allclose(recognizer.recognize(clips_of([[0]], [1], start=0.0)).values, [sure(0)], atol=1e-5)


def test_a_state_the_model_does_not_have_is_rejected(tmp_path: Path) -> None:
    stream_model(tmp_path, 0)
    path = tmp_path / "recipe.toml"
    path.write_text(path.read_text().replace('states = ["s"]', 'states = ["h"]'))
    with pytest.raises(ModelError, match="'h'"):
        load_recognizer(tmp_path)
