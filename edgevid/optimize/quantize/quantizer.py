"""INT8 from one calibration: a file for ONNX Runtime on the CPU, a file for TensorRT, and what they cost.

Layer by layer it is measured how far rounding one activation (CPU) or one layer (TensorRT) moves the model's
answers; those that hurt stay float until the answers on frames that the calibration never saw agree with
the float model's to the floor.
"""

from __future__ import annotations

import dataclasses
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgevid.errors import InputError
from edgevid.models.hub import resolve_model
from edgevid.optimize.quantize.apply import with_pairs, written
from edgevid.optimize.quantize.evaluator import METRICS, Agreement, Judge
from edgevid.optimize.quantize.frames import COUNT, FEW, Feed, Picked, Where, pick
from edgevid.optimize.quantize.graph import Graph, save_model, tidy
from edgevid.optimize.quantize.plan import SAME, Plan, plan_cpu, plan_tensorrt
from edgevid.optimize.quantize.ranges import (
    Calibration,
    Progress,
    measure,
    measure_means,
    must_fit,
    read_ranges,
    with_keep,
    write_ranges,
)
from edgevid.optimize.quantize.speedup import WORTH, pace, slow
from edgevid.runtime import Recipe
from edgevid.runtime.onnxruntime.calibrate import Calibrator
from edgevid.runtime.onnxruntime.engine import OrtEngine
from edgevid.runtime.processor import processor_features
from edgevid.runtime.variants import FOR_TENSORRT, record_path, variant_path

FLOOR = 0.97
"""Least agreement with the float model unless the recipe or `--floor` says otherwise."""
RANKING_FRAMES = 4
"""Busiest calibration frames on which single layers are measured."""
PLANNERS: Mapping[str, Callable[..., Plan]] = {"int8-cpu": plan_cpu, "int8-trt": plan_tensorrt}
VARIANTS = tuple(PLANNERS)
FOLDER = Path("calibration/int8")


@dataclass(frozen=True, slots=True)
class Made:
    """One quantized file."""

    variant: str
    path: Path
    sha256: str
    plan: Plan
    agreement: Agreement | None
    """On the held-out frames; None where it was made of stored ranges."""
    kept: tuple[str, ...]
    """Names of activations and layers that were set to stay float, those that cost most first."""
    costs: Mapping[str, float]
    """What rounding each activation or layer alone moves the answers, those that cost most first."""
    faster: float | None
    """Speed over FP32's on this processor, one thread; None for TensorRT's file."""


@dataclass(slots=True)
class Report:
    """What `quantize` did."""

    recipe: Recipe
    calibration: Calibration
    ranges: Path
    floor: float
    made: list[Made] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    judged_on: int = 0
    """Held-out frames."""

    @property
    def below(self) -> list[Made]:
        """The files that miss the floor, or on which no frame could be judged: nothing was seen."""
        judged = [(m, m.agreement) for m in self.made if m.agreement is not None]
        return [m for m, found in judged if found.share < self.floor or not found.proven]


def floor_of(recipe: Recipe, floor: float | None = None) -> float:
    """The floor asked for, else the recipe's for int8 where it is of the same metric, else 0.97."""
    if floor is not None:
        if not 0 <= floor <= 1:
            raise InputError(f"--floor: expected 0 to 1, got {floor}")
        return floor
    stated = recipe.precisions.get("int8")
    return stated.floor if stated is not None and stated.metric in METRICS.values() else FLOOR


def quantize(
    model: Recipe | str | Path,
    frames: Where | None = None,
    *,
    ranges: str | Path | None = None,
    calibrator: Calibrator = "percentile",
    count: int = COUNT,
    floor: float | None = None,
    weight_bits: int = 8,
    variants: Sequence[str] = VARIANTS,
    out: str | Path | None = None,
    save_ranges: str | Path | None = None,
    progress: Progress | None = None,
) -> Report:
    """Quantizes a model on real frames, or anew from the ranges of an earlier calibration.

    `frames` is a video, a folder, a glob, a list file or several of them; `out` the folder of the files
    (`build/` beside the model), `save_ranges` the text of the calibration (calibration/int8/<model>.toml).
    `weight_bits` 7 makes a CPU file that x86 processors without VNNI add up without saturating.
    Raises InputError without frames, for ranges of another model and for a model that is quantized already.
    """
    recipe = model if isinstance(model, Recipe) else resolve_model(model)
    assert recipe.local is not None
    least = floor_of(recipe, floor)
    if unknown := [v for v in variants if v not in PLANNERS]:
        raise InputError(f"variants: expected some of {', '.join(PLANNERS)}, got {unknown[0]!r}")
    if weight_bits not in (7, 8):
        raise InputError(f"--weight-bits: expected 7 or 8, got {weight_bits}")
    if ranges is not None and frames is not None:
        raise InputError("quantize: expected --frames to measure or --ranges to repeat, got both")
    if ranges is not None:
        return _repeat(recipe, Path(ranges), least, variants, out)
    picked = pick(frames, count=count)
    graph = Graph(tidy(recipe.local))
    found = measure(recipe, graph, picked.calibration, picked.sources, calibrator, progress)
    found = dataclasses.replace(_add_means(recipe, graph, found, picked, progress), weight_bits=weight_bits)
    target = Path(save_ranges) if save_ranges is not None else FOLDER / f"{recipe.name}.toml"
    report = Report(recipe, found, target, least, judged_on=len(picked.held_out))
    _warn(report, picked)
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / "float.onnx"
        save_model(graph.model, plain)
        judge = Judge(recipe, picked.held_out or picked.calibration, plain)
        ranker = Judge(recipe, picked.calibration, plain).busiest(RANKING_FRAMES)
        for variant in variants:
            search = _Search(graph, report.calibration, variant, ranker, judge, progress)
            if recipe.task == "detect" and variant == "int8-cpu":
                search.always = last_layers(graph)
            kept, agreement = search.run(least)
            report.calibration = with_keep(report.calibration, {variant: kept})
            report.made.append(_write(report, graph, variant, out, agreement, search.costs))
    report.warnings += [_miss(m, least) for m in report.below] + [
        _little(m) for m in report.made if _is_little(m)
    ]
    write_ranges(report.calibration, target)
    for one in report.made:
        _record(report, one)
    return report


