"""Ctrl-C and SIGTERM at any moment of a program: the exit status, whole outputs, no traceback."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from itertools import cycle
from pathlib import Path

import pytest

from edgevid.output.records import read_jsonl
from edgevid.output.tables import SqliteSink
from edgevid.types import Event
from edgevid.video.open import open_video

SIGNALS = [signal.SIGINT, signal.SIGTERM]


def started(clip: Path, folder: Path) -> subprocess.Popen[str]:
    """`edgevid run` on a clip, from the moment on when it handles signals."""
    call = [sys.executable, "-m", "edgevid", "run", str(clip), "--model", "street-small"]
    for option, name in {"--jsonl": "a.jsonl", "--out": "a.mp4", "--sqlite": "a.db", "--events": "e.jsonl"}.items():
        call += [option, str(folder / name)]
    program = subprocess.Popen(call, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=folder)
    caught = 0
    while not caught >> signal.SIGTERM - 1 & 1:
        caught = int(Path(f"/proc/{program.pid}/status").read_text().split("SigCgt:")[1].split()[0], 16)
    return program


def check(program: subprocess.Popen[str], number: signal.Signals, folder: Path) -> None:
    program.send_signal(number)
    _, errors = program.communicate(timeout=120)
    assert "Traceback" not in errors
    assert "ignored" not in errors
    assert program.returncode == 128 + number
    records = folder / "a.jsonl"
    frames = len(list(read_jsonl(records))) if records.exists() else 0
    assert not frames or records.read_bytes().endswith(b"\n")
    assert frames == (sum(1 for _ in open_video(folder / "a.mp4")) if frames else 0)


DELAYS = (0.0, 0.02, 0.1, 0.25, 0.5, 0.9, 1.6)  # Seconds; the program runs for about four


@pytest.mark.parametrize(("number", "delay"), [*zip(cycle(SIGNALS), DELAYS, strict=False)])
def test_a_signal_at_any_moment_ends_the_program_with_its_status(
    street_clip: Path, tmp_path: Path, number: signal.Signals, delay: float
) -> None:
    program = started(street_clip, tmp_path)
    time.sleep(delay)
    check(program, number, tmp_path)


def test_nothing_is_imported_before_signals_are_handled() -> None:
    code = "before = set(sys.modules); import edgevid.cli; print(*(set(sys.modules) - before))"
    call = [sys.executable, "-S", "-c", f"import sys; sys.path = {sys.path!r}; {code}"]
    new = subprocess.run(call, capture_output=True, text=True, check=True).stdout
    assert set(new.split()) == {"__future__", "edgevid", "edgevid._version", "edgevid.cli"}


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_while_records_are_written_finishes_them(
    street_clip: Path, tmp_path: Path, number: signal.Signals
) -> None:
    program = started(street_clip, tmp_path)
    while not (tmp_path / "a.jsonl").exists() or (tmp_path / "a.jsonl").read_bytes().count(b"\n") < 5:
        assert program.poll() is None
        time.sleep(0.01)
    check(program, number, tmp_path)
    assert len(list(read_jsonl(tmp_path / "a.jsonl"))) >= 4


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_ends_a_query_without_an_end(tmp_path: Path, number: signal.Signals) -> None:
    """DuckDB has words of its own for it."""
    pytest.importorskip("duckdb", reason="the extra 'report' is not installed")
    with SqliteSink(tmp_path / "a.db") as sink:
        sink.send([Event("gate-1-1", "track-ended", "2026-01-01T00:00:00.000Z", 1.0, "gate", "gate-1")])
    call = [sys.executable, "-m", "edgevid", "query", str(tmp_path / "a.db")]
    call.append("SELECT count(*) FROM range(1000000000) a, range(1000000000) b")
    program = subprocess.Popen(call, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path)
    time.sleep(0.5)
    while used(program.pid) < 3.0:  # seconds: the query has begun, or will begin soon
        assert program.poll() is None
        time.sleep(0.05)
    check(program, number, tmp_path)


def used(process: int) -> float:
    """Seconds of CPU time."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
