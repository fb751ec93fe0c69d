"""The time of a frame, stage by stage, of several engines that take turns frame by frame. The stages are the pipeline's
own: the Detector runs unchanged, and only the moments at which it calls its engine are recorded."""

import itertools
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from edgevid.errors import EdgevidError, InputError
from edgevid.models.hub import resolve_model
from edgevid.optimize.agreement import RecordingEngine
from edgevid.optimize.compare.gate import same_outputs
from edgevid.optimize.compare.run import compare, find_model, load_model
from edgevid.optimize.frames import FrameRunner, read_frames
from edgevid.runtime import Engine, Precision, Recipe
from edgevid.runtime.load import Choice, Runtime, remember_choice
from edgevid.runtime.processor import clocks, conditions, gpu, take_turns, usable
from edgevid.types import Array, Frame

STAGES = ("pre", "inference", "post", "frame")  # Preprocessing; the engine; decoding and suppression; all of it


class StageTimes(NamedTuple):
    """Seconds of one frame."""

    pre: float
    inference: float
    post: float
    frame: float
    cpu: float  # Processor time over all threads of the process


@dataclass(frozen=True, slots=True)
class Timing:
    """The times of one engine."""

    title: str
    model: str
    path: Path  # The file that ran
    precision: Precision
    device: str
    threads: int | None  # CPU threads of the engine; None where it does not report them
    shape: str  # The model's input, as "1x3x320x320 float32"
    load_s: float  # Seconds from the file to an engine that has run nothing yet
    ms: Mapping[str, Array]  # (runs,) milliseconds of each stage; stages that the model does not have are absent
    cpu_ms: float  # Mean processor time of a frame, over all threads of the process

    def at(self, stage: str, share: float) -> float:
        """The percentile of a stage in milliseconds; a measured value, not interpolated."""
        return float(np.percentile(self.ms[stage], share, method="higher"))

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        figures = {s: {f"p{k}": round(self.at(s, k), 4) for k in (50, 90, 99)} for s in self.ms}
        return {"engine": self.title, "model": self.model, "file": self.path.name, "precision": self.precision,
                "device": self.device, "threads": self.threads, "input": self.shape, "load_s": round(self.load_s, 4),
                "ms": figures, "cpu_ms": round(self.cpu_ms, 4),
                "fps": round(1000 / self.at("frame", 50), 2)}  # fmt: skip


class Subject:
    """One engine under test."""

    def __init__(self, model: str | Path, precision: Precision | None, device: str, threads: int | None,
                 others: "Sequence[Subject]", *, named: bool = False) -> None:  # fmt: skip
        """A file without a recipe takes that of the first of `others` with the same outputs. `named` adds the device to
        the title, where several are timed."""
        found = find_model(model, precision)
        start = time.perf_counter()
        raw = load_model(found, device, threads)
        self.load_s = time.perf_counter() - start
        self.model, self.raw, self.engine = found, raw, RecordingEngine(raw)
        self.title = f"{found.title}, {device}" if named else found.title
        shared = (o.recipe for o in others if o.recipe is not None and same_outputs(o.raw, raw))
        self.recipe: Recipe | None = found.recipe or next(shared, None)
        if self.recipe is None and found.file.suffix.lower() == ".onnx":
            with suppress(EdgevidError):
                self.recipe = resolve_model(found.file)  # a draft from its shapes
        self._work = _work(self.engine, self.recipe)

    def run(self, frame: Frame) -> StageTimes:
        """Runs one frame through all stages."""
        used, start = time.process_time(), time.perf_counter()
        self._work(frame)
        end, engine = time.perf_counter(), self.engine
        stages = engine.called - start, engine.returned - engine.called, end - engine.returned
        return StageTimes(*stages, end - start, time.process_time() - used)

    def timing(self, rows: Sequence[StageTimes]) -> Timing:
        """The timing of all counted runs."""
        detects = self.recipe is not None and self.recipe.task == "detect"
        prepares = self.recipe is not None and self.recipe.input is not None
        stages = {"pre": prepares, "inference": True, "post": detects, "frame": True}
        times = {stage: np.array([getattr(row, stage) for row in rows]) * 1e3 for stage in StageTimes._fields}
        name = self.recipe.input_name if self.recipe else ""
        spec = next((s for s in self.engine.inputs if s.name == name), self.engine.inputs[0])
        return Timing(title=self.title, model=self.recipe.name if self.recipe else self.model.file.stem,
                      path=Path(getattr(self.raw, "path", self.model.file)), precision=self.model.precision,
                      device=str(getattr(self.raw, "device", "")), threads=getattr(self.raw, "threads", None),
                      shape="x".join("any" if n < 0 else str(n) for n in spec.shape) + f" {spec.dtype}",
                      load_s=self.load_s, ms={stage: times[stage] for stage, exists in stages.items() if exists},
                      cpu_ms=float(times["cpu"].mean()))  # fmt: skip


