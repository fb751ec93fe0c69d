"""The speed filter on both twins: against textbook filters and batch least squares, from straight above.

A camera that looks straight down makes the filter linear: 10 pixels a meter, u and v independent. There the
filter is two textbook Kalman filters, and the smoother is one weighted least-squares problem over all steps.
"""

from __future__ import annotations

import importlib
import math
from typing import Any

import numpy as np
import pytest

from edgevid.kernels import BACKEND, MOVING, UNDECIDED, UNMEASURED, PlaneColumn, reference
from edgevid.types import Array, Reason

TO_GROUND, TO_IMAGE = np.diag([0.1, 0.1, 1.0]), np.diag([10.0, 10.0, 1.0])
PRIOR, TAU, Q = 40.0, 0.05, 1.0
"""Defaults of the settings: m/s, s, m2/s3."""
RATE = 10
"""Frames per second: slow enough for errors without correlation (2 tau = 1 / 10 s)."""


def core_of(twin: Any, **settings: float) -> Any:
    return twin.PlaneCore(settings, TO_GROUND, TO_IMAGE)


def step(core: Any, time: float, *meters: tuple[float, float], noise: float = 1.0, seen: bool = True) -> Any:
    """One update of tracks 1, 2, ... at places in meters: live, smoothed, ended."""
    n = len(meters)
    pixels = 10 * np.array(meters, float).reshape(n, 2)
    return core.update(np.arange(1, n + 1), pixels, np.full(n, noise), np.full(n, seen, np.uint8), time)


def column(table: tuple[Array, Array], name: PlaneColumn) -> list[float]:
    return table[1][:, name].tolist()


class Textbook:
    """A Kalman filter of position and velocity with white acceleration, along one axis in meters."""

    def __init__(self, z: float, r: float) -> None:
        self.x, self.p = np.array([z, 0.0]), np.diag([r, PRIOR**2])

    def predict(self, dt: float) -> None:
        f = np.array([[1, dt], [0, 1]])
        self.x = f @ self.x
        self.p = f @ self.p @ f.T + Q * np.array([[dt**3 / 3, dt**2 / 2], [dt**2 / 2, dt]])

    def nis(self, z: float, r: float) -> float:
        return float((z - self.x[0]) ** 2 / (self.p[0, 0] + r))

    def update(self, z: float, r: float) -> None:
        k = self.p[:, 0] / (self.p[0, 0] + r)
        self.x = self.x + k * (z - self.x[0])
        self.p = self.p - np.outer(k, self.p[0])


def variances(noise: float, gap: float) -> tuple[float, float]:
    """Of u and v in m2: u is the mean of two edges; errors within 2 tau count for less."""
    f = max(1.0, 2 * TAU / gap)
    return f * noise**2 / 200, f * noise**2 / 100


class Oracle:
    """Two textbook filters, and the rules for outliers and for standing still."""

    def __init__(self) -> None:
        self.axes: list[Textbook] = []
        self.time = self.last = self.first = self.since = 0.0
        self.count = self.outliers = 0

    def step(self, time: float, z: Any, noise: float = 1.0, seen: bool = True) -> None:
        dt, self.time = time - self.time, time
        if not self.axes:
            return self._start(z, noise)
        for axis in self.axes:
            axis.predict(dt)
        if seen:
            r = variances(noise, time - self.last)
            nis = sum(axis.nis(v, s) for axis, v, s in zip(self.axes, z, r, strict=True))
            self.outliers = self.outliers + 1 if nis > 25 else 0
            if self.outliers == 5:
                return self._start(z, noise)
            for axis, v, s in zip(self.axes, z, r, strict=True):
                axis.update(v, s * max(1.0, nis / 9.21))
            self.last, self.count = time, self.count + 1
        if sum(axis.x[1] ** 2 / axis.p[1, 1] for axis in self.axes) >= 5.99:
            self.since = time

    def _start(self, z: Any, noise: float) -> None:
        r = variances(noise, 1 / 30)
        self.axes = [Textbook(v, s) for v, s in zip(z, r, strict=True)]
        self.first = self.last = self.since = self.time
        self.count, self.outliers = 1, 0

    def row(self) -> list[float]:
        """In the order of PlaneColumn."""
        (x, y), t = self.axes, self.time
        v = np.array([x.x[1], y.x[1]])
        u = v / np.hypot(*v) if v.any() else np.array([1, 0])
        along = u[0] ** 2 * x.p[1, 1] + u[1] ** 2 * y.p[1, 1]
        spans = [t - self.since, t - self.first, t - self.last]
        return [t, *v, along, *spans, self.count, x.x[0], y.x[0]]


