"""Resident memory over many frames, sampled every 1,000, and its growth by stage.

    python benchmarks/field_memory.py                                   growth by stage, 6,000 frames each
    python benchmarks/field_memory.py --soak 200000                     everything, at 360p
    python benchmarks/field_memory.py --soak 20000 --size 1920x1080     everything, at 1080p
    python benchmarks/field_memory.py --malloc                          growth by stage, with and without `mallopt`
    python benchmarks/field_memory.py --fleet 40000                     eight cameras, with and without `mallopt`

A real clip is decoded again and again. Stages are cumulative, each set in a process of its own: what a
stage adds is the difference to the one before. "records" is everything: detector, tracker, speeds, zones,
faces' and classes' policies, a recognizer on every object, and JSON lines, MOT, SQLite and an annotated
video in segments with a disk limit. The fleet's detector is a stand-in that always sees the same two objects, so
that decoding, tracking, a SQLite database and threads are what allocates. The slope is that of a line through the
samples after the first fifth.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from bench import conditions, save, table
from field_clip import CLIP, CLIPS
from field_soak import site

from edgevid import Fleet
from edgevid.cli.command_line import limit_free_memory
from edgevid.detect.preprocess import Preprocessor
from edgevid.output.sinks import AnnotatedVideo, JsonLines, MotText, SegmentedSink
from edgevid.output.tables import SqliteSink
from edgevid.run.loop import run
from edgevid.site.build import build_detector, build_pipeline, build_zones, load_site
from edgevid.site.file import RecognizerChoice
from edgevid.video.files import FileSource
from edgevid.video.writer import VideoWriter

STAGES = ("decode", "preprocess", "engine", "track", "clips", "overlay", "records")
EVERY = 1000  # Frames between two samples
LIMIT = 2_500_000  # Bytes on disk of each output


class Heap(ctypes.Structure):
    """mallinfo2(3)."""

    _fields_ = [(name, ctypes.c_size_t) for name in (
        "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost",
    )]  # fmt: skip


def sample() -> dict[str, float]:
    """Resident memory of this process in MB, and of the allocator's main heap what is in use and what is free."""
    row = {"resident": int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6}
    mallinfo = getattr(ctypes.CDLL(None), "mallinfo2", None)
    if mallinfo is not None:
        mallinfo.restype = Heap
        heap = mallinfo()
        row |= {"in use": (heap.uordblks + heap.hblkhd) / 1e6, "free": heap.fordblks / 1e6}
    return row


def clip_of(size: tuple[int, int], folder: Path) -> Path:
    """The clip, or a copy of its first 100 frames enlarged to `size` (width, height)."""
    with FileSource(CLIPS / CLIP) as video:
        if video.size == size:
            return CLIPS / CLIP
        path = folder / "clip.mp4"
        import cv2

        with VideoWriter(path, fps=25.0) as writer:
            for _, frame in zip(range(100), video, strict=False):
                writer.write(cv2.resize(frame.image, size), frame.time)
    return path


class Counter:
    """Counts frames, and prints a sample every 1,000."""

    def __init__(self) -> None:
        self.frames, self._begin = 0, time.monotonic()

    def __call__(self, *_: object) -> None:
        self.frames += 1
        if self.frames % EVERY == 0:
            row = {"frames": self.frames, "s": round(time.monotonic() - self._begin, 1), **sample()}
            print(json.dumps(row), flush=True)


def run_stage(stage: str, clip: Path, frames: int, folder: Path) -> None:
    """All stages up to `stage` on this many frames, in this process."""
    level = STAGES.index(stage)
    faces = (RecognizerChoice("emotion", "emotion-mini-xception-64"),)
    loaded = load_site(replace(site(folder), source=str(clip), every=4,
                              recognizers=faces if level >= 4 else ()))  # fmt: skip
    seen = Counter()
    with ExitStack() as stack:
        source = stack.enter_context(FileSource(clip, loop=True, threads=1))
        if level < 3:
            detector = build_detector(loaded.site, threads=1)
            prepare = Preprocessor(detector.recipe.input)
            steps: list[Callable[[Any], Any]] = [lambda _: None, prepare, detector.detect]
            for frame in source:
                steps[level]([frame])
                seen()
                if seen.frames == frames:
                    return
        overlay = AnnotatedVideo(folder / "all.mp4")._overlay if level == 5 else None
        pipeline, zones = build_pipeline(loaded, source.size, threads=1), build_zones(loaded, source.size)

        def on_result(frame: Any, result: Any) -> None:
            if overlay is not None:
                overlay.draw(frame, result)
            seen()

        sinks = sinks_in(folder) if level == 6 else []
        run(pipeline, source, sinks, zones=zones, on_result=on_result, max_frames=frames)


def run_fleet(frames: int, folder: Path) -> None:
    """Eight cameras in one process, this many frames in all."""
    import fleet as cameras
    from tiny_detector import compare_folder

    model = str(compare_folder(folder) / "tiny.toml")
    cameras.room.open_video = lambda uri, **_: FileSource(uri, loop=True, threads=1)  # type: ignore[assignment]
    Fleet(
        [replace(cameras.site(clip), model=model) for clip in cameras.CLIPS], threads=1, on_result=Counter(),
        max_frames=frames // len(cameras.CLIPS), sinks=lambda _: [SqliteSink(folder / "fleet.db")],
    ).run(status_s=600)  # fmt: skip


