"""A quantized model against the float model: agreement, as in `compare`, drift, speed; what to exclude."""

import dataclasses
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from edgevid.optimize.agreement import TaskMetrics, match_boxes
from edgevid.optimize.compare.tasks import task_of
from edgevid.optimize.frames import FrameRunner, NamedFrame
from edgevid.optimize.quantize.apply import apply_plan
from edgevid.optimize.quantize.graph import Graph
from edgevid.optimize.quantize.plan import PASS_THROUGH_OPS, PLANNERS, Plan
from edgevid.optimize.quantize.ranges import Calibration
from edgevid.runtime import LocalRecipe, Recipe
from edgevid.runtime.engine import PAD
from edgevid.runtime.onnxruntime.engine import OrtEngine
from edgevid.runtime.processor import take_turns
from edgevid.runtime.variants import FOR_TENSORRT
from edgevid.types import Array, Detections, Frame, Progress


class Evaluator:
    """Compares models with a reference whose answers to some frames are computed once."""

    def __init__(self, recipe: Recipe, frames: Sequence[Frame], reference: Any) -> None:
        """`reference` is a path or an onnx ModelProto. InputError for a recipe of another task than detect, classify,
        pose or features."""
        self.recipe = recipe
        self.frames = [NamedFrame(f"frame {n}", frame) for n, frame in enumerate(frames, start=1)]
        with _engine(reference) as engine:
            task = task_of(engine, engine, recipe, recipe)
            self._answers = [task.answer(0, frame) for frame in self.frames]

    def agreement(self, model: Any, *, disable_optimizations: bool = False) -> TaskMetrics:
        """How well `model` (a path or an onnx ModelProto) agrees with the reference. `disable_optimizations` for graphs
        that are meant for TensorRT: see OrtEngine."""
        with _engine(model, disable_optimizations) as engine:
            task = task_of(engine, engine, self.recipe, self.recipe)
            for frame, answer in zip(self.frames, self._answers, strict=True):
                task.pair(frame, answer, task.answer(1, frame))
            return task.metrics()


class DriftMeter:
    """Mean difference of a model's answers from the reference's: 0 for equal answers. Finer than agreement. Detectors:
    differences of scores and overlaps of matched boxes down to half the score threshold; an unmatched box counts with
    its score. Other models: the largest noise-to-signal ratio of an output."""

    def __init__(self, recipe: Recipe, frames: Sequence[Frame], reference: Path, hardest: int | None = None) -> None:
        """Of a detector's frames those `hardest` with the most boxes count, on which layers are ranked fastest."""
        answers, rows = _run(recipe, frames, reference), range(len(frames))
        chosen = sorted(rows, key=lambda row: -len(answers[row]))[:hardest] if recipe.task == "detect" else rows
        self.recipe, self.frames = recipe, [frames[row] for row in chosen]
        self._answers = [answers[row] for row in chosen]

    def drift(self, model: Any, *, disable_optimizations: bool = False) -> float:
        """The drift of `model` (a path or an onnx ModelProto) over all frames."""
        pairs = zip(self._answers, _run(self.recipe, self.frames, model, disable_optimizations), strict=True)
        if self.recipe.task != "detect":
            return max(_noise(a, b) for a, b in pairs)
        return sum(_box_drift(a, b) for a, b in pairs) / max(sum(map(len, self._answers)), 1)


def median_cpu_ms(recipe: LocalRecipe, files: Sequence[Path], frames: Sequence[Frame], *, runs: int = 15,
                  warm_up: int = 3) -> list[float]:  # fmt: skip
    """Median processor time in ms/frame of each file on one thread, the files taking turns over `frames`. Preprocessing
    is not counted. ModelError where a file does not run."""

    def timed(runner: FrameRunner, number: int) -> float:
        inputs = runner.inputs(frames[number % len(frames)])
        start = time.thread_time()  # which a busy machine does not lengthen
        runner.engine.run(inputs)
        return time.thread_time() - start

    with ExitStack() as stack:
        engines = [stack.enter_context(OrtEngine(p, device="cpu", threads=1)) for p in files]
        work = [partial(timed, FrameRunner(recipe, engine)) for engine in engines]
        return [1000 * float(np.median(seconds)) for seconds in take_turns(work, runs, warm_up)]


def speedup(recipe: LocalRecipe, file: Path) -> float:
    """The speed of `file` relative to the recipe's own model on a gray image: 2.0 is twice as fast."""
    gray = Frame(np.full((480, 640, 3), PAD, np.uint8), 0.0, 0)
    model, quantized = median_cpu_ms(recipe, [recipe.local, file], [gray])
    return model / max(quantized, 1e-6)


