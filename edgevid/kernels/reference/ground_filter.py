"""Speed over the ground in NumPy: the specification of ground_filter.hpp.

A constant-velocity Kalman filter on the plane (state X, Y, VX, VY in meters) whose measurement is the contact pixel
through the homography, linearized at the predicted point; pixel noise inflated by 2 tau / dt for its correlation in
time; a Rauch-Tung-Striebel pass over the last `lag_s` seconds.

The live value is a mixture of two more filters, one for constant speeds and one whose acceleration fades over
MANEUVER_S (Singer 1970), weighted by how well each explains the sightings and by how often traffic changes its speed:
the interacting multiple model (Blom and Bar-Shalom 1988). The errors of the boxes are the first-order Markov noise that
they are: both measure the difference of a contact pixel and `rho` times the one before, whose errors are independent
(Bryson and Henrikson 1968). What the two differ by is part of the error."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edgevid.kernels.plane_columns import MOVING, STANDS_S, UNDECIDED, UNMEASURED, PlaneColumn
from edgevid.types import F64, I64, U8

SETTINGS = {
    "process_noise": 1.0, "velocity_prior": 40.0, "correlation_s": 0.05, "lag_s": 0.5, "gate": 9.21,
    "stationary_gate": 5.99, "smoothed_gate": 16.0, "lost_after_s": 0.0, "steady_noise": 0.0, "changes": 0.2,
    "steady_correlation_s": 0.15, "acceleration": 2.5, "slow_correlation_s": 0.0, "max_observations": 2048.0,
}  # fmt: skip

OUTLIER_GATE = 25.0  # Chi-square of 2 (5 standard errors) beyond which an observation is an outlier
OUTLIERS_IN_A_ROW = 5  # So many outliers in a row are a jump: the track starts again from there
CALMS = 0.5  # Share of `changes` a second with which a changing speed is constant again
MANEUVER_S = 2.0  # Memory of an acceleration
SLOW_PX = 5.0  # Standard errors of a box edge that an object moves in a second, up to which it is slow
SURE = 0.15  # A model of this probability or more counts with its whole variance
PRIOR_SCALE = 5  # Sightings that the given noise counts for
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
class Mixture:
    """Constant and changing speed: state X, Y, VX, VY, AX, AY and covariance, and how probable each is."""

    x: F64  # (2, 6); the first has no acceleration
    p: F64  # (2, 6, 6)
    time: float
    contact: F64  # The sighting before
    weight: F64 = field(default_factory=lambda: np.array([CALMS, 1]) / (CALMS + 1))
    nis: float = 0.0
    count: int = 0

    @property
    def scale(self) -> float:
        """The variance of the noise relative to the given one."""
        return (PRIOR_SCALE + self.nis / 2) / (PRIOR_SCALE + self.count)

    def velocity(self) -> tuple[F64, F64, F64]:
        """Mean (2,) and covariance (2, 2) of the mixture, and those of both models around that mean (2, 2, 2)."""
        mean = self.weight @ self.x[:, 2:4]
        off = self.x[:, 2:4] - mean
        own = self.p[:, 2:4, 2:4] + off[:, :, None] * off[:, None, :]
        return mean, np.einsum("m,mij->ij", self.weight, own), own

    def predict(self, dt: float, noise: float, acceleration: float, changes: float) -> None:
        """Either model may have begun, with an acceleration of that standard error; then both go on."""
        there, back = -np.expm1(-changes * np.array([1, CALMS]) * dt)
        joint = np.array([[1 - there, there], [back, 1 - back]]) * self.weight[:, None]
        self.weight = joint.sum(0)
        x, p = self.x.copy(), self.p.copy()
        for k in (0, 1):
            from_x, from_p, share = x.copy(), p.copy(), joint[:, k] / self.weight[k]
            from_x[1 - k, 4:], from_p[1 - k, 4:], from_p[1 - k, :, 4:] = 0, 0, 0
            from_p[1 - k, 4:, 4:] = k * acceleration**2 * np.eye(2)
            mean = share @ from_x
            off, f = from_x - mean, np.eye(6)
            f[0, 2] = f[1, 3] = dt
            fading, add = math.exp(-dt / MANEUVER_S), _white(dt, noise)
            if k == 1:
                f[2, 4] = f[3, 5] = (1 - fading) * MANEUVER_S
                f[0, 4] = f[1, 5] = MANEUVER_S * (dt - f[2, 4])
                f[4, 4] = f[5, 5] = fading
                s = acceleration**2 * (1 - fading**2)
                add = add + s * np.kron([[0, 0, 0], [0, dt * dt / 3, dt / 2], [0, dt / 2, 1]], np.eye(2))
            mixed = np.einsum("m,mij->ij", share, from_p + off[:, :, None] * off[:, None, :])
            self.x[k], self.p[k] = f @ mean, f @ mixed @ f.T + add


@dataclass
class Track:
    """The steps that are not smoothed yet, and all observations."""

    id: int
    mixture: Mixture | None = None
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

    def _pixel_noise(self, noise: float, gap: float, slow: float = 0.0) -> F64:
        tau = self.s["correlation_s"] + slow * self.s["slow_correlation_s"]
        f = max(1.0, 2 * tau / gap) if gap > 0 else 1.0
        return np.diag([f * noise**2 / 2, f * noise**2])

    def _initialize(self, t: Track, contact: F64, noise: float, time: float) -> None:
        place, j = project(self._ground, *contact)
        x, p = np.array([*place, 0.0, 0.0]), np.zeros((4, 4))
        p[:2, :2] = j @ self._pixel_noise(noise, 1 / 30) @ j.T
        p[2, 2] = p[3, 3] = self.s["velocity_prior"] ** 2
        t.steps = [Step(time, 0.0, x, p, x, p)]
        alone = np.zeros((2, 6, 6))
        alone[:, :4, :4], alone[1, 4, 4], alone[1, 5, 5] = p, *[self.s["acceleration"] ** 2] * 2
        alone[:, :2, :2] /= max(1.0, 60 * self.s["correlation_s"])
        both = np.tile(np.append(x, [0, 0]), (2, 1))
        t.mixture = Mixture(both, alone, time, np.array(contact)) if self.s["steady_noise"] > 0 else None
        t.first_time = t.last_time = t.stationary_since = time
        t.count, t.outliers = 1, 0

    def _step(self, t: Track, contact: F64, noise: float, measured: bool, time: float) -> None:
        last = t.steps[-1]
        dt, q = time - last.time, self.s["process_noise"]
        x, p = _predict(last.x, last.p, dt, q)
        step, mixture = Step(time, dt, x, p, x, p), t.mixture
        scale = max(1.0, mixture.scale) if mixture is not None else 1.0
        if mixture is not None:
            mixture.predict(dt, self.s["steady_noise"], self.s["acceleration"], self.s["changes"])
        if measured:
            # Errors of a box depend on where the object is: those of one that hardly moves correlate for longer.
            speed = float(np.hypot(*(project(self._image, x[0], x[1])[1] @ x[2:])))
            r = scale * self._pixel_noise(noise, time - t.last_time, 1 / (1 + speed / (SLOW_PX * noise + 1e-9)))
            corrected = self._correct(t, x, p, contact, r)
            if corrected is None:
                self._initialize(t, contact, noise, time)
                return
            step.x, step.p = corrected
            if mixture is not None:
                self._correct_mixture(mixture, contact, noise, time)
            t.last_time = time
            t.count += 1
        t.steps.append(step)
        moves = self._moving(step.x[2:], step.p[2:, 2:], self.s["stationary_gate"])
        if mixture is not None:
            v, cov, _ = mixture.velocity()
            moves = self._moving(v, cov, self.s["stationary_gate" if moves else "smoothed_gate"])
        t.stationary_since = time if moves else t.stationary_since

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

    def _correct_mixture(self, t: Mixture, contact: F64, noise: float, time: float) -> None:
        """A measurement of the difference to `rho` times the sighting before, both of the state now."""
        gap, scale, found = time - t.time, t.scale, []
        rho = math.exp(-gap / self.s["steady_correlation_s"])
        r = (1 - rho * rho) * scale * np.diag([noise**2 / 2, noise**2])
        for x, p in zip(t.x, t.p, strict=True):
            now, j = project(self._image, x[0], x[1])
            before, i = project(self._image, *(x[:2] - gap * x[2:4] + gap * gap / 2 * x[4:]))
            h = np.hstack([j - rho * i, rho * gap * i, -rho * gap * gap / 2 * i])
            e = contact - now - rho * (t.contact - before)
            found.append((e, h, float(e @ np.linalg.solve(h @ p @ h.T + r, e))))
        t.time, t.contact = time, np.array(contact)
        nis = np.array([one[2] for one in found])
        if not np.isfinite(nis).all():
            return
        r, fit = r * max(1.0, nis.min() / self.s["gate"]), np.zeros(2)
        for k, (e, h, _) in enumerate(found):
            t.x[k], t.p[k], fit[k] = _update(t.x[k], t.p[k], e, h, r)
        t.weight = np.maximum(t.weight * np.exp(fit - fit.max()), 1e-6)
        t.weight /= t.weight.sum()
        t.nis, t.count = t.nis + float(t.weight @ np.minimum(scale * nis, self.s["gate"])), t.count + 1

    def _moving(self, v: F64, cov: F64, gate: float) -> bool:
        """Whether a velocity differs from 0 by more than the gate (chi-square of 2)."""
        return bool(v @ np.linalg.solve(cov, v) >= gate)

    def _correct(self, t: Track, x: F64, p: F64, contact: F64, r: F64) -> tuple[F64, F64] | None:
        expected, j = project(self._image, x[0], x[1])
        h = np.hstack([j, np.zeros((2, 2))])
        e = contact - expected
        nis = float(e @ np.linalg.solve(h @ p @ h.T + r, e))
        t.outliers = t.outliers + 1 if nis > OUTLIER_GATE else 0
        if t.outliers >= OUTLIERS_IN_A_ROW or not math.isfinite(nis):
            return None
        return _update(x, p, e, h, r * max(1.0, nis / self.s["gate"]))[:2]

    def _live_row(self, t: Track) -> list[float]:
        """The mixture's; its variance is no less than that of a model that may well be true."""
        step, mixture = t.steps[-1], t.mixture
        if mixture is None:
            return self._row(t, step.time, step.x, step.p[2:, 2:])
        v, cov, own = mixture.velocity()
        row = self._row(t, step.time, np.append(step.x[:2], v), cov)
        # What stands may start at any moment.
        counts = np.ones(2) if row[PlaneColumn.STATIONARY_S] >= STANDS_S else np.minimum(mixture.weight / SURE, 1)
        wide = [share * _along(one, v) for share, one in zip(counts, own, strict=True)]
        apart = step.x[2:] - v  # What the other filter contradicts it by
        beyond = max(0.0, float(apart @ apart) - 4 * _along(step.p[2:, 2:], apart))
        row[PlaneColumn.VARIANCE] = max(row[PlaneColumn.VARIANCE], *wide) + beyond
        if row[PlaneColumn.STATIONARY_S] > 0 and self._moving(v, cov, self.s["stationary_gate"]):
            row[PlaneColumn.STATIONARY_S] = UNDECIDED
        return row

    def _row(self, t: Track, time: float, x: F64, cov: F64) -> list[float]:
        variance = _along(cov, x[2:])
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
            x, p = smooth[done]
            v, cov = x[2:], p[2:, 2:]
            row = self._row(t, t.steps[done].time, x, cov)
            if t.mixture is not None:
                # If the speed is constant, what it differs by from the live one is noise.
                off, variance = math.hypot(*(v - t.mixture.velocity()[0])), row[PlaneColumn.VARIANCE]
                row[PlaneColumn.VARIANCE] += t.mixture.weight[0] * max(0.0, off * off - 2 * variance)
            # In hindsight it was stationary (from then until now), it moved, or neither can be decided.
            was_stationary = t.steps[done].time >= t.stationary_since
            if self._moving(v, cov, self.s["smoothed_gate"]):
                row[PlaneColumn.STATIONARY_S] = MOVING
            elif not was_stationary or self._moving(v, cov, self.s["stationary_gate"]):
                row[PlaneColumn.STATIONARY_S] = UNDECIDED
            else:
                row[PlaneColumn.STATIONARY_S] = t.steps[-1].time - t.stationary_since
            out.append((t.id, row))
            done += 1
        del t.steps[:done]


