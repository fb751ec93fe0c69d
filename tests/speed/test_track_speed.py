"""The speed of a whole track by hand: from straight above, 10 pixels a meter."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from edgevid.speed.track_speed import TrackSpeed, track_speed
from edgevid.types import Array

TO_GROUND, TO_IMAGE = np.diag([0.1, 0.1, 1.0]), np.diag([10.0, 10.0, 1.0])


def measure(times: Array, x: Any, y: Any = 0.0, noise: float = 1.0) -> TrackSpeed | None:
    n = np.ones(len(times))
    rows = np.column_stack([times, 10 * np.asarray(x) * n, 10 * np.asarray(y) * n, noise * n])
    return track_speed(rows, TO_GROUND, TO_IMAGE)


def test_a_straight_drive_without_noise() -> None:
    times = 3 + np.arange(31) / 10
    found = measure(times, 6 * times, 8 * times)
    assert found is not None
    assert found.mps == pytest.approx(10)
    assert found.heading == pytest.approx(math.degrees(math.atan2(8, 6)))
    assert found.time == pytest.approx(4.5)
    assert found.pixel.tolist() == pytest.approx([270, 360])


@pytest.mark.parametrize("n", [5, 9, 40])
@pytest.mark.parametrize("gap", [0.1, 0.25])
def test_the_standard_error_counts_on_correlated_box_errors(n: int, gap: float) -> None:
    # Without residuals only the prior is left: neighbors correlate by exp(-gap / 0.15 s), which counts for 20
    # sightings against n - 1 without correlation. The variance of a slope, with 0.1 m of noise along y, is
    # 0.1^2 / sum t^2, times (1 + r) / (1 - r).
    t = (np.arange(n) - (n - 1) / 2) * gap
    found = measure(t, 0.0, 3 * t)
    assert found is not None
    r = 20 * math.exp(-gap / 0.15) / (n - 1 + 20)
    assert found.sigma == pytest.approx(
        0.1 / math.sqrt((t**2).sum()) * math.sqrt((1 + r) / (1 - r)), rel=1e-6
    )
    across = measure(t, 3 * t)
    assert across is not None
    assert across.sigma == pytest.approx(found.sigma / math.sqrt(2), rel=1e-6)  # the mean of two edges


@pytest.mark.parametrize(("rho", "grows"), [(0.9, True), (-0.9, False)])
def test_the_residuals_own_correlation_counts_once_there_are_many(rho: float, grows: bool) -> None:
    random, errors = np.random.default_rng(1), np.zeros(400)
    for k in range(1, 400):
        errors[k] = rho * errors[k - 1] + random.normal(0, 0.1 * math.sqrt(1 - rho**2))
    t = (np.arange(400) - 199.5) / 5  # at 5 fps the prior is 0.26, and counts for 20 of 420
    found = measure(t, 5 * t, errors)
    assert found is not None
    plain = 0.1 / math.sqrt(2) / math.sqrt((t**2).sum())
    # (1 + r) / (1 - r) of r = 0.87 is 14; anticorrelation does not count: r is 0.
    factor = found.sigma / plain
    assert (2.5 < factor < 5) if grows else factor == pytest.approx(1, abs=1e-3)


def test_braking_is_fitted_by_a_curve_whose_speed_is_that_of_the_middle() -> None:
    # Densely sighted at first, sparsely later: a straight line leans on the fast part. 20 m/s - 4 m/s2.
    times = np.concatenate([np.arange(20) / 20, np.arange(5, 16) / 5])
    found = measure(times, 20 * times - 2 * times**2)
    assert found is not None
    assert found.time == pytest.approx(1.5)
    assert found.mps == pytest.approx(20 - 4 * 1.5, abs=1e-6)


def test_nine_sightings_are_too_few_for_a_curve() -> None:
    times = np.concatenate([np.arange(6) / 20, [1.0, 1.5, 2.0]])
    x = 20 * times - 2 * times**2
    found = measure(times, x)
    assert found is not None
    slope = np.polyfit(times, x, 1)[0]
    assert found.mps == pytest.approx(slope, abs=0.5)
    assert abs(found.mps - (20 - 4 * 1.0)) > 0.3
    ten = measure(np.append(times, 2.5), np.append(x, 20 * 2.5 - 2 * 2.5**2))
    assert ten is not None
    assert ten.mps == pytest.approx(20 - 4 * 1.25, abs=1e-6)


@pytest.mark.parametrize(("share", "curved"), [(0.9, False), (1.15, True)])
def test_an_acceleration_counts_beyond_the_99_9_percent_of_its_error(share: float, curved: bool) -> None:
    # chi-square of 2 at 13.8: an acceleration along y of sqrt(13.8) of its standard errors. The positions are
    # exact, so the error is the prior's alone.
    times = np.concatenate([np.arange(20) / 20, np.arange(5, 16) / 5])
    t, n = times - 1.5, len(times)
    basis = np.stack([np.ones(n), t, t**2 / 2], 1)
    gap = float(np.median(np.diff(times)))
    close = (np.diff(times) < 1.5 * gap).sum()
    r = 20 * math.exp(-gap / 0.15) / (close + 20)
    sd = 0.1 * math.sqrt(np.linalg.inv(basis.T @ basis)[2, 2] * (1 + r) / (1 - r))
    a = share * math.sqrt(13.8) * sd
    y = 10 * t + a * t**2 / 2
    found = measure(times, 0.0, y)
    assert found is not None
    assert (abs(found.mps - 10) < 1e-6) is curved


def test_one_wild_sighting_counts_as_three_standard_errors() -> None:
    # Huber: its pull is bounded, so that one 100 m off moves the speed no more than one 10 m off.
    times = np.arange(41) / 10
    speeds = []
    for off in (0, 10, 100):
        x = 5 * times
        x[40] += off
        found = measure(times, x)
        assert found is not None
        speeds.append(found.mps)
    assert speeds[0] == pytest.approx(5)
    assert speeds[1] == pytest.approx(speeds[2], abs=1e-3)
    # The pull: 3 sd (0.0707 m) at t = 2 s, over the others' sum t^2 of 53.4.
    assert speeds[1] - 5 == pytest.approx(3 * 0.0707 * 2 / 53.4, rel=0.04)


@pytest.mark.parametrize(
    ("times", "found"),
    [
        ([0, 0.1, 0.2, 0.4], False),
        ([0, 0.07, 0.14, 0.21, 0.29], False),
        ([0, 0.08, 0.16, 0.24, 0.3], True),
    ],
)
def test_five_sightings_and_three_tenths_of_a_second_are_needed(times: list[float], found: bool) -> None:
    t = np.array(times)
    assert (measure(t, 10 * t, noise=0.01) is not None) is found


@pytest.mark.parametrize(("way", "moves"), [(0.48, False), (0.52, True)])
def test_less_than_half_a_meter_is_standing(way: float, moves: bool) -> None:
    times = np.arange(21) / 10
    found = measure(times, way * times / 2, noise=0.001)
    assert found is not None
    assert (found.mps > 0) is moves
    assert math.isnan(found.heading) is not moves


def test_a_velocity_within_its_noise_is_standing() -> None:
    times = np.arange(21) / 10
    r = 20 * math.exp(-0.1 / 0.15) / 40
    sd = 0.1 / math.sqrt(((times - 1) ** 2).sum()) * math.sqrt((1 + r) / (1 - r))
    for share, moves in ((0.95, False), (1.05, True)):
        noise = 0.3 / (share * math.sqrt(5.99) * sd)  # in pixels; sd is that of one pixel
        found = measure(times, 0.0, 0.3 * times, noise=noise)
        assert found is not None
        assert (found.mps > 0) is moves


def test_no_place_beyond_the_horizon() -> None:
    times = np.arange(11) / 10
    rows = np.column_stack([times, 10 * times, 10 * times, np.ones(11)])
    assert track_speed(rows, np.array([[0.1, 0, 0], [0, 0.1, 0], [0, 0.5, -1.0]]), TO_IMAGE) is None


@pytest.mark.parametrize("meters", [(0.3, 0.1), (0.1, 0.3)])
def test_at_rest_the_standard_error_is_that_of_the_less_certain_axis(meters: tuple[float, float]) -> None:
    times = np.arange(21) / 10
    rows = np.column_stack([times, np.full((21, 2), 50.0), np.ones(21)])
    to_ground = np.diag([*meters, 1.0])
    found = track_speed(rows, to_ground, np.linalg.inv(to_ground))
    assert found is not None
    r = 20 * math.exp(-0.1 / 0.15) / 40
    slope = math.sqrt((1 + r) / (1 - r) / ((times - 1) ** 2).sum())
    assert found.mps == 0
    assert found.sigma == pytest.approx(max(meters[0] / math.sqrt(2), meters[1]) * slope)
