"""Zones and lines, with objects whose path is known."""

from __future__ import annotations

import numpy as np
import pytest

from edgevid.errors import InputError
from edgevid.types import Tracks
from edgevid.zones import Event, Line, Zone, ZoneMonitor, crossing_sides

SQUARE = [(100.0, 100.0), (200.0, 100.0), (200.0, 200.0), (100.0, 200.0)]


def at(points: dict[int, tuple[float, float]], label: int = 2) -> Tracks:
    """Tracks whose ground points are `points`: boxes 20 wide and 40 high above them."""
    n = len(points)
    boxes = [[x - 10, y - 40, x + 10, y] for x, y in points.values()]
    zero = np.zeros(n)
    return Tracks.of(
        ids=list(points),
        boxes=boxes,
        scores=zero + 1,
        labels=np.full(n, label),
        match=zero,
        age=zero,
        unseen=zero,
    )


def walk(monitor: ZoneMonitor, path: list[tuple[float, float]], step_s: float = 0.1) -> list[Event]:
    return [e for n, p in enumerate(path) for e in monitor.update(at({1: p}), n * step_s)]


def test_a_fast_object_that_jumps_the_line_between_two_frames_is_counted() -> None:
    monitor = ZoneMonitor(lines=[Line("gate", (300, 0), (300, 400))])
    events = walk(monitor, [(900, 200), (10, 200)])
    assert [(e.kind, e.place, e.direction) for e in events] == [("cross", "gate", "forward")]
    assert monitor.counts == {("gate", "forward", 2): 1}


def test_passing_beside_the_line_is_no_crossing() -> None:
    monitor = ZoneMonitor(lines=[Line("gate", (300, 0), (300, 100))])
    assert walk(monitor, [(900, 200), (10, 200)]) == []


def test_an_object_dithering_on_the_line_counts_once_each_way() -> None:
    monitor = ZoneMonitor(lines=[Line("gate", (300, 0), (300, 400))])
    events = walk(monitor, [(305, 50), (295, 50), (305, 50), (295, 50), (305, 50)])
    assert [e.direction for e in events] == ["forward", "backward"]


def test_stopping_exactly_on_the_line_and_going_on_is_one_crossing() -> None:
    monitor = ZoneMonitor(lines=[Line("gate", (300, 0), (300, 400))])
    assert [e.direction for e in walk(monitor, [(310, 50), (300, 50), (290, 50)])] == ["forward"]


def test_direction_follows_the_line_s_own_direction() -> None:
    down, up = Line("a", (0, 0), (0, 9)), Line("b", (0, 9), (0, 0))
    before, after = np.array([[5.0, 5.0]]), np.array([[-5.0, 5.0]])
    assert crossing_sides(down, before, after).tolist() == [1]
    assert crossing_sides(up, before, after).tolist() == [-1]


def test_enter_and_leave_with_the_time_spent_inside() -> None:
    monitor = ZoneMonitor([Zone("square", SQUARE)])
    path = [(50.0 + 10 * n, 150.0) for n in range(25)]  # inside while 100 < x < 200: n 6 to 14
    events = walk(monitor, path)
    assert [(e.kind, round(e.time, 3)) for e in events] == [("enter", 0.6), ("leave", 1.5)]
    assert events[1].seconds == pytest.approx(0.9)
    assert monitor.occupancy() == {"square": 0}


def test_jitter_on_the_edge_is_not_entering_and_leaving_again_and_again() -> None:
    monitor = ZoneMonitor([Zone("square", SQUARE, debounce_s=0.3)])
    assert walk(monitor, [(101, 150) if n % 2 else (99, 150) for n in range(40)]) == []


def test_a_track_that_ends_inside_leaves_when_it_was_last_there() -> None:
    monitor = ZoneMonitor([Zone("square", SQUARE, debounce_s=0)])
    monitor.update(at({7: (150, 150)}), 1.0)
    monitor.update(at({7: (150, 150)}), 3.0)
    events = monitor.update(at({}), 9.0)
    assert events == [Event(3.0, "leave", "square", 7, 2, "", 2.0)]
    assert monitor.update(at({}), 10.0) == []


def test_dwell_and_stopped_are_told_once() -> None:
    monitor = ZoneMonitor([Zone("square", SQUARE, dwell_s=2, stopped_s=1, debounce_s=0)])
    events = walk(monitor, [(150, 150)] * 50)
    assert [(e.kind, e.time) for e in events] == [("enter", 0.0), ("stopped", 1.0), ("dwell", 2.0)]


def test_moving_on_and_stopping_again_is_a_second_stop() -> None:
    monitor = ZoneMonitor([Zone("square", SQUARE, stopped_s=1, debounce_s=0)])
    events = walk(monitor, [(120, 150)] * 15 + [(180, 150)] * 15)
    assert [e.kind for e in events] == ["enter", "stopped", "stopped"]


@pytest.mark.parametrize(("way", "wrong"), [(0.0, []), (180.0, ["wrong-way"]), (90.0, [])])
def test_wrong_way_is_against_the_allowed_direction_only(way: float, wrong: list[str]) -> None:
    monitor = ZoneMonitor([Zone("lane", SQUARE, direction=way, debounce_s=0)])
    events = walk(monitor, [(105.0 + 5 * n, 150.0) for n in range(18)])  # travels towards +x
    assert [e.kind for e in events if e.kind != "enter" and e.kind != "leave"] == wrong


def test_zones_in_meters_use_the_ground_point() -> None:
    square = [(0.0, 0.0), (2.0, 0.0), (2.0, 2.0), (0.0, 2.0)]
    monitor = ZoneMonitor([Zone("bay", square, ground=True, debounce_s=0)], to_ground=lambda p: p / 100)
    events = monitor.update(at({1: (100, 100), 2: (500, 100)}), 0.0)
    assert [(e.kind, e.id) for e in events] == [("enter", 1)]


def test_mistakes_are_refused_with_the_reason() -> None:
    with pytest.raises(InputError, match="at least 3 corners"):
        Zone("flat", [(0, 0), (1, 1)])
    with pytest.raises(InputError, match="does not cross itself"):
        Zone("bow", [(0, 0), (1, 1), (1, 0), (0, 1)])
    with pytest.raises(InputError, match="two different ends"):
        Line("dot", (1, 1), (1, 1))
    with pytest.raises(InputError, match="different names"):
        ZoneMonitor([Zone("a", SQUARE)], [Line("a", (0, 0), (1, 1))])
    with pytest.raises(InputError, match="calibrated camera"):
        ZoneMonitor([Zone("a", SQUARE, ground=True)])


def test_ten_thousand_objects_leave_nothing_behind() -> None:
    monitor = ZoneMonitor([Zone("square", SQUARE)], [Line("gate", (300, 0), (300, 400))])
    for n in range(10_000):
        monitor.update(at({n + 1: (150, 150)}), n * 0.1)
    assert (len(monitor._stays), len(monitor._before), len(monitor._labels)) == (1, 1, 1)
    assert len(monitor._crossed) <= 1