@pytest.mark.parametrize("wild", [0.0, 0.15, 0.4])
def test_the_filter_is_a_textbook_filter_in_both_axes(twin: Any, wild: float) -> None:
    # At uneven times, with changing noise, gaps, and a share of sightings that are meters off; it drives,
    # stands, and is somewhere else for good from 9 s on.
    random, core, oracle = np.random.default_rng(5), core_of(twin), Oracle()
    time = 0.0
    for n in range(150):
        time += float(random.uniform(0.02, 0.2)) if n else 0.0
        noise = float(random.uniform(0.5, 3))
        z = np.array([8 * min(time, 3), 2 - 3 * min(time, 3)]) + random.normal(0, 0.07 * noise, 2)
        z += random.normal(0, 5, 2) * (random.random() < wild) + (50 if time > 9 else 0)
        seen = n == 0 or random.random() > 0.1
        live, _, _ = step(core, time, tuple(z), noise=noise, seen=seen)
        oracle.step(time, z, noise, seen)
        np.testing.assert_allclose(live[1][0], oracle.row(), rtol=1e-6, atol=1e-8)
    assert oracle.count < 130  # it started again after the jump


def batch(times: Array, z: Array, r: Array) -> tuple[Array, Array]:
    """Positions and velocities (n, 2) that are most likely given all measurements, and velocity variances."""
    n, rows, right = len(times), [], []

    def add(coefficients: dict[int, Any], value: Any) -> None:
        row = np.zeros((np.size(value), 2 * n))
        for at, c in coefficients.items():
            row[:, at : at + np.shape(c)[-1]] = c
        rows.append(row)
        right.append(np.ravel(value))

    add({0: [0, 1 / PRIOR]}, 0.0)
    for k in range(n):
        add({2 * k: [1 / math.sqrt(r[k]), 0]}, z[k] / math.sqrt(r[k]))
    for k in range(1, n):
        dt = times[k] - times[k - 1]
        q = Q * np.array([[dt**3 / 3, dt**2 / 2], [dt**2 / 2, dt]])
        root = np.linalg.inv(np.linalg.cholesky(q))
        add({2 * k - 2: -root @ [[1, dt], [0, 1]], 2 * k: root}, np.zeros(2))
    design = np.concatenate(rows)
    cov = np.linalg.inv(design.T @ design)
    state = cov @ design.T @ np.concatenate(right)
    return state.reshape(n, 2), np.diag(cov)[1::2]


