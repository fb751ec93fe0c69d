"""One engine on the bench: run as the pipeline runs it, with the moments noted at which it is called."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgevid.actions.recognizer import input_named
from edgevid.detect.detector import Detector
from edgevid.detect.preprocess import Preprocessor
from edgevid.errors import EdgevidError, InputError
from edgevid.optimize.compare.gate import same_outputs
from edgevid.optimize.compare.run import find, load
from edgevid.runtime import Engine, Recipe
from edgevid.types import Array, Frame

STAGES = ("pre", "inference", "post", "frame")
"""Pixels made into the model's input; the engine; its answer made into boxes; all of it."""


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
    """The model's image, as "320x320x3 float32"."""
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


class Subject:
    """One engine under test, with its times."""

    def __init__(
        self,
        model: str | Path,
        precision: str | None,
        device: str,
        threads: int | None,
        others: Sequence[Subject],
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
    """Arbitrary inputs for models that take more than an image; InputError where sizes are open."""
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
    from edgevid.models.hub import resolve_model

    try:
        return resolve_model(file) if file.suffix.lower() == ".onnx" else None
    except EdgevidError:
        return None


def _shape(engine: Engine, recipe: Recipe | None) -> str:
    name = recipe.input_name if recipe else ""
    spec = next((s for s in engine.inputs if s.name == name), engine.inputs[0])
    return "x".join("any" if n < 0 else str(n) for n in spec.shape) + f" {spec.dtype}"
