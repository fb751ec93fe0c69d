"""State of every track in arrays that are allocated once: gathered, run through a model, scattered back. A
track's state is forgotten after a gap that is too long, or when other tracks need its row. Ids are not used
again, so a stale row is harmless, and memory stays constant."""

from collections import OrderedDict
from collections.abc import Mapping

import numpy as np

from edgevid.errors import InputError
from edgevid.types import Array

CAPACITY = 256  # Tracks whose state is stored
RESET_AFTER_S = 1.0  # Gap after which the state of a model is reset, seconds
WINDOWS = 4  # Windows of a track that are averaged


class StateStore:
    """Rows of named arrays, one row per track."""

    def __init__(self, shapes: Mapping[str, tuple[int, ...]], *, capacity: int = CAPACITY,
                 reset_after_s: float = RESET_AFTER_S,
                 dtypes: Mapping[str, np.dtype[np.generic]] | None = None) -> None:  # fmt: skip
        """`shapes` of one track's state by name, without batch axis; a gap above `reset_after_s` resets a track."""
        if capacity < 1:
            raise InputError(f"capacity: expected at least 1 track, got {capacity}")
        self.capacity, self.reset_after_s = capacity, reset_after_s
        dtypes = dtypes or {}
        self._arrays = {n: np.zeros((capacity, *s), dtypes.get(n, np.float32)) for n, s in shapes.items()}
        self._time = np.full(capacity, np.nan)
        self.reset()

    def __len__(self) -> int:
        return len(self._row_of)

    def rows(self, ids: Array, times: Array) -> tuple[Array, Array]:
        """(N,) row of each id, and whether it starts from zeros: unknown, after a gap, or back in time (seconds)."""
        if len(ids) > self.capacity:
            raise InputError(f"StateStore: expected at most {self.capacity} tracks at once, got {len(ids)}")
        rows = np.array([self._row(id_) for id_ in ids.tolist()], np.intp)
        elapsed = times - self._time[rows]
        fresh = ~((elapsed >= 0) & (elapsed <= self.reset_after_s))  # also the NaN of a new row
        for array in self._arrays.values():
            array[rows[fresh]] = 0
        self._time[rows] = times
        return rows, fresh

    def _row(self, id_: int) -> int:
        row = self._row_of.pop(id_, None)
        if row is None:
            if not self._free:
                self._free.append(self._row_of.popitem(last=False)[1])
                self.evicted += 1
            row = self._free.pop()
            self._time[row] = np.nan
        self._row_of[id_] = row
        return row

    def __getitem__(self, name: str) -> Array:
        """(capacity, ...) the whole array of one state, to index with `rows`."""
        return self._arrays[name]

    def forget(self, ids: Array) -> None:
        """Frees the rows of ended tracks, `ids` (N,)."""
        for id_ in ids.tolist():
            row = self._row_of.pop(id_, None)
            if row is not None:
                self._free.append(row)

    def reset(self) -> None:
        """Forgets every track."""
        self._row_of: OrderedDict[int, int] = OrderedDict()  # the least recently used first
        self._free = list(range(self.capacity))[::-1]
        self.evicted = 0  # Tracks whose state was replaced because the store was full


class OverlapMean:
    """Averages a track's scores over its windows, weighted by their overlap with the newest one."""

    def __init__(self, classes: int, *, span_s: float) -> None:
        """`span_s` is a window's length in seconds."""
        if not span_s > 0:
            raise InputError(f"span_s: expected more than 0 seconds, got {span_s}")
        self.span_s = span_s
        shapes = {"values": (WINDOWS, classes), "ends": (WINDOWS,), "there": (WINDOWS,)}
        self._store = StateStore(shapes, reset_after_s=span_s, dtypes={"ends": np.dtype(np.float64)})

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