def test_smoothed_rows_are_the_least_squares_solution_over_all_steps(twin: Any) -> None:
    # With a lag longer than the track all steps are smoothed at its end, over all measurements. It drives for
    # 2 s and stands for 2 s; what is smoothed is tested for motion with its own, smaller, variance.
    random, core = np.random.default_rng(2), core_of(twin, lag_s=60.0)
    times = np.arange(40) / RATE
    true = np.minimum(times, 2.0)[:, None] * [1.5, 0.7]
    z = true + random.normal(0, 1, (40, 2)) * [0.07, 0.1]
    live = [step(core, float(t), tuple(p)) for t, p in zip(times, z, strict=True)]
    assert all(len(smoothed[0]) == 0 for _, smoothed, _ in live)
    since = times[-1] - live[-1][0][1][0, PlaneColumn.STATIONARY_S]
    assert 1.9 < since < 3.0
    _, (ids, rows), ended = step(core, 4.0)
    assert ids.tolist() == [1] * 39  # the newest step was only ever live
    first = np.where(times == 0, 3.0, 1.0)  # the first sighting counts as one of 30 fps, correlated
    (x, px), (y, py) = (batch(times, z[:, k], first * share) for k, share in ((0, 1 / 200), (1, 1 / 100)))
    expected = np.column_stack([x[:, 1], y[:, 1], x[:, 0], y[:, 0]])[:39]
    names = [PlaneColumn.VX, PlaneColumn.VY, PlaneColumn.X, PlaneColumn.Y]
    np.testing.assert_allclose(rows[:, names], expected, atol=1e-6)
    u = expected[:, :2] / np.hypot(*expected[:, :2].T)[:, None]
    along = u[:, 0] ** 2 * px[:39] + u[:, 1] ** 2 * py[:39]
    np.testing.assert_allclose(rows[:, PlaneColumn.VARIANCE], along, rtol=1e-5)
    chi = (x[:, 1] ** 2 / px + y[:, 1] ** 2 / py)[:39]
    undecided = (times[:39] < since) | (chi >= 5.99)
    state = np.where(chi >= 16, MOVING, np.where(undecided, UNDECIDED, times[-1] - since))
    np.testing.assert_allclose(rows[:, PlaneColumn.STATIONARY_S], state, atol=1e-9)
    assert {MOVING, UNDECIDED} < set(rows[:, PlaneColumn.STATIONARY_S])
    np.testing.assert_allclose(rows[:, PlaneColumn.TIME], times[:39])
    assert [i for i, _ in ended] == [1]
    np.testing.assert_allclose(ended[0][1], np.column_stack([times, 10 * z, np.ones(40)]))


def test_each_step_is_smoothed_once_when_it_is_older_than_the_lag(twin: Any) -> None:
    core, out = core_of(twin, lag_s=0.5), []
    for n in range(100):
        time = n / 8
        rows = step(core, time, (time, 0.0))[1][1]
        assert (rows[:, PlaneColumn.TIME] <= time - 0.5).all()
        out += rows[:, PlaneColumn.TIME].tolist()
        assert out == [k / 8 for k in range(max(0, n - 3))]
    _, (_, rows), _ = step(core, 13.0)
    assert rows[:, PlaneColumn.TIME].tolist() == [12.0, 12.125, 12.25]


def test_a_track_without_a_first_sighting_has_no_value(twin: Any) -> None:
    core = core_of(twin)
    live, _, _ = step(core, 2.0, (1.0, 1.0), seen=False)
    assert live[0].tolist() == [1]
    assert live[1].tolist() == [[2.0, 0, 0, UNMEASURED, 0, 0, 0, 0, 0, 0]]
    live, _, _ = step(core, 2.1, (math.nan, 1.0))
    assert column(live, PlaneColumn.VARIANCE) == [UNMEASURED]
    assert step(core, 2.2)[2] == []


def test_five_outliers_in_a_row_start_the_track_again(twin: Any) -> None:
    core, ended = core_of(twin), []
    for n in range(20):
        step(core, n / RATE, (1.0, 1.0))
    counts = []
    for n in range(20, 30):
        live, _, ended = step(core, n / RATE, (1.0, 1.0) if n == 24 else (40.0, 1.0))
        counts += column(live, PlaneColumn.SIGHTINGS)
        assert ended == []
    # 4 outliers, one sighting where it was, 5 outliers: the fifth in a row is the first of what follows.
    assert counts == [21, 22, 23, 24, 25, 26, 27, 28, 29, 1]
    assert column(live, PlaneColumn.X) == pytest.approx([40.0])
    assert column(live, PlaneColumn.AGE_S) == [0.0]
    (i, table), *more = step(core, 3.0)[2]
    assert (i, len(table), more) == (1, 30, [])  # one track: which sightings are one object's is found at its end


STEADY = {"steady_noise": 0.05}


