"""The time of a frame, stage by stage, of several engines that take turns frame by frame.

The stages are the pipeline's own: the Detector runs unchanged, and only the moments at which it calls its
engine are recorded.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgevid.errors import EdgevidError, InputError
from edgevid.optimize.bench_subject import Subject, Timing
from edgevid.optimize.compare.run import compare, find_model
from edgevid.optimize.conditions import clocks, conditions, gpu, load_average, take_turns
from edgevid.optimize.frames import read_frames
from edgevid.runtime.load import Choice, Runtime, remember_choice
from edgevid.runtime.processor import usable
from edgevid.runtime.recipe import Precision
from edgevid.types import Frame

MAX_FRAMES = 32  # Most frames that are held in memory and used in turn
RUNTIMES: dict[str, Runtime] = {"cpu": "onnxruntime", "openvino": "openvino"}
"""Devices that a choice is made of, and what runs them."""
GAIN = 0.95  # OpenVINO is taken below this share of ONNX Runtime's time: less is noise


@dataclass(frozen=True, slots=True)
class Benchmark:
    """All timings of one run, and their conditions."""

    timings: tuple[Timing, ...]
    failed: Mapping[str, str]
    """Error of each engine that could not be run."""
    conditions: Mapping[str, Any]
    notes: tuple[str, ...] = ()
    """What limits the evidence."""

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "conditions": dict(self.conditions),
            "notes": list(self.notes),
            "engines": [timing.as_dict() for timing in self.timings],
            "failed": dict(self.failed),
        }


def bench(
    models: Sequence[str | Path],
    *,
    precisions: Sequence[Precision] = (),
    data: str | Path | None = None,
    runs: int = 200,
    warm_up: int = 20,
    threads: int | None = None,
    device: str | Sequence[str] = "auto",
    on_frame: Callable[[int], None] | None = None,
) -> Benchmark:
    """Times every model in every precision (none given: its own), frame by frame in turn.

    `data` is a video, a folder or a list of images; None uses a synthetic image of 1280x720. `runs` frames
    are timed after `warm_up` frames; several devices take turns, too. An engine that
    does not load is named in `failed`; the error is raised only where none loads.
    """
    if runs < 1 or warm_up < 0:
        raise InputError(f"bench: expected at least 1 run and no negative warm-up, got {runs} and {warm_up}")
    if not models:
        raise InputError("bench: expected at least one model, got none")
    frames = _frames(data)
    machine, notes = conditions(), _notes(runs, load_average(), len(usable()))
    failed: dict[str, str] = {}
    devices = (device,) if isinstance(device, str) else tuple(device)
    variants = list(itertools.product(models, precisions or (None,), devices))
    with ExitStack() as open_engines:
        subjects: list[Subject] = []
        for model, precision, where in variants:
            try:
                subjects.append(Subject(model, precision, where, threads, subjects, named=len(devices) > 1))
            except EdgevidError as error:
                parts = (Path(model).name, precision, where if len(devices) > 1 else None)
                failed[" ".join(part for part in parts if part)] = str(error)
                if len(failed) == len(variants):
                    raise
                continue
            open_engines.callback(subjects[-1].raw.close)

        work = [lambda k, run=subject.run: run(frames[k % len(frames)]) for subject in subjects]
        times = take_turns(work, runs, warm_up, on_frame)
        if "clocks" in machine:
            machine["clocks"] = f"{machine['clocks']} before, {clocks()} after"
        if any(str(getattr(s.raw, "device", "")).startswith("cuda") for s in subjects) and (card := gpu()):
            machine["gpu"] = card
        run = {"frames": _described(frames, data), "runs": runs, "warm-up": warm_up}
        found = {**run, "order": "engines in turn, frame by frame", **machine}
        timings = tuple(subject.timing(rows) for subject, rows in zip(subjects, times, strict=True))
        return Benchmark(timings, failed, found, notes)


def _frames(data: str | Path | None) -> list[Frame]:
    if data is not None:
        return [named.frame for named in read_frames(data, MAX_FRAMES)]
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
            "rely on the CPU column and the order, not on the milliseconds"
        )
    return tuple(notes)


def _described(frames: list[Frame], data: str | Path | None) -> str:
    sizes = sorted({f"{frame.width}x{frame.height}" for frame in frames})
    shown = ", ".join(sizes[:3]) + (f" and {len(sizes) - 3} other sizes" if len(sizes) > 3 else "")
    kind = "planes (YUV 4:2:0)" if all(frame.planes is not None for frame in frames) else "RGB"
    what = f"{len(frames)} of {data}" if data is not None else "a synthetic image"
    return f"{what}, {shown}, {kind}, held in memory"


def choose_runtime(
    model: str | Path, data: str | Path | None, timings: Sequence[Timing], *, threads: int | None = None
) -> Choice:
    """Verifies OpenVINO against ONNX Runtime on `data` as `edgevid compare` does, and remembers the faster.

    `timings` are those of both on the devices of RUNTIMES. InputError where one is missing, or without data.
    """
    if data is None:
        raise InputError("bench: --choose verifies the runtimes on frames, add --data VIDEO")
    found = find_model(model, None)
    times = {t.device: t.at("inference", 50) for t in timings if t.path == found.file}
    if missing := sorted(set(RUNTIMES) - set(times)):
        raise InputError(f"bench: --choose compares {' and '.join(RUNTIMES)}, {missing[0]} did not run")
    report, _ = compare(model, model, data, device="openvino", threads=threads)
    faster = times["openvino"] < GAIN * times["cpu"] and report.passed
    choice = Choice(
        "openvino" if faster else "onnxruntime", round(times["cpu"], 3), round(times["openvino"], 3),
        round(report.agreement, 5),
    )  # fmt: skip
    remember_choice(found.file, choice)
    return choice
