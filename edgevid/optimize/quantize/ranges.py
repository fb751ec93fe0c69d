"""Activation ranges on frames (extremes, percentile, entropy), stored as readable text.

The file under calibration/int8/ states the model, the frames and how they were measured; from it alone the quantized
files are made again, byte for byte, without a frame (`edgevid quantize --ranges FILE`).

The histogram of an activation has one bin for all float32 values that share their upper 16 bits (sign, exponent, 7
bits of the mantissa): 0.8 % wide at every magnitude, whatever the values."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import numpy as np

from edgevid._version import __version__
from edgevid.errors import check_choice
from edgevid.files import Checked, Count, checked, read_toml, toml_table, vars_of
from edgevid.optimize.frames import FrameRunner, frames_sha256
from edgevid.optimize.quantize.graph import WEIGHTED_OPS, Graph, load_onnx, with_outputs
from edgevid.optimize.quantize.plan import INTEGER_OPS, PASS_THROUGH_OPS, PLANNERS, Range, Scale
from edgevid.runtime import LocalRecipe, model_digest
from edgevid.runtime.onnxruntime.engine import OrtEngine, open_session, version
from edgevid.types import Array, Frame, Progress

Calibrator = Literal["min-max", "percentile", "entropy"]
CALIBRATORS: tuple[Calibrator, ...] = get_args(Calibrator)
BINS, NEGATIVE = 1 << 16, 1 << 15
PERCENTILE = 99.999  # Share of an activation's values, in percent, that the percentile calibrator's range holds
LINEAR_BINS, LEVELS, STEP = 1024, 128, 8  # Entropy: bins of |x|, levels of INT8's half, bins between tried thresholds


def activation_ranges(graph: Graph, inputs: Iterable[dict[str, Array]], calibrator: Calibrator, *,
                      operators: Sequence[str] | None = None,
                      percentile: float = PERCENTILE) -> dict[str, tuple[float, float]]:  # fmt: skip
    """(lowest, highest) of each float activation over all `inputs`, by tensor name. `operators` are those whose inputs
    and outputs are measured (None: all). An activation that has values which are not finite has a range that is not
    finite."""
    nodes = [n for n in graph.nodes if operators is None or n.op_type in operators]
    names = dict.fromkeys(t for n in nodes for t in (*n.input, *n.output) if t in graph.floats)
    computed = [name for name in names if name not in graph.inputs]
    session = open_session(with_outputs(graph.model, computed), threads=1, optimization="none")
    tallies = {name: _Tally(histogram=calibrator != "min-max") for name in names}
    for given in inputs:
        values = {**given, **dict(zip(computed, session.run(computed, given), strict=True))}
        for name, tally in tallies.items():
            tally.add(values[name])
    found = {name: tally.range(calibrator, percentile) for name, tally in tallies.items()}
    return {name: limits for name, limits in found.items() if limits is not None}


class _Tally:
    """The extremes of one activation, and how often each pattern of the upper 16 bits occurred."""

    def __init__(self, *, histogram: bool) -> None:
        self.low, self.high = np.inf, -np.inf
        self.counts = np.zeros(BINS, np.int64) if histogram else None

    def add(self, values: Array) -> None:
        """Counts one run's values."""
        flat = np.ascontiguousarray(values, np.float32).reshape(-1)
        # A NaN stays one: numpy's minimum propagates it.
        self.low, self.high = float(flat.min(initial=self.low)), float(flat.max(initial=self.high))
        if self.counts is not None:
            self.counts += np.bincount(flat.view(np.uint32) >> 16, minlength=BINS)

    def range(self, calibrator: Calibrator, percentile: float) -> tuple[float, float] | None:
        """The range by this calibrator; None where there was no value."""
        if self.low == np.inf and self.high == -np.inf:
            return None
        low, high = self.low, self.high
        if self.counts is None or not np.isfinite([low, high]).all():
            return low, high
        # The patterns of negative numbers rise as the numbers fall.
        counts = np.concatenate([self.counts[: NEGATIVE - 1 : -1], self.counts[:NEGATIVE]])
        share, cut = np.cumsum(counts) / counts.sum(), (100 - percentile) / 200
        # Below the edge of a bin lie all bins before it.
        low = max(low, float(EDGES[np.searchsorted(share, cut, side="right")]))
        high = min(high, float(EDGES[np.searchsorted(share, 1 - cut) + 1]))
        if calibrator == "entropy":
            end = _entropy_threshold(counts, max(-low, high))
            low, high = (max(low, -end), min(high, end)) if low < end and high > -end else (low, high)
        return low, high


