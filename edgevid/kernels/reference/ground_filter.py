"""Speed over the ground in NumPy: the specification of ground_filter.hpp.

A constant-velocity Kalman filter on the plane (state X, Y, VX, VY in meters) whose measurement is the
contact pixel through the homography, linearized at the predicted point; pixel noise inflated by
2 tau / dt for its correlation in time; a Rauch-Tung-Striebel pass over the last `lag_s` seconds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edgevid.kernels.plane_columns import MOVING, UNDECIDED, UNMEASURED, PlaneColumn
from edgevid.types import F64, I64, U8

SETTINGS = {
    "process_noise": 1.0,
    "velocity_prior": 40.0,
    "correlation_s": 0.05,
    "lag_s": 0.5,
    "gate": 9.21,
    "stationary_gate": 5.99,
    "smoothed_gate": 16.0,
    "max_observations": 2048.0,
}

OUTLIER_GATE = 25.0
"""Chi-square of 2 (5 standard errors) beyond which an observation is an outlier."""
OUTLIERS_IN_A_ROW = 5
"""So many outliers in a row are a jump: the track starts again from there."""


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
class Track:
    """The steps that are not smoothed yet, and all observations."""

    id: int
    steps: list[Step] = field(default_factory=list)
    first_time: float = 0.0
    last_time: float = 0.0
    stationary_since: float = 0.0
    count: int = 0
    outliers: int = 0
    observations: list[list[float]] = field(default_factory=list)
    """time, u, v, noise of each; beyond `max_observations` every second one is dropped."""


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
    """Filters of all objects; `update` gives (ids, values) of live and of smoothed rows.

    The columns of the values are those of PlaneColumn.
    """

    def __init__(self, settings: Mapping[str, float], to_ground: F64, to_image: F64) -> None:
        unknown = set(settings) - set(SETTINGS)
        if unknown:
            raise ValueError(f"plane setting: there is no {sorted(unknown)[0]}")
        self.s: dict[str, Any] = {**SETTINGS, **settings}
        self._ground, self._image = to_ground, to_image
        self.tracks: dict[int, Track] = {}
        self._ended: list[tuple[int, F64]] = []

    def reset(self) -> None:
        """Forgets everything."""
        self.tracks.clear()

    def update(
        self, ids: I64, contacts: F64, noise: F64, measured: U8, time: float
    ) -> tuple[tuple[I64, F64], tuple[I64, F64], list[tuple[int, F64]]]:
        """One moment; tracks that are not in `ids` end, and their last steps are smoothed.

        The third value holds (id, observations (n, 4): time, u, v, noise) of each track that ended.
        """
        live: list[tuple[int, list[float]]] = []
        smoothed: list[tuple[int, list[float]]] = []
        for n, i in enumerate(map(int, ids)):
            track = self.tracks.get(i)
            good = bool(measured[n]) and bool(np.isfinite(contacts[n]).all())
            if track is None and not good:
                live.append((i, [time, 0, 0, UNMEASURED, 0, 0, 0, 0, 0, 0]))
                continue
            if track is None:
                track = self.tracks[i] = Track(i)
                self._initialize(track, contacts[n], float(noise[n]), time)
            else:
                self._step(track, contacts[n], float(noise[n]), good, time)
            if good:
                track.observations.append([time, *map(float, contacts[n]), float(noise[n])])
                if len(track.observations) > self.s["max_observations"]:
                    track.observations = track.observations[::2]
            last = track.steps[-1]
            live.append((i, self._row(track, last.time, last.x, last.p)))
            self._smooth(track, time - self.s["lag_s"], smoothed)
        present = {int(i) for i in ids}
        for gone in sorted(i for i in self.tracks if i not in present):
            track = self.tracks.pop(gone)
            self._smooth(track, math.inf, smoothed)
            self._ended.append((gone, np.array(track.observations)))
        ended, self._ended = sorted(self._ended, key=lambda one: one[0]), []
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
        t.first_time = t.last_time = t.stationary_since = time
        t.count, t.outliers = 1, 0

    def _step(self, t: Track, contact: F64, noise: float, measured: bool, time: float) -> None:
        last = t.steps[-1]
        dt, q = time - last.time, self.s["process_noise"]
        f = motion(dt)
        x, p = f @ last.x, f @ last.p @ f.T
        p += q * np.kron([[dt**3 / 3, dt**2 / 2], [dt**2 / 2, dt]], np.eye(2))
        step = Step(time, dt, x, p, x, p)
        if measured:
            corrected = self._correct(t, x, p, contact, self._pixel_noise(noise, time - t.last_time))
            if corrected is None:
                # The observations before a jump are a track speed of their own; the last ones follow it.
                split = len(t.observations) - max(t.outliers - 1, 0)
                self._ended.append((t.id, np.array(t.observations[:split]).reshape(-1, 4)))
                t.observations = t.observations[split:]
                self._initialize(t, contact, noise, time)
                return
            step.x, step.p = corrected
            t.last_time = time
            t.count += 1
        t.steps.append(step)
        if self._moving(step.x, step.p, self.s["stationary_gate"]):
            t.stationary_since = time

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

    def _row(self, t: Track, time: float, x: F64, p: F64) -> list[float]:
        speed = math.hypot(x[2], x[3])
        u = x[2:] / speed if speed > 1e-9 else None
        variance = max(p[2, 2], p[3, 3]) if u is None else u @ p[2:, 2:] @ u
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
            smooth.append(
                (step.x + c @ (x - following.predicted_x), step.p + c @ (p - following.predicted_p) @ c.T)
            )
        smooth.reverse()
        done = 0
        while done + 1 < len(t.steps) and t.steps[done].time <= limit:
            row = self._row(t, t.steps[done].time, *smooth[done])
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


def _columns(rows: list[tuple[int, list[float]]]) -> tuple[I64, F64]:
    ids = np.array([i for i, _ in rows], np.int64)
    return ids, np.array([values for _, values in rows], np.float64).reshape(-1, len(PlaneColumn))