def _repeat(
    recipe: Recipe, path: Path, floor: float, variants: Sequence[str], out: str | Path | None
) -> Report:
    """The files of stored ranges, byte for byte as they were."""
    found = read_ranges(path)
    must_fit(found, recipe, path)
    assert recipe.local is not None
    graph = Graph(tidy(recipe.local))
    report = Report(recipe, found, path, floor)
    for variant in variants:
        report.made.append(_write(report, graph, variant, out, None, {}))
        _record(report, report.made[-1])
    return report


def _add_means(
    recipe: Recipe, graph: Graph, found: Calibration, picked: Picked, progress: Progress | None
) -> Calibration:
    assert recipe.local is not None
    scales = {v: PLANNERS[v](graph, found.spans).tensors for v in PLANNERS}
    with OrtEngine(recipe.local, device="cpu", threads=1) as engine:
        feed = Feed(recipe, engine)
        means = measure_means(graph, feed, picked.calibration, scales, progress)
    return dataclasses.replace(found, means=means)


def _warn(report: Report, picked: Picked) -> None:
    seen, held = len(picked.calibration), len(picked.held_out)
    if seen < FEW:
        report.warnings.append(
            f"{seen} frames are few to calibrate on: ranges settle from about {FEW}; give more with --frames"
        )
    if report.calibration.weight_bits == 8 and saturates():
        report.warnings.append(
            "this processor has no VNNI: its sums of byte products may saturate; where the agreement is low, "
            "try --weight-bits 7"
        )
    if not held:
        report.warnings.append("one frame only: the agreement is judged on the frame that was calibrated on")


def _is_little(made: Made) -> bool:
    return 2 * len(made.plan.layers) < len(made.plan.layers) + len(made.plan.kept)


def _little(made: Made) -> str:
    total = len(made.plan.layers) + len(made.plan.kept)
    return (
        f"{made.variant}: only {len(made.plan.layers)} of {total} layers are INT8, so that little is gained: "
        "take FP16 on a GPU, FP32 on a CPU, or a lower floor"
    )


def saturates() -> bool:
    """Whether this is an x86 processor without VNNI, as far as Linux tells."""
    features = processor_features()
    return "avx2" in features and not features & {"avx512_vnni", "avx_vnni"}


def _miss(made: Made, floor: float) -> str:
    assert made.agreement is not None
    if not made.agreement.proven:
        return (
            f"{made.variant} is not proven: neither it nor the model saw anything in the held-out frames; "
            "give frames that show what the model looks for"
        )
    return (
        f"{made.variant} agrees on {made.agreement.share:.1%}, below the floor of {floor:.1%}: do not use it "
        "before frames, calibrator or floor are changed"
    )


def last_layers(graph: Graph) -> tuple[str, ...]:
    """Layers behind which no other comes: a detector's boxes and scores, too coarse in 256 steps."""
    inside = graph.feeding_layers()
    return tuple(n.name for n in graph.layers() if n.output[0] not in inside)


def build(graph: Graph, found: Calibration, variant: str, keep: frozenset[str]) -> tuple[Any, Plan]:
    """The model of a variant with these activations and layers kept, and its plan."""
    plan = PLANNERS[variant](graph, found.spans, keep)
    if variant == "int8-cpu":
        plan = dataclasses.replace(plan, weight_bits=found.weight_bits)
    means = (found.means["float"], found.means.get(variant, {})) if "float" in found.means else None
    return written(graph, plan, means), plan


