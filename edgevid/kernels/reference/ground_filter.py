"""Speed over the ground in NumPy: the specification of ground_filter.hpp.

A constant-velocity Kalman filter on the plane (state X, Y, VX, VY in meters) whose measurement is the contact pixel
through the homography, linearized at the predicted point; pixel noise inflated by 2 tau / dt for its correlation in
time; a Rauch-Tung-Striebel pass over the last `lag_s` seconds.

The live value is that of a second filter for speeds that hardly change, with the errors of the boxes as the
first-order Markov noise that they are: it measures the difference of a contact pixel and `rho` times the one before,
whose errors are independent (Bryson and Henrikson 1968). Its innovations tell when the speed does change: it then
follows more quickly, and what it differs by from the first filter widens its error."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edgevid.kernels.plane_columns import MOVING, UNDECIDED, UNMEASURED, PlaneColumn
from edgevid.types import F64, I64, U8

SETTINGS = {
    "process_noise": 1.0, "velocity_prior": 40.0, "correlation_s": 0.05, "lag_s": 0.5, "gate": 9.21,
    "stationary_gate": 5.99, "smoothed_gate": 16.0, "lost_after_s": 0.0, "steady_noise": 0.0,
    "steady_correlation_s": 0.15, "max_observations": 2048.0,
}  # fmt: skip

OUTLIER_GATE = 25.0  # Chi-square of 2 (5 standard errors) beyond which an observation is an outlier
OUTLIERS_IN_A_ROW = 5  # So many outliers in a row are a jump: the track starts again from there
DRIFT_S, DRIFT_GATE = 0.4, 4.0  # Innovations of the last 0.4 s drift beyond 2 standard errors of their sum
MOST_NOISE = 8.0  # Process noise of the second filter at the most, m2/s3
PRIOR_SCALE = 20  # Sightings that the given noise counts for
WIDEN = 1.5  # By this share of the squared difference of both filters the live variance widens
SIZE_S, SIZE_GATE, SIZE_NOISE = 1.0, 4.0, 0.7
"""Memory of a box's height; the jumps of it that count, and the share of them that the bottom edge has."""


@dataclass
class Step:
    """One moment of one object: state and covariance, now and as predicted."""

    time: float
    dt: float
    x: F64
    p: F64
    predicted_x: F64
    predicted_p: F64


@dataclass
class Steady:
    """The second filter: its state, the sighting before, and what its innovations tell."""

    x: F64
    p: F64
    time: float
    contact: F64
    drift: F64 = field(default_factory=lambda: np.zeros(2))  # Sum of the last normalized innovations, and its weight
    drift_weight: float = 0.0
    nis: float = 0.0
    count: int = 0

    @property
    def scale(self) -> float:
        """The variance of the noise relative to the given one."""
        return (PRIOR_SCALE + self.nis / 2) / (PRIOR_SCALE + self.count)

    @property
    def drifting(self) -> float:
        """Chi-square of 2, divided by 2, of the innovations' sum."""
        return float(self.drift @ self.drift) / self.drift_weight / self.scale if self.drift_weight else 0.0


@dataclass
class Track:
    """The steps that are not smoothed yet, and all observations."""

    id: int
    steady: Steady | None = None
    height: float = 0.0  # Of the box in meters; 0 before the first
    growth: float = 0.0  # Of the height, m/s
    spread: float = 0.0  # Variance of the height around its trend, in pixels
    steps: list[Step] = field(default_factory=list)
    first_time: float = 0.0
    last_time: float = 0.0
    stationary_since: float = 0.0
    last_named: float = 0.0
    count: int = 0
    outliers: int = 0
    observations: list[list[float]] = field(default_factory=list)
    """time, u, v, noise of each (0: detected, not measured); every second one beyond `max_observations`."""


def project(h: F64, x: float, y: float) -> tuple[F64, F64]:
    """The point (2,) and the Jacobian (2, 2) of a homography (3, 3) at x, y."""
    u, v, w = h @ [x, y, 1.0]
    out = np.array([u / w, v / w])
    return out, (h[:2, :2] - np.outer(out, h[2, :2])) / w


def motion(dt: float) -> F64:
    """(4, 4) transition of constant velocity."""
    f = np.eye(4)
    f[0, 2] = f[1, 3] = dt
    return f


