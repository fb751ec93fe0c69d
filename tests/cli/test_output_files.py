"""The files that commands write: checked before the work; JSON next to the table, or alone."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgevid import cli
from edgevid.cli.console import check_outputs, write_json, write_lines
from edgevid.errors import InputError, SourceError


def test_json_goes_to_a_file_or_alone_to_standard_output(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert write_json({"a": 1}, None)
    assert capsys.readouterr().out == ""
    assert write_json({"a": 1}, tmp_path / "found.json")
    assert json.loads((tmp_path / "found.json").read_text()) == {"a": 1}
    assert "found.json" in capsys.readouterr().err.replace("\n", "")
    assert not write_json({"a": "ä"}, Path("-"))
    assert json.loads(capsys.readouterr().out) == {"a": "ä"}


def test_a_disk_that_fills_while_lines_are_written_is_one_sentence_and_leaves_no_file(tmp_path: Path) -> None:
    def lines() -> Iterator[str]:
        yield "a\n"
        raise OSError(28, "No space left on device")

    with pytest.raises(SourceError, match=r"a\.csv: cannot be written: No space left on device; the disk is full"):
        write_lines(tmp_path / "a.csv", lines())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("precious.mp4", "JSON lines", "--x: expected a name that ends in .jsonl"),
        ("precious.jsonl", "MP4", "--x: expected a name that ends in .mp4"),
        ("precious.mp4", "MOT", "--x: expected a name that ends in .txt"),
        ("precious.jsonl.gz", "JSON lines", "ends in .jsonl"),
        ("precious.onnx", "JSON", "ends in .json"),
        ("-", "MP4", "takes text only"),
        ("old.csv", "CSV", r"--x: .*old.csv exists; --force overwrites it"),
        ("folder", "CSV", "it is a folder"),
        ("old.csv/new.csv", "CSV", "not a folder"),
    ],
)
def test_an_output_that_must_not_be_written_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, kind: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("old.csv").write_text("kept")
    Path("folder").mkdir()
    with pytest.raises((InputError, SourceError), match=message):
        check_outputs({"--x": (name, kind)})
    assert Path("old.csv").read_text() == "kept"


def test_names_without_a_suffix_devices_and_forced_files_are_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("old.csv").write_text("kept")
    os.mkfifo("pipe.mp4")
    for name in ("seen", "/dev/null", "pipe.mp4", "100% 12:00 日本.JSONL", "-x.jsonl", "-"):
        check_outputs({"--jsonl": (name, "JSON lines"), "--out": (None, "MP4")})
    check_outputs({"--csv": ("old.csv", "CSV")}, force=True)
    assert Path("old.csv").read_text() == "kept"  # it is only checked


@pytest.mark.parametrize(
    "command",
    [
        "run no.mp4 --out old.mp4",
        "run no.mp4 --jsonl old.jsonl",
        "calibrate no.mp4 --rectangle 1,1 --out old.toml",
        "calibrate no.mp4 --rectangle 1,1 --image old.png",
        "inspect no.onnx --out old.toml",
        "inspect old.onnx --write",
        "export no.pt --data no.mp4 --out old.onnx",
        "export old.pt --data no.mp4",
        "build no.onnx --data no.mp4 --out old.engine",
        "compare no.onnx no.onnx --data no.mp4 --report old.html",
        "compare no.onnx no.onnx --data no.mp4 --json old.json",
        "bench no.onnx --json old.json",
        "estimate no.onnx --json old.json",
        "train actions no --out old",
        "train backbone no.onnx --out old",
        "tune no.csv --out old.toml",
        "evaluate actions no.toml --truth no --html old.html",
        "evaluate robustness no.toml --truth no --json old.json",
        "evaluate tracking no --truth old.csv --html old.html",
        "evaluate compare no.csv no.csv --json old.json",
    ],
)
def test_no_command_overwrites_a_file_and_each_says_so_before_it_reads_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("old").mkdir()
    suffixes = ("mp4", "jsonl", "toml", "png", "onnx", "engine", "html", "json", "csv")
    files = [Path("old/recipe.toml"), *(Path(f"old.{suffix}") for suffix in suffixes)]
    for file in files:
        file.write_text("kept")
    with pytest.raises(SystemExit) as stop:
        cli.main(command.split())
    assert stop.value.code == 2
    assert "exists; --force overwrites it" in " ".join(capsys.readouterr().err.split())
    assert all(file.read_text() == "kept" for file in files)
