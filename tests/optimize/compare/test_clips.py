"""Clip and streaming models compared on windows of consecutive frames."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from compare_samples import frames, recipe
from fake_engine import FakeEngine
from recognizer_models import stream_model

from edgevid.errors import InputError, ModelError
from edgevid.models.hub import resolve_model
from edgevid.optimize.compare.gate import compare_engines
from edgevid.optimize.compare.tasks import ClipTask, drift_details
from edgevid.optimize.frames import NamedFrame
from edgevid.runtime import TensorSpec, load_engine
from edgevid.types import Array


def test_clip_models_get_windows_of_consecutive_frames() -> None:
    how = recipe(task="clip", decode=None, names=("dark", "light"), tables={"clip": {"steps": 3}})
    seen: list[list[float]] = []

    def made(flip: bool) -> FakeEngine:
        def answer(given: Mapping[str, Array]) -> dict[str, Array]:
            steps = given["clip"][0].mean(axis=(1, 2, 3)).round().tolist()
            seen.append(steps)
            light = 1.0 if steps[-1] >= 3 and not flip else 0.0
            return {"logits": np.array([[1 - light, light]], np.float32)}

        clip = TensorSpec("clip", (1, 3, 3, 64, 64), np.dtype(np.float32))
        return FakeEngine((clip,), (TensorSpec("logits", (1, 2), np.dtype(np.float32)),), answer)

    report = compare_engines(made(False), made(True), how, frames(5))
    assert seen[::2] == [[0, 1, 2], [1, 2, 3], [2, 3, 4]]
    assert report.agreement == pytest.approx(1 / 3)
    assert report.task.count == 3
    assert report.worst[0].difference == "light 0.73, dark 0.73"
    with pytest.raises(InputError, match="at least the 3 frames of one clip"):
        compare_engines(made(False), made(True), how, frames(2))


def test_a_streaming_model_answers_on_every_frame(tmp_path: Path) -> None:
    how = resolve_model(stream_model(tmp_path / "stream", 0))
    with load_engine(how, device="cpu", threads=1) as a, load_engine(how, device="cpu", threads=1) as b:
        report = compare_engines(a, b, how, frames(4))
    assert (report.task.task, report.task.count, report.agreement) == ("stream", 4, 1.0)


def test_a_stream_keeps_its_state_from_frame_to_frame(tmp_path: Path) -> None:
    """The state is half of the one before plus the brightness b: logits 20 (b, then 1.5 b) - 10."""
    how = resolve_model(stream_model(tmp_path / "stream", 0))
    gray = [NamedFrame("gray", frame) for frame in frames(2, start=100)]
    with load_engine(how, device="cpu", threads=1) as engine:
        task = ClipTask(engine, engine, how, how)
        pairs = [task.compare(frame) for frame in gray]
    states = (100 / 255, 0.5 * 100 / 255 + 101 / 255)
    bright = [1 / (1 + np.exp(10 - 20 * state)) for state in states]
    assert bright[0] < 0.5 < bright[1]
    assert [pair.reference.name for pair in pairs] == ["dark", "bright"]
    assert pairs[1].reference.probability == pytest.approx(bright[1], abs=1e-4)


def test_an_answer_that_is_not_finite_agrees_with_nothing() -> None:
    how = recipe(task="clip", decode=None, names=("dark", "light"), tables={"clip": {"steps": 3}})

    def made(*logits: float) -> FakeEngine:
        clip = TensorSpec("clip", (1, 3, 3, 64, 64), np.dtype(np.float32))
        out = TensorSpec("y", (1, len(logits)), np.dtype(np.float32))
        return FakeEngine((clip,), (out,), lambda _: {"y": np.array([logits], np.float32)})

    unfilled = ClipTask(made(0, 1), made(0, 9), how, how).compare(NamedFrame("first", frames()[0]))
    assert (unfilled.severity, unfilled.reference) == ((0, 0), None)
    report = compare_engines(made(0, 1), made(np.nan, 1), how, frames(3), min_agreement=0.0)
    assert report.worst[0].difference == "light 0.73, not finite nan"
    assert (report.agreement, report.passed) == (0.0, False)
    with pytest.raises(ModelError, match="expected 2 classes"):
        compare_engines(made(0, 1, 2), made(0, 1, 2), how, frames(3))


def test_classes_of_one_frame_by_hand() -> None:
    how = recipe(task="clip", decode=None, names=("walk", "run"), tables={"clip": {"steps": 3}})
    clip = TensorSpec("clip", (1, 3, 3, 64, 64), np.dtype(np.float32))
    engine = FakeEngine((clip,), (TensorSpec("y", (1, 2), np.dtype(np.float32)),), dict)
    frame, task = NamedFrame("one", frames()[0]), ClipTask(engine, engine, how, how)
    pair = task.pair(frame, np.array([0.7, 0.3]), np.array([0.4, 0.6]))
    assert (pair.agreeing, pair.total, pair.drift) == (0.0, 1.0, pytest.approx(0.3))
    assert pair.difference == "walk 0.70, run 0.60"
    broken = np.array([np.nan, 1.0])
    assert task.pair(frame, broken, broken).agreeing == 0.0  # two faults are no agreement


def test_drift_is_the_mean_and_the_largest_of_the_frames() -> None:
    assert drift_details("score", [0.1, 0.3]) == pytest.approx(
        {"score drift, mean of the largest": 0.2, "score drift, largest": 0.3}
    )
    assert set(drift_details("score", []).values()) == {0.0}
