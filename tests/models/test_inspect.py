"""`edgevid inspect`: the report, and the draft where a decoder fits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx_models import constant_model

from edgevid.cli.inspect import command
from edgevid.errors import ModelError
from edgevid.models.hub import resolve_model
from edgevid.models.inspect import inspect, write_draft
from edgevid.runtime.recipe_file import read_recipe


def test_unknown_outputs_are_reported_and_nothing_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = constant_model(tmp_path / "m.onnx", {"o": np.zeros((1, 5), np.float32)})
    report = inspect(path)
    assert report.guess is None
    with pytest.raises(ModelError, match="no draft"):
        write_draft(report)
    with pytest.raises(ModelError, match=r"no decoder is known for outputs o: float32 \(1, 5\)"):
        resolve_model(path)
    command(path)
    assert "No decoder fits" in capsys.readouterr().out


def test_a_model_without_an_image_input_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = constant_model(
        tmp_path / "m.onnx", {"o": np.zeros((1, 5), np.float32)}, image=(1, 16), name="features"
    )
    command(path)
    assert "features" in capsys.readouterr().out
    with pytest.raises(ModelError, match="expected an input for images"):
        resolve_model(path)


def test_the_command_prints_the_decoder_and_writes_the_draft(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = constant_model(tmp_path / "m.onnx", {"o": np.zeros((1, 7, 84), np.float32)}, image=(1, 3, 64, 64))
    command(path, out=tmp_path / "draft.toml")
    output = capsys.readouterr().out
    assert "YOLOv8" in output
    assert str(tmp_path / "draft.toml") in output
    assert read_recipe(tmp_path / "draft.toml").decode is not None
