"""The field scripts in short: an RTSP camera that fails, damaged files, a program that is killed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from rtsp_server import PACKAGES, gstreamer_python

REPOSITORY = Path(__file__).resolve().parents[2]


def script(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_WAIT_POLICY": "passive"}
    return subprocess.run(
        [sys.executable, str(REPOSITORY / "benchmarks" / name), *arguments],
        capture_output=True, text=True, env=environment,
    )  # fmt: skip


def test_a_running_program_survives_its_camera_and_tells_nobody_the_password(tmp_path: Path) -> None:
    if gstreamer_python() is None:
        pytest.skip(f"needs GStreamer's RTSP server: {PACKAGES}")
    done = script("field_rtsp.py", "--short", "--restarts", "2", "--json", str(tmp_path / "found.json"))
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["recoveries"] == 2
    assert found["freezes noticed"] == 1
    assert found["alive at the end"] is True
    assert found["exit status after Ctrl-C"] == 130
    assert found["records"] == found["images in them"] > 5
    assert found["files searched for credentials"] >= 5
    assert found["files with credentials"] == []
    assert "hunter2" not in done.stdout + done.stderr


def test_damaged_files_are_refused_in_a_sentence_or_read_as_far_as_they_are_good(tmp_path: Path) -> None:
    done = script("field_fuzz.py", "--count", "100", "--json", str(tmp_path / "found.json"))
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["files"] == 100
    assert found["findings"] == []
    kinds = {"container", "image", "model", "recipe", "site", "calibration", "policy", "records"}
    assert set(found["outcomes"]) == kinds


def test_a_killed_program_leaves_readable_records(tmp_path: Path) -> None:
    done = script("field_kill.py", "--kills", "2", "--longest", "2", "--rendered", "--json", str(tmp_path / "f"))
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "f").read_text())
    assert found["kills"] == 2
    assert found["lines read back"] >= found["lines on disk before"] > 0
