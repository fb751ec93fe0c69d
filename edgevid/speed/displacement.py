"""The displacement method: how far a track went from one counted frame to the next, over the time between."""

import math
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from edgevid.errors import InputError
from edgevid.speed.window import WindowCore, unit
from edgevid.types import F64, I64, Array


@dataclass(frozen=True, slots=True)
class Displacement:
    """The displacement between frame i and i + n, counted from each track's own first frame, then the mean of
    the last k of them."""

    frames: int | None = None  # n in frames; None takes `seconds`
    seconds: float = 1 / 3  # n in seconds
    average: int = 3  # k: displacements that are averaged
    average_s: float | None = None  # k in seconds: those that ended so long before the newest; overrides `average`
    vector: bool = False  # Mean of the displacement vectors instead of their lengths: no bias at rest

    def __post_init__(self) -> None:
        counts = (self.frames is None or self.frames >= 1) and self.average >= 1
        if not (counts and self.seconds > 0 and (self.average_s is None or self.average_s >= 0)):
            expected = "frames >= 1, seconds > 0, average >= 1 and average_s >= 0"
            raise InputError(f"Displacement: expected {expected}, got {self}")


class _Place(NamedTuple):
    """The position of a track at a counted frame."""

    time: float
    meters: F64  # (2,)
    root: F64  # (2, 2) square root of its covariance


class _Value(NamedTuple):
    """The last velocity of a track."""

    time: float
    velocity: F64  # (2,) m/s; its length may be a mean of lengths
    variance: float
    place: F64  # (2,) meters
    mean: F64  # (2,) m/s, the mean vector


_NO_VALUE = _Value(math.nan, np.full(2, np.nan), math.nan, np.full(2, np.nan), np.full(2, np.nan))


class DisplacementCore(WindowCore):
    """Displacements of all tracks, averaged over the last k and stamped at the middle of what was averaged.
    Where a track is missed at its frame, the next sighting takes its place, over the time that really passed.
    Outliers are those of a window of half a second."""

    def __init__(self, settings: Displacement, process_noise: float, to_ground: F64, lost_after_s: float = 0.0) -> None:
        self._settings = settings
        super().__init__(0.5, process_noise, to_ground, lost_after_s)

    def reset(self) -> None:
        super().reset()
        self._anchors: dict[int, _Anchor] = {}

    def _clear(self, slot: int) -> None:
        super()._clear(slot)
        self._anchors.pop(slot, None)

    def _measure(self, ids: I64, slots: I64, good: Array, time: float) -> tuple[F64, Array]:
        fresh = self._move(slots, good, time)
        values = [self._anchors[i].value if i in self._anchors else _NO_VALUE for i in slots.tolist()]
        when, velocity, variance, place, mean = (np.array(column) for column in zip(*values, strict=True))
        return self.rows(slots, time, np.isfinite(when), when, velocity, variance, place, motion=mean), fresh

    def _move(self, slots: I64, good: Array, time: float) -> Array:
        """Takes the displacements that are due; (N,) whose value is new."""
        state, fresh = self.state[slots], np.zeros(len(slots), bool)
        n, since = self._settings.frames, time - state["first_seen"]
        grid = np.floor(state["frames"] / n if n is not None else (since + 1e-6) / self._settings.seconds)
        for row in np.flatnonzero(good):
            anchor = self._anchors.setdefault(int(slots[row]), _Anchor())
            if grid[row] > anchor.grid:
                fresh[row] = anchor.move(grid[row], _Place(time, *self.newest(slots[row])), self._settings, self._q)
        return fresh


@dataclass(slots=True)
class _Anchor:
    """The last counted positions of one track, and what follows from the displacements between them."""

    grid: float = -1.0
    places: list[_Place] = field(default_factory=list)
    value: _Value = _NO_VALUE

    def move(self, grid: float, place: _Place, settings: Displacement, q: float) -> bool:
        """Counts one more position; whether there is a displacement to it."""
        self.grid = grid
        self.places.append(place)
        if settings.average_s is None:
            steps = settings.average
        else:
            steps = sum(one.time >= place.time - settings.average_s - 1e-9 for one in self.places[1:])
        self.places = self.places[-steps - 1 :]
        if len(self.places) < 2:
            return False
        first = self.places[0]
        moved = np.diff([one.meters for one in self.places], axis=0)
        seconds = np.diff([one.time for one in self.places])
        mean = (moved / seconds[:, None]).mean(0)
        speed = float(np.hypot(*mean)) if settings.vector else float((np.hypot(*moved.T) / seconds).mean())
        u = unit(mean[None])[0]
        # The displacements follow on one another: of their mean only the two ends are left.
        ends = float(((u @ first.root) ** 2).sum() + ((u @ place.root) ** 2).sum())
        length = place.time - first.time
        variance = ends / length**2 + q * length / 12
        middle = (first.time + place.time) / 2
        self.value = _Value(middle, u * speed, variance, place.meters - moved.sum(0) / 2, mean)
        return True
