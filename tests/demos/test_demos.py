"""The demos run and print their results."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

DEMOS = Path(__file__).resolve().parents[2] / "demos"


def run_demo(name: str, *words: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, str(DEMOS / name), *words],
        capture_output=True, text=True, check=False, env={**os.environ, **environment},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_speeds_of_a_rendered_street_are_close_to_the_true_ones() -> None:
    printed = run_demo("speed_of_a_street.py", "--seconds", "8")
    lines = [line for line in printed.splitlines() if "(of" in line]
    assert len(lines) >= 2
    for line in lines:
        measured = float(line.split(":")[1].split("±")[0])
        true = [float(v) for v in line.split("[")[1].rstrip("])").split(", ")]
        assert min(abs(measured - v) for v in true) < 6


def test_crossings_of_a_real_square_are_counted(shared_data: Path, tmp_path: Path) -> None:
    clip = shared_data / "videos" / "pets09_s2l1_vtest.avi"
    mirror = {"EDGEVID_MODELS_MIRROR": str(shared_data), "EDGEVID_CACHE": str(tmp_path)}
    printed = run_demo("count_crossings.py", str(clip), "--max-frames", "150", **mirror)
    assert "person" in printed
    assert "person: " in printed
    assert " net " in printed


@pytest.mark.parametrize("path", sorted(DEMOS.glob("*.py")), ids=lambda p: p.name)
def test_a_demo_is_short(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 60
