"""`edgevid estimate`: the table, the JSON and the mistakes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from counted_models import conv
from typer.testing import CliRunner

from edgevid import cli
from edgevid.optimize.estimate import BYTES, devices


def test_the_command_prints_a_table_and_json(tmp_path: Path) -> None:
    path = conv(tmp_path / "m.onnx")
    done = CliRunner().invoke(cli.app(), ["estimate", str(path), "--device", "orin-nx"])
    assert done.exit_code == 0
    assert "orin-nx" in done.output
    assert "roofline" in done.output
    done = CliRunner().invoke(cli.app(), ["estimate", str(path), "--json", "-", "--precision", "fp16"])
    values = json.loads(done.output)
    assert values["operations"] == 2 * 8 * 100 * 27 + 800
    assert {row["device"] for row in values["estimates"]} == set(devices())
    assert all(row["precision"] in BYTES for row in values["estimates"])


def test_one_device_and_precision_is_one_row(tmp_path: Path) -> None:
    """The convolution's 2 * 8 * 100 * 27 operations and the Relu's 800, and 224 weights of 2 bytes."""
    path, out = conv(tmp_path / "m.onnx"), tmp_path / "e.json"
    options = ["--device", "orin-nx", "--precision", "fp16", "--batch", "1", "--json", str(out)]
    done = CliRunner().invoke(cli.app(), ["estimate", str(path), *options])
    assert done.exit_code == 0
    assert "0.00 GFLOP" in done.output
    (row,) = json.loads(out.read_text())["estimates"]
    assert (row["device"], row["precision"], row["fits"]) == ("orin-nx", "fp16", True)
    assert row["bound_ms"] >= 1e3 * (2 * 8 * 100 * 27 + 800) / (devices()["orin-nx"].gflops["fp16"] * 1e9)


def test_the_load_of_a_fleet_is_the_time_of_all_its_frames_in_a_second(tmp_path: Path) -> None:
    path, out = conv(tmp_path / "m.onnx"), tmp_path / "e.json"
    options = ["--device", "orin-nx", "--precision", "fp16", "--cameras", "8", "--fps", "5"]
    assert " load" in CliRunner().invoke(cli.app(), ["estimate", str(path), *options]).output
    CliRunner().invoke(cli.app(), ["estimate", str(path), *options, "--json", str(out)])
    (row,) = json.loads(out.read_text())["estimates"]
    assert row["load"] == pytest.approx(40 * row["layers_ms"] / 1000)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--device", "orin-nono"], "did you mean 'orin-nano'"),
        (["--precision", "bf16"], "expected one of fp32, fp16, int8"),
        (["--batch", "0"], "--batch: expected 1 or more, got 0"),
    ],
)
def test_each_mistake_is_one_sentence(
    options: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(["estimate", str(conv(tmp_path / "m.onnx")), *options])
    assert stop.value.code == 2
    assert words in " ".join(capsys.readouterr().err.split())