def sinks_in(folder: Path) -> list[Any]:
    segments: dict[str, Any] = {
        "seen.mp4": partial(AnnotatedVideo, codec="mpeg4"),
        "seen.jsonl": JsonLines,
        "seen.txt": MotText,
    }
    return [SqliteSink(folder / "seen.db")] + [
        SegmentedSink(folder / name, make, segment_s=30.0, max_disk_bytes=LIMIT) for name, make in segments.items()
    ]


def child(stage: str, clip: Path, frames: int, tuned: bool) -> list[dict[str, float]]:
    """The samples of a process of its own, shown as they come; Ctrl-C and SIGTERM end it, and what it gave until then
    counts."""
    command = [sys.executable, __file__, "--child", stage, "--clip", str(clip), "--soak", str(frames)]
    rows: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory() as scratch:
        call = [*command, "--folder", scratch, *(["--malloc"] if tuned else [])]
        environment = {**os.environ, "EDGEVID_SPOOL": scratch}
        with subprocess.Popen(call, stdout=subprocess.PIPE, text=True, env=environment) as process:
            try:
                for line in filter(lambda line: line.startswith('{"frames"'), process.stdout or ()):
                    rows.append(json.loads(line))
                    print(line, end="", file=sys.stderr, flush=True)
            except KeyboardInterrupt:
                process.terminate()
                return rows
    if process.returncode:
        raise SystemExit(f"the stage {stage} ended with status {process.returncode}")
    return rows


def growth(rows: list[dict[str, float]]) -> dict[str, float]:
    """The slope after the first fifth, as a share of the median for 100,000 frames, and where memory ended."""
    kept = [row for row in rows if row["frames"] > 0.2 * rows[-1]["frames"]]
    frames, mb = (np.array([row[key] for row in kept]) for key in ("frames", "resident"))
    slope = float(np.polyfit(frames, mb, 1)[0]) if len(kept) > 2 else 0.0
    return {
        "frames": rows[-1]["frames"],
        "first MB": round(rows[0]["resident"], 1), "last MB": round(rows[-1]["resident"], 1),
        "most MB": round(max(row["resident"] for row in rows), 1), "slope MB/1,000": round(1000 * slope, 4),
        "slope %/100,000": round(100 * 100_000 * slope / float(np.median(mb)), 3),
        "frames/s": round(rows[-1]["frames"] / rows[-1]["s"], 1),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--soak", type=int)
    parser.add_argument("--fleet", type=int)
    parser.add_argument("--frames", type=int, default=6000)
    parser.add_argument("--size", default="640x360")
    parser.add_argument("--malloc", action="store_true")
    parser.add_argument("--child", choices=(*STAGES, "fleet"), help=argparse.SUPPRESS)
    parser.add_argument("--clip", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        if given.malloc:
            limit_free_memory()
        if given.child == "fleet":
            run_fleet(given.soak, given.folder)
        else:
            run_stage(given.child, given.clip, given.soak, given.folder)
        return
    for number in (signal.SIGINT, signal.SIGTERM):  # in the background the first one is ignored
        signal.signal(number, signal.default_int_handler)
    if not (CLIPS / CLIP).is_file():
        raise SystemExit(f"needs the clip {CLIP} of the shared test data")
    width, height = map(int, given.size.split("x"))
    where = conditions()
    if given.fleet:
        runs = {name: child("fleet", CLIPS, given.fleet, name == "mallopt") for name in ("mallopt", "allocator's own")}
        figures: dict[str, Any] = {name: growth(rows) for name, rows in runs.items()}
        print(table(["", *figures["mallopt"]], [[name, *map(str, row.values())] for name, row in figures.items()]))
        print(save("field_memory_fleet", {"runs": figures, "samples": runs}, where))
        return
    with tempfile.TemporaryDirectory() as scratch:
        clip = clip_of((width, height), Path(scratch))
        if given.soak:
            rows = child("records", clip, given.soak, tuned=True)
            result: dict[str, Any] = {"clip": CLIP, "size": given.size, **growth(rows)}
            print(table(["what", "figure"], [[k, str(v)] for k, v in result.items()]))
            result["samples"] = rows
            print(save(f"field_memory_soak_{height}p", result, where))
            return
        stages: dict[str, Any] = {}
        for tuned in (True, False) if given.malloc else (True,):
            for stage in STAGES:
                found = growth(child(stage, clip, given.frames, tuned))
                stages[stage if tuned else f"{stage}, allocator's own"] = found
                print(stage, "mallopt" if tuned else "allocator's own", found, flush=True)
    heads = list(next(iter(stages.values())))
    print(table(["up to stage", *heads], [[s, *map(str, row.values())] for s, row in stages.items()]))
    print(save("field_memory", {"clip": CLIP, "size": given.size, "frames": given.frames, "stages": stages}, where))


if __name__ == "__main__":
    main()
