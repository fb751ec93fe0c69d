"""How long a frame takes, stage by stage: several engines side by side, frame by frame in turn.

A stage is what the pipeline itself does: the Detector is run as it is, and only the moments at which it calls
its engine are noted. So nothing is timed that a user would not get, and nothing is left out.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgevid.actions.base import input_named
from edgevid.detect import Detector
from edgevid.errors import EdgevidError, InputError
from edgevid.imaging import Preprocessor
from edgevid.runtime import Engine, Recipe
from edgevid.runtime.threads import usable
from edgevid.tools.compare import same_outputs
from edgevid.tools.compare_run import find, load
from edgevid.tools.conditions import busy, clocks, conditions, gpu
from edgevid.tools.frames import read_frames
from edgevid.types import Array, Frame

STAGES = ("pre", "inference", "post", "frame")
"""Pixels made into the model's input; the engine; its answer made into boxes; all of it."""
PICTURES = 32
"""Most frames that are held in memory and gone through in turn."""


@dataclass(frozen=True, slots=True)
class Timing:
    """What one engine took."""

    title: str
    model: str
    file: str
    precision: str
    device: str
    threads: int | None
    """CPU threads of the engine; None where it does not tell."""
    shape: str
    """The model's picture, as "320x320x3 float32"."""
    load_s: float
    """Seconds from the file to an engine that has run nothing yet."""
    ms: Mapping[str, Array]
    """(runs,) milliseconds of each stage; stages that the model does not have are absent."""
    cpu_ms: float
    """Mean processor time of a frame, over all threads of the process."""

    def at(self, stage: str, share: float) -> float:
        """The percentile of a stage in milliseconds, as one that was really measured."""
        return float(np.percentile(self.ms[stage], share, method="higher"))

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        figures = {
            stage: {f"p{share}": round(self.at(stage, share), 4) for share in (50, 90, 99)}
            for stage in self.ms
        }
        return {
            "engine": self.title, "model": self.model, "file": self.file, "precision": self.precision,
            "device": self.device, "threads": self.threads, "input": self.shape,
            "load_s": round(self.load_s, 4), "ms": figures, "cpu_ms": round(self.cpu_ms, 4),
            "frames_per_s": round(1000 / self.at("frame", 50), 2),
        }  # fmt: skip


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

    `frames` is a video, a folder or a list of images; None takes a made-up picture of 1280x720. `runs` frames
    are counted after `warm_up` that are not. An engine that does not load is named in `failed`; the error is
    raised only where none loads.
    """
    if runs < 1 or warm_up < 0:
        raise InputError(f"bench: wanted at least 1 run and no negative warm-up, given {runs} and {warm_up}")
    pictures = _pictures(frames)
    here, notes = conditions(), _notes(runs, busy(), len(usable()))
    failed: dict[str, str] = {}
    with ExitStack() as open_engines:
        subjects: list[_Subject] = []
        for model, precision in _wanted(models, precisions):
            try:
                subjects.append(_Subject(model, precision, device, threads, subjects))
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


class Clocked:
    """An engine that notes when it was last called and when it answered."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.inputs, self.outputs = engine.inputs, engine.outputs
        self.called = self.answered = 0.0

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """The engine's answer."""
        self.called = time.perf_counter()
        found = self._engine.run(inputs)
        self.answered = time.perf_counter()
        return found

    def close(self) -> None:
        """Closes the engine."""
        self._engine.close()

    def __enter__(self) -> Clocked:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Subject:
    """One engine under test, with its times."""

    def __init__(
        self,
        model: str | Path,
        precision: str | None,
        device: str,
        threads: int | None,
        others: Sequence[_Subject],
    ) -> None:
        """`others` lend their recipe to a bare file that has the same outputs."""
        side = find(model, precision)
        start = time.perf_counter()
        raw = load(side, device, threads)
        self.load_s = time.perf_counter() - start
        self.side, self.raw, self.engine = side, raw, Clocked(raw)
        lent = (o.recipe for o in others if o.recipe is not None and same_outputs(o.raw, raw))
        self.recipe: Recipe | None = side.recipe or next(lent, None) or _drafted(side.file)
        self._work = _work(self.engine, self.recipe)
        self._times: list[tuple[float, float, float, float]] = []
        self._cpu = 0.0

    def see(self, frame: Frame, *, count: bool) -> None:
        """One frame through the whole of it."""
        used, start = time.process_time(), time.perf_counter()
        self._work(frame)
        end = time.perf_counter()
        if count:
            clock = self.engine
            self._times.append(
                (clock.called - start, clock.answered - clock.called, end - clock.answered, end - start)
            )
            self._cpu += time.process_time() - used

    def timing(self) -> Timing:
        """All that was counted."""
        times = np.array(self._times).T * 1e3
        stages = (
            STAGES
            if self.recipe is not None and self.recipe.task == "detect"
            else ("pre", "inference", "", "frame")
        )
        if self.recipe is None or self.recipe.input is None:
            stages = ("", "inference", "", "frame")
        return Timing(
            title=self.side.title,
            model=self.recipe.name if self.recipe else self.side.file.stem,
            file=Path(getattr(self.raw, "path", self.side.file)).name,
            precision=self.side.precision,
            device=str(getattr(self.raw, "device", "")),
            threads=getattr(self.raw, "threads", None),
            shape=_shape(self.engine, self.recipe),
            load_s=self.load_s,
            ms={stage: row for stage, row in zip(stages, times, strict=True) if stage},
            cpu_ms=self._cpu * 1e3 / len(self._times),
        )