class _Search:
    """Which activations (CPU) or layers (TensorRT) have to stay float for the floor to hold."""

    def __init__(
        self,
        graph: Graph,
        found: Calibration,
        variant: str,
        ranker: Judge,
        judge: Judge,
        progress: Progress | None,
    ) -> None:
        self.graph, self.found, self.variant = graph, found, variant
        self.ranker, self.judge, self.progress = ranker, judge, progress
        self.costs: dict[str, float] = {}
        self._as_written = variant in FOR_TENSORRT
        self.always: tuple[str, ...] = ()
        """Layers that stay float whatever they cost."""

    def run(self, floor: float) -> tuple[tuple[str, ...], Agreement]:
        """The fewest that were found to do, those that cost most first, and the agreement with them."""
        agreement = self._try(0)
        if agreement.share >= floor:
            return self.always, agreement
        self._rank()
        low, high, best = 0, 1, agreement
        while high < len(self.costs) and (best := self._try(high)).share < floor:
            low, high = high, high * 2
        high = min(high, len(self.costs))
        best = self._try(high)
        while high - low > max(1, high // 8):
            middle = (low + high) // 2
            tried = self._try(middle)
            low, high, best = (low, middle, tried) if tried.share >= floor else (middle, high, best)
        return (*self.always, *list(self.costs)[:high]), best

    def _try(self, count: int) -> Agreement:
        keep = frozenset([*self.always, *list(self.costs)[:count]])
        model = build(self.graph, self.found, self.variant, keep)[0]
        agreement = self.judge.agreement(model, disable_optimizations=self._as_written)
        if self.progress:
            self.progress(f"{self.variant}: {agreement.share:.1%} with {count} kept", count, len(self.costs))
        return agreement

    def _worth(self, plan: Plan) -> tuple[str, ...]:
        """Activations whose cost is measured: not those that are another's bytes moved, nor gates."""
        other = (*SAME, "Sigmoid", "HardSigmoid")
        makers = {t: self.graph.maker[t].op_type for t in plan.tensors if t in self.graph.maker}
        return tuple(t for t in plan.tensors if makers.get(t) not in other)

    def _rank(self) -> None:
        plan = PLANNERS[self.variant](self.graph, self.found.spans)
        names = self._worth(plan) if self.variant == "int8-cpu" else plan.layers
        costs = {}
        for number, name in enumerate(names):
            if self.variant == "int8-cpu":
                model = with_pairs(self.graph, {name: plan.tensors[name]})
            else:
                model, _ = build(self.graph, self.found, self.variant, frozenset(plan.layers) - {name})
            costs[name] = self.ranker.drift(model, disable_optimizations=self._as_written)
            if self.progress:
                self.progress(f"{self.variant}: what each layer costs", number + 1, len(names))
        self.costs = dict(sorted(costs.items(), key=lambda item: -item[1]))


def _write(
    report: Report,
    graph: Graph,
    variant: str,
    out: str | Path | None,
    agreement: Agreement | None,
    costs: Mapping[str, float],
) -> Made:
    kept = report.calibration.keep.get(variant, ())
    model, plan = build(graph, report.calibration, variant, frozenset(kept))
    path = variant_path(report.recipe, variant, folder=out)
    sha256 = save_model(model, path)
    faster = pace(report.recipe, path) if variant == "int8-cpu" else None
    if faster is not None and faster < WORTH:
        report.warnings.append(slow(variant, faster))
    return Made(variant, path, sha256, plan, agreement, kept, costs, faster)


def _record(report: Report, made: Made) -> None:
    """The JSON beside a file that says how it was made."""
    found = report.calibration
    record = {
        "variant": made.variant,
        "sha256": made.sha256,
        "model": report.recipe.name,
        "source": found.file,
        "source_sha256": found.sha256,
        "precision": "int8",
        "scheme": SCHEMES[made.variant],
        "weight_bits": made.plan.weight_bits,
        "calibration": {
            "ranges": report.ranges.name,
            "calibrator": found.calibrator,
            "frames": found.frames,
            "frames_sha256": found.frames_sha256,
            "sources": list(found.sources),
        },
        "versions": dict(found.versions),
        "layers_int8": len(made.plan.layers),
        "layers_float": list(made.plan.kept),
        "kept": list(made.kept),
        "floor": report.floor,
        "agreement": dataclasses.asdict(made.agreement) if made.agreement else None,
        "judged_on_frames": report.judged_on,
        "faster": round(made.faster, 2) if made.faster is not None else None,
        "costs": {k: round(v, 6) for k, v in made.costs.items()},
        "warnings": report.warnings,
    }
    text = json.dumps(record, indent=1, ensure_ascii=False) + "\n"
    record_path(made.path).write_text(text, encoding="utf-8")


SCHEMES = {
    "int8-cpu": "U8S8: activations uint8 with a zero point, weights int8 a channel, biases int32",
    "int8-trt": "S8S8: inputs of layers int8 symmetric, weights int8 a channel, biases float",
}
