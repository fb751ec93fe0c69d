"""The times of live streams: drift, jumps, frames without stamps, and stale backlogs."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest

from edgevid.video.stream_clock import Backlog, PacedClock, StreamClock


def passed(backlog: Backlog, number: int | None, arrived: float) -> list[Any]:
    """Frame `number` of a stream of 25 per second."""
    return backlog.passed(number, None if number is None else number / 25, arrived)


def test_a_backlog_is_held_back_until_frames_come_at_the_cameras_pace() -> None:
    backlog, now = Backlog(), time.monotonic()
    came = [(None, 0.0), (1, 0.001), (2, 0.031), (3, 0.032), (4, 0.072), (5, 0.112), (6, 0.152), (7, 0.192),
            (8, 0.24), (9, 0.241)]  # fmt: skip
    found = [passed(backlog, number, now + at) for number, at in came]
    assert found == [*[[]] * 8, [3, 4, 5, 6, 7, 8], [9]]


def test_frames_without_stamps_are_no_backlog() -> None:
    backlog, now = Backlog(), time.monotonic()
    assert [len(passed(backlog, None, now + n / 1000)) for n in range(4)] == [0, 2, 1, 1]


def test_a_stream_faster_than_its_stamps_is_handed_on_in_the_end() -> None:
    backlog, now = Backlog(), time.monotonic()
    assert sum(len(passed(backlog, n, now + n / 1000)) for n in range(3100)) in (100, 101)


@pytest.mark.parametrize("rate", [1.001, 0.999])
def test_a_camera_whose_clock_drifts_loses_no_frame(rate: float) -> None:
    """Two hours of a clock 0.1 % off, which is 7.2 s: times stay near this machine's and always go on."""
    times, last = StreamClock(), -1.0
    for n in range(5 * 7200):
        now = n / 5 / rate
        time = times.time(n / 5, now=now, last=last)
        assert time > last
        assert abs(time - now) < 0.51
        last = time


def test_a_camera_that_sets_its_clock_is_aligned_again() -> None:
    times = StreamClock()
    assert times.time(100.0, now=2.0, last=-1.0) == 2.0
    assert times.time(100.2, now=2.3, last=2.0) == pytest.approx(2.2)
    assert times.time(9000.0, now=2.5, last=2.2) == 2.5
    assert times.time(None, now=2.6, last=2.5) == 2.6


def test_the_first_frame_is_now_and_later_ones_keep_their_distances() -> None:
    times = StreamClock()
    assert times.time(50.0, now=7.0, last=-1.0) == 7.0
    assert times.time(50.04, now=7.3, last=7.0) == pytest.approx(7.04)  # late by the network
    again = StreamClock()
    assert again.time(50.0, now=7.0, last=9.0) == pytest.approx(9.001)  # after a reconnection time goes on


def test_a_clock_that_is_half_a_second_off_is_corrected_by_2_ms_per_second() -> None:
    times = StreamClock()
    times.time(0.0, now=0.0, last=-1.0)
    assert times.time(10.0, now=9.51, last=9.0) == pytest.approx(10.0)
    assert times.time(11.0, now=10.4, last=10.0) == pytest.approx(10.998)
    slow = StreamClock()
    slow.time(0.0, now=0.0, last=-1.0)
    assert slow.time(10.0, now=10.6, last=9.0) == pytest.approx(10.002)


def test_a_backlog_is_searched_for_3_seconds() -> None:
    backlog, now = Backlog(), time.monotonic()
    assert passed(backlog, 0, now) == []
    assert passed(backlog, 1, now + 0.001) == []
    assert backlog.held_back
    assert passed(backlog, 2, now + 3.1) == [1, 2]
    assert not backlog.held_back


def timed(stamps: Any, arrivals: Any, *, nominal: bool = False) -> tuple[np.ndarray, list[tuple[str, str]]]:
    """The times of frames with `stamps` that arrive at `arrivals`, and what was reported."""
    events: list[tuple[str, str]] = []
    times = StreamClock(nominal=nominal, report=lambda kind, detail: events.append((kind, detail)))
    found, last = [], -1.0
    for stamp, now in zip(stamps, arrivals, strict=True):
        time = times.time(float(stamp), now=float(now), last=last)
        assert time > last
        found.append(last := time)
    return np.array(found), events


def rates(times: np.ndarray, true: np.ndarray, begin: float) -> np.ndarray:
    """How fast what moves evenly seems to be, over spans of 1 s, from second `begin` on."""
    firsts = np.flatnonzero((true >= begin) & (true < true[-1] - 1.1))
    lasts = np.searchsorted(true, true[firsts] + 1 - 1e-9)
    return (true[lasts] - true[firsts]) / (times[lasts] - times[firsts])


@pytest.mark.parametrize("fps", [1, 5, 12.5, 25, 50])
@pytest.mark.parametrize("nominal", [True, False])
def test_frames_stamped_at_a_nominal_rate_have_the_times_of_their_arrival(fps: float, nominal: bool) -> None:
    """Stamps of 25 fps at any real rate; the network's jitter, 20 ms, stays out of the speeds."""
    random = np.random.default_rng(0)
    true = np.arange(int(30 * fps)) / fps
    arrivals = np.maximum.accumulate(true + 0.05 + random.exponential(0.02, len(true)))
    times, events = timed(np.arange(len(true)) / 25, arrivals, nominal=nominal)
    seen = rates(times, true, 3.0 if nominal else 12.0)
    assert np.abs(seen - 1).max() < 0.1
    assert np.median(seen) == pytest.approx(1, abs=0.01)
    assert [kind for kind, _ in events] == ([] if fps == 25 and not nominal else ["retimed"])
    if not nominal and fps == 5:
        assert events[0][1].startswith("the stamps run at 0.20 times the clock's rate")


