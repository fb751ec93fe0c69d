"""The window method: recent positions of each track, and lines through them."""

import math
from dataclasses import dataclass

import numpy as np

from edgevid.kernels.plane_columns import MIN_SIGHTINGS, UNDECIDED, UNMEASURED, PlaneColumn
from edgevid.speed import homography
from edgevid.types import F64, I64, Array

STATIONARY_GATE, MOVING_GATE = 5.99, 16.0
"""Chi-square of 2, 95 % and 99.97 %: below the first a velocity is noise, above the second it is motion (a
parked car is tested often); between them it is undecided."""
OUTLIER_GATE = 25.0  # A sighting farther off than 5 standard errors is an outlier
MAX_OUTLIERS = 5  # So many outliers in a row start the track again at its new position
AGILE_MPS2 = 8.0  # Acceleration that a jump must exceed: hard braking is not a jump
MAX_SIGHTINGS = 2048  # Sightings kept of one track for its track speed; beyond, every second one is dropped
STATE = np.dtype([
    ("first_seen", float), ("last_seen", float), ("stationary_since", float), ("sightings", np.int64),
    ("outliers", np.int64), ("frames", np.int64),  # outliers in a row; frames since the first sighting
])  # fmt: skip
MIN_SECONDS = 0.3
"""A track over a shorter time, or with fewer than MIN_SIGHTINGS, has no window fit and no track speed (but see
`track_speed.DENSE_SECONDS`)."""
CORRELATION_S = 0.15  # Correlation time of box errors in seconds: typical of detectors (0.8 per frame at 30 fps)
Rows = tuple[I64, F64]  # Track ids (N,) and their values (N, len(PlaneColumn))
PlaneUpdate = tuple[Rows, Rows, list[tuple[int, F64]]]
"""Live rows, smoothed rows, and (id, sightings (n, 4): time, u, v, noise) of each track that ended."""


@dataclass(frozen=True, slots=True)
class Lines:
    """Straight lines through the windows of N tracks."""

    count: F64  # (N,) sightings
    middle: F64  # (N,) middle time of the sightings in seconds
    length: F64  # (N,) seconds from the first sighting to the last
    place: F64  # (N, 2) meters at the middle
    velocity: F64  # (N, 2) m/s
    variance: F64  # (N,) variance of the velocity along itself; NaN where there are too few sightings


