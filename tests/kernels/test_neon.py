"""The pixel kernels on another processor, emulated: equal to the bit to this one's. Needs a cross compiler and QEMU:
apt-get install g++-aarch64-linux-gnu qemu-user."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

CASES = Path(__file__).parents[1] / "support" / "pixel_cases.cpp"
FLAGS = ("-std=c++17", "-ffp-contract=off", "-static")


def hashes(compiler: str, optimize: str, program: Path, *runner: str) -> str:
    subprocess.run([compiler, optimize, *FLAGS, "-o", str(program), str(CASES)], check=True)
    return subprocess.run([*runner, str(program)], check=True, capture_output=True, text=True).stdout


def test_neon_gives_the_same_pixels(tmp_path: Path) -> None:
    cross, emulator = shutil.which("aarch64-linux-gnu-g++"), shutil.which("qemu-aarch64")
    if not (cross and emulator and shutil.which("g++")):
        pytest.skip("needs g++, aarch64-linux-gnu-g++ and qemu-aarch64")
    here = hashes("g++", "-O1", tmp_path / "here")
    assert len(set(here.splitlines())) > 200
    assert hashes(cross, "-O3", tmp_path / "neon", emulator) == here
