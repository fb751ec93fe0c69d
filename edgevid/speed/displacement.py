"""Two plain ways to a speed beside the filter: displacements over an interval, a line through a window.

Both keep the recent places of all tracks in one table (slot x frame) and work on all of them at once. They
speak the protocol of kernels.PlaneCore: `update` gives live rows, smoothed rows and what ended.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgevid.errors import InputError
from edgevid.speed import homography as ground
from edgevid.types import Array

COLUMNS = 10
"""time, vx, vy, variance along the motion, standing for, age, unseen for, sightings, x, y."""
CORRELATION_S = 0.15
"""Correlation time of box errors: what detectors do (0.8 a frame at 30 fps)."""
STILL_GATE, MOVING_GATE = 5.99, 16.0
"""Chi-square of 2, 95 % and 99.97 %: below the first a velocity is no motion, above the second it is one (a
parked car is asked often); between them nobody can tell."""
JUMP_GATE = 25.0
"""A sighting further off than 5 standard errors is left out; the fifth in a row starts the track anew."""
AGILE_MPS2 = 8.0
"""Acceleration that a jump must exceed: hard braking is not a jump."""
MOST = 2048
"""Sightings kept of one track for its track speed; beyond, every second one is let go."""


@dataclass(frozen=True, slots=True)
class Interval:
    """The classic: the displacement between frame i and i + n, counted from each track's own first frame,
    then the mean of the last k of them."""

    frames: int | None = None
    """n in frames; None takes `seconds`."""
    seconds: float = 1 / 3
    """n in seconds."""
    average: int = 3
    """k: measurements that are averaged."""
    average_s: float | None = None
    """k in seconds: those that ended within so long before the newest one; overrides `average`."""
    vector: bool = False
    """Mean of the displacement vectors instead of their lengths: no bias at rest."""

    def __post_init__(self) -> None:
        if (self.frames is not None and self.frames < 1) or not self.seconds > 0 or self.average < 1:
            raise InputError(
                "Interval: expected frames >= 1, seconds > 0 and average >= 1, "
                f"got {self.frames}, {self.seconds}, {self.average}"
            )
        if self.average_s is not None and not self.average_s >= 0:
            raise InputError(f"Interval: expected average_s >= 0, got {self.average_s}")


class History:
    """The places of every track over the last seconds, and straight lines through them.

    One column a frame, shared by all tracks; one row (slot) a track. What an object is (a jump, an id that
    went to another object) is judged against the line through the window.
    """

    def __init__(self, window_s: float, process_noise: float, to_ground: Array) -> None:
        self._window, self._q, self._ground = window_s, process_noise, to_ground
        self.reset()

    def reset(self) -> None:
        """Forgets everything."""
        self.slots: dict[int, int] = {}
        self._free: list[int] = []
        self._head = -1
        self.times = np.full(16, -np.inf)
        self.valid = np.zeros((0, 16), bool)
        self.place = np.zeros((0, 16, 2))
        self.root = np.zeros((0, 16, 2, 2))
        # first seen, last seen, standing since, sightings, far ones in a row, frames since the first
        self.state = np.zeros((0, 6))
        self.sightings: dict[int, list[tuple[float, float, float, float]]] = {}
        self.ended: list[tuple[int, Array]] = []

    def begin(self, time: float, ids: Array) -> Array:
        """Opens the column of this moment, lets go of tracks that are not named; the slots (N,)."""
        self._advance(time)
        present = set(ids.tolist())
        self.ended = []
        for gone in sorted(i for i in self.slots if i not in present):
            slot = self.slots.pop(gone)
            self._free.append(slot)
            self._part(gone, 0)
        return np.array([self._slot(i) for i in ids.tolist()], np.int64)

    def _part(self, i: int, moved: int) -> None:
        """The sightings of track `i` become a track speed; the last `moved` already belong to what follows."""
        rows = self.sightings.pop(i, [])
        split = len(rows) - moved
        if rows[:split]:
            self.ended.append((i, np.array(rows[:split])))
        self.sightings[i] = rows[split:]
        if not moved:
            del self.sightings[i]

    def _advance(self, time: float) -> None:
        nxt = (self._head + 1) % len(self.times)
        if self.times[nxt] >= time - self._window:  # the ring is too short for this frame rate
            order = (np.arange(len(self.times)) + nxt) % len(self.times)
            grown = len(self.times)
            self.times = np.concatenate([self.times[order], np.full(grown, -np.inf)])
            for name in ("valid", "place", "root"):
                old = getattr(self, name)[:, order]
                setattr(self, name, np.concatenate([old, np.zeros_like(old)], 1))
            nxt = grown
        self._head = nxt
        self.times[nxt] = time
        self.valid[:, nxt] = False

    def _slot(self, i: int) -> int:
        if i in self.slots:
            return self.slots[i]
        if not self._free:
            grown = max(8, len(self.state))
            self._free = list(range(len(self.state) + grown - 1, len(self.state) - 1, -1))
            for name in ("valid", "place", "root", "state"):
                old = getattr(self, name)
                setattr(self, name, np.concatenate([old, np.zeros((grown, *old.shape[1:]), old.dtype)]))
        slot = self.slots[i] = self._free.pop()
        self._clear(slot)
        return slot

    def _clear(self, slot: int) -> None:
        self.valid[slot] = False
        self.state[slot] = (math.nan, math.nan, math.nan, 0, 0, -1)

    def add(self, slots: Array, ids: Array, pixels: Array, noise: Array, good: Array, time: float) -> Array:
        """Writes the sightings of this moment; (N,) those that count: seen, and where they can be."""
        place = ground.apply(self._ground, pixels)
        good = good & np.isfinite(place).all(1)
        known = self.state[slots, 3] >= 5
        if (known & good).any():
            rows = np.flatnonzero(known & good)
            far = self._far(slots[rows], place[rows], pixels[rows], noise[rows], time)
            self.state[slots[rows], 4] = np.where(far, self.state[slots[rows], 4] + 1, 0)
            for n in rows[far]:
                if self.state[slots[n], 4] >= 5:  # it is somewhere else for good
                    self._part(int(ids[n]), 4)
                    self._clear(slots[n])
                else:
                    good[n] = False
                    self._remember(int(ids[n]), time, pixels[n], noise[n])
        seen = slots[good]
        self.valid[seen, self._head] = True
        self.place[seen, self._head] = place[good]
        root = ground.jacobian(self._ground, pixels[good]) * noise[good, None, None]
        root[:, :, 0] /= math.sqrt(2)  # the mean of two edges
        self.root[seen, self._head] = root
        fresh = seen[self.state[seen, 3] == 0]
        self.state[fresh, 0] = self.state[fresh, 2] = time
        self.state[seen, 1] = time
        self.state[seen, 3] += 1
        self.state[slots, 5] += (self.state[slots, 3] > 0).astype(float)
        for n in np.flatnonzero(good):
            self._remember(int(ids[n]), time, pixels[n], noise[n])
        return np.asarray(good)

    def _remember(self, i: int, time: float, pixel: Array, noise: float) -> None:
        rows = self.sightings.setdefault(i, [])
        rows.append((time, float(pixel[0]), float(pixel[1]), float(noise)))
        if len(rows) > MOST:
            self.sightings[i] = rows[::2]

    def _far(self, slots: Array, place: Array, pixels: Array, noise: Array, time: float) -> Array:
        """(N,) whether a place is further from the window's line than error and agility allow."""
        line = self.line(slots)
        ahead = time - line.middle
        off = place - (line.place + line.velocity * ahead[:, None])
        root = ground.jacobian(self._ground, pixels) * noise[:, None, None]
        own = (root**2).sum((1, 2))
        lost = (0.5 * AGILE_MPS2 * ahead**2) ** 2
        reach = 2 * own + np.nan_to_num(line.variance, nan=np.inf) * ahead**2 + lost
        return np.asarray((off**2).sum(1) > JUMP_GATE * reach)

    def line(self, slots: Array) -> Line:
        """Least squares over what was seen in the window, with the standard error of the slope."""
        inside = self.times >= self.times[self._head] - self._window - 1e-9
        columns = np.flatnonzero(inside)
        t = self.times[columns]
        weight = self.valid[np.ix_(slots, columns)].astype(float)
        place, root = self.place[np.ix_(slots, columns)], self.root[np.ix_(slots, columns)]
        count = weight.sum(1)
        total = np.maximum(count, 1e-9)
        middle = weight @ t / total
        off = (t - middle[:, None]) * weight
        spread = np.maximum((off * (t - middle[:, None])).sum(1), 1e-12)
        velocity = np.einsum("nh,nhk->nk", off, place) / spread[:, None]
        where = np.einsum("nh,nhk->nk", weight, place) / total[:, None]
        ends = np.where(weight > 0, t, np.inf).min(1), np.where(weight > 0, t, -np.inf).max(1)
        length = np.where(count > 1, ends[1] - ends[0], 0.0)
        u = _unit(velocity)
        sd = np.sqrt((np.einsum("nk,nhkj->nhj", u, root) ** 2).sum(2))
        share = off / spread[:, None] * sd
        alike = np.exp(-np.abs(t[:, None] - t) / CORRELATION_S)
        noise = ((share @ alike) * share).sum(1)
        # Speeds that wander as white acceleration: the slope against the velocity in the middle.
        variance = noise + 0.0589 * self._q * length
        return Line(count, middle, length, where, velocity, np.where(count >= 3, variance, np.nan))


