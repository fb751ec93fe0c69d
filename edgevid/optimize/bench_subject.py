"""One engine of a benchmark, run as the pipeline runs it, with the times of its stages."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from edgevid.actions.recognizer import input_named
from edgevid.detect.detector import Detector
from edgevid.detect.preprocess import Preprocessor
from edgevid.errors import EdgevidError, InputError
from edgevid.models.hub import resolve_model
from edgevid.optimize.compare.gate import same_outputs
from edgevid.optimize.compare.outputs import RecordingEngine
from edgevid.optimize.compare.run import find_model, load_model
from edgevid.runtime import Engine, Recipe
from edgevid.runtime.recipe import Precision
from edgevid.types import Array, Frame

STAGES = ("pre", "inference", "post", "frame")  # Preprocessing; the engine; decoding and suppression; all of it


class StageTimes(NamedTuple):
    """Seconds of one frame."""

    pre: float
    inference: float
    post: float
    frame: float
    cpu: float
    """Processor time over all threads of the process."""


@dataclass(frozen=True, slots=True)
class Timing:
    """The times of one engine."""

    title: str
    model: str
    path: Path
    """The file that ran."""
    precision: Precision
    device: str
    threads: int | None
    """CPU threads of the engine; None where it does not report them."""
    shape: str
    """The model's input, as "1x3x320x320 float32"."""
    load_s: float
    """Seconds from the file to an engine that has run nothing yet."""
    ms: Mapping[str, Array]
    """(runs,) milliseconds of each stage; stages that the model does not have are absent."""
    cpu_ms: float
    """Mean processor time of a frame, over all threads of the process."""

    @property
    def file(self) -> str:
        """The file's name."""
        return self.path.name

    def at(self, stage: str, share: float) -> float:
        """The percentile of a stage in milliseconds; a measured value, not interpolated."""
        return float(np.percentile(self.ms[stage], share, method="higher"))

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        figures = {s: {f"p{k}": round(self.at(s, k), 4) for k in (50, 90, 99)} for s in self.ms}
        return {
            "engine": self.title, "model": self.model, "file": self.file, "precision": self.precision,
            "device": self.device, "threads": self.threads, "input": self.shape,
            "load_s": round(self.load_s, 4), "ms": figures, "cpu_ms": round(self.cpu_ms, 4),
            "fps": round(1000 / self.at("frame", 50), 2),
        }  # fmt: skip


class Subject:
    """One engine under test."""

    def __init__(
        self,
        model: str | Path,
        precision: Precision | None,
        device: str,
        threads: int | None,
        others: Sequence[Subject],
        *,
        named: bool = False,
    ) -> None:
        """A file without a recipe takes that of the first of `others` with the same outputs.

        `named` adds the device to the title, where several are timed.
        """
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
        return StageTimes(
            engine.called - start, engine.returned - engine.called, end - engine.returned, end - start,
            time.process_time() - used,
        )  # fmt: skip

    def timing(self, rows: Sequence[StageTimes]) -> Timing:
        """The timing of all counted runs."""
        detects = self.recipe is not None and self.recipe.task == "detect"
        prepares = self.recipe is not None and self.recipe.input is not None
        stages = {"pre": prepares, "inference": True, "post": detects, "frame": True}
        times = {stage: np.array([getattr(row, stage) for row in rows]) * 1e3 for stage in StageTimes._fields}
        name = self.recipe.input_name if self.recipe else ""
        spec = next((s for s in self.engine.inputs if s.name == name), self.engine.inputs[0])
        return Timing(
            title=self.title,
            model=self.recipe.name if self.recipe else self.model.file.stem,
            path=Path(getattr(self.raw, "path", self.model.file)),
            precision=self.model.precision,
            device=str(getattr(self.raw, "device", "")),
            threads=getattr(self.raw, "threads", None),
            shape="x".join("any" if n < 0 else str(n) for n in spec.shape) + f" {spec.dtype}",
            load_s=self.load_s,
            ms={stage: times[stage] for stage, exists in stages.items() if exists},
            cpu_ms=float(times["cpu"].mean()),
        )


def _work(engine: Engine, recipe: Recipe | None) -> Callable[[Frame], Any]:
    """The work on a frame, as the pipeline does it, as far as the task needs no other model."""
    if recipe is not None and recipe.task == "detect":
        detector = Detector(engine, recipe)
        return lambda frame: detector.detect([frame])
    if recipe is not None and recipe.input is not None and recipe.task in ("classify", "pose", "features"):
        name = input_named(engine, recipe.input_name, recipe)
        prepare = Preprocessor(recipe.input, max(name.shape[0], 1))

        def run(frame: Frame) -> None:
            prepare([frame])
            engine.run({name.name: prepare.buffer})

        return run
    rng = np.random.default_rng(0)
    inputs: dict[str, Array] = {}  # random ones for models that take more than an image
    for spec in engine.inputs:
        shape = [max(n, 1) for n in spec.shape[:1]] + list(spec.shape[1:])
        if min(shape, default=1) < 1:
            raise InputError(f"bench: input {spec} has dynamic sizes, and no recipe fixes them")
        inputs[spec.name] = rng.random(shape).astype(spec.dtype)
    return lambda _: engine.run(inputs)