def test_a_steady_speed_is_known_sooner_and_one_that_changes_is_followed(twin: Any) -> None:
    random, error = np.random.default_rng(3), np.zeros(2)
    core, plain, sds = core_of(twin, **STEADY), core_of(twin), []
    for n in range(150):
        t = n / 30
        rho = math.exp(-1 / 30 / 0.15)
        error = rho * error + random.normal(0, math.sqrt(1 - rho**2), 2)
        place = (10 * t - 1.5 * max(t - 2, 0) ** 2 + error[0] / 10 / math.sqrt(2), error[1] / 10)
        live, before = step(core, t, place)[0], step(plain, t, place)[0]
        sds.append((column(live, PlaneColumn.VARIANCE)[0] ** 0.5, column(before, PlaneColumn.VARIANCE)[0] ** 0.5))
        if t == 1.5:
            assert column(live, PlaneColumn.VX) == pytest.approx([10], abs=0.5)
    assert sds[45][0] < 0.9 * sds[45][1]
    assert column(live, PlaneColumn.VX) == pytest.approx([10 - 3 * 2.97], abs=1.5)


def test_an_error_covers_a_speed_that_begins_to_change(twin: Any) -> None:
    """3 m/s2 from 2 s on: while nothing shows it the error is small; then it grows to what is missed."""
    random, core, rows = np.random.default_rng(4), core_of(twin, **STEADY), []
    for n in range(120):
        t = n / 30
        place = 10 * t - 1.5 * max(t - 2, 0) ** 2 + random.normal(0, 0.05)
        live = step(core, t, (place, 0.0))[0]
        off = column(live, PlaneColumn.VX)[0] - (10 - 3 * max(t - 2, 0))
        rows.append((t, off, column(live, PlaneColumn.VARIANCE)[0] ** 0.5))
    t, off, sd = np.array(rows).T
    assert (np.abs(off) < 2.5 * sd)[t > 0.5].mean() > 0.85
    assert sd[(t > 1.5) & (t < 2)].mean() < 0.5 * sd[(t > 2.4) & (t < 3)].max()
    assert np.abs(off[t > 3]).mean() < 0.6


def test_the_probable_speed_is_the_one_that_explains_the_sightings() -> None:
    """Bayes by hand: likelihoods 1 and exp(-2) on equal terms, and no change in between."""
    made = reference.ground_filter.Mixture(np.zeros((2, 6)), np.tile(np.eye(6), (2, 1, 1)), 0.0, np.zeros(2))
    made.x[:, 2] = 10.0, 12.0
    made.weight = np.array([0.75, 0.25])
    mean, cov, own = made.velocity()
    assert mean == pytest.approx([10.5, 0])
    assert cov[0, 0] == pytest.approx(1 + 0.75 * 0.25 * 2**2)  # The spread of the models is part of it
    assert own[:, 0, 0] == pytest.approx([1 + 0.5**2, 1 + 1.5**2])
    made.predict(0.0, 0.05, 2.5, 0.2)
    assert made.weight == pytest.approx([0.75, 0.25])
    made.predict(1e6, 0.0, 2.5, 1e-3)
    assert made.weight[1] > 0.7  # in the long run as often as traffic changes


def test_a_track_that_may_be_found_again_has_not_ended(twin: Any) -> None:
    core = core_of(twin, lost_after_s=1.0)
    for n in range(10):
        step(core, n / RATE, (1.0 * n, 1.0))
    assert step(core, 1.5)[2] == []
    live, _, ended = step(core, 1.8, (18.0, 1.0))
    assert column(live, PlaneColumn.SIGHTINGS) == [11]
    assert ended == []
    assert step(core, 2.7)[2] == []
    assert [len(table) for _, table in step(core, 2.9)[2]] == [11]


def test_where_a_detected_object_cannot_be_measured_is_remembered_without_noise(twin: Any) -> None:
    core = core_of(twin)
    for n, flag in enumerate((2, 1, 1, 2, 0)):
        flags = np.array([flag], np.uint8)
        live, _, _ = core.update(np.array([1]), np.array([[10.0 * n, 5.0]]), np.array([1.5]), flags, n / RATE)
        assert column(live, PlaneColumn.SIGHTINGS) == [(0, 1, 2, 2, 2)[n]]
    (_, table), *_ = step(core, 1.0)[2]
    assert table.tolist() == [[0, 0, 5, 0], [0.1, 10, 5, 1.5], [0.2, 20, 5, 1.5], [pytest.approx(0.3), 30, 5, 0]]


