"""Activation ranges on frames (extremes, percentile, entropy), in memory that does not depend on values.

The histogram of an activation has one bin for all float32 values that share their upper 16 bits (sign,
exponent, 7 bits of the mantissa): 0.8 % wide at every magnitude, so that one huge value costs neither memory
nor resolution, and a constant is a bin like any other.
"""

from collections.abc import Iterable, Sequence
from typing import Literal, get_args

import numpy as np

from edgevid.optimize.quantize.graph import Graph, load_onnx
from edgevid.runtime.onnxruntime.session import open_session
from edgevid.types import Array

Calibrator = Literal["min-max", "percentile", "entropy"]
CALIBRATORS: tuple[Calibrator, ...] = get_args(Calibrator)
BINS, NEGATIVE = 1 << 16, 1 << 15
PERCENTILE = 99.999  # Share of an activation's values, in percent, that the percentile calibrator's range holds
LINEAR_BINS, LEVELS, STEP = 1024, 128, 8
"""Entropy: bins of |x|, levels of INT8's half, and bins from one tried threshold to the next."""


def activation_ranges(
    graph: Graph,
    inputs: Iterable[dict[str, Array]],
    calibrator: Calibrator,
    *,
    operators: Sequence[str] | None = None,
    percentile: float = PERCENTILE,
) -> dict[str, tuple[float, float]]:
    """(lowest, highest) of each float activation over all `inputs`, by tensor name.

    `operators` are those whose inputs and outputs are measured (None: all). An activation that has values
    which are not finite has a range that is not finite.
    """
    nodes = [n for n in graph.nodes if operators is None or n.op_type in operators]
    names = dict.fromkeys(t for n in nodes for t in (*n.input, *n.output) if t in graph.floats)
    computed = [name for name in names if name not in graph.inputs]
    session = open_session(_with_outputs(graph, computed), threads=1, optimization="none")
    tallies = {name: _Tally(histogram=calibrator != "min-max") for name in names}
    for given in inputs:
        values = {**given, **dict(zip(computed, session.run(computed, given), strict=True))}
        for name, tally in tallies.items():
            tally.add(values[name])
    found = {name: tally.range(calibrator, percentile) for name, tally in tallies.items()}
    return {name: limits for name, limits in found.items() if limits is not None}


def _with_outputs(graph: Graph, names: Sequence[str]) -> bytes:
    """The model with further outputs."""
    onnx = load_onnx()
    model = onnx.ModelProto()
    model.CopyFrom(graph.model)
    for name in names:
        if name not in graph.outputs:
            model.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    return bytes(model.SerializeToString())


class _Tally:
    """The extremes of one activation, and how often each pattern of the upper 16 bits occurred."""

    def __init__(self, *, histogram: bool) -> None:
        self.low, self.high = np.inf, -np.inf
        self.counts = np.zeros(BINS, np.int64) if histogram else None

    def add(self, values: Array) -> None:
        """Counts one run's values."""
        flat = np.ascontiguousarray(values, np.float32).reshape(-1)
        if not flat.size:
            return
        # A NaN stays one: numpy's minimum propagates it.
        self.low = float(np.minimum(self.low, flat.min()))
        self.high = float(np.maximum(self.high, flat.max()))
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
    """The |x| at which to clip, so that 128 levels lose the least information. S. Migacz, "8-bit Inference
    with TensorRT", GTC 2017: the least Kullback-Leibler divergence of the clipped distribution from the
    rounded one."""
    if not largest > 0:
        return largest
    edges = np.linspace(0.0, largest, LINEAR_BINS + 1)
    finite = EDGES[1:-1]
    below = np.cumsum(counts)[:-1].astype(np.float64)
    upper, lower = np.interp(edges, finite, below), np.interp(-edges, finite, below)
    bins = np.maximum(np.diff(upper - lower), 0.0)
    bins[0] = bins[1]  # zeros are exact at every threshold
    bins[-1] += counts.sum() - (upper[-1] - lower[-1])  # beyond the largest
    scored = [(_divergence(bins, end), end) for end in range(LEVELS, LINEAR_BINS + 1, STEP)]
    return float(edges[min(scored)[1]])


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
