"""Ultralytics weights given to `edgevid run`: exported once, verified, kept by their hash."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgevid.cli import main
from edgevid.cli.options import exported


def frames(folder: Path) -> Path:
    folder.mkdir()
    for k in range(2):
        image = np.full((48, 64, 3), 90 + k, np.uint8)
        image[8:40, 8:32] = 200
        cv2.imwrite(str(folder / f"{k}.png"), image)
    return folder


def run(*words: object) -> int:
    with pytest.raises(SystemExit) as stop:
        main(["run", *map(str, words)])
    return int(stop.value.code or 0)


@pytest.mark.parametrize("model", [None, "yolox-nano", "m.onnx", ""])
def test_other_models_pass_as_they_are(model: str | None) -> None:
    assert exported(model, "gate.mp4") == model


@pytest.mark.parametrize("config", ["yolov8n", "yolov8n-seg"])
def test_a_run_exports_weights_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], config: str
) -> None:
    ultralytics = pytest.importorskip("ultralytics", reason="Ultralytics exports the weights")
    monkeypatch.setenv("EDGEVID_CACHE", str(tmp_path / "cache"))
    weights, source = tmp_path / "my best.pt", frames(tmp_path / "frames")
    model = ultralytics.YOLO(f"{config}.yaml")
    model.overrides["imgsz"] = 64
    model.save(weights)
    line = ("--model", weights, "--max-frames", 1, "--device", "cpu", "--threads", 1)
    assert run(source, *line, "--jsonl", tmp_path / "a.jsonl") == 0
    assert "differs from PyTorch by at most" in capsys.readouterr().err
    (made,) = (tmp_path / "cache").rglob("*.onnx")
    written = made.stat().st_mtime_ns
    assert run(source, *line, "--jsonl", tmp_path / "b.jsonl") == 0
    assert made.stat().st_mtime_ns == written
    records = [json.loads(line) for line in (tmp_path / "b.jsonl").read_text().splitlines()]
    assert [one["objects"] for one in records if "objects" in one] == [[]]


def test_weights_that_are_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(frames(tmp_path / "frames"), "--model", tmp_path / "no.pt") == 2
    assert "there is no file" in capsys.readouterr().err


def test_without_the_extra_the_pip_line_is_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EDGEVID_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(__import__("sys").modules, "ultralytics", None)
    (tmp_path / "best.pt").write_bytes(b"weights")
    assert run(frames(tmp_path / "frames"), "--model", tmp_path / "best.pt") != 0
    assert 'pip install "edgevid[export]"' in capsys.readouterr().err