def test_a_box_that_changes_its_height_is_less_certain(twin: Any) -> None:
    core, noise = core_of(twin), []
    heights = [50.0] * 10 + [80.0] + [50.0] * 5
    for n, height in enumerate(heights):
        given = np.array([[10.0, 10.0]]), np.array([1.0]), np.ones(1, np.uint8)
        core.update(np.array([1]), *given, n / RATE, np.array([height]))
    (_, table), *_ = step(core, 9.0)[2]
    noise = table[:, 3].tolist()
    assert noise[:10] == [1.0] * 10  # a constant height
    assert noise[10] == pytest.approx(math.hypot(math.sqrt(max(1, 0.1 * 900 / 3)), 0.7 * 26), rel=0.1)
    assert 1 < noise[-1] < noise[10] / 2


@pytest.mark.skipif(BACKEND != "native", reason="the native kernels are not built")
def test_both_twins_have_the_same_steady_speeds() -> None:
    native = importlib.import_module("edgevid.kernels._native")
    tilted = np.array([[0.05, 0.0, -20.0], [0.0, 0.2, -10.0], [0.0, 0.002, 0.1]])
    settings, random = {**STEADY, "lost_after_s": 0.3}, np.random.default_rng(8)
    cores = [
        made.PlaneCore(settings, tilted, np.ascontiguousarray(np.linalg.inv(tilted))) for made in (native, reference)
    ]
    at = np.array([[300.0, 200.0], [500.0, 240.0], [420.0, 300.0]])
    for n in range(120):
        move = [[2.0 * n, 0.5 * n], [0, 1.5 * max(n - 60, 0)], [-1.0 * n, 0]]
        pixels = at + move + random.normal(0, 1.5, (3, 2)) + (60 if n > 100 else 0)
        given = pixels, np.full(3, 2.0), random.integers(0, 3, 3).astype(np.uint8)
        heights = 50 + random.normal(0, 3, 3) + 30 * (random.random(3) < 0.05)
        here = random.random(3) > 0.1
        ids = np.array([1, 2, 3])[here]
        one, two = (
            c.update(ids, *(np.ascontiguousarray(v[here]) for v in given), n / 30, heights[here]) for c in cores
        )
        for a, b in zip(one[:2], two[:2], strict=True):
            assert a[0].tolist() == b[0].tolist()
            np.testing.assert_allclose(a[1], b[1], rtol=1e-6, atol=1e-7)
        assert [i for i, _ in one[2]] == [i for i, _ in two[2]]
        for (_, a), (_, b) in zip(one[2], two[2], strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9)


def test_what_stands_may_start_at_any_moment(twin: Any) -> None:
    """At rest for 3 s, then 2 m/s2: until it shows, the error that is stated for rest holds what is missed."""
    random, core = np.random.default_rng(5), core_of(twin, **STEADY)
    rows = []
    for n in range(135):
        place = max(n / 30 - 3, 0) ** 2 + random.normal(0, 0.05)
        rows.append(step(core, n / 30, (place, 0.0))[0][1][0])
    table = np.array(rows)
    at_rest = table[:, PlaneColumn.STATIONARY_S] >= 0.5
    true = 2 * np.maximum(np.arange(135) / 30 - 3, 0)
    sd = np.sqrt(table[:, PlaneColumn.VARIANCE] + table[:, PlaneColumn.VX] ** 2)  # As speed_rows states it
    assert at_rest[60:90].all()
    assert not at_rest[-15:].any()
    assert (true[at_rest] <= 1.96 * sd[at_rest]).mean() > 0.95
    assert sd[60:90].max() < 0.5  # Small while it stands


LIMITS = np.array([0.5, 0.05, 0.13, 0.7, 0.3])
"""m/s, share, and seconds: age, time unseen, sightings after a smoothed value."""


