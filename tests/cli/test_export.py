"""`edgevid export`: what it writes, and its mistakes."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from tiny_detector import photos

from edgevid import cli
from edgevid.cli.options import parse_size
from edgevid.runtime.recipe import read_recipe

HERE = importlib.util.find_spec("ultralytics") is not None


@pytest.mark.skipif(not HERE, reason="ultralytics is not installed (extra: export)")
def test_the_command_writes_model_and_recipe(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frames, out = photos(tmp_path / "photos", 2, (48, 64)), tmp_path / "made.onnx"
    with pytest.raises(SystemExit) as stop:
        cli.main(["export", "yolov8n.yaml", "--data", str(frames), "--size", "32x64", "--out", str(out)])
    assert stop.value.code == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert f"{out}, 64x32, 80 classes" in printed
    assert "against PyTorch on 2 frames" in printed
    assert "states AGPL-3.0" in printed
    recipe = read_recipe(out.with_suffix(".toml"))
    assert (recipe.input.height, recipe.input.width) == (32, 64)


def test_sizes_are_a_side_or_height_and_width() -> None:
    assert (parse_size("640", "--size"), parse_size("384x640", "--size"), parse_size("384X640", "--size")) == (
        640,
        (384, 640),
        (384, 640),
    )


@pytest.mark.parametrize("size", ["big", "0", "1x2x3", "-5", "12.5"])
def test_an_invalid_size_is_an_error_with_an_example(
    size: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frames = photos(tmp_path / "photos", 1)
    with pytest.raises(SystemExit) as stop:
        cli.main(["export", "m.pt", "--data", str(frames), f"--size={size}"])
    assert stop.value.code == 2
    assert f"--size: expected pixels, like 640 or 384x640 (height x width), got '{size}'" in " ".join(
        capsys.readouterr().err.split()
    )
