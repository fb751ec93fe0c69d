"""The speed of a whole track by hand: from straight above, 10 pixels a meter."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from edgevid.speed.track_speed import TrackSpeed, track_speed
from edgevid.types import Array

TO_GROUND, TO_IMAGE = np.diag([0.1, 0.1, 1.0]), np.diag([10.0, 10.0, 1.0])


def measure(times: Array, x: Any, y: Any = 0.0, noise: Any = 1.0) -> TrackSpeed | None:
    n = np.ones(len(times))
    rows = np.column_stack([times, 10 * np.asarray(x) * n, 10 * np.asarray(y) * n, noise * n])
    return track_speed(rows, TO_GROUND, TO_IMAGE)


def found(times: Array, x: Any, y: Any = 0.0, noise: Any = 1.0) -> TrackSpeed:
    made = measure(times, x, y, noise)
    assert made is not None
    return made


def jitter(seed: int, n: int, sd: float = 0.1, rho: float = 0.8) -> Array:
    """(n, 2) correlated errors in meters; x is the mean of two edges."""
    random, error = np.random.default_rng(seed), np.zeros((n, 2))
    for k in range(n):
        new = random.normal(0, sd, 2)
        error[k] = new if k == 0 else rho * error[k - 1] + math.sqrt(1 - rho**2) * new
    return error / [math.sqrt(2), 1]


def test_a_straight_drive_without_noise() -> None:
    times = 3 + np.arange(31) / 10
    made = found(times, 6 * times, 8 * times)
    assert made.mps == pytest.approx(10)
    assert made.peak == pytest.approx(10, rel=1e-3)
    assert made.heading == pytest.approx(math.degrees(math.atan2(8, 6)))
    assert made.time == pytest.approx(4.5)
    assert made.pixel.tolist() == pytest.approx([270, 360])
    assert (made.stopped_s, made.turned_deg) == pytest.approx((0, 0), abs=0.01)


def test_residuals_tell_the_noise_and_its_correlation() -> None:
    # Independent jitter of the given size: the textbook error of a slope, and of boxes that drift by one standard error
    # at either end. Half of it, and correlation.
    times = np.arange(90) / 30
    plain = 0.1 / math.sqrt(2) / math.sqrt(((times - times.mean()) ** 2).sum())
    white, small, slow = (found(times, 8 * times + jitter(1, 90, sd, rho)[:, 0], jitter(2, 90, sd, rho)[:, 1])
                          for sd, rho in ((0.1, 0.0), (0.05, 0.0), (0.1, 0.8)))  # fmt: skip
    own = [math.sqrt(made.sigma**2 - made.noise * (0.1 / times[-1]) ** 2) for made in (white, small, slow)]
    assert own[0] == pytest.approx(plain, rel=0.5)
    assert own[1] < 0.75 * own[0]
    assert own[2] > 1.3 * own[0]
    assert small.sigma < 0.75 * white.sigma
    assert white.noise == pytest.approx(1, abs=0.35)
    assert small.noise < 0.5


def test_the_speed_is_the_mean_over_the_path_and_the_path_is_described() -> None:
    # 10 m/s for 2 s, braking to rest in 2 s, 2 s of rest, 10 m/s again within 2 s: 40 m in 8 s.
    times = np.arange(240) / 30
    speed = np.interp(times, [0, 2, 4, 6, 8], [10, 10, 0, 0, 10])
    x = np.concatenate([[0], np.cumsum((speed[1:] + speed[:-1]) / 60)])
    made = found(times, x + jitter(3, 240)[:, 0], jitter(4, 240)[:, 1])
    assert made.mps == pytest.approx(x[-1] / times[-1], abs=max(0.05, 2 * made.sigma))
    assert made.sigma < 0.3
    assert made.turned_deg < 60  # what noise turns a car that stops
    assert made.peak == pytest.approx(10, abs=0.7)
    assert made.stopped_s == pytest.approx(2, abs=0.6)


@pytest.mark.parametrize("stop", [0, 2, 4])
def test_a_car_that_stops_has_its_true_mean(stop: int) -> None:
    times = np.arange(60 + 25 * stop) / 25
    y = np.concatenate([2 + 0.4 * np.arange(30), np.full(25 * stop, 13.6), 14 + 0.4 * np.arange(30)])
    error = jitter(stop, len(times))
    made = found(times, 3.5 + error[:, 0], y + error[:, 1])
    assert abs(made.mps - (y[-1] - y[0]) / times[-1]) < 3 * made.sigma
    assert made.sigma < 0.3


def test_a_quarter_turn_is_as_long_as_its_arc() -> None:
    times = np.arange(120) / 30
    angle = 5 * times / 10 * (times < math.pi) + math.pi / 2 * (times >= math.pi)
    beyond = 5 * np.maximum(times - math.pi, 0)
    made = found(times, 10 * np.sin(angle), 10 * (1 - np.cos(angle)) + beyond)
    assert made.turned_deg == pytest.approx(90, abs=6)
    assert abs(made.mps - 5) < 2 * made.sigma
    assert made.sigma == pytest.approx(0.02 * math.pi / 2 * 5, rel=0.5)  # 2 % of the speed a radian


@pytest.mark.parametrize("seed", range(6))
def test_points_that_lie_behind_for_a_while_are_left_out(seed: int) -> None:
    # 80 km/h, and 8 of 60 sightings 6 m behind: of a trailer, or of the next car.
    times, error = np.arange(60) / 30, jitter(seed, 60)
    x = 80 / 3.6 * times + error[:, 0]
    x[25 + seed : 33 + seed] -= 6
    made = found(times, x, error[:, 1])
    assert 3.6 * made.mps == pytest.approx(80, abs=1.5)
    assert abs(made.mps - 80 / 3.6) < 3 * made.sigma


def test_one_wild_sighting_does_not_count() -> None:
    times = np.arange(41) / 10
    for off in (5, 100):
        x = 5 * times
        x[20] += off
        assert found(times, x, noise=0.5).mps == pytest.approx(5, abs=1e-3)


def test_the_part_of_another_object_widens_the_error() -> None:
    # 40 of 70 sightings at 10 m/s, then 30 of another object at 15 m/s.
    times = np.arange(70) / 30
    x = np.where(np.arange(70) < 40, 10 * times, 100 + 15 * times)
    made = found(times, x, jitter(5, 70)[:, 1])
    assert made.mps == pytest.approx(10, abs=0.2)
    assert made.sigma > 0.4 * 5
    assert found(times, 10 * times, jitter(5, 70)[:, 1]).sigma < 0.2


def test_a_speed_that_changes_where_it_was_not_measured_is_less_certain() -> None:
    # Braking from 20 m/s by 4 m/s2 for 3 s, of which the last second was hidden; steady driving is not.
    times = np.arange(91) / 30
    noise = np.where(times > 2, 0.0, 1.0)
    braking = found(times, 20 * times - 2 * times**2, noise=noise)
    assert braking.mps == pytest.approx(16, abs=0.1)
    assert abs(braking.mps - 14) < 2 * braking.sigma
    assert found(times, 20 * times, noise=noise).sigma < braking.sigma / 5


@pytest.mark.parametrize(
    ("times", "enough"),
    [
        ([0, 0.1, 0.2, 0.4], False),
        ([0, 0.07, 0.14, 0.21, 0.29], False),
        ([0, 0.08, 0.16, 0.24, 0.3], True),
        ([0, 0.02, 0.04, 0.06, 0.08, 0.09], False),
        ([0, 0.02, 0.04, 0.06, 0.08, 0.1], True),
    ],
)
def test_how_many_sightings_over_how_long_are_needed(times: list[float], enough: bool) -> None:
    t = np.array(times)
    assert (measure(t, 10 * t, noise=0.01) is not None) is enough


@pytest.mark.parametrize(("way", "moves"), [(0.48, False), (0.52, True)])
def test_less_than_half_a_meter_is_standing(way: float, moves: bool) -> None:
    times = np.arange(21) / 10
    made = found(times, way * times / 2, noise=0.001)
    assert (made.mps > 0) is moves
    assert math.isnan(made.heading) is not moves


def test_a_velocity_within_its_noise_is_standing() -> None:
    times, error = np.arange(61) / 30, jitter(6, 61, 1.0)
    assert found(times, error[:, 0], 0.3 * times + error[:, 1], noise=10).mps == 0
    assert found(times, error[:, 0], 20 * times + error[:, 1], noise=10).mps > 15


def test_no_place_beyond_the_horizon() -> None:
    times = np.arange(11) / 10
    rows = np.column_stack([times, 10 * times, 10 * times, np.ones(11)])
    assert track_speed(rows, np.array([[0.1, 0, 0], [0, 0.1, 0], [0, 0.5, -1.0]]), TO_IMAGE) is None