def _engine(model: Any, disable_optimizations: bool = False) -> OrtEngine:
    """An engine of a file or of a model in memory."""
    data = model.read_bytes() if isinstance(model, Path) else model.SerializeToString()
    return OrtEngine(data, device="cpu", threads=1, disable_optimizations=disable_optimizations)


def _run(recipe: Recipe, frames: Sequence[Frame], model: Any, disable_optimizations: bool = False) -> list[Any]:
    """Detections down to half the score threshold, or output arrays, of each frame."""
    threshold = recipe.decode.score_threshold / 2 if recipe.decode is not None else None
    with _engine(model, disable_optimizations) as engine:
        runner = FrameRunner(recipe, engine, score_threshold=threshold)
        return [runner.run(frame) for frame in frames]


def _box_drift(a: Detections, b: Detections) -> float:
    rows, ious = match_boxes(a, b)
    matched = np.abs(a.scores[rows[:, 0]] - b.scores[rows[:, 1]]).sum() + (1 - ious).sum() / 2
    unmatched = np.delete(a.scores, rows[:, 0]).sum() + np.delete(b.scores, rows[:, 1]).sum()
    return float(matched + unmatched / 2)


def _noise(a: dict[str, Array], b: dict[str, Array]) -> float:
    """The largest noise-to-signal ratio of an output."""
    squares = {name: (np.square(v, dtype=float).sum(), v - b[name]) for name, v in a.items()}
    return max(float(np.square(off, dtype=float).sum() / (power or 1.0)) for power, off in squares.values())


def build(graph: Graph, found: Calibration, variant: str, excluded: frozenset[str]) -> tuple[Any, Plan]:
    """The model of a variant without these activations and layers, and its plan."""
    plan = PLANNERS[variant](graph, found.ranges, excluded)
    if variant == "int8-cpu":
        plan = dataclasses.replace(plan, reduce_range=found.measured.reduce_range)
    means = (found.means["float"], found.means.get(variant, {})) if "float" in found.means else None
    return apply_plan(graph, plan, means), plan


@dataclass(slots=True)
class ExclusionSearch:
    """Finds the activations (CPU) or layers (TensorRT) to exclude: the fewest, in order of sensitivity."""

    graph: Graph
    found: Calibration
    variant: str
    meter: DriftMeter
    evaluator: Evaluator
    progress: Progress | None = None
    sensitivities: dict[str, float] = field(default_factory=dict)
    always: tuple[str, ...] = ()  # Layers that are excluded whatever their sensitivity

    def run(self, floor: float) -> tuple[tuple[str, ...], TaskMetrics]:
        """The names to exclude, the most sensitive first, and the agreement without them."""
        best = self._try(0)
        if best.agreement >= floor or not best.total:
            return self.always, best
        self.rank()
        low = high = 0
        while best.agreement < floor and high < len(self.sensitivities):
            low, high = high, min(max(2 * high, 1), len(self.sensitivities))
            best = self._try(high)
        while high - low > max(1, high // 8):
            middle = (low + high) // 2
            found = self._try(middle)
            low, high, best = (low, middle, found) if found.agreement >= floor else (middle, high, best)
        return (*self.always, *list(self.sensitivities)[:high]), best

    def _try(self, count: int) -> TaskMetrics:
        excluded = frozenset([*self.always, *list(self.sensitivities)[:count]])
        model = build(self.graph, self.found, self.variant, excluded)[0]
        found = self.evaluator.agreement(model, disable_optimizations=self.variant in FOR_TENSORRT)
        if self.progress:
            text = f"{self.variant}: {found.agreement:.1%} with {count} excluded"
            self.progress(count, len(self.sensitivities), text)
        return found

    def rank(self) -> None:
        """Measures the sensitivity of each activation or layer alone, and sorts them."""
        plan = PLANNERS[self.variant](self.graph, self.found.ranges)
        on_cpu, drifts = self.variant == "int8-cpu", {}
        names = plan.layers
        if on_cpu:  # neither what only moves another's values, nor the gates of activations
            skipped = (*PASS_THROUGH_OPS, "Sigmoid", "HardSigmoid")
            kinds = {t: self.graph.producer[t].op_type for t in plan.tensors if t in self.graph.producer}
            names = tuple(t for t in plan.tensors if kinds.get(t) not in skipped)
        for number, name in enumerate(names):
            if on_cpu:
                model = apply_plan(self.graph, Plan({name: plan.tensors[name]}, (), ()))
            else:
                model, _ = build(self.graph, self.found, self.variant, frozenset(plan.layers) - {name})
            drifts[name] = self.meter.drift(model, disable_optimizations=self.variant in FOR_TENSORRT)
            if self.progress:
                self.progress(number + 1, len(names), f"{self.variant}: sensitivities")
        self.sensitivities = dict(sorted(drifts.items(), key=lambda item: -item[1]))