def _predict(x: F64, p: F64, dt: float, q: float) -> tuple[F64, F64]:
    f = motion(dt)
    return f @ x, f @ p @ f.T + _white(dt, q)[:4, :4]


def _white(dt: float, q: float) -> F64:
    """(6, 6) covariance that white acceleration of `q` m2/s3 adds."""
    return np.asarray(q * np.kron([[dt**3 / 3, dt**2 / 2, 0], [dt**2 / 2, dt, 0], [0, 0, 0]], np.eye(2)))


def _update(x: F64, p: F64, e: F64, h: F64, r: F64) -> tuple[F64, F64, float]:
    """State and covariance after the innovation `e` of measurement `h` with noise `r`, and its log-likelihood."""
    cov = h @ p @ h.T + r
    k = p @ h.T @ np.linalg.inv(cov)
    rest = np.eye(len(x)) - k @ h
    fit = -(e @ np.linalg.solve(cov, e) + math.log(np.linalg.det(cov))) / 2
    return x + k @ e, rest @ p @ rest.T + k @ r @ k.T, float(fit)


def _along(cov: F64, v: F64) -> float:
    """Variance of the velocity along `v`; the larger one at rest."""
    speed = math.hypot(*v)
    return float(v @ cov @ v) / speed**2 if speed > 1e-9 else float(max(cov[0, 0], cov[1, 1]))


def _columns(rows: list[tuple[int, list[float]]]) -> tuple[I64, F64]:
    ids = np.array([i for i, _ in rows], np.int64)
    return ids, np.array([values for _, values in rows], np.float64).reshape(-1, len(PlaneColumn))
