"""The window method by hand, from straight above: lines, outliers, and many tracks.

The displacement method finds its outliers in the same way.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from view_from_above import TENTH, feed

from edgevid.kernels import PlaneColumn
from edgevid.speed.window import WindowCore, unit
from edgevid.types import Array


def add(core: WindowCore, time: float, x: float, y: float = 0.0, noise: float = 1.0) -> bool:
    """One sighting of track 1 at meters; whether it counts."""
    ids = np.array([1])
    slots = core.begin(time, ids)
    pixels = np.array([[10 * x, 10 * y]])
    return bool(core.add(slots, ids, pixels, np.array([noise]), np.array([True]), time)[0])


def filled(sightings: int = 11, speed: float = 4.0) -> WindowCore:
    """Ten sightings a second on a straight line."""
    core = WindowCore(1.0, 1.0, TENTH)
    for n in range(sightings):
        assert add(core, n / 10, speed * n / 10)
    return core


def limit(noise: float = 1.0) -> float:
    """Distance in meters at which the sighting after eleven of `filled` is an outlier."""
    times = np.arange(12)[1:-1] / 10  # within 1 s of the new one, which is not yet in the window: 0.1 to 1.0 s
    middle, ahead = times.mean(), 1.1 - times.mean()
    off = times - middle
    share = off / (off**2).sum() * 0.1 / math.sqrt(2)  # along x: the mean of two edges, 0.1 m a pixel
    correlation = np.exp(-np.abs(times[:, None] - times) / 0.15)
    variance = share @ correlation @ share + 0.0589 * (times[-1] - times[0])
    own = 2 * 0.01 * noise**2  # of both axes
    return math.sqrt(25 * (2 * own + variance * ahead**2 + (0.5 * 8 * ahead**2) ** 2))


@pytest.mark.parametrize("direction", [(1, 0), (-1, 0), (0, 1)])
@pytest.mark.parametrize("noise", [1.0, 40.0])
def test_a_sighting_beyond_five_standard_errors_of_the_line_is_an_outlier(
    direction: tuple[int, int], noise: float
) -> None:
    for share, counts in ((0.99, True), (1.01, False)):
        core, far = filled(), share * limit(noise)
        assert add(core, 1.1, 4.4 + far * direction[0], far * direction[1], noise) is counts


def test_four_sightings_are_no_line_to_be_off() -> None:
    core = filled(4)
    assert add(core, 0.4, 900.0)
    core = filled(5)
    assert not add(core, 0.5, 900.0)


def test_the_fifth_outlier_in_a_row_starts_the_track_again() -> None:
    core = filled()
    jumps = [add(core, (21 + n) / 20, 900.0) for n in range(4)]
    assert add(core, 1.25, 5.0)  # back on its line: the count begins again
    jumps += [add(core, (26 + n) / 20, 900.0) for n in range(5)]
    assert jumps == [False] * 8 + [True]
    assert core.ended == []
    assert core.state["sightings"].max() == 1
    assert len(core.sightings[1]) == 21  # whose they are is found at the end of the track


def test_a_line_is_least_squares_over_the_window() -> None:
    core, random = filled(1), np.random.default_rng(4)
    times, places = np.arange(1, 30) / 10, np.zeros((29, 2))
    for n, t in enumerate(times):
        places[n] = np.array([2, -1]) * t + random.normal(0, 0.05, 2)
        assert add(core, float(t), *places[n])
    line = core.line(np.array([core.slots[1]]))
    inside = times >= 1.9 - 1e-9
    assert line.count.tolist() == [11]
    assert line.middle[0] == pytest.approx(2.4)
    assert line.length[0] == pytest.approx(1.0)
    for axis in (0, 1):
        slope, at = np.polyfit(times[inside] - 2.4, places[inside, axis], 1)
        assert line.velocity[0, axis] == pytest.approx(slope)
        assert line.place[0, axis] == pytest.approx(at)


def test_two_sightings_have_no_error_yet() -> None:
    for n, known in ((2, False), (3, True)):
        core = filled(n)
        assert np.isfinite(core.line(np.array([core.slots[1]])).variance[0]) == known


def test_directions() -> None:
    np.testing.assert_allclose(unit(np.array([[3.0, 4.0], [0.0, 0.0]])), [[0.6, 0.8], [0, 1]])


def window_rows(speed: float, sightings: int, noise: float = 1.0) -> Array:
    core = WindowCore(1.0, 1.0, TENTH)
    ids, ones = np.array([1]), np.ones(1)
    for n in range(sightings):
        pixels = np.array([[10 * speed * n / 10, 0.0]])
        (_, rows), _, _ = core.update(ids, pixels, noise * ones, ones.astype(np.uint8), n / 10)
    return np.asarray(rows[0])


def test_a_window_has_a_value_from_five_sightings_on() -> None:
    few, enough = window_rows(3, 4), window_rows(3, 5)
    assert (few[PlaneColumn.VARIANCE], few[PlaneColumn.VX]) == (-1, 0)
    assert few[PlaneColumn.SIGHTINGS] == 1  # counts as not sighted often enough
    assert few[PlaneColumn.TIME] == 0.3
    assert enough[PlaneColumn.VX] == pytest.approx(3)
    assert enough[PlaneColumn.SIGHTINGS] == 5
    assert enough[PlaneColumn.TIME] == pytest.approx(0.2)
    assert enough[PlaneColumn.X] == pytest.approx(0.6)
    assert [enough[PlaneColumn.AGE_S], enough[PlaneColumn.UNSEEN_S]] == pytest.approx([0.4, 0])


def test_moving_undecided_and_stationary_by_chi_square() -> None:
    # The variance of a window of 11 does not depend on the speed: below 5.99 of it a speed is noise, from
    # 16 on it is motion.
    sd = math.sqrt(window_rows(3, 30)[PlaneColumn.VARIANCE])
    for chi, expected in ((5.9, 0.5), (6.1, -2), (15.9, -2), (16.1, 0)):
        row = window_rows(math.sqrt(chi) * sd, 30)
        state = row[PlaneColumn.STATIONARY_S]
        assert state > 0.5 if expected == 0.5 else state == expected


def test_the_ring_grows_with_the_frame_rate() -> None:
    core = WindowCore(1.0, 1.0, TENTH)
    for n in range(300):
        assert add(core, n / 100, 2 * n / 100)
    assert core.line(np.array([core.slots[1]])).count.tolist() == [101]
    assert len(core.times) == 128


@pytest.mark.parametrize("drop", [0.0, 0.4])
def test_a_window_on_a_straight_line_is_exact_at_any_times(drop: float) -> None:
    core, random = WindowCore(1.0, 1.0, TENTH), np.random.default_rng(3)
    times = np.cumsum(random.uniform(0.01, 0.06, 80))
    for t in times:
        seen = random.random() >= drop
        place = (2 + 3 * t, 40 - 12 * t)
        (_, live), (_, smoothed), _ = feed(core, t, {1: place if seen else None}, fps=1)
    assert live[0][1:3] == pytest.approx([3, -12])
    when = live[0][0]
    assert live[0][8:10] == pytest.approx([2 + 3 * when, 40 - 12 * when])
    assert len(smoothed) in (0, 1)


def test_a_window_under_steady_acceleration_is_right_at_its_middle() -> None:
    core = WindowCore(1.0, 1.0, TENTH)
    for n in range(61):
        (_, live), _, _ = feed(core, n, {1: (0.0, 0.5 * 2.5 * (n / 30) ** 2)})
    assert live[0][0] == pytest.approx(1.5)
    assert live[0][2] == pytest.approx(2.5 * 1.5, abs=1e-6)


def test_more_tracks_than_slots_and_more_frames_than_columns() -> None:
    core = WindowCore(1.0, 1.0, TENTH)
    for n in range(200):
        places = {i: (float(i), 0.01 * i * n) for i in range(1 + n // 20, 40 + n // 20)}
        (ids, live), _, ended = feed(core, n, places, fps=100)
        assert [i for i, _ in ended] == ([n // 20] if n and n % 20 == 0 else [])
    old = live[:, 7] > 100
    np.testing.assert_allclose(live[old, 2], ids[old] * 1.0, atol=1e-9)


@pytest.mark.parametrize("sightings", [5, 9])
@pytest.mark.parametrize("process_noise", [0.3, 2.0])
def test_the_variance_is_correlated_noise_and_wandering_speed(sightings: int, process_noise: float) -> None:
    core = WindowCore(3.0, process_noise, TENTH)
    for n in range(sightings):
        assert add(core, n / 10, 0.0, 2 * n / 10, noise=1.5)
    line = core.line(np.array([core.slots[1]]))
    off = (np.arange(sightings) - (sightings - 1) / 2) / 10
    share = off / (off**2).sum() * 0.15  # along y: 1.5 pixels
    correlation = np.exp(-np.abs(off[:, None] - off) / 0.15)
    length = (sightings - 1) / 10
    expected = share @ correlation @ share + 0.0589 * process_noise * length
    assert line.variance[0] == pytest.approx(expected)


def test_the_length_of_a_window_is_that_of_the_track_s_own_sightings() -> None:
    core = WindowCore(2.0, 1.0, TENTH)
    for n in range(21):
        ids = np.array([1, 2] if 8 <= n < 15 else [1])
        pixels = np.array([[n, 0.0], [n, 50.0]])[: len(ids)]
        slots = core.begin(n / 10, ids)
        core.add(slots, ids, pixels, np.ones(len(ids)), np.ones(len(ids), bool), n / 10)
        if n == 14:
            line = core.line(slots)
            assert line.length.tolist() == pytest.approx([1.4, 0.6])
            assert line.middle.tolist() == pytest.approx([0.7, 1.1])
            assert line.count.tolist() == [15, 7]
