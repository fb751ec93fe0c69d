"""Which objects are recognized now: by priority, within a number of recognitions per second."""

import numpy as np

from edgevid.errors import InputError
from edgevid.types import Array

NEVER, UNCERTAINTY, AGE, NOVELTY = 2.0, 1.0, 0.5, 2.0
"""Weights of an object's urgency; each multiplies a value between 0 and about 1."""
AGE_S = 5.0  # Seconds since the last recognition that count as an age of 1


def urgency(never: Array, uncertainty: Array, age_s: Array, novelty: Array) -> Array:
    """(N,) urgency of objects from (N,) columns.

    Whether an object was `never` recognized so far; the entropy of its last scores over that of a uniform
    answer (1 before any); seconds since its last recognition; mean change of its image since then, 0 to 1.
    """
    age = np.minimum(age_s / AGE_S, 4.0)
    return np.asarray(NEVER * never + UNCERTAINTY * uncertainty + AGE * age + NOVELTY * novelty)


class TokenBucket:
    """Limits recognitions per second, with bursts of at most one engine batch."""

    def __init__(self, per_second: float | None, burst: int) -> None:
        """None gives no limit but `burst` at a time."""
        if per_second is not None and not per_second > 0:
            raise InputError(f"budget: expected recognitions per second above 0 or None, got {per_second}")
        if burst < 1:
            raise InputError(f"burst: expected at least 1, got {burst}")
        self.per_second, self.burst = per_second, burst
        self.reset()

    def reset(self) -> None:
        """A full bucket."""
        self._tokens, self._time = float(self.burst), np.nan

    def take(self, wanted: int, time: float) -> int:
        """How many of `wanted` may run now; they are taken from the bucket."""
        if self.per_second is None:
            return min(wanted, self.burst)
        if not np.isnan(self._time):
            self._tokens = min(self._tokens + (time - self._time) * self.per_second, float(self.burst))
        self._time = time
        taken = min(wanted, int(self._tokens + 1e-9))
        self._tokens -= taken
        return taken


def entropy_share(values: Array) -> Array:
    """(N,) entropy of probabilities (N, C) over ln C: 0 certain, 1 uniform.

    >>> entropy_share(np.array([[1.0, 0.0], [0.5, 0.5]])).tolist()
    [0.0, 1.0]
    """
    if values.shape[1] < 2:
        return np.zeros(len(values))
    p = np.clip(values.astype(np.float64), 0.0, 1.0)
    terms = np.where(p > 0, p * np.log(np.where(p > 0, p, 1.0)), 0.0)
    return np.asarray(np.abs(terms.sum(1)) / np.log(values.shape[1]))