def _edges() -> Array:
    """(BINS + 1,) float64 edges of the bins, in order of their values."""
    bits = np.arange(NEGATIVE, dtype=np.uint32) << 16
    with np.errstate(invalid="ignore"):
        positive = np.nan_to_num(bits.view(np.float32).astype(np.float64), nan=np.inf, posinf=np.inf)
    return np.concatenate([[-np.inf], -positive[::-1], positive[1:], [np.inf]])


EDGES = _edges()


def _entropy_threshold(counts: Array, largest: float) -> float:
    """The |x| at which to clip, so that 128 levels lose the least information. S. Migacz, "8-bit Inference with
    TensorRT", GTC 2017: the least Kullback-Leibler divergence of the clipped distribution from the rounded one."""
    if not largest > 0:
        return largest
    edges = np.linspace(0.0, largest, LINEAR_BINS + 1)
    finite = EDGES[1:-1]
    below = np.cumsum(counts)[:-1].astype(np.float64)
    upper, lower = np.interp(edges, finite, below), np.interp(-edges, finite, below)
    bins = np.maximum(np.diff(upper - lower), 0.0)
    bins[0] = bins[1]  # zeros are exact at every threshold
    bins[-1] += counts.sum() - (upper[-1] - lower[-1])  # beyond the largest
    return float(edges[min(range(LEVELS, LINEAR_BINS + 1, STEP), key=lambda end: _divergence(bins, end))])


def _divergence(bins: Array, end: int) -> float:
    """KL divergence of `bins` clipped to the first `end` from the same in LEVELS levels, inf for none."""
    clipped = bins[:end].copy()
    clipped[-1] += bins[end:].sum()
    level = np.arange(end) * LEVELS // end
    filled = bins[:end] > 0
    sums = np.bincount(level, bins[:end], minlength=LEVELS)
    share = sums / np.maximum(np.bincount(level, filled, minlength=LEVELS), 1)
    rounded = np.where(filled, share[level], 0.0)
    if not rounded.sum():
        return np.inf
    p, q = clipped / clipped.sum(), np.maximum(rounded / rounded.sum(), 1e-12)
    return float((p[p > 0] * np.log(p[p > 0] / q[p > 0])).sum())


MEASURED_OPS = (*WEIGHTED_OPS, *INTEGER_OPS, "Relu", "Clip", "MaxPool")
"""Operators whose inputs and outputs are measured; pass-through operators have the range of their input."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What was measured, and how."""

    model: str
    file: str
    sha256: str  # Of the model's ONNX file
    calibrator: str
    frames: Count
    frames_sha256: str  # Of the images after preprocessing
    sources: tuple[str, ...]
    reduce_range: bool = False  # Whether the CPU file has 7-bit weights, for x86 processors without VNNI


def _range(pair: Range, _: Path) -> Range:
    if not (np.isfinite(pair).all() and pair[0] <= pair[1]):
        raise ValueError
    return pair


