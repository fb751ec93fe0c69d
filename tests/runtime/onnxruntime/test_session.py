"""The one place that opens a session: options, providers, and models in memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx_models import constant_model, onnx

from edgevid.errors import InputError
from edgevid.runtime.onnxruntime.engine import (
    OrtEngine,
    choose_providers,
    error_text,
    open_session,
    optimize_basic,
    providers,
    version,
)

OUT = np.arange(12, dtype=np.float32).reshape(1, 3, 4)
IMAGES = {"images": np.zeros((1, 3, 32, 32), np.float32)}


def test_a_session_opens_from_a_file_and_from_bytes(tmp_path: Path) -> None:
    path = constant_model(tmp_path / "m.onnx", {"a": OUT})
    for model in (path, str(path), path.read_bytes()):
        for optimization in ("all", "basic", "none"):
            session = open_session(model, threads=1, optimization=optimization)  # type: ignore[arg-type]
            np.testing.assert_array_equal(session.run(None, IMAGES)[0], OUT)
    with pytest.raises(InputError, match="threads: expected at least 1, got 0"):
        open_session(path, threads=0)


def test_an_engine_runs_a_model_in_memory(tmp_path: Path) -> None:
    model = constant_model(tmp_path / "m.onnx", {"a": OUT}).read_bytes()
    with OrtEngine(model, device="cpu", threads=1) as engine:
        np.testing.assert_array_equal(engine.run(IMAGES)["a"], OUT)


def test_basic_optimizations_give_a_model_of_standard_operators(tmp_path: Path) -> None:
    made = optimize_basic(constant_model(tmp_path / "m.onnx", {"a": OUT}).read_bytes())
    assert {node.domain for node in onnx.load_from_string(made).graph.node} <= {"", "ai.onnx"}
    np.testing.assert_array_equal(open_session(made, threads=1).run(None, IMAGES)[0], OUT)


def test_providers_and_version_are_stated() -> None:
    assert "CPU" in providers()
    assert version()[0].isdigit()
    assert choose_providers("cpu") == ["CPUExecutionProvider"]


def test_an_error_is_one_line_without_its_number() -> None:
    error = RuntimeError("[ONNXRuntimeError] : 7 : INVALID_PROTOBUF : Load model\n failed")
    assert error_text(error) == "INVALID_PROTOBUF : Load model failed"
    assert error_text(ValueError("plain")) == "plain"