def speed_rows(twin: Any, *rows: dict[str, float], **how: Any) -> Any:
    """Of rows that are moving at 3, 4 m/s for 10 sightings, but for what is given; lengths are 2 % uncertain."""
    usual = dict(zip(PlaneColumn.__members__, (2, 3, 4, 0.04, 0, 1, 0, 10, 0, 0), strict=True))
    table = np.array([list({**usual, **row}.values()) for row in rows], float)
    given = {"cells": np.eye(3), "errors": np.full((4, 4), 0.02), "limits": LIMITS, "camera_moved": False, **how}
    return twin.speed_rows(table, **given)


def test_a_speed_has_the_error_of_its_lengths_and_a_heading(twin: Any) -> None:
    errors = np.zeros((4, 4))
    errors[2, 1], errors[3, 0] = 0.1, 0.2
    rows = [{"X": 1.9, "Y": 2.0}, {"X": -7.0, "Y": 99.0}, {"STATIONARY_S": 0.6, "VX": 0.1, "VY": 0.0}]
    how = {"errors": errors, "limits": np.array([9, 0.05, 0.13, 0.7, 0.3]), "unusable": np.zeros(3, np.uint8)}
    mps, sigma, heading, time, reason = speed_rows(twin, *rows, **how)
    assert mps.tolist() == [5, 5, 0]
    assert sigma == pytest.approx([math.hypot(0.2, 0.5), math.hypot(0.2, 1), math.hypot(0.2, 0.1)])
    assert heading[:2] == pytest.approx([math.degrees(math.atan2(4, 3))] * 2)
    assert np.isnan(heading[2])
    assert (time.tolist(), reason.tolist()) == ([2, 2, 2], [0, 0, 0])


def test_each_reason_for_no_speed(twin: Any) -> None:
    hidden, uncertain = int(Reason.OCCLUDED), Reason.UNCERTAIN
    cases = [
        ({}, 0, Reason.OK), ({"VARIANCE": 0.3}, 0, uncertain), ({"STATIONARY_S": UNDECIDED}, 0, uncertain),
        ({"STATIONARY_S": 0.3}, 0, uncertain), ({"SIGHTINGS": 4}, 0, Reason.TOO_SHORT),
        ({"AGE_S": 0.1}, 0, Reason.TOO_SHORT), ({"UNSEEN_S": 0.8}, 0, Reason.STALE), ({}, hidden, Reason.OK),
        ({"UNSEEN_S": 0.8}, hidden, Reason.OCCLUDED),
        ({"SIGHTINGS": 0, "VARIANCE": UNMEASURED}, hidden, Reason.OCCLUDED),
    ]  # fmt: skip
    unusable = np.array([why for _, why, _ in cases], np.uint8)
    mps, sigma, _, _, reason = speed_rows(twin, *(row for row, _, _ in cases), unusable=unusable)
    assert [Reason(r) for r in reason] == [expected for *_, expected in cases]
    assert (np.isfinite(mps) == (reason == 0)).all()
    assert np.isnan(sigma[-1])
    smoothed = [{"UNSEEN_S": -0.4}, {"UNSEEN_S": -0.2}, {"UNSEEN_S": -0.2, "STATIONARY_S": 0.6, "VX": 0, "VY": 0}]
    assert speed_rows(twin, *smoothed)[4].tolist() == [Reason.OK, Reason.TOO_SHORT, Reason.OK]
    moved = speed_rows(twin, {}, {}, camera_moved=True)
    assert (moved[4].tolist(), np.isnan(moved[0]).all()) == ([Reason.CAMERA_MOVED] * 2, True)


