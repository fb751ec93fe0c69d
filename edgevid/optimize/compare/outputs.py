"""The differences of the raw outputs of two engines."""

import math
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from edgevid.runtime import Engine, TensorSpec
from edgevid.types import Array


@dataclass(frozen=True, slots=True)
class OutputParity:
    """One output of two engines over all frames; values that are not finite in either are left out."""

    name: str
    max_abs: float
    """Largest |a - b|, in the output's own unit."""
    mean_abs: float
    """Mean |a - b|."""
    scale: float
    """Root mean square of the reference, to compare the errors with."""
    cosine: float
    """Mean over the frames of cos(a, b) of the flattened output; 1 where both are zero."""
    min_cosine: float
    """That of the frame with the least."""
    non_finite: int
    """Values finite in the reference and NaN or infinite in the candidate."""

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON, rounded to six significant digits."""
        return {k: float(f"{v:.6g}") if isinstance(v, float) else v for k, v in asdict(self).items()}


class RecordingEngine:
    """An engine that keeps its last outputs, and when it was called and returned them."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.inputs, self.outputs = engine.inputs, engine.outputs
        self.last: dict[str, Array] = {}  # The arrays of the last run, valid until the next
        self.called = self.returned = 0.0

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """The engine's outputs."""
        self.called = time.perf_counter()
        self.last = self._engine.run(inputs)
        self.returned = time.perf_counter()
        return self.last

    def close(self) -> None:
        """Does nothing: the engine belongs to the caller."""


class OutputTally:
    """Sums up differences frame by frame."""

    def __init__(self, specs: tuple[TensorSpec, ...]) -> None:
        self._sums = {spec.name: _Sum() for spec in specs}
        self.uncompared = 0  # Frames on which the shapes of an output differed

    def add(self, a: Mapping[str, Array], b: Mapping[str, Array]) -> None:
        """One more frame; where the batches differ, the first image's rows are compared."""
        compared = True
        for name, tally in self._sums.items():
            left, right = np.asarray(a[name]), np.asarray(b[name])
            if left.shape != right.shape and left.ndim == right.ndim and left.ndim:
                left, right = left[:1], right[:1]
            compared &= left.shape == right.shape
            if left.shape == right.shape:
                tally.add(left, right)
        self.uncompared += not compared

    def metrics(self) -> tuple[OutputParity, ...]:
        """One row per output that was compared at least once."""
        return tuple(s.metrics(name) for name, s in self._sums.items() if s.cosines)


class _Sum:
    def __init__(self) -> None:
        self.high = self.total = self.squares = 0.0
        self.count = self.non_finite = 0
        self.cosines: list[float] = []

    def add(self, left: Array, right: Array) -> None:
        a, b = (np.asarray(x, np.float64).ravel() for x in (left, right))
        finite_a, finite_b = np.isfinite(a), np.isfinite(b)
        non_finite = int((finite_a & ~finite_b).sum())
        self.non_finite += non_finite
        both = finite_a & finite_b
        if not both.all():
            a, b = a[both], b[both]
        difference = np.abs(a - b)
        self.high = max(self.high, float(difference.max(initial=0.0)))
        self.total += float(difference.sum())
        self.squares += float(a @ a)
        self.count += len(a)
        self.cosines.append(0.0 if non_finite and not len(a) else cosine(a, b))

    def metrics(self, name: str) -> OutputParity:
        count = max(self.count, 1)
        return OutputParity(
            name, self.high, self.total / count, math.sqrt(self.squares / count),
            float(np.mean(self.cosines)), min(self.cosines), self.non_finite,
        )  # fmt: skip


def cosine(a: Array, b: Array) -> float:
    """Cosine similarity of two vectors; 1 where both are zero, 0 where one is or a value is not finite."""
    norm = math.sqrt(float(a @ a)) * math.sqrt(float(b @ b))
    if norm == 0 or not math.isfinite(norm):
        return float(not a.any() and not b.any())
    return min(1.0, float(a @ b) / norm)
