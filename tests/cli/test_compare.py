"""`edgevid compare`: what it prints and writes, and its exit status."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tiny_detector import compare_folder

from edgevid.cli import main


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return compare_folder(tmp_path)


def run(*words: Any) -> int:
    with pytest.raises(SystemExit) as stopped:
        main(["compare", *map(str, words)])
    return int(stopped.value.code or 0)


def test_the_command_passes_and_rejects_by_its_exit_status(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ("--data", folder / "photos", "--device", "cpu")
    assert run(folder / "tiny.onnx", folder / "same.int8.onnx", *asked) == 0
    printed = capsys.readouterr().out
    assert "passed: same.int8.onnx agrees with tiny fp32 on 100.0 % of 12 boxes at IoU 0.5" in printed
    assert run(folder / "tiny.onnx", folder / "worse.onnx", *asked) == 1
    printed = capsys.readouterr().out
    assert "rejected: worse.onnx agrees with tiny fp32 on 66.6 % of 9 boxes" in printed
    assert "0.png" in printed
    assert run(folder / "tiny.onnx", folder / "worse.onnx", *asked, "--min-agreement", 0.6) == 0


def test_reports_and_json_are_written(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page, figures = folder / "r.html", folder / "r.json"
    asked = ["--data", folder / "photos", "--report", page, "--json", figures]
    assert run(folder / "tiny.onnx", folder / "worse.onnx", *asked) == 1
    assert page.read_text(encoding="utf-8").count('"image": "/9j/') == 3  # JPEG files in base64
    written = json.loads(figures.read_text(encoding="utf-8"))
    assert written["agreement"] == pytest.approx(2 / 3, abs=1e-6)
    assert written["passed"] is False
    assert "onnxruntime" in written["conditions"]["versions"]
    capsys.readouterr()
    assert run(folder / "tiny.onnx", folder / "worse.onnx", "--data", folder / "photos", "--json", "-") == 1
    assert json.loads(capsys.readouterr().out)["candidate"] == "worse.onnx"


def test_mistakes_are_one_sentence_and_exit_status_2(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photos = folder / "photos"
    cases = (
        (("tiny.onnx", "absent.onnx"), photos, "there is no file"),
        (("tiny.onnx", "tiny.onnx"), folder / "nowhere", "no such file"),
        (("tiny.onnx", "tiny.onnx", "--report", folder / "r.pdf"), photos, "ends in .html"),
    )
    for (a, b, *more), frames, words in cases:
        assert run(folder / a, folder / b, "--data", frames, *more) == 2
        assert words in capsys.readouterr().err