def test_good_stamps_are_kept_through_jitter_stalls_drift_and_new_routes() -> None:
    """100 networks with stalls of up to 3.5 s and a change of delay: times are the stamps, never arrivals."""
    for seed in range(100):
        random = np.random.default_rng(seed)
        true = np.arange(60 * 25) / 25
        delay = random.exponential(0.03, len(true))
        for stall_s in random.uniform(0.2, 3.5, 6):
            begin = random.uniform(0, 60)
            held = (true >= begin) & (true < begin + stall_s)
            delay[held] = np.maximum(delay[held], begin + stall_s - true[held])
        delay[random.integers(len(true)) :] += random.uniform(0, 0.8)
        rate = random.choice([1.0, 1.001, 0.999])
        times, events = timed(true * rate, np.maximum.accumulate(true + delay))
        assert events == []
        assert np.abs(np.diff(times) - 0.04).max() < 0.001


def test_stamps_that_agree_again_are_used_again() -> None:
    arrivals = np.arange(25 * 60) / 25
    stamps = np.cumsum(np.where(arrivals < 20, 0.02, 0.04))
    _, events = timed(stamps, arrivals)
    assert [kind for kind, _ in events] == ["retimed", "retimed"]
    assert "again" in events[1][1]


@pytest.mark.parametrize("jump", [-3600.0, -2.0, 1.5, 3600.0])
def test_after_a_jump_of_the_stamps_the_next_frame_is_handed_on_at_once(jump: float) -> None:
    arrivals = np.arange(200) / 25
    times, events = timed(np.where(arrivals < 4, arrivals, arrivals + jump), arrivals)
    assert [kind for kind, _ in events] == ["jumped"]
    assert f"{jump + 0.04:+.2f} s" in events[0][1]
    assert np.abs(np.diff(times) - 0.04).max() < 1e-6


def test_a_single_misordered_stamp_is_no_jump() -> None:
    stamps = np.arange(10) / 25
    stamps[5] = stamps[3]
    times, events = timed(stamps, np.arange(10) / 25)
    assert events == []
    assert times[6] == pytest.approx(6 / 25)
    assert times[4] < times[5] < times[6]


def test_a_burst_after_a_stall_keeps_the_rate_of_the_frames() -> None:
    """5 fps, nominal stamps; 2 s held up, then ten frames at once."""
    true = np.arange(200) / 5
    arrivals = np.where((true >= 15) & (true < 17), 17.0, true)
    times, _ = timed(np.arange(200) / 25, arrivals, nominal=True)
    steps = np.diff(times)
    assert steps[true[1:] != 15.0][10:].min() > 0.15
    assert np.median(steps) == pytest.approx(0.2, abs=0.001)
    assert np.abs(rates(times, true, 20) - 1).max() < 0.02


def paced(stamps: list[float | None], arrivals: list[float]) -> tuple[list[float], list[float], list[str]]:
    kinds: list[str] = []
    clock, last = PacedClock(lambda kind, detail: kinds.append(kind)), -1.0
    times, dues = [], []
    for stamp, now in zip(stamps, arrivals, strict=True):
        last, due = clock.time(stamp, now=now, last=last, step=0.5)
        times.append(last)
        dues.append(due)
    return times, dues, kinds


def test_segments_are_due_at_the_pace_of_their_stamps_and_a_late_one_delays_what_follows() -> None:
    times, dues, kinds = paced([9.0, 9.5, 10.0, 10.5, 11.0], [2.0, 2.0, 2.5, 5.0, 5.0])
    assert times == [2.0, 2.5, 3.0, 3.5, 4.0]
    assert dues == [2.0, 2.5, 3.0, 5.0, 5.5]
    assert kinds == []


def test_a_slow_consumer_delays_nothing_that_follows() -> None:
    clock = PacedClock(lambda kind, detail: None)
    assert clock.time(9.0, now=2.0, last=-1.0, step=0.5) == (2.0, 2.0)
    assert clock.time(9.5, now=4.0, last=2.0, step=0.5, free_at=4.0) == (2.5, 2.5)
    assert clock.time(10.0, now=5.0, last=2.5, step=0.5, free_at=4.5) == (3.0, 3.5)  # late by the network


def test_paced_stamps_that_jump_or_are_missing_or_repeated() -> None:
    stamps = [9.0, 9.5, 9.5, None, 1000.0, 1000.5, 3.0]
    times, dues, kinds = paced(stamps, [2.0, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5])
    assert times == [2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0]
    assert dues == times
    assert kinds == ["jumped", "jumped"]


def test_a_gap_that_has_passed_is_no_jump() -> None:
    """Segments that were gone: the stamps go forward by as much as the clock did."""
    times, dues, kinds = paced([0.0, 0.5, 60.5], [1.0, 1.5, 61.55])
    assert times == [1.0, 1.5, 61.5]
    assert dues == [1.0, 1.5, 61.5]
    assert kinds == []
