"""The report on a model file, and the draft of a recipe where a decoder fits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx_models import constant_model

from edgevid.detect.detector import Detector
from edgevid.errors import InputError, ModelError
from edgevid.models.draft import inspect, write_draft
from edgevid.models.hub import resolve_model
from edgevid.runtime.recipe import read_recipe


def test_unknown_outputs_are_reported_and_nothing_is_written(tmp_path: Path) -> None:
    path = constant_model(tmp_path / "m.onnx", {"o": np.zeros((1, 5, 2, 2, 2), np.float32)})
    report = inspect(path)
    assert report.guess is None
    with pytest.raises(ModelError, match="no draft"):
        write_draft(report)
    with pytest.raises(ModelError, match=r"no decoder is known for outputs o: float32 \(1, 5, 2, 2, 2\)"):
        resolve_model(path)


def test_a_model_without_an_image_input_is_reported(tmp_path: Path) -> None:
    path = constant_model(tmp_path / "m.onnx", {"o": np.zeros((1, 5), np.float32)}, image=(1, 16), name="features")
    report = inspect(path)
    assert ([spec.name for spec in report.inputs], report.guess) == (["features"], None)
    assert "expected an input for images" in report.problem
    with pytest.raises(ModelError, match="expected an input for images"):
        resolve_model(path)


def test_the_draft_is_read_back(tmp_path: Path) -> None:
    """7 values of each of 84 anchors (8 x 8, 4 x 4 and 2 x 2 of a 64 x 64 image): a box and 3 classes."""
    path = constant_model(tmp_path / "m.onnx", {"o": np.zeros((1, 7, 84), np.float32)}, image=(1, 3, 64, 64))
    report = inspect(path)
    assert report.guess is not None
    assert report.guess.classes == 3
    draft = read_recipe(write_draft(report, tmp_path / "draft.toml"))
    assert draft.decode is not None
    assert (draft.decode.kind, draft.decode.layout, len(draft.names)) == ("yolo", "columns", 3)


def test_weights_are_named_with_the_command_that_exports_them(tmp_path: Path) -> None:
    path = tmp_path / "my best.pt"
    path.write_bytes(b"weights")
    with pytest.raises(InputError, match=r"edgevid export '\S+my best.pt' --data VIDEO") as caught:
        inspect(path)
    assert 'pip install "edgevid[export]"' in str(caught.value)
    with pytest.raises(InputError, match="a file of weights"):
        resolve_model(path)


@pytest.mark.parametrize("ending", [".pth", ".tflite", ".safetensors"])
def test_other_formats_get_no_command_that_does_not_take_them(tmp_path: Path, ending: str) -> None:
    """`edgevid export` takes Ultralytics' .pt alone."""
    with pytest.raises(InputError, match="with the project that trained it") as caught:
        resolve_model(tmp_path / f"m{ending}")
    assert "edgevid export" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS pointer; run `git lfs pull`"),
        (b"\n<!DOCTYPE html><html></html>", "a web page, so its download failed"),
        (b"PK\x03\x04" + bytes(40), "a zip archive, as PyTorch's weights are"),
        (b"", "an empty file"),
        (b"\x08\x08\x12\x07pytorch:" + b"\xff" * 40, "damaged"),
    ],
)
def test_files_that_are_named_onnx(tmp_path: Path, content: bytes, what: str) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=what):
        inspect(path)


def test_an_element_type_that_no_frame_is_made_of(tmp_path: Path) -> None:
    zeros = np.zeros((1, 7, 84), np.float32)
    path = constant_model(tmp_path / "m.onnx", {"o": zeros}, image=(1, 3, 64, 64), image_type=3)
    assert "expected one of float32, float16, uint8, int32; export one of them" in inspect(path).problem


def test_a_classifier_is_no_detector(tmp_path: Path) -> None:
    path = constant_model(tmp_path / "c.onnx", {"o": np.float32([[0.2, 0.8]])}, image=(1, 3, 32, 32))
    with pytest.raises(InputError, match="give it as --actions"):
        Detector(path, device="cpu")
