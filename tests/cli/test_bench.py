"""`edgevid bench`: the table, the JSON and the mistakes. No test here looks at a clock."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from tiny_detector import bench_folder

from edgevid.cli import main
from edgevid.cli.bench import _short, _show_times
from edgevid.optimize.bench import STAGES, Timing
from edgevid.runtime.load import read_choice


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return bench_folder(tmp_path)


def test_the_command_prints_a_table_and_writes_json(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["bench", str(folder / "tiny.onnx"), "--data", str(folder / "photos"), "--runs", "3"]
    with pytest.raises(SystemExit) as stopped:
        main([*words, "--json", str(folder / "b.json"), "--device", "cpu"])
    assert stopped.value.code == 0
    printed = capsys.readouterr().out
    assert "tiny fp32" in printed
    assert "inference" in printed
    assert "p99 is the slowest of them" in printed
    written = json.loads((folder / "b.json").read_text())
    assert set(written["engines"][0]["ms"]["frame"]) == {"p50", "p90", "p99"}
    assert written["conditions"]["runs"] == 3
    with pytest.raises(SystemExit):
        main([*words, "--json", "-"])
    assert json.loads(capsys.readouterr().out)["engines"][0]["engine"] == "tiny fp32"


@pytest.mark.parametrize("width", [80, 200])
def test_names_are_whole_in_every_width(width: int) -> None:
    names = ("movenet-singlepose-lightning-192 int8", "yolox-nano-416 fp32")
    ms = {stage: np.full(3, 139.0) for stage in STAGES}
    timings = tuple(
        Timing(name, "m", Path("f"), "fp32", "cpu", 1, "1x3x320x320 float32", 0.1, ms, 50.0) for name in names
    )
    out = io.StringIO()
    _show_times(Console(width=width, file=out), timings)
    lines = [line.rstrip() for line in out.getvalue().splitlines()]
    assert max(map(len, lines)) <= width
    assert all(sum(name in line for line in lines) == 1 for name in names)
    assert sum("139 / 139" in line for line in lines) == 2
    assert len(lines) == (5 if width == 80 else 3)  # at 80 columns figures stand under their name


def test_three_digits_are_shown() -> None:
    assert [_short(ms) for ms in (0.123, 9.949, 9.96, 99.4, 99.6, 1234.5)] == [
        "0.12", "9.95", "10.0", "99.4", "100", "1234",
    ]  # fmt: skip


def test_mistakes_are_one_sentence_and_exit_status_2(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cases = (([], "absent.mp4", "no such file"), (["--precision", "int4"], "photos", "expected"))
    for more, data, words in cases:
        with pytest.raises(SystemExit) as stopped:
            main(["bench", str(folder / "tiny.onnx"), "--data", str(folder / data), *more])
        assert stopped.value.code == 2
        assert words in " ".join(capsys.readouterr().err.split())


def test_choose_times_both_runtimes_and_keeps_the_faster(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("openvino")
    monkeypatch.setenv("EDGEVID_CACHE", str(folder / "cache"))
    words = ["bench", str(folder / "tiny.onnx"), "--choose", "--runs", "2", "--warm-up", "1"]
    with pytest.raises(SystemExit) as stopped:
        main([*words, "--data", str(folder / "photos")])
    assert stopped.value.code == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "tiny fp32, cpu" in printed
    assert "tiny fp32, openvino" in printed
    assert "ms by OpenVINO" in printed
    kept = read_choice(folder / "tiny.onnx")
    assert kept is not None
    assert kept.agreement == 1
    for wrong in ([], ["--data", str(folder / "photos"), "--device", "cpu"]):
        with pytest.raises(SystemExit) as stopped:
            main([*words, *wrong])
        assert stopped.value.code == 2
        assert "--choose takes --data VIDEO" in capsys.readouterr().err