class PlaneCore:
    """Filters of all objects; `update` gives (ids, values) of live and of smoothed rows. The columns of the values are
    those of PlaneColumn."""

    def __init__(self, settings: Mapping[str, float], to_ground: F64, to_image: F64) -> None:
        if unknown := set(settings) - set(SETTINGS):
            raise ValueError(f"plane setting: there is no {sorted(unknown)[0]}")
        self.s: dict[str, Any] = {**SETTINGS, **settings}
        self._ground, self._image = to_ground, to_image
        self.tracks: dict[int, Track] = {}

    def reset(self) -> None:
        """Forgets everything."""
        self.tracks.clear()

    def update(
        self, ids: I64, contacts: F64, noise: F64, measured: U8, time: float, heights: F64 | None = None
    ) -> tuple[tuple[I64, F64], tuple[I64, F64], list[tuple[int, F64]]]:
        """One moment; tracks that are not in `ids` end, and their last steps are smoothed.

        `measured` is 1, or 2 where a track was detected and cannot be measured, or 0; `heights` are those of the
        boxes in pixels: where they change, the contact point is less certain. The third value holds (id,
        observations (n, 4): time, u, v, noise) of each track that ended."""
        live: list[tuple[int, list[float]]] = []
        smoothed: list[tuple[int, list[float]]] = []
        for n, i in enumerate(map(int, ids)):
            track = self.tracks.get(i)
            detected = bool(measured[n]) and bool(np.isfinite(contacts[n]).all())
            good = detected and measured[n] == 1
            if track is None and detected:
                track = self.tracks[i] = Track(i)
            if track is not None:
                track.last_named = time
            sd = float(noise[n]) if good else 0.0
            if track is not None and good and heights is not None:
                sd = self._sized_noise(track, contacts[n], sd, float(heights[n]), time)
            if track is not None and detected:
                track.observations.append([time, *map(float, contacts[n]), sd])
                if len(track.observations) > self.s["max_observations"]:
                    track.observations = track.observations[::2]
            if track is None or not (track.steps or good):
                live.append((i, [time, 0, 0, UNMEASURED, 0, 0, 0, 0, 0, 0]))
                continue
            if track.steps:
                self._step(track, contacts[n], sd, good, time)
            else:
                self._initialize(track, contacts[n], sd, time)
            live.append((i, self._live_row(track)))
            self._smooth(track, time - self.s["lag_s"], smoothed)
        present, ended = {int(i) for i in ids}, []
        lost = {i for i, t in self.tracks.items() if time - t.last_named >= self.s["lost_after_s"]}
        for gone in sorted(lost - present):
            track = self.tracks.pop(gone)
            self._smooth(track, math.inf, smoothed)
            ended.append((gone, np.array(track.observations)))
        return _columns(live), _columns(smoothed), ended

    def _pixel_noise(self, noise: float, gap: float) -> F64:
        f = max(1.0, 2 * self.s["correlation_s"] / gap) if gap > 0 else 1.0
        return np.diag([f * noise**2 / 2, f * noise**2])

    def _initialize(self, t: Track, contact: F64, noise: float, time: float) -> None:
        place, j = project(self._ground, *contact)
        x, p = np.array([*place, 0.0, 0.0]), np.zeros((4, 4))
        p[:2, :2] = j @ self._pixel_noise(noise, 1 / 30) @ j.T
        p[2, 2] = p[3, 3] = self.s["velocity_prior"] ** 2
        t.steps = [Step(time, 0.0, x, p, x, p)]
        alone = p.copy()
        alone[:2, :2] /= max(1.0, 60 * self.s["correlation_s"])
        t.steady = Steady(x, alone, time, np.array(contact)) if self.s["steady_noise"] > 0 else None
        t.first_time = t.last_time = t.stationary_since = time
        t.count, t.outliers = 1, 0

    def _step(self, t: Track, contact: F64, noise: float, measured: bool, time: float) -> None:
        last = t.steps[-1]
        dt, q = time - last.time, self.s["process_noise"]
        x, p = _predict(last.x, last.p, dt, q)
        step, steady = Step(time, dt, x, p, x, p), t.steady
        if steady is not None:
            more = max(0.0, steady.drifting - DRIFT_GATE)
            steady.x, steady.p = _predict(steady.x, steady.p, dt, min(MOST_NOISE, self.s["steady_noise"] + more))
        if measured:
            corrected = self._correct(t, x, p, contact, self._pixel_noise(noise, time - t.last_time))
            if corrected is None:
                self._initialize(t, contact, noise, time)
                return
            step.x, step.p = corrected
            if steady is not None:
                self._correct_steady(steady, contact, noise, time)
            t.last_time = time
            t.count += 1
        t.steps.append(step)
        gate = self.s["stationary_gate"]
        moves = self._moving(step.x, step.p, gate)
        if steady is not None:
            surely = self._moving(steady.x, steady.p, self.s["smoothed_gate"] * steady.scale)
            moves = surely or (moves and self._moving(steady.x, steady.p, gate * steady.scale))
        if moves:
            t.stationary_since = time

    def _sized_noise(self, t: Track, contact: F64, noise: float, height: float, time: float) -> float:
        """Standard error of a contact pixel. A box whose height leaves its trend has lost a part of the object, or
        has found a second one, and its bottom edge moves with it; a third of the variance of heights is surely that
        edge's."""
        across = float(np.linalg.svd(project(self._ground, *contact)[1])[1][1])
        meters, gap = height * across, time - t.last_time if t.steps else 0.0
        # A line through the first heights, then with the memory of SIZE_S.
        n, share = t.count + 1 if t.steps else 1, 1 - math.exp(-gap / SIZE_S)
        expected = t.height + t.growth * gap
        off = (meters - expected) / across if n > 1 else 0.0
        if n > 2:
            t.spread += max(share, 1 / n) * (off * off - t.spread)
        t.height = expected + max(share, 2 * (2 * n - 1) / (n * (n + 1))) * (meters - expected)
        if n > 1 and gap > 0:
            t.growth += max(share * share / 2, 6 / (n * (n + 1))) * (meters - expected) / gap
        beyond = max(0.0, abs(off) - SIZE_GATE * noise) * SIZE_NOISE if n > 2 else 0.0
        return math.sqrt(max(noise * noise, t.spread / 3) + beyond * beyond)

    def _correct_steady(self, t: Steady, contact: F64, noise: float, time: float) -> None:
        """A measurement of the difference to `rho` times the sighting before, both of the state now."""
        gap = time - t.time
        rho = math.exp(-gap / self.s["steady_correlation_s"])
        now, j = project(self._image, t.x[0], t.x[1])
        before, i = project(self._image, t.x[0] - gap * t.x[2], t.x[1] - gap * t.x[3])
        h = np.hstack([j - rho * i, rho * gap * i])
        r = (1 - rho * rho) * np.diag([noise**2 / 2, noise**2])
        e = contact - now - rho * (t.contact - before)
        t.time, t.contact = time, np.array(contact)
        s = h @ t.p @ h.T + r
        nis = float(e @ np.linalg.solve(s, e))
        if not math.isfinite(nis):
            return
        normal = np.linalg.solve(np.linalg.cholesky(s), e) * min(1.0, 3 / math.sqrt(max(nis, 1e-9)))
        memory = math.exp(-gap / DRIFT_S)
        t.drift, t.drift_weight = memory * t.drift + normal, memory * memory * t.drift_weight + 1
        t.nis, t.count = t.nis + min(nis, self.s["gate"]), t.count + 1
        if nis > self.s["gate"]:
            r = r * (nis / self.s["gate"])
        k = t.p @ h.T @ np.linalg.inv(h @ t.p @ h.T + r)
        rest = np.eye(4) - k @ h
        t.x, t.p = t.x + k @ e, rest @ t.p @ rest.T + k @ r @ k.T

    def _moving(self, x: F64, p: F64, gate: float) -> bool:
        """Whether the velocity differs from 0 by more than the gate (chi-square of 2)."""
        return bool(x[2:] @ np.linalg.solve(p[2:, 2:], x[2:]) >= gate)

    def _correct(self, t: Track, x: F64, p: F64, contact: F64, r: F64) -> tuple[F64, F64] | None:
        expected, j = project(self._image, x[0], x[1])
        h = np.hstack([j, np.zeros((2, 2))])
        e = contact - expected
        nis = float(e @ np.linalg.solve(h @ p @ h.T + r, e))
        t.outliers = t.outliers + 1 if nis > OUTLIER_GATE else 0
        if t.outliers >= OUTLIERS_IN_A_ROW or not math.isfinite(nis):
            return None
        if nis > self.s["gate"]:
            r = r * (nis / self.s["gate"])
        k = p @ h.T @ np.linalg.inv(h @ p @ h.T + r)
        rest = np.eye(4) - k @ h
        return x + k @ e, rest @ p @ rest.T + k @ r @ k.T

    def _live_row(self, t: Track) -> list[float]:
        """The steady filter's; its error is as wide as its innovations are, and as the other one is away."""
        agile, steady = t.steps[-1], t.steady
        if steady is None:
            return self._row(t, agile.time, agile.x, agile.p)
        row = self._row(t, agile.time, np.append(agile.x[:2], steady.x[2:]), steady.p)
        v, variance = steady.x[2:], row[PlaneColumn.VARIANCE]
        speed = math.hypot(*v)
        off = float((agile.x[2:] - v) @ v) / speed if speed > 1e-9 else 0.0
        differ = max(0.0, _along(agile.p, v) - variance) * steady.scale
        if row[PlaneColumn.STATIONARY_S] > 0 and self._moving(
            steady.x, steady.p, self.s["stationary_gate"] * steady.scale
        ):
            row[PlaneColumn.STATIONARY_S] = UNDECIDED
        drifts = min(1.0, max(0.0, steady.drifting - 1) / 3)
        widened = WIDEN * (max(0.0, off * off - differ) + off * off * drifts)
        row[PlaneColumn.VARIANCE] = variance * steady.scale + widened
        return row

    def _row(self, t: Track, time: float, x: F64, p: F64) -> list[float]:
        variance = _along(p, x[2:])
        stationary, age, unseen = time - t.stationary_since, time - t.first_time, time - t.last_time
        return [time, x[2], x[3], float(variance), stationary, age, unseen, t.count, x[0], x[1]]

    def _smooth(self, t: Track, limit: float, out: list[tuple[int, list[float]]]) -> None:
        """Smooths back from the newest step and hands out every step older than `limit`."""
        if len(t.steps) < 2 or t.steps[0].time > limit:
            return
        smooth = [(t.steps[-1].x, t.steps[-1].p)]
        for step, following in zip(t.steps[-2::-1], t.steps[:0:-1], strict=True):
            c = step.p @ motion(following.dt).T @ np.linalg.inv(following.predicted_p)
            x, p = smooth[-1]
            smooth.append((step.x + c @ (x - following.predicted_x), step.p + c @ (p - following.predicted_p) @ c.T))
        smooth.reverse()
        done = 0
        while done + 1 < len(t.steps) and t.steps[done].time <= limit:
            row = self._row(t, t.steps[done].time, *smooth[done])
            if t.steady is not None:
                # What it differs by from a steady speed that fits is noise.
                off = math.hypot(*(smooth[done][0][2:] - t.steady.x[2:]))
                fits, variance = max(0.0, 1 - t.steady.drifting / DRIFT_GATE), row[PlaneColumn.VARIANCE]
                row[PlaneColumn.VARIANCE] += fits * max(0.0, off * off - 2 * variance)
            # In hindsight it was stationary (from then until now), it moved, or neither can be decided.
            was_stationary = t.steps[done].time >= t.stationary_since
            if self._moving(*smooth[done], self.s["smoothed_gate"]):
                row[PlaneColumn.STATIONARY_S] = MOVING
            elif not was_stationary or self._moving(*smooth[done], self.s["stationary_gate"]):
                row[PlaneColumn.STATIONARY_S] = UNDECIDED
            else:
                row[PlaneColumn.STATIONARY_S] = t.steps[-1].time - t.stationary_since
            out.append((t.id, row))
            done += 1
        del t.steps[:done]


def _predict(x: F64, p: F64, dt: float, q: float) -> tuple[F64, F64]:
    f = motion(dt)
    noise = q * np.kron([[dt**3 / 3, dt**2 / 2], [dt**2 / 2, dt]], np.eye(2))
    return f @ x, f @ p @ f.T + noise


def _along(p: F64, v: F64) -> float:
    """Variance of the velocity along `v`; the larger one at rest."""
    speed = math.hypot(*v)
    return float(v @ p[2:, 2:] @ v) / speed**2 if speed > 1e-9 else max(p[2, 2], p[3, 3])


def _columns(rows: list[tuple[int, list[float]]]) -> tuple[I64, F64]:
    ids = np.array([i for i, _ in rows], np.int64)
    return ids, np.array([values for _, values in rows], np.float64).reshape(-1, len(PlaneColumn))