@dataclass(frozen=True, slots=True)
class Line:
    """Straight lines through windows, row by row: sightings, middle time, length in s, place at the middle
    (N, 2), velocity (N, 2), variance of the velocity along itself (NaN where there are too few)."""

    count: Array
    middle: Array
    length: Array
    place: Array
    velocity: Array
    variance: Array


def _unit(v: Array) -> Array:
    size = np.hypot(v[:, 0], v[:, 1])
    return np.where(size[:, None] > 1e-9, v / np.maximum(size, 1e-9)[:, None], np.array([0.0, 1.0]))


class WindowCore:
    """Least squares over the last `window_s` seconds, stamped at the middle of what was seen.

    Residuals know neither the correlation of box errors nor changes of speed, so the standard error is not
    made of them but of the boxes' noise with its correlation in time, and of the process noise.
    """

    def __init__(self, window_s: float, process_noise: float, to_ground: Array) -> None:
        self._history = History(window_s, process_noise, to_ground)

    def reset(self) -> None:
        """Forgets everything."""
        self._history.reset()

    def update(
        self, ids: Array, pixels: Array, noise: Array, measured: Array, time: float
    ) -> tuple[tuple[Array, Array], tuple[Array, Array], list[tuple[int, Array]]]:
        """One moment; see kernels.reference.plane.PlaneCore.update."""
        h = self._history
        slots = h.begin(time, ids)
        if not len(ids):
            return _nothing(), _nothing(), h.ended
        good = h.add(slots, ids, pixels, noise, measured.astype(bool), time)
        line = h.line(slots)
        known = (line.count >= 5) & (line.length >= 0.3 - 1e-6)
        rows = _rows(h, slots, time, known, line.middle, line.velocity, line.variance, line.place)
        said = known & good
        return (ids, rows), (ids[said], rows[said]), h.ended


