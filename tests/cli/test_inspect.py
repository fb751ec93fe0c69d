"""`edgevid inspect`: what it prints and writes."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from onnx_models import constant_model

from edgevid.cli import main
from edgevid.runtime.recipe import read_recipe


@pytest.fixture
def yolo(tmp_path: Path) -> Path:
    """84 anchors of 7 values, as YOLOv8 gives them for three classes."""
    made = {"o": np.zeros((1, 7, 84), np.float32)}
    return constant_model(tmp_path / "m.onnx", made, image=(1, 3, 64, 64), metadata={"stride": "32"})


def run(*words: object) -> int:
    with pytest.raises(SystemExit) as stop:
        main(["inspect", *map(str, words)])
    return int(stop.value.code or 0)


def test_an_image_needs_frames(yolo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(yolo, "--image", yolo.with_name("o.jpg")) == 2
    assert "--image: the image of --data" in capsys.readouterr().err


def test_the_command_prints_the_decoder_and_writes_the_draft(yolo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    draft = yolo.with_name("draft.toml")
    assert run(yolo, "--out", draft) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "input images float32 1 x 3 x 64 x 64" in printed
    assert "output o float32 1 x 7 x 84" in printed
    assert "stride: 32" in printed
    assert "YOLOv8" in printed
    assert "3 classes" in printed
    assert "64x64 RGB" in printed
    assert str(draft) in printed
    assert read_recipe(draft).decode is not None


def test_a_recipe_is_replaced_only_by_force(yolo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(yolo, "--write") == 0
    draft = yolo.with_suffix(".toml")
    draft.write_text("mine")
    capsys.readouterr()
    assert run(yolo, "--write") == 2
    assert draft.read_text() == "mine"
    assert "--force" in capsys.readouterr().err
    assert run(yolo, "--write", "--force") == 0
    assert read_recipe(draft).task == "detect"


def test_no_decoder_and_no_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = constant_model(tmp_path / "m.onnx", {"o": np.zeros((1, 5), np.float32)}, image=("n", 16))
    assert run(path) == 0
    printed = capsys.readouterr().out
    assert "No decoder fits" in printed
    assert "dynamic x 16" in printed
    (tmp_path / "text.onnx").write_text("no model")
    assert run(tmp_path / "text.onnx") == 2
    assert "expected an ONNX model" in capsys.readouterr().err


@pytest.mark.parametrize("force", [(), ("--force",)])
def test_a_folder_is_no_place_for_the_draft(
    yolo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], force: tuple[str, ...]
) -> None:
    (tmp_path / "folder").mkdir()
    assert run(yolo, "--out", tmp_path / "folder", *force) == 2
    assert "folder: cannot be written: it is a folder; choose a file name" in capsys.readouterr().err
    assert run(yolo, "--out", yolo / "draft.toml", *force) == 2
    assert "m.onnx is a file, not a folder; choose another path" in capsys.readouterr().err


def test_a_draft_is_tried_on_frames(
    yolo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "frames"
    folder.mkdir()
    for k in range(3):
        cv2.imwrite(str(folder / f"{k}.png"), np.full((48, 64, 3), 90, np.uint8))
    for _ in range(2):  # the default image is replaced
        assert run(yolo, "--data", folder) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "Found: nothing on 3 frames" in printed
    assert "Check: nothing was found on 3 frames above a score of 0.25" in printed
    assert (tmp_path / "m.frames.jpg").is_file()
    assert run(yolo, "--data", folder, "--image", tmp_path / "boxes.png") == 0
    assert cv2.imread(str(tmp_path / "boxes.png")) is not None
    capsys.readouterr()
    assert run(yolo, "--data", folder, "--image", tmp_path / "boxes") == 2
    printed = capsys.readouterr()
    assert "--image: expected a writable name that ends in .png or .jpg" in printed.err
    assert "Drawn:" not in printed.out


def test_drafts_of_other_tasks_are_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = constant_model(tmp_path / "c.onnx", {"o": np.float32([[0.2, 0.8]])}, image=(1, 3, 32, 32))
    assert run(path, "--write") == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "Task: classify, 2 classes" in printed
    assert "Check: [clip] activation: its values sum to 1" in printed
    assert read_recipe(path.with_suffix(".toml")).task == "classify"
    assert run(path, "--data", tmp_path) == 2
    assert "--data tries detectors" in capsys.readouterr().err
