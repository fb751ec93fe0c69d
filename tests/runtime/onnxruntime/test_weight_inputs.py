"""Weights among a graph's inputs: taken off the list, and nothing else changed."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from onnx_models import constant_model, onnx

from edgevid.errors import ModelError
from edgevid.runtime.onnxruntime.engine import OrtEngine
from edgevid.runtime.variants import external_files, model_digest, without_weight_inputs

OUT = np.arange(12, dtype=np.float32).reshape(1, 3, 4)
IMAGES = {"images": np.zeros((1, 3, 32, 32), np.float32)}


def test_weights_are_taken_off_the_list_of_inputs(tmp_path: Path) -> None:
    path = constant_model(tmp_path / "m.onnx", {"a": OUT}, weights_among_inputs=True)
    before = onnx.load(path)
    assert [i.name for i in before.graph.input] == ["images", "zero", "a value", "a ones"]
    after = onnx.load_from_string(without_weight_inputs(path.read_bytes()))
    assert [i.name for i in after.graph.input] == ["images"]
    del before.graph.input[1:]
    assert after == before  # nothing else has changed
    with OrtEngine(path, device="cpu") as engine:
        np.testing.assert_array_equal(engine.run(IMAGES)["a"], OUT)


def test_weights_in_other_files_are_left_alone(tmp_path: Path) -> None:
    path = constant_model(tmp_path / "m.onnx", {"a": OUT}, weights_among_inputs=True)
    model = onnx.load(path)
    onnx.save(model, tmp_path / "e.onnx", save_as_external_data=True, location="e.bin", size_threshold=0)
    raw = (tmp_path / "e.onnx").read_bytes()
    assert without_weight_inputs(raw) == raw


def test_the_digest_covers_weights_in_other_files(tmp_path: Path) -> None:
    path = constant_model(tmp_path / "m.onnx", {"a": OUT})
    assert external_files(path.read_bytes()) == ()
    assert model_digest(path) == hashlib.sha256(path.read_bytes()).hexdigest()
    apart = tmp_path / "e.onnx"
    onnx.save(onnx.load(path), apart, save_as_external_data=True, location="e.onnx.data", size_threshold=0)
    assert external_files(apart.read_bytes()) == ("e.onnx.data",)
    before, data = model_digest(apart), tmp_path / "e.onnx.data"
    data.write_bytes(data.read_bytes()[::-1])
    assert model_digest(apart) != before
    data.write_bytes(data.read_bytes()[:4])
    with pytest.raises(ModelError, match="cut off or of another model; copy both files"):
        OrtEngine(apart)
    data.unlink()
    with pytest.raises(ModelError, match=r"e\.onnx: its weights lie in e\.onnx\.data, which is not next to it"):
        OrtEngine(apart, device="cpu")


@pytest.mark.parametrize("raw", [b"\x0b", b"\x3a\x7f", b"\xff" * 12])
def test_bytes_that_are_no_message_are_rejected(raw: bytes) -> None:
    with pytest.raises(ValueError):
        without_weight_inputs(raw)


def test_a_model_that_lists_no_weights_is_passed_on_as_it_is(tmp_path: Path) -> None:
    raw = constant_model(tmp_path / "m.onnx", {"a": OUT}).read_bytes()
    assert without_weight_inputs(raw) is raw