def _work(engine: Engine, recipe: Recipe | None) -> Callable[[Frame], Any]:
    """The work on a frame, as the pipeline does it, as far as the task needs no other model."""
    if recipe is not None and recipe.input is not None and recipe.task in ("detect", "classify", "pose", "features"):
        runner = FrameRunner(recipe, engine)
        return runner.run if recipe.task == "detect" else lambda frame: engine.run(runner.inputs(frame))
    rng = np.random.default_rng(0)
    inputs: dict[str, Array] = {}  # random ones for models that take more than an image
    for spec in engine.inputs:
        shape = [max(n, 1) for n in spec.shape[:1]] + list(spec.shape[1:])
        if min(shape, default=1) < 1:
            raise InputError(f"bench: input {spec} has dynamic sizes, and no recipe fixes them")
        inputs[spec.name] = rng.random(shape).astype(spec.dtype)
    return lambda _: engine.run(inputs)


MAX_FRAMES = 32  # Most frames that are held in memory and used in turn
RUNTIMES: dict[str, Runtime] = {"cpu": "onnxruntime", "openvino": "openvino"}  # By device: what runs it
GAIN = 0.95  # OpenVINO is taken below this share of ONNX Runtime's time: less is noise


@dataclass(frozen=True, slots=True)
class Benchmark:
    """All timings of one run, and their conditions."""

    timings: tuple[Timing, ...]
    failed: Mapping[str, str]  # Error of each engine that could not be run
    conditions: Mapping[str, Any]
    notes: tuple[str, ...] = ()  # What limits the evidence

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"conditions": dict(self.conditions), "notes": list(self.notes),
                "engines": [timing.as_dict() for timing in self.timings], "failed": dict(self.failed)}  # fmt: skip


def bench(models: Sequence[str | Path], *, precisions: Sequence[Precision] = (), data: str | Path | None = None,
          runs: int = 200, warm_up: int = 20, threads: int | None = None, device: str | Sequence[str] = "auto",
          on_frame: Callable[[int], None] | None = None) -> Benchmark:  # fmt: skip
    """Times every model in every precision (none given: its own), frame by frame in turn.

    `data` is a video, a folder or a list of images; None uses a synthetic image of 1280x720. `runs` frames are timed
    after `warm_up` frames; several devices take turns, too. An engine that does not load is named in `failed`; the
    error is raised only where none loads."""
    if runs < 1 or warm_up < 0:
        raise InputError(f"bench: expected at least 1 run and no negative warm-up, got {runs} and {warm_up}")
    if not models:
        raise InputError("bench: expected at least one model, got none")
    frames = _frames(data)
    machine, notes = conditions(), _notes(runs, os.getloadavg()[0], len(usable()))
    failed: dict[str, str] = {}
    devices = (device,) if isinstance(device, str) else tuple(device)
    variants = list(itertools.product(models, precisions or (None,), devices))
    with ExitStack() as open_engines:
        subjects: list[Subject] = []
        for number, (model, precision, where) in enumerate(variants, 1):
            try:
                subjects.append(Subject(model, precision, where, threads, subjects, named=len(devices) > 1))
            except EdgevidError as error:
                parts = (Path(model).name, precision, where if len(devices) > 1 else None)
                failed[" ".join(part for part in parts if part)] = str(error)
                if number == len(variants) and not subjects:
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
        what = f"other work shares this machine (load {load:.1f} on {cores} cores before the run)"
        notes.append(f"{what}: rely on the CPU column and the order, not on the milliseconds")
    return tuple(notes)


def _described(frames: list[Frame], data: str | Path | None) -> str:
    sizes = sorted({f"{frame.width}x{frame.height}" for frame in frames})
    shown = ", ".join(sizes[:3]) + (f" and {len(sizes) - 3} other sizes" if len(sizes) > 3 else "")
    kind = "planes (YUV 4:2:0)" if all(frame.planes is not None for frame in frames) else "RGB"
    what = f"{len(frames)} of {data}" if data is not None else "a synthetic image"
    return f"{what}, {shown}, {kind}, held in memory"


def choose_runtime(model: str | Path, data: str | Path | None, timings: Sequence[Timing], *,
                   threads: int | None = None) -> Choice:  # fmt: skip
    """Verifies OpenVINO against ONNX Runtime on `data` as `edgevid compare` does, and remembers the faster. `timings`
    are those of both on the devices of RUNTIMES. InputError where one is missing, or without data."""
    if data is None:
        raise InputError("bench: --choose verifies the runtimes on frames, add --data VIDEO")
    found = find_model(model, None)
    times = {t.device: t.at("inference", 50) for t in timings if t.path == found.file}
    if missing := sorted(set(RUNTIMES) - set(times)):
        raise InputError(f"bench: --choose compares {' and '.join(RUNTIMES)}, {missing[0]} did not run")
    report, _ = compare(model, model, data, device="openvino", threads=threads)
    faster = times["openvino"] < GAIN * times["cpu"] and report.passed
    figures = round(times["cpu"], 3), round(times["openvino"], 3), round(report.agreement, 5)
    choice = Choice("openvino" if faster else "onnxruntime", *figures)
    remember_choice(found.file, choice)
    return choice
