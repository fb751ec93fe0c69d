"""The times of live streams: drift, jumps, frames without stamps, and stale backlogs."""

from __future__ import annotations

import time
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import pytest

from edgevid.video.stream_clock import Backlog, StreamClock


def decoded(pts: int | None) -> Any:
    return SimpleNamespace(pts=pts, time_base=Fraction(1, 25))


def test_a_backlog_is_held_back_until_frames_come_at_the_cameras_pace() -> None:
    backlog, now = Backlog(), time.monotonic()
    came = [(None, 0.0), (1, 0.001), (2, 0.002), (3, 0.042), (4, 0.043), (9, 0.044)]
    passed = [[p.pts for p in backlog.passed(decoded(pts), now + at)] for pts, at in came]
    assert passed == [[], [], [], [2, 3], [4], [9]]


def test_frames_without_stamps_are_no_backlog() -> None:
    backlog, now = Backlog(), time.monotonic()
    assert [len(backlog.passed(decoded(None), now + n / 1000)) for n in range(4)] == [0, 2, 1, 1]


def test_a_stream_faster_than_its_stamps_is_handed_on_in_the_end() -> None:
    backlog, now = Backlog(), time.monotonic()
    assert sum(len(backlog.passed(decoded(n), now + n / 1000)) for n in range(3100)) in (100, 101)


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
    assert backlog.passed(decoded(0), now) == []
    assert backlog.passed(decoded(1), now + 0.001) == []
    assert backlog.held_back
    assert [f.pts for f in backlog.passed(decoded(2), now + 3.1)] == [1, 2]
    assert not backlog.held_back