def _wanted(
    models: Sequence[str | Path], precisions: Sequence[str]
) -> Iterator[tuple[str | Path, str | None]]:
    if not models:
        raise InputError("bench: wanted at least one model, given none")
    for model in models:
        for precision in precisions or (None,):
            yield model, precision


def _work(engine: Clocked, recipe: Recipe | None) -> Callable[[Frame], Any]:
    """What is done with a frame: as the pipeline does it, as far as the task goes without one."""
    if recipe is not None and recipe.task == "detect":
        detector = Detector(engine, recipe)
        return lambda frame: detector.detect([frame])
    if recipe is not None and recipe.input is not None and recipe.task in ("classify", "pose", "features"):
        name = input_named(engine, recipe.input_name, recipe)
        prepare = Preprocessor(recipe.input, max(name.shape[0], 1))

        def see(frame: Frame) -> None:
            prepare([frame])
            engine.run({name.name: prepare.buffer})

        return see
    given = _made_up(engine, recipe)
    return lambda _: engine.run(given)


def _made_up(engine: Engine, recipe: Recipe | None) -> dict[str, Array]:
    """Arbitrary inputs for models that take more than a picture; InputError where sizes are open."""
    rng = np.random.default_rng(0)
    given: dict[str, Array] = {}
    for spec in engine.inputs:
        shape = [max(n, 1) for n in spec.shape[:1]] + list(spec.shape[1:])
        if min(shape, default=1) < 1:
            raise InputError(f"bench: input {spec} has open sizes, and no recipe says what to give")
        given[spec.name] = rng.random(shape).astype(spec.dtype)
    return given


def _drafted(file: Path) -> Recipe | None:
    """The recipe that an ONNX file's shapes amount to, None where they amount to none."""
    from edgevid.runtime.store import resolve_model

    try:
        return resolve_model(file) if file.suffix.lower() == ".onnx" else None
    except EdgevidError:
        return None


def _pictures(frames: str | Path | None) -> list[Frame]:
    if frames is not None:
        return [given.frame for given in read_frames(frames, PICTURES)]
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 255, (18, 32, 3), np.uint8)  # patches, not noise: closer to a picture
    return [Frame(np.ascontiguousarray(coarse.repeat(40, 0).repeat(40, 1)), 0.0, 0)]


def _shape(engine: Engine, recipe: Recipe | None) -> str:
    name = recipe.input_name if recipe else ""
    spec = next((s for s in engine.inputs if s.name == name), engine.inputs[0])
    return "x".join("any" if n < 0 else str(n) for n in spec.shape) + f" {spec.dtype}"


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
    subjects: list[_Subject],
) -> dict[str, Any]:
    sizes = sorted({f"{frame.width}x{frame.height}" for frame in pictures})
    shown = ", ".join(sizes[:3]) + (f" and {len(sizes) - 3} other sizes" if len(sizes) > 3 else "")
    kind = "planes (YUV 4:2:0)" if all(frame.planes is not None for frame in pictures) else "RGB"
    what = f"{len(pictures)} of {frames}" if frames is not None else "a made-up picture"
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
