"""Temporal heads over features."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from recognizer_models import clips_of, feature_model, step_head, sure, window_head

from edgevid.actions import load_recognizer
from edgevid.errors import ModelError


def test_windows_are_scored_every_stride(tmp_path: Path) -> None:
    feature_model(tmp_path / "features")
    recognizer = load_recognizer(window_head(tmp_path / "head"))
    answers = [recognizer.recognize(clips_of([[v]], [1], start=i / 8)) for i, v in enumerate([255, 255, 0, 0, 0])]
    assert [len(a) for a in answers] == [1, 0, 1, 0, 1]
    # The window at moment 2 holds 255, 255, 0; half of the answer at moment 0 (255) is averaged in.
    share = np.array([0.5, 1.0]) / 1.5
    np.testing.assert_allclose(answers[2].values[0], share @ [sure(1), sure(2 / 3)], atol=1e-5)


def test_a_missed_moment_is_masked(tmp_path: Path) -> None:
    feature_model(tmp_path / "features")
    recognizer = load_recognizer(window_head(tmp_path / "head", "window = 4\nstride = 1\n"))
    recognizer.recognize(clips_of([[255]], [1], start=0.0))
    recognizer.reset()
    recognizer.recognize(clips_of([[255]], [1], start=10.0))
    found = recognizer.recognize(clips_of([[0]], [2], start=10.25))
    np.testing.assert_allclose(found.values, [sure(0)], atol=1e-5)


def test_a_step_head_carries_its_state(tmp_path: Path) -> None:
    feature_model(tmp_path / "features")
    recognizer = load_recognizer(step_head(tmp_path / "head"))
    recognizer.recognize(clips_of([[255], [0]], [1, 2], start=0.0))
    found = recognizer.recognize(clips_of([[0], [0]], [2, 1], start=0.125))
    np.testing.assert_allclose(found.values, [sure(0), sure(0.5)], atol=1e-5)


def test_a_batch_is_as_many_singles_in_any_order(tmp_path: Path) -> None:
    feature_model(tmp_path / "features")
    window_head(tmp_path / "head")
    rng = np.random.default_rng(0)
    values = rng.integers(0, 255, (6, 5)).astype(float)
    together, apart = (load_recognizer(tmp_path / "head"), [load_recognizer(tmp_path / "head") for _ in range(5)])
    for moment, row in enumerate(values):
        order = rng.permutation(5)
        found = together.recognize(clips_of(row[order, None].tolist(), (order + 1).tolist(), start=moment / 8))
        single = [
            r.recognize(clips_of([[v]], [i + 1], start=moment / 8))
            for i, (r, v) in enumerate(zip(apart, row, strict=True))
        ]
        for id_, value in zip(found.ids, found.values, strict=True):
            np.testing.assert_allclose(value, single[id_ - 1].values[0], atol=1e-6)


def test_a_head_of_other_features_or_crops_is_rejected(tmp_path: Path) -> None:
    feature_model(tmp_path / "features")
    window_head(tmp_path / "head")
    path = tmp_path / "head" / "recipe.toml"
    text = path.read_text()
    path.write_text(text.replace("features = 3", "features = 9"))
    with pytest.raises(ModelError, match="trained on 9 features"):
        load_recognizer(tmp_path / "head")
    path.write_text(text.replace('kind = "window"', 'clip_digest = "0123456789ab"\nkind = "window"'))
    with pytest.raises(ModelError, match="changed since training"):
        load_recognizer(tmp_path / "head")
    path.write_text(text.replace('kind = "window"', 'kind = "step"'))
    with pytest.raises(ModelError, match="expected the inputs"):
        load_recognizer(tmp_path / "head")
