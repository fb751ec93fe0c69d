"""What every command has in common: -h, -q, errors with their values, exit statuses, pipes and signals."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from edgevid import cli
from edgevid.cli.console import is_quiet, set_verbosity
from edgevid.output.records import read_jsonl

PROGRAM = [sys.executable, "-c", "import sys; from edgevid.cli import main; main()"]
MODEL = ("--model", "street-nano", "--threads", "1")


def status(*arguments: object) -> int:
    with pytest.raises(SystemExit) as stop:
        cli.main([str(one) for one in arguments])
    return int(stop.value.code or 0)


@pytest.mark.parametrize("arguments", [("-h",), ("run", "-h"), ("models", "list", "-h"), ("train", "-h")])
def test_h_is_help_in_every_command(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert status(*arguments) == 0
    assert "Show this message" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "printed"),
    [
        (("run", "--max-frames", "many"), "'--max-frames'.*'many'"),
        (("run", "--max-frames", "0"), "'--max-frames'.*'?0'?"),
        (("run", "--score-threshold", "7.25"), "7.25"),
        (("bench", "m.onnx", "--threads", "two"), "'--threads'.*'two'"),
        (("rnu",), "'rnu'.*run"),
        (("run", "--max-frame", "3"), "--max-frame.*--max-frames"),
        (("run", "-x.mp4"), r"\./-x\.mp4"),
        (("run",), "such as `edgevid run gate.mp4"),
        (("run", "a.mp4", "--source", "b.mp4"), "one source, got a.mp4 and b.mp4"),
        (("run", "a.mp4", "--classes", ""), "--classes: expected names .*got ''"),
        (("run", "a.mp4", "--imgsz", "large"), "--imgsz: expected pixels.*'large'"),
        (("run", "a.mp4", "--out", "-"), "--out: expected a file"),
        (("run", "a.mp4", "--jsonl", "-", "--mot", "-"), "--mot: another output"),
        (("run", "a.mp4", "--jsonl", "-", "--segment-s", "60"), "--segment-s splits files"),
    ],
)
def test_a_mistake_is_answered_with_the_value_and_status_2(
    arguments: tuple[str, ...], printed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status(*arguments) == 2
    assert re.search(printed, " ".join(capsys.readouterr().err.split()))


def test_quiet_prints_results_and_errors_only(
    street_clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = tmp_path / "a.jsonl"
    assert status("run", street_clip, "--jsonl", lines, "--max-frames", 3, "-q", *MODEL) == 0
    assert "".join(capsys.readouterr()) == ""
    assert len(list(read_jsonl(lines))) == 3
    assert status("-q", "run", street_clip, "--jsonl", lines, *MODEL) == 2
    assert "--force" in capsys.readouterr().err


def test_the_verbosity_ends_with_the_command() -> None:
    set_verbosity(quiet=True)
    assert is_quiet()
    assert status("--version") == 0
    assert not is_quiet()


def test_habits_of_other_programs_do_the_same(
    street_clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seen = tmp_path / "seen.mp4"
    words = ("--conf", 0.5, "--imgsz", 448, "--max-frames", 2, "--classes", "person", *MODEL)
    assert status("run", "--source", street_clip, "-o", seen, *words) == 0
    assert seen.stat().st_size > 0
    assert status("run", street_clip, "--output", seen, *words) == 2  # it exists
    assert status("run", street_clip, "--output", seen, "--overwrite", *words) == 0
    capsys.readouterr()
    assert status("run", street_clip, "--imgsz", 1280, *MODEL) == 2
    assert re.search(r"one size, here 256x448 .* got 1280", " ".join(capsys.readouterr().err.split()))


def program(*arguments: object, **options: Any) -> subprocess.Popen[str]:
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([*PROGRAM, *map(str, arguments)], **{**pipes, **options})


@pytest.mark.parametrize("option", ["--jsonl", "--csv", "--mot"])
def test_records_go_alone_to_standard_output(street_clip: Path, tmp_path: Path, option: str) -> None:
    with program("run", street_clip, option, "-", "--max-frames", 40, *MODEL, cwd=tmp_path) as run:
        printed, notes = run.communicate(timeout=60)
    assert run.returncode == 0, notes
    assert "done: 40 frames" in notes
    assert not list(tmp_path.iterdir())  # no file named "-"
    rows = printed.splitlines()
    if option == "--jsonl":
        found = [json.loads(row) for row in rows]
        assert found[0]["schema"] == "edgevid.header/1"
        assert [one["frame"] for one in found if "objects" in one] == list(range(40))
    else:
        assert len({row.count(",") for row in rows}) == 1


def test_a_reader_that_ends_early_is_no_error(street_clip: Path, tmp_path: Path) -> None:
    seen = tmp_path / "seen.mp4"
    with program("run", street_clip, "--jsonl", "-", "--out", seen, *MODEL, cwd=tmp_path) as run:
        assert run.stdout is not None
        assert run.stderr is not None
        assert run.stdout.readline().startswith('{"schema"')
        run.stdout.close()
        notes = run.stderr.read()
        assert run.wait(timeout=60) == 141
    assert "Traceback" not in notes
    assert "cannot be written" not in notes
    assert seen.stat().st_size > 0


def test_python_m_edgevid_is_the_command(tmp_path: Path) -> None:
    call = [sys.executable, "-m", "edgevid", "--version"]
    done = subprocess.run(call, capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, done.stdout.split()[0]) == (0, "edgevid")


def test_completion_knows_commands_and_options(tmp_path: Path) -> None:
    def completed(line: str) -> str:
        words = {"COMP_WORDS": line, "COMP_CWORD": str(line.count(" ")), "_EDGEVID_COMPLETE": "complete_bash"}
        done = subprocess.run(
            PROGRAM, env={**os.environ, **words}, capture_output=True, text=True, timeout=60, cwd=tmp_path
        )
        return done.stdout

    assert completed("edgevid ca").split() == ["calibrate"]
    assert "--jsonl" in completed("edgevid run --js").split()


INTERRUPTED = """
import os, signal, sys, threading
number, at = int(sys.argv.pop(1)), sys.argv.pop(1)
class Finder:
    def find_spec(self, name, *_):
        if name == at:
            os.kill(os.getpid(), number)
sys.meta_path.insert(0, Finder())
from edgevid.cli import main
main()
"""
"""A program that gets a signal while it imports a module."""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("at", ["typer", "rich.console", "numpy", "edgevid.run.loop", "onnxruntime"])
def test_a_signal_while_the_program_starts_ends_it_without_a_traceback(
    number: signal.Signals, at: str, street_clip: Path, tmp_path: Path
) -> None:
    command = [sys.executable, "-c", INTERRUPTED, str(int(number)), at, "run", str(street_clip), *MODEL]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert done.returncode == 128 + number
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("theirs", "ours"), [("track", "run"), ("predict", "run"), ("version", "--version")])
def test_a_command_of_another_program_is_answered_with_ours(
    theirs: str, ours: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        cli.main([theirs, "clip.mp4"])
    assert f"No such command '{theirs}'; use '{ours}'" in capsys.readouterr().err


def test_a_file_that_is_nested_too_deeply_is_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.engine").write_bytes(b"not one")
    (tmp_path / "a.engine.json").write_text('{"a":' * 200_000)  # the manifest of an engine from elsewhere
    assert status("bench", tmp_path / "a.engine") == 2
    error = " ".join(capsys.readouterr().err.split())
    assert error.startswith("edgevid: a file is nested too deeply: maximum recursion depth exceeded")
