"""Tries an installed wheel: its native kernels, its shipped detector, a run of the command, and `edgevid doctor`.

A program of its own, started with `python -I` so that the checkout's package is not found: CI runs it on each wheel.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import edgevid
from edgevid.kernels import BACKEND
from edgevid.synthetic import RenderedStreet
from edgevid.video import VideoWriter


def command(*arguments: object) -> None:
    subprocess.run([sys.executable, "-I", "-m", "edgevid", *map(str, arguments)], check=True)


assert BACKEND == "native", f"{edgevid.__file__} runs on its {BACKEND} kernels"
with tempfile.TemporaryDirectory() as name:
    folder = Path(name)
    with VideoWriter(folder / "street.mp4", fps=10) as video:
        for frame in RenderedStreet(seconds=1, fps=10):
            video.write(frame.image, frame.time)
    command("run", folder / "street.mp4", "--model", "street-nano", "--jsonl", folder / "street.jsonl")
    header, *records = map(json.loads, (folder / "street.jsonl").read_text().splitlines())
    found = sum(len(record.get("objects", ())) for record in records)
    assert found > 10, f"{found} objects in {len(records)} records"
command("doctor")
print(f"edgevid {edgevid.__version__}: native kernels, {found} objects tracked, from {Path(edgevid.__file__).parent}")