class WindowCore:
    """Least squares over the last `window_s` seconds, stamped at the middle of the sightings.

    Residuals contain neither the correlation of box errors nor changes of speed, so the standard error comes
    from the boxes' noise with its correlation in time, and from the process noise. Jumps, and ids that went
    to another object, are outliers of the line. One column per frame; one row (slot) per track."""

    def __init__(self, window_s: float, process_noise: float, to_ground: F64, lost_after_s: float = 0.0) -> None:
        self._window, self._q, self._to_ground = window_s, process_noise, to_ground
        self._lost_after_s = lost_after_s
        self.reset()

    def reset(self) -> None:
        self.slots: dict[int, int] = {}
        self._named: dict[int, float] = {}
        self._free: list[int] = []
        self._head = -1
        self.times = np.full(16, -np.inf)
        self.valid = np.zeros((0, 16), bool)
        self.place = np.zeros((0, 16, 2))  # Meters
        self.root = np.zeros((0, 16, 2, 2))  # Square root of each position's covariance
        self.state = np.zeros(0, STATE)
        self.sightings: dict[int, list[tuple[float, float, float, float]]] = {}
        self.ended: list[tuple[int, F64]] = []

    def update(
        self, ids: I64, pixels: F64, noise: F64, measured: Array, time: float, heights: F64 | None = None
    ) -> PlaneUpdate:
        """One moment of tracks `ids` (N,) at undistorted `pixels` (N, 2); tracks that are not named end.
        `measured` (N,) is 1, 2 where a track was detected and cannot be measured, or 0; `heights` (N,) are
        those of the boxes in pixels."""
        slots = self.begin(time, ids)
        if not len(ids):
            none = ids, np.zeros((0, len(PlaneColumn)))
            return none, none, self.ended
        good = self.add(slots, ids, pixels, noise, measured == 1, time)
        for n in np.flatnonzero((measured == 2) & np.isfinite(pixels).all(1)):
            self._remember(int(ids[n]), time, pixels[n], 0.0)
        rows, fresh = self._measure(ids, slots, good, time)
        return (ids, rows), (ids[fresh], rows[fresh]), self.ended

    def _measure(self, ids: I64, slots: I64, good: Array, time: float) -> tuple[F64, Array]:
        """(N, len(PlaneColumn)) of tracks whose sighting counts where `good`; (N,) whose value is new."""
        line = self.line(slots)
        known = (line.count >= MIN_SIGHTINGS) & (line.length >= MIN_SECONDS - 1e-6)
        return self.rows(slots, time, known, line.middle, line.velocity, line.variance, line.place), known & good

    def begin(self, time: float, ids: I64) -> I64:
        """Opens the column of this moment and ends the tracks that are not named any more; the slots (N,)."""
        self._advance(time)
        self._named |= dict.fromkeys(ids.tolist(), time)
        self.ended = []
        for gone in sorted(i for i, t in self._named.items() if time - t >= self._lost_after_s and t < time):
            del self._named[gone]
            self._free.append(self.slots.pop(gone))
            self.ended.append((gone, np.array(self.sightings.pop(gone, [])).reshape(-1, 4)))
        return np.array([self._slot(i) for i in ids.tolist()], np.int64)

    def newest(self, slot: int) -> tuple[F64, F64]:
        """Position (2,) and the root of its covariance (2, 2) at this moment."""
        return self.place[slot, self._head].copy(), self.root[slot, self._head].copy()

    def _advance(self, time: float) -> None:
        following = (self._head + 1) % len(self.times)
        if self.times[following] >= time - self._window:  # the ring is too short for this frame rate
            order = (np.arange(len(self.times)) + following) % len(self.times)
            following = len(self.times)
            self.times = np.concatenate([self.times[order], np.full(following, -np.inf)])
            for name in ("valid", "place", "root"):
                old = getattr(self, name)[:, order]
                setattr(self, name, np.concatenate([old, np.zeros_like(old)], 1))
        self._head = following
        self.times[following] = time
        self.valid[:, following] = False

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

    def add(self, slots: I64, ids: I64, pixels: F64, noise: F64, measured: Array, time: float) -> Array:
        """Writes the sightings of this moment; (N,) which count: measured, on the ground, no outliers."""
        state, place = self.state, homography.apply(self._to_ground, pixels)
        good = measured & np.isfinite(place).all(1)
        self._reject(slots, ids, pixels, noise, place, good, time)
        used = slots[good]
        root = homography.jacobian(self._to_ground, pixels[good]) * noise[good, None, None]
        root[:, :, 0] /= math.sqrt(2)  # the mean of two edges
        self.valid[used, self._head] = True
        self.place[used, self._head], self.root[used, self._head] = place[good], root
        first = used[state["sightings"][used] == 0]
        state["first_seen"][first] = state["stationary_since"][first] = time
        state["last_seen"][used] = time
        state["sightings"][used] += 1
        state["frames"][slots] += state["sightings"][slots] > 0
        for n in np.flatnonzero(good):
            self._remember(int(ids[n]), time, pixels[n], noise[n])
        return np.asarray(good)

    def _reject(self, slots: I64, ids: I64, pixels: F64, noise: F64, place: F64, good: Array, time: float) -> None:
        """Takes outliers out of `good`; a track with MAX_OUTLIERS of them in a row starts again."""
        rows = np.flatnonzero(good & (self.state["sightings"][slots] >= MIN_SIGHTINGS))
        if not len(rows):
            return
        far = self._is_outlier(slots[rows], place[rows], pixels[rows], noise[rows], time)
        outliers = self.state["outliers"]
        outliers[slots[rows]] = np.where(far, outliers[slots[rows]] + 1, 0)
        for n in rows[far]:
            if outliers[slots[n]] >= MAX_OUTLIERS:
                self._clear(slots[n])
            else:
                good[n] = False
                self._remember(int(ids[n]), time, pixels[n], noise[n])

    def _remember(self, i: int, time: float, pixel: F64, noise: float) -> None:
        rows = self.sightings.setdefault(i, [])
        rows.append((time, float(pixel[0]), float(pixel[1]), float(noise)))
        if len(rows) > MAX_SIGHTINGS:
            self.sightings[i] = rows[::2]

    def _is_outlier(self, slots: I64, place: F64, pixels: F64, noise: F64, time: float) -> Array:
        """(N,) whether a position is farther from the window's line than error and agility allow."""
        line = self.line(slots)
        ahead = time - line.middle
        off = place - (line.place + line.velocity * ahead[:, None])
        own = ((homography.jacobian(self._to_ground, pixels) * noise[:, None, None]) ** 2).sum((1, 2))
        agility = (0.5 * AGILE_MPS2 * ahead**2) ** 2
        variance = 2 * own + np.nan_to_num(line.variance, nan=np.inf) * ahead**2 + agility
        return np.asarray((off**2).sum(1) > OUTLIER_GATE * variance)

    def line(self, slots: I64) -> Lines:
        """Least squares over the sightings in the window, with the variance of the slope."""
        columns = np.flatnonzero(self.times >= self.times[self._head] - self._window - 1e-9)
        t = self.times[columns]
        weight = self.valid[np.ix_(slots, columns)].astype(float)
        place, root = self.place[np.ix_(slots, columns)], self.root[np.ix_(slots, columns)]
        count = weight.sum(1)
        total = np.maximum(count, 1e-9)
        middle = weight @ t / total
        off = (t - middle[:, None]) * weight
        spread = np.maximum((off * (t - middle[:, None])).sum(1), 1e-12)
        velocity = np.einsum("nh,nhk->nk", off, place) / spread[:, None]
        center = np.einsum("nh,nhk->nk", weight, place) / total[:, None]
        ends = np.where(weight > 0, t, np.inf).min(1), np.where(weight > 0, t, -np.inf).max(1)
        length = np.where(count > 1, ends[1] - ends[0], 0.0)
        sd = np.sqrt((np.einsum("nk,nhkj->nhj", unit(velocity), root) ** 2).sum(2))
        share = off / spread[:, None] * sd
        correlation = np.exp(-np.abs(t[:, None] - t) / CORRELATION_S)
        noise = ((share @ correlation) * share).sum(1)
        # Speeds that wander as white acceleration: the slope against the velocity in the middle.
        variance = noise + 0.0589 * self._q * length
        return Lines(count, middle, length, center, velocity, np.where(count >= 3, variance, np.nan))

    def rows(
        self, slots: I64, time: float, known: Array, when: F64, velocity: F64, variance: F64,
        place: F64, motion: F64 | None = None,
    ) -> F64:  # fmt: skip
        """(N, len(PlaneColumn)) of tracks in `slots`; without a value they count as having too few sightings.
        `motion` (N, 2) is the velocity that is tested for being noise (None: `velocity`)."""
        motion = velocity if motion is None else motion
        with np.errstate(invalid="ignore"):
            squared = (motion**2).sum(1)
            moves = known & (squared >= STATIONARY_GATE * variance)
            undecided = moves & (squared < MOVING_GATE * variance)
        self.state["stationary_since"][slots[moves]] = time
        state = self.state[slots]
        rows = np.zeros((len(slots), len(PlaneColumn)))
        rows[:, PlaneColumn.TIME] = np.where(known, when, time)
        rows[known, PlaneColumn.VX], rows[known, PlaneColumn.VY] = velocity[known].T
        rows[:, PlaneColumn.VARIANCE] = np.where(known, variance, UNMEASURED)
        rows[:, PlaneColumn.STATIONARY_S] = np.where(known, time - state["stationary_since"], 0.0)
        rows[undecided, PlaneColumn.STATIONARY_S] = UNDECIDED
        rows[:, PlaneColumn.AGE_S] = time - state["first_seen"]
        rows[:, PlaneColumn.UNSEEN_S] = time - state["last_seen"]
        rows[:, PlaneColumn.SIGHTINGS] = np.where(known, state["sightings"], np.minimum(state["sightings"], 1))
        rows[known, PlaneColumn.X], rows[known, PlaneColumn.Y] = place[known].T
        return np.nan_to_num(rows)


def unit(v: F64) -> F64:
    """(N, 2) vectors of length 1 in the direction of `v`, or (0, 1) where it is 0."""
    size = np.hypot(v[:, 0], v[:, 1])
    return np.where(size[:, None] > 1e-9, v / np.maximum(size, 1e-9)[:, None], np.array([0.0, 1.0]))
