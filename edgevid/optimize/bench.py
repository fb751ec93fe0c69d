"""How long a frame takes, stage by stage: several engines side by side, frame by frame in turn.

A stage is what the pipeline itself does: the Detector is run as it is, and only the moments at which it calls
its engine are noted. So nothing is timed that a user would not get, and nothing is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgevid.errors import EdgevidError, InputError
from edgevid.optimize.bench_subject import Subject, Timing
from edgevid.optimize.conditions import busy, clocks, conditions, gpu
from edgevid.optimize.frames import read_frames
from edgevid.runtime.threads import usable
from edgevid.types import Frame

PICTURES = 32
"""Most frames that are held in memory and gone through in turn."""


@dataclass(frozen=True, slots=True)
class Benchmark:
    """All timings of one run, and the conditions they hold under."""

    timings: tuple[Timing, ...]
    failed: Mapping[str, str]
    """Engines that could not be run, and why."""
    conditions: Mapping[str, Any]
    notes: tuple[str, ...] = ()
    """What a reader should know before trusting the figures."""

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "conditions": dict(self.conditions),
            "notes": list(self.notes),
            "engines": [timing.as_dict() for timing in self.timings],
            "not run": dict(self.failed),
        }


def bench(
    models: Sequence[str | Path],
    *,
    precisions: Sequence[str] = (),
    frames: str | Path | None = None,
    runs: int = 200,
    warm_up: int = 20,
    threads: int | None = None,
    device: str = "auto",
    on_frame: Callable[[int], None] | None = None,
) -> Benchmark:
    """Times every model in every precision (none given: its own), interleaved frame by frame.

    `frames` is a video, a folder or a list of images; None takes a made-up image of 1280x720. `runs` frames
    are counted after `warm_up` that are not. An engine that does not load is named in `failed`; the error is
    raised only where none loads.
    """
    if runs < 1 or warm_up < 0:
        raise InputError(f"bench: expected at least 1 run and no negative warm-up, got {runs} and {warm_up}")
    pictures = _pictures(frames)
    here, notes = conditions(), _notes(runs, busy(), len(usable()))
    failed: dict[str, str] = {}
    with ExitStack() as open_engines:
        subjects: list[Subject] = []
        for model, precision in _wanted(models, precisions):
            try:
                subjects.append(Subject(model, precision, device, threads, subjects))
            except EdgevidError as error:
                failed[f"{Path(model).name} {precision or ''}".strip()] = str(error)
                if len(failed) == len(models) * max(len(precisions), 1):
                    raise
                continue
            open_engines.callback(subjects[-1].engine.close)
        for number in range(-warm_up, runs):
            for subject in subjects:
                subject.see(pictures[number % len(pictures)], count=number >= 0)
            if on_frame:
                on_frame(number)
        found = _conditions(here, frames, pictures, runs, warm_up, subjects)
        return Benchmark(tuple(subject.timing() for subject in subjects), failed, found, notes)


def _wanted(
    models: Sequence[str | Path], precisions: Sequence[str]
) -> Iterator[tuple[str | Path, str | None]]:
    if not models:
        raise InputError("bench: expected at least one model, got none")
    for model in models:
        for precision in precisions or (None,):
            yield model, precision


def _pictures(frames: str | Path | None) -> list[Frame]:
    if frames is not None:
        return [given.frame for given in read_frames(frames, PICTURES)]
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 255, (18, 32, 3), np.uint8)  # patches, not noise: closer to an image
    return [Frame(np.ascontiguousarray(coarse.repeat(40, 0).repeat(40, 1)), 0.0, 0)]


def _notes(runs: int, load: float, cores: int) -> tuple[str, ...]:
    notes = []
    if runs < 100:
        notes.append("below 100 runs p99 is the slowest of them")
    if load > 0.5 * cores:
        notes.append(
            f"other work shares this machine (load {load:.1f} on {cores} cores before the run): "
            "trust the CPU column and the order, not the milliseconds"
        )
    return tuple(notes)


def _conditions(
    here: dict[str, Any],
    frames: str | Path | None,
    pictures: list[Frame],
    runs: int,
    warm_up: int,
    subjects: list[Subject],
) -> dict[str, Any]:
    sizes = sorted({f"{frame.width}x{frame.height}" for frame in pictures})
    shown = ", ".join(sizes[:3]) + (f" and {len(sizes) - 3} other sizes" if len(sizes) > 3 else "")
    kind = "planes (YUV 4:2:0)" if all(frame.planes is not None for frame in pictures) else "RGB"
    what = f"{len(pictures)} of {frames}" if frames is not None else "a made-up image"
    found = dict(here)
    if "clocks" in found:
        found["clocks"] = f"{found['clocks']} before, {clocks()} after"
    if any(str(getattr(s.raw, "device", "")).startswith("cuda") for s in subjects) and (device := gpu()):
        found["gpu"] = device
    return {
        "frames": f"{what}, {shown}, {kind}, held in memory",
        "runs": runs,
        "warm-up": warm_up,
        "order": "engines in turn, frame by frame",
        **found,
    }