def test_both_twins_have_the_same_tables_of_speeds(native: Any) -> None:
    random, n = np.random.default_rng(9), 2000
    rows = random.normal(0, 1, (n, len(PlaneColumn)))
    rows[:, PlaneColumn.SIGHTINGS] = random.integers(0, 12, n)
    rows[::3, PlaneColumn.STATIONARY_S] = random.choice([0.0, MOVING, UNDECIDED, 1.0], len(rows[::3]))
    rows[:, PlaneColumn.X :] *= 9
    given = [rows, random.normal(0, 1, (3, 3)), random.uniform(0.01, 0.1, (16, 16)), LIMITS]
    for unusable in (None, random.choice([0, 0, 7, 8, 9], n).astype(np.uint8)):
        for a, b in zip(*(t.speed_rows(*given, False, unusable) for t in (native, reference)), strict=True):
            assert a.dtype == b.dtype
            np.testing.assert_allclose(a, b, rtol=1e-12)
    with pytest.raises(ValueError, match="rows, N reasons or none"):
        native.speed_rows(rows[:, :9].copy(), *given[1:], False)


def test_of_many_sightings_every_second_one_is_kept(twin: Any) -> None:
    core = core_of(twin, max_observations=8)
    for n in range(12):
        step(core, n / RATE, (1.0, 1.0))
    (_, table), *_ = step(core, 2.0)[2]
    assert (10 * table[:, 0]).round().tolist() == [0, 2, 4, 6, 8, 9, 10, 11]


def test_tracks_are_independent_and_end_by_id(twin: Any) -> None:
    core, alone = core_of(twin), core_of(twin)
    for n in range(10):
        both, _, _ = step(core, n / RATE, (1.0 * n, 0.0), (0.0, -2.0 * n))
        one, _, _ = step(alone, n / RATE, (1.0 * n, 0.0))
        np.testing.assert_array_equal(both[1][0], one[1][0])
    _, smoothed, ended = step(core, 1.0)
    assert sorted(set(smoothed[0].tolist())) == [1, 2]
    assert [i for i, _ in ended] == [1, 2]
    assert step(core, 1.1)[2] == []
    step(core, 1.2, (0.0, 0.0))
    core.reset()
    assert step(core, 1.3)[2] == []


def test_an_unknown_setting_is_named(twin: Any) -> None:
    with pytest.raises(ValueError, match="plane setting: there is no speed"):
        core_of(twin, speed=1.0)


def test_both_twins_have_the_same_numbers_in_perspective(native: Any) -> None:
    # A camera 6 m above the road that looks down it; places between 10 and 60 m ahead.
    to_image = np.array([[1400.0, 960.0, 0.0], [0.0, 300.0, 8400.0], [0.0, 1.0, 0.5]])
    to_ground = np.linalg.inv(to_image)
    to_ground = np.ascontiguousarray(to_ground / to_ground[2, 2] * 1.0)
    scale = (to_ground @ [960.0, 700.0, 1.0])[2]
    to_ground = to_ground / scale
    cores = [twin.PlaneCore({"lag_s": 0.3}, to_ground, to_image) for twin in (native, reference)]
    random = np.random.default_rng(8)
    start, speed = random.uniform([-5, 10], [5, 30], (12, 2)), random.normal(0, [1, 6], (12, 2))
    for n in range(120):
        time = n / 20
        there = np.flatnonzero(random.random(12) > 0.05)
        at = np.column_stack([start + speed * time, np.ones(12)]) @ to_image.T
        pixels = at[there, :2] / at[there, 2:] + random.normal(0, 1.5, (len(there), 2))
        pixels += 300 * (random.random((len(there), 1)) < 0.05)
        seen = (random.random(len(there)) > 0.1).astype(np.uint8)
        frame = (there + 1, np.ascontiguousarray(pixels), np.full(len(there), 2.0), seen, time)
        mine, other = (core.update(*frame) for core in cores)
        for k in (0, 1):
            a, b = (np.lexsort((t[1][:, PlaneColumn.TIME], t[0])) for t in (mine[k], other[k]))
            np.testing.assert_array_equal(mine[k][0][a], other[k][0][b])
            np.testing.assert_allclose(mine[k][1][a], other[k][1][b], rtol=1e-6, atol=1e-6)
        for (i, x), (j, y) in zip(mine[2], other[2], strict=True):
            assert i == j
            np.testing.assert_array_equal(x, y)
