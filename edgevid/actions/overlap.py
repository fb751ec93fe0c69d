"""The mean over a track's overlapping windows."""

from __future__ import annotations

import numpy as np

from edgevid.actions.track_state import StateStore
from edgevid.errors import InputError
from edgevid.types import Array


class OverlapMean:
    """Averages a track's scores over its windows, weighted by their overlap with the newest one."""

    def __init__(self, classes: int, *, span_s: float, keep: int = 4, capacity: int = 256) -> None:
        """`span_s` is a window's length in seconds, `keep` how many windows are remembered."""
        if not span_s > 0:
            raise InputError(f"span_s: expected more than 0 seconds, got {span_s}")
        self.span_s = span_s
        shapes: dict[str, tuple[int, ...]] = {"values": (keep, classes), "ends": (keep,), "there": (keep,)}
        times = {"ends": np.dtype(np.float64)}
        self._store = StateStore(shapes, capacity=capacity, reset_after_s=span_s, dtypes=times)

    def update(self, ids: Array, values: Array, times: Array) -> Array:
        """(M, C) averaged probabilities of the windows that end at `times` (M,)."""
        rows, _ = self._store.rows(ids, times)
        for name, new in (("values", values), ("ends", times), ("there", np.ones(len(ids)))):
            array = self._store[name]
            array[rows] = np.concatenate((array[rows][:, 1:], np.asarray(new)[:, None]), axis=1)
        ends = np.where(self._store["there"][rows] > 0, self._store["ends"][rows], np.nan)
        weights = overlap_weights(ends, self.span_s)[..., None]
        return np.asarray((self._store["values"][rows] * weights).sum(1) / weights.sum(1), np.float32)

    def reset(self) -> None:
        """Forgets every track."""
        self._store.reset()


def overlap_weights(ends_s: Array, span_s: float) -> Array:
    """(..., K) share of the newest window that each window covers: 1 for itself, 0 without overlap.

    `ends_s` (..., K) are the windows' last moments, the newest last, NaN where empty.

    >>> overlap_weights(np.array([0.0, 2.0, 4.0]), 4.0).tolist()
    [0.0, 0.5, 1.0]
    """
    apart = ends_s[..., -1:] - ends_s
    return np.where(np.isnan(apart), 0.0, np.clip(1.0 - apart / span_s, 0.0, 1.0))
