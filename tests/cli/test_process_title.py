"""Passwords disappear from the command line that `ps` shows."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import sys
from pathlib import Path
from edgevid.cli.console import mask_process_title
mask_process_title()
print(Path("/proc/self/cmdline").read_bytes().decode().split(chr(0))[3:])
print(sys.argv[1:])
"""


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux's /proc")
def test_the_command_line_shows_no_password_and_the_program_still_has_it() -> None:
    address = "rtsp://admin:12/S3cret@10.0.0.5/cam"
    call = [sys.executable, "-c", PROGRAM, address, "--jsonl", "x.jsonl"]
    done = subprocess.run(call, capture_output=True, text=True, check=True)
    shown, known = done.stdout.splitlines()
    if "S3cret" in shown and int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[45]) == 0:
        pytest.skip("this system does not tell where the arguments are")
    assert "S3cret" not in shown
    assert "rtsp://***:***@10.0.0.5/cam" in shown
    assert "x.jsonl" in shown
    assert known == repr([address, "--jsonl", "x.jsonl"])