class IntervalCore:
    """Displacements between frame i and i + n of each track's own count, averaged over the last k.

    Where a track is missed at its frame, the next sighting takes its place, over the time that really went
    by. Stamped at the middle of what was averaged.
    """

    def __init__(self, interval: Interval, process_noise: float, to_ground: Array) -> None:
        self._how, self._q = interval, process_noise
        self._history = History(0.5, process_noise, to_ground)
        self._tracks: dict[int, _Anchor] = {}

    def reset(self) -> None:
        """Forgets everything."""
        self._history.reset()
        self._tracks.clear()

    def update(
        self, ids: Array, pixels: Array, noise: Array, measured: Array, time: float
    ) -> tuple[tuple[Array, Array], tuple[Array, Array], list[tuple[int, Array]]]:
        """One moment; see kernels.reference.plane.PlaneCore.update."""
        h = self._history
        slots = h.begin(time, ids)
        present = set(ids.tolist())
        for gone in [i for i in self._tracks if i not in present]:
            del self._tracks[gone]
        if not len(ids):
            return _nothing(), _nothing(), h.ended
        good = h.add(slots, ids, pixels, noise, measured.astype(bool), time)
        fresh = self._measure(ids, slots, good, time)
        values = np.array([self._tracks[i].value if i in self._tracks else _NO_VALUE for i in ids.tolist()])
        known = np.isfinite(values[:, 0])
        rows = _rows(h, slots, time, known, values[:, 0], values[:, 1:3], values[:, 3], values[:, 4:6],
                     motion=values[:, 6:8])  # fmt: skip
        return (ids, rows), (ids[fresh], rows[fresh]), h.ended

    def _measure(self, ids: Array, slots: Array, good: Array, time: float) -> Array:
        """Takes the displacements that are due; (N,) whose value is new."""
        h, fresh = self._history, np.zeros(len(ids), bool)
        counted = h.state[slots, 5]
        since = time - h.state[slots, 0]
        n = self._how.frames
        grid = np.floor(counted / n if n is not None else (since + 1e-6) / self._how.seconds)
        for row in np.flatnonzero(good):
            i, slot = int(ids[row]), slots[row]
            anchor = self._tracks.get(i)
            if anchor is None or h.state[slot, 3] == 1:  # the first sighting, or the first after a jump
                anchor = self._tracks[i] = _Anchor()
            if grid[row] <= anchor.grid:
                continue
            place, root = h.place[slot, h._head].copy(), h.root[slot, h._head].copy()
            fresh[row] = anchor.move(grid[row], time, place, root, self._how, self._q)
        return fresh


