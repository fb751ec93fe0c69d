"""What one stream costs: processor time per frame and memory of `edgevid run`, by size and by output.

    python benchmarks/field_budget.py

A real clip, resized to each size and coded as cameras do, goes through the command in a process of its own
with one thread for the model. Time is the process's on all processors, less that of a run of ten frames, so
that the start does not count; nor do other programs on the machine. Memory is the peak resident size.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import cv2
from bench import conditions, save, table
from field_clip import EDGEVID, clip_or_street, environment

from edgevid.video.writer import VideoWriter

SIZES, FRAMES, FEW, FPS = ((640, 360), (1280, 720), (1920, 1080)), 90, 10, 25
OUTPUTS = {"nothing": (), "JSON lines": ("--jsonl",), "JSON lines and video": ("--jsonl", "--out")}
NAMES = {"--jsonl": "seen.jsonl", "--out": "seen.mp4"}


def clip(size: tuple[int, int], path: Path) -> str:
    """FRAMES frames of the clip in this size; returns their source."""
    title, video = clip_or_street()
    with VideoWriter(path, fps=FPS) as writer, video:
        for n, frame in zip(range(FRAMES), video, strict=False):
            writer.write(cv2.resize(frame.image, size), n / FPS)
    return title


def cost(path: Path, outputs: tuple[str, ...], frames: int) -> tuple[float, float]:
    """CPU seconds and peak MB of one run."""
    call = [*EDGEVID, "run", str(path), "--model", "street-nano", "--threads", "1", "--force"]
    call += ["--max-frames", str(frames)]
    for option in outputs:
        call += [option, str(path.parent / NAMES[option])]
    log = path.with_suffix(".log")
    with log.open("wb") as errors:
        process = subprocess.Popen(call, stdout=subprocess.DEVNULL, stderr=errors, env=environment())
        _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"edgevid run ended with status {process.returncode}: {log.read_text()[-2000:]}")
    return used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def main() -> None:
    where, rows = conditions(), []
    figures: list[dict[str, Any]] = []
    title = ""
    for size in SIZES:
        with tempfile.TemporaryDirectory() as scratch:
            path = Path(scratch) / "clip.mp4"
            title = clip(size, path)
            for name, outputs in OUTPUTS.items():
                (long, memory), (short, _) = cost(path, outputs, FRAMES), cost(path, outputs, FEW)
                ms = 1000 * (long - short) / (FRAMES - FEW)
                share = 100 * ms / (1000 / FPS)
                rows.append([f"{size[0]}x{size[1]}", name, f"{ms:.1f}", f"{share:.0f} %", f"{memory:.0f}"])
                figures.append({"size": size, "written": name, "cpu ms": ms, "MB": memory, "start s": short})
                print(rows[-1], flush=True)
    head = ["frame", "written", "CPU ms/frame", "of one core at 25 fps", "memory MB"]
    print(table(head, rows))
    print(save("field_budget", {"clip": title, "head": head, "rows": rows, "figures": figures}, where))


if __name__ == "__main__":
    main()
