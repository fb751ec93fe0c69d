"""The choice of a runtime: one for each file, processor and version; what is unknown is ONNX Runtime's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from fake_engine import FakeEngine
from onnx_models import constant_model

from edgevid.runtime import load as module
from edgevid.runtime import load_engine
from edgevid.runtime.load import Choice, choices_file, count_choices, read_choice, remember_choice
from edgevid.runtime.onnxruntime.engine import OrtEngine

FASTER = Choice("openvino", 13.6, 6.5, 1.0)
SLOWER = Choice("onnxruntime", 3.3, 13.0, 1.0)


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EDGEVID_CACHE", str(tmp_path / "cache"))
    return constant_model(tmp_path / "m.onnx", {"a": np.zeros((1, 3), np.float32)})


def test_a_choice_holds_for_this_file_this_processor_and_these_versions(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert read_choice(model) is None
    assert remember_choice(model, FASTER) == choices_file()
    assert read_choice(model) == FASTER
    other = constant_model(model.with_name("other.onnx"), {"a": np.ones((1, 3), np.float32)})
    assert read_choice(other) is None
    remember_choice(other, SLOWER)
    assert (read_choice(model), read_choice(other)) == (FASTER, SLOWER)
    assert count_choices() == (2, 1)
    monkeypatch.setattr("edgevid.runtime.onnxruntime.engine.version", lambda: "9.9")
    assert read_choice(model) is None
    monkeypatch.undo()
    monkeypatch.setenv("EDGEVID_CACHE", str(model.parent / "cache"))
    assert read_choice(model) == FASTER
    monkeypatch.setattr(module, "processor_name", lambda: "another one")
    assert read_choice(model) is None
    assert count_choices() == (0, 0)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"x": 1}'])
def test_a_damaged_file_is_no_choice_and_is_replaced(model: Path, text: str) -> None:
    choices_file().parent.mkdir()
    choices_file().write_text(text)
    assert read_choice(model) is None
    remember_choice(model, FASTER)
    assert read_choice(model) == FASTER


@pytest.mark.parametrize(
    ("kept", "device", "expected"),
    [
        (None, "auto", "onnxruntime"),
        (SLOWER, "auto", "onnxruntime"),
        (FASTER, "auto", "openvino"),
        (FASTER, "cpu", "onnxruntime"),
        (None, "openvino", "openvino"),
    ],
)
def test_auto_takes_what_was_measured_faster_and_says_why(
    model: Path, monkeypatch: pytest.MonkeyPatch, kept: Choice | None, device: str, expected: str
) -> None:
    said: list[str] = []
    monkeypatch.setattr(module, "log_once", said.append)
    monkeypatch.setattr("edgevid.runtime.load.module_version", lambda name: "2026.4")
    monkeypatch.setattr("edgevid.runtime.load.OvEngine", lambda *_, **__: FakeEngine((), (), dict))
    monkeypatch.setattr("edgevid.runtime.onnxruntime.engine.has_cuda", lambda: False)
    monkeypatch.setattr(module, "gpus", list)
    if kept:
        remember_choice(model, kept)
    engine = load_engine(model, device=device)
    assert isinstance(engine, OrtEngine) == (expected == "onnxruntime")
    if device == "auto":
        words = "13.6 ms by ONNX Runtime" if kept is FASTER else "--choose" if kept is None else "3.3 ms by"
        assert words in " ".join(said)