@dataclass(frozen=True, slots=True)
class Calibration:
    """The activation ranges of one model on real frames, and what each quantized file excludes: the file's tables."""

    measured: Measured
    ranges: Mapping[str, Annotated[Range, Checked("two finite numbers, the lower first", _range)]]
    """Lowest and highest value of each float activation."""
    versions: Mapping[str, str] = field(default_factory=dict)
    means: Mapping[str, Mapping[str, tuple[float, ...]]] = field(default_factory=dict)
    """"float", "int8-cpu", "int8-trt" -> input of a layer -> (C,) mean of each channel, rounded that way."""
    excluded: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Variant -> names of activations and layers that are not quantized, the most sensitive first."""


def measure(recipe: LocalRecipe, graph: Graph, frames: Sequence[Frame], sources: Sequence[str],
            calibrator: Calibrator = "percentile", *, reduce_range: bool = False,
            progress: Progress | None = None) -> Calibration:  # fmt: skip
    """Ranges and means of all activations over `frames`, preprocessed as the recipe states."""
    check_choice(calibrator, CALIBRATORS, "--calibrator")
    with OrtEngine(recipe.local, device="cpu", threads=1) as engine:
        runner = FrameRunner(recipe, engine)
        ranges = measure_ranges(graph, runner, frames, calibrator, progress)
        digest = frames_sha256(runner, frames)
        scales = {variant: plan(graph, ranges).tensors for variant, plan in PLANNERS.items()}
        means = measure_means(graph, runner, frames, scales, progress)
    versions = {"edgevid": __version__, "onnxruntime": version()}
    versions |= {"onnx": load_onnx().__version__, "numpy": np.__version__}
    how = f"percentile {PERCENTILE}" if calibrator == "percentile" else calibrator
    model = recipe.name, recipe.local.name, model_digest(recipe.local)
    measured = Measured(*model, how, len(frames), digest, tuple(sources), reduce_range)
    return Calibration(measured, ranges, versions, means)


def measure_ranges(graph: Graph, runner: FrameRunner, frames: Sequence[Frame], calibrator: Calibrator,
                   progress: Progress | None = None, *, only_planned: bool = True) -> dict[str, Range]:  # fmt: skip
    """Lowest and highest value of activations: of those that plans may need, or of all."""

    def inputs() -> Iterator[dict[str, Array]]:
        for number, frame in enumerate(frames):
            yield runner.inputs(frame)
            if progress:
                progress(number + 1, len(frames), "calibrating")

    found = activation_ranges(graph, inputs(), calibrator, operators=MEASURED_OPS if only_planned else None)
    # A float32 is kept as the shortest decimal that restores it.
    finite = {name: np.asarray(limits, np.float32) for name, limits in found.items() if np.isfinite(limits).all()}
    ranges = {name: (float(str(low)), float(str(high))) for name, (low, high) in finite.items()}
    for node in graph.nodes:
        if node.op_type in PASS_THROUGH_OPS and node.input[0] in ranges:
            ranges = {o: ranges[node.input[0]] for o in node.output if o in graph.floats} | ranges
    return dict(sorted(ranges.items()))


def measure_means(graph: Graph, runner: FrameRunner, frames: Sequence[Frame], scales: Mapping[Any, Mapping[str, Scale]],
                  progress: Progress | None = None) -> dict[str, dict[str, tuple[float, ...]]]:  # fmt: skip
    """Mean of each channel of the inputs of convolutions: as floats, and rounded with the scales of each variant. Four
    digits are kept. Their biases then correct the mean error of rounding (M. Nagel et al., "Data-Free Quantization
    Through Weight Equalization and Bias Correction", 2019)."""
    names = dict.fromkeys(layer.input[0] for layer in graph.layers() if layer.op_type == "Conv")
    computed = [name for name in names if name not in graph.inputs]
    session = open_session(with_outputs(graph.model, computed), threads=1)
    total: dict[str, dict[str, Any]] = {"float": {}, **{variant: {} for variant in scales}}
    for number, frame in enumerate(frames):
        given = runner.inputs(frame)
        values = {**given, **dict(zip(computed, computed and session.run(computed, given), strict=True))}
        for name in names:
            others = (0, *range(2, values[name].ndim))
            means = {"float": values[name].mean(others, dtype=np.float64)}
            for variant, chosen in scales.items():
                if scale := chosen.get(name):
                    rounded = scale.to_bytes(values[name]).mean(others, dtype=np.float64)
                    means[variant] = (rounded - scale.zero) * scale.scale
            for variant, mean in means.items():
                total[variant][name] = total[variant].get(name, 0) + mean
        if progress:
            progress(number + 1, len(frames), "means")
    for table in total.values():
        table |= {name: tuple(float(f"{v / len(frames):.4g}") for v in mean) for name, mean in table.items()}
    return total


def calibration_text(found: Calibration) -> str:
    """The calibration as TOML."""
    of = "activations and layers"
    lines = [f"# Activation ranges of {found.measured.model}, written by `edgevid quantize` (docs/quantize.md).",
             "# It is enough to make the quantized files again: edgevid quantize MODEL --ranges THIS_FILE",
             *toml_table("measured", vars_of(found.measured)), *toml_table("versions", found.versions),
             *toml_table("excluded", found.excluded, comment=f"{of} that are not quantized"),
             *toml_table("ranges", found.ranges, comment="lowest and highest value of each activation")]  # fmt: skip
    for variant, table in found.means.items():
        lines += toml_table(f"means.{variant}", table, comment="of each channel of the layers' inputs")
    return "\n".join(lines) + "\n"


def read_ranges(path: Path) -> Calibration:
    """The calibration of a file; FileFormatError names each mistake."""
    return checked(Calibration, read_toml(path), path)