_NO_VALUE = (math.nan,) * 8
"""Time, velocity, variance, place, and the mean vector that tells whether it moves at all."""


class _Anchor:
    """The last counted place of one track and its last displacements."""

    __slots__ = ("grid", "last", "taken", "value")

    def __init__(self) -> None:
        self.grid = -1.0
        self.last: tuple[float, Array, Array] | None = None
        self.taken: list[tuple[float, float, Array, Array, Array]] = []
        self.value: tuple[float, ...] = _NO_VALUE

    def move(self, grid: float, time: float, place: Array, root: Array, how: Interval, q: float) -> bool:
        """One counted place more; whether a displacement came of it."""
        before, self.last, self.grid = self.last, (time, place, root), grid
        if before is None:
            return False
        self.taken.append((before[0], time, place - before[1], before[2], root))
        if how.average_s is None:
            self.taken = self.taken[-how.average :]
        else:
            self.taken = [one for one in self.taken if one[1] >= time - how.average_s - 1e-9]
        self.value = self._mean(how, q, place)
        return True

    def _mean(self, how: Interval, q: float, place: Array) -> tuple[float, ...]:
        begin, end = self.taken[0][0], self.taken[-1][1]
        ways = np.array([way for _, _, way, _, _ in self.taken])
        spans = np.array([b - a for a, b, _, _, _ in self.taken])
        mean = (ways / spans[:, None]).mean(0)
        speed = float(np.hypot(*mean)) if how.vector else float((np.hypot(*ways.T) / spans).mean())
        u = _unit(mean[None])[0]
        # The displacements follow on one another: of their mean only the two ends are left.
        ends = float(((u @ self.taken[0][3]) ** 2).sum() + ((u @ self.taken[-1][4]) ** 2).sum())
        length = end - begin
        variance = ends / length**2 + q * length / 12
        return ((begin + end) / 2, *(u * speed), variance, *(place - ways.sum(0) / 2), *mean)


def _rows(
    h: History, slots: Array, time: float, known: Array, when: Array, velocity: Array, variance: Array,
    place: Array, motion: Array | None = None,
) -> Array:  # fmt: skip
    """Rows of COLUMNS for tracks in `slots`; without a value they count as not seen often enough.

    `motion` (N, 2) is asked whether the object moves at all (None: the velocity).
    """
    asked = velocity if motion is None else motion
    state = h.state[slots]
    rows = np.zeros((len(slots), COLUMNS))
    with np.errstate(invalid="ignore"):
        squared = (asked**2).sum(1)
        stirs = known & (squared >= STILL_GATE * variance)
        doubtful = stirs & (squared < MOVING_GATE * variance)
    h.state[slots[stirs], 2] = time
    rows[:, 0] = np.where(known, when, time)
    rows[:, 1:3] = np.where(known[:, None], velocity, 0.0)
    rows[:, 3] = np.where(known, variance, -1.0)
    rows[:, 4] = np.nan_to_num(np.where(known, time - h.state[slots, 2], 0.0))
    rows[doubtful, 4] = -2.0
    rows[:, 5] = np.nan_to_num(time - state[:, 0])
    rows[:, 6] = np.nan_to_num(time - state[:, 1])
    rows[:, 7] = np.where(known, state[:, 3], np.minimum(state[:, 3], 1))
    rows[:, 8:10] = np.where(known[:, None], place, 0.0)
    return rows


def _nothing() -> tuple[Any, Any]:
    return np.zeros(0, np.int64), np.zeros((0, COLUMNS))
