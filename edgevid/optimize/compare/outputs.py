"""How far the raw outputs of two engines lie apart."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from edgevid.runtime import Engine, TensorSpec
from edgevid.types import Array


@dataclass(frozen=True, slots=True)
class OutputParity:
    """One output of two engines over all frames; values that are no numbers in either are left out."""

    name: str
    max_abs: float
    """Largest |a - b|, in the output's own unit."""
    mean_abs: float
    """Mean |a - b|."""
    scale: float
    """Root mean square of the reference: what the errors are to be measured by."""
    cosine: float
    """Mean over the frames of cos(a, b) of the flattened output; 1 where both are zero."""
    least_cosine: float
    """The frame with the least."""
    broken: int
    """Values finite in the reference and NaN or infinite in the candidate."""

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON, rounded to six significant digits."""
        return {k: float(f"{v:.6g}") if isinstance(v, float) else v for k, v in asdict(self).items()}


class Watched:
    """An engine that remembers what it answered last."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.inputs, self.outputs = engine.inputs, engine.outputs
        self.last: dict[str, Array] = {}
        """The arrays of the last run, valid until the next."""

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """The engine's own answer."""
        self.last = self._engine.run(inputs)
        return self.last

    def close(self) -> None:
        """The engine stays open: it is the caller's."""

    def __enter__(self) -> Watched:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class OutputTally:
    """Gathers differences frame by frame."""

    def __init__(self, specs: tuple[TensorSpec, ...]) -> None:
        self._sums = {spec.name: _Sum() for spec in specs}
        self.uncompared = 0
        """Frames on which an output had another shape in each engine."""

    def add(self, a: Mapping[str, Array], b: Mapping[str, Array]) -> None:
        """One more frame; where the batches differ, the first image's rows are compared."""
        different = False
        for name, tally in self._sums.items():
            left, right = np.asarray(a[name]), np.asarray(b[name])
            if left.shape != right.shape and left.ndim == right.ndim and left.ndim:
                left, right = left[:1], right[:1]
            if left.shape == right.shape:
                tally.add(left, right)
            else:
                different = True
        self.uncompared += different

    def figures(self) -> tuple[OutputParity, ...]:
        """One row an output that was compared at least once."""
        return tuple(s.figures(name) for name, s in self._sums.items() if s.cosines)


class _Sum:
    def __init__(self) -> None:
        self.high = self.total = self.squares = 0.0
        self.count = self.broken = 0
        self.cosines: list[float] = []

    def add(self, left: Array, right: Array) -> None:
        a, b = (np.asarray(x, np.float64).ravel() for x in (left, right))
        sound_a, sound_b = np.isfinite(a), np.isfinite(b)
        self.broken += int((sound_a & ~sound_b).sum())
        both = sound_a & sound_b
        if not both.all():
            a, b = a[both], b[both]
        apart = np.abs(a - b)
        self.high = max(self.high, float(apart.max(initial=0.0)))
        self.total += float(apart.sum())
        self.squares += float(a @ a)
        self.count += len(a)
        self.cosines.append(_cosine(a, b))

    def figures(self, name: str) -> OutputParity:
        count = max(self.count, 1)
        return OutputParity(
            name, self.high, self.total / count, math.sqrt(self.squares / count),
            float(np.mean(self.cosines)), min(self.cosines), self.broken,
        )  # fmt: skip


def _cosine(a: Array, b: Array) -> float:
    norm = math.sqrt(float(a @ a)) * math.sqrt(float(b @ b))
    if norm == 0:
        return 1.0 if not a.any() and not b.any() else 0.0
    return min(1.0, float(a @ b) / norm)
