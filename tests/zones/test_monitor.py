"""Zones and lines, with objects whose path is known."""

from __future__ import annotations

import numpy as np
import pytest

from edgevid.errors import InputError
from edgevid.types import Tracks
from edgevid.zones import Line, Zone, ZoneEvent, ZoneMonitor

SQUARE = [(100.0, 100.0), (200.0, 100.0), (200.0, 200.0), (100.0, 200.0)]


def at(points: dict[int, tuple[float, float]], label: int = 2) -> Tracks:
    """Tracks whose ground points are `points`: boxes 20 wide and 40 high above them."""
    n = len(points)
    boxes = [[x - 10, y - 40, x + 10, y] for x, y in points.values()]
    zero = np.zeros(n)
    return Tracks.of(
        ids=list(points), boxes=boxes, scores=zero + 1, labels=np.full(n, label), match=zero, age=zero, unseen=zero
    )


def walk(monitor: ZoneMonitor, path: list[tuple[float, float]], step_s: float = 0.1) -> list[ZoneEvent]:
    return [e for n, p in enumerate(path) for e in monitor.update(at({1: p}), n * step_s)]


def test_a_fast_object_that_jumps_the_line_between_two_frames_is_counted() -> None:
    monitor = ZoneMonitor(lines=[Line("gate", (300, 0), (300, 400))])
    events = walk(monitor, [(900, 200), (10, 200)])
    assert [(e.kind, e.place, e.direction) for e in events] == [("cross", "gate", "forward")]
    assert monitor.counts == {("gate", "forward", 2): 1}


def test_passing_beside_the_line_is_no_crossing() -> None:
    monitor = ZoneMonitor(lines=[Line("gate", (300, 0), (300, 100))])
    assert walk(monitor, [(900, 200), (10, 200)]) == []


def test_stopping_exactly_on_the_line_and_going_on_is_one_crossing() -> None:
    monitor = ZoneMonitor(lines=[Line("gate", (300, 0), (300, 400))])
    assert [e.direction for e in walk(monitor, [(310, 50), (300, 50), (290, 50)])] == ["forward"]


def test_direction_follows_the_line_s_own_direction() -> None:
    down, up = Line("a", (0, 0), (0, 90)), Line("b", (0, 90), (0, 0))
    events = walk(ZoneMonitor(lines=[down, up]), [(50.0, 50.0), (-50.0, 50.0)])
    assert [(e.place, e.direction) for e in events] == [("a", "forward"), ("b", "backward")]


def test_enter_and_leave_with_the_time_spent_inside() -> None:
    monitor = ZoneMonitor([Zone("square", SQUARE)])
    path = [(50.0 + 10 * n, 150.0) for n in range(25)]  # inside while 100 <= x < 200: n 5 to 14
    events = walk(monitor, path)
    assert [(e.kind, round(e.time, 3)) for e in events] == [("enter", 0.5), ("leave", 1.5)]
    assert events[1].seconds == pytest.approx(1.0)
    assert monitor.occupancy() == {"square": 0}


def test_jitter_on_the_edge_is_not_entering_and_leaving_again_and_again() -> None:
    monitor = ZoneMonitor([Zone("square", SQUARE, debounce_s=0.3)])
    assert walk(monitor, [(101, 150) if n % 2 else (99, 150) for n in range(40)]) == []


def test_a_track_that_ends_inside_leaves_when_it_was_last_there() -> None:
    monitor = ZoneMonitor([Zone("square", SQUARE, debounce_s=0)])
    for time in (1.0, 2.0, 3.0):
        monitor.update(at({7: (150, 150)}), time)
    assert monitor.update(at({}), 4.0) == []
    events = monitor.update(at({}), 4.1)
    assert events == [ZoneEvent(3.0, "leave", "square", 7, 2, "", 2.0)]
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
    with pytest.raises(InputError, match="other than the start"):
        Line("dot", (1, 1), (1, 1))
    with pytest.raises(InputError, match="different names"):
        ZoneMonitor([Zone("a", SQUARE)], [Line("a", (0, 0), (9, 9))])
    with pytest.raises(InputError, match="calibrated camera"):
        ZoneMonitor([Zone("a", SQUARE, ground=True)])


def test_ten_thousand_objects_leave_nothing_behind() -> None:
    monitor = ZoneMonitor([Zone("square", SQUARE, debounce_s=0)], [Line("gate", (300, 0), (300, 400))])
    for n in range(10_000):
        monitor.update(at({n + 1: (150, 150)}), n * 0.1)
    assert monitor.occupancy() == {"square": 11}  # those of the last second
    assert [(t.label, t.entries, t.exits) for t in monitor.totals()] == [(2, 10_000, 9989)]


def boxes_of(*boxes: tuple[float, float, float, float], label: int = 2) -> Tracks:
    n = len(boxes)
    zero = np.zeros(n)
    return Tracks.of(
        ids=np.arange(1, n + 1), boxes=boxes, scores=zero + 1, labels=zero + label, match=zero, age=zero,
        unseen=zero,
    )  # fmt: skip


def test_the_point_of_an_object_is_the_middle_of_its_bottom_edge() -> None:
    monitor = ZoneMonitor([Zone("square", SQUARE, debounce_s=0)])
    inside = [(60, 0, 150, 101), (0, 90, 202, 199), (110, 150, 189, 101)]
    outside = [(110, 110, 190, 202), (0, 110, 198, 150), (10, 110, 400, 150), (110, 10, 190, 99)]
    for box, expected in [(b, 1) for b in inside] + [(b, 0) for b in outside]:
        monitor.reset()
        monitor.update(boxes_of(box), 0.0)
        assert monitor.occupancy() == {"square": expected}, box


def test_debouncing_asks_for_the_time_and_reports_the_moment_of_the_change() -> None:
    monitor = ZoneMonitor([Zone("square", SQUARE, debounce_s=0.5)])
    inside, outside = (150.0, 150.0), (50.0, 150.0)
    steps = [(0.0, outside), (1.0, inside), (1.25, inside), (1.5, inside), (2.0, inside)]
    events = [e for t, p in steps for e in monitor.update(at({1: p}), t)]
    assert events == [ZoneEvent(1.0, "enter", "square", 1, 2, inside=1)]
    # A step outside that is too short starts the wait again.
    steps = [(3.0, outside), (3.25, inside), (4.0, outside), (4.25, outside), (4.5, outside)]
    events = [e for t, p in steps for e in monitor.update(at({1: p}), t)]
    assert events == [ZoneEvent(4.0, "leave", "square", 1, 2, "", 3.0)]


def test_the_default_debounce_is_a_fifth_of_a_second() -> None:
    monitor = ZoneMonitor([Zone("square", SQUARE)])
    inside = (150.0, 150.0)
    counts = [len(monitor.update(at({1: inside}), t)) for t in (0.0, 0.125, 0.1875, 0.21)]
    assert counts == [0, 0, 0, 1]


def test_dwelling_counts_from_entering_and_again_in_the_next_stay() -> None:
    monitor = ZoneMonitor([Zone("square", SQUARE, dwell_s=1.0, debounce_s=0)])
    path = [(150.0, 150.0)] * 12 + [(50.0, 150.0)] * 2 + [(150.0, 150.0)] * 12
    events = [e for n, p in enumerate(path) for e in monitor.update(at({1: p}), n / 8)]
    assert [(e.kind, e.time, e.seconds) for e in events] == [
        ("enter", 0.0, 0.0), ("dwell", 1.0, 1.0), ("leave", 1.5, 1.5),
        ("enter", 1.75, 0.0), ("dwell", 2.75, 1.0),
    ]  # fmt: skip


@pytest.mark.parametrize(("ground", "reach"), [(False, 8.0), (True, 0.5)])
def test_stopped_is_within_a_fifth_of_the_height_or_half_a_meter(ground: bool, reach: float) -> None:
    # Boxes are 40 high: a fifth is 8 pixels. On the ground in meters it is 0.5 m, whatever the height.
    zone = Zone("square", SQUARE, ground=ground, stopped_s=1.0, debounce_s=0)
    for share, kinds in ((0.99, ["enter", "stopped"]), (1.01, ["enter"])):
        monitor = ZoneMonitor([zone], to_ground=lambda p: p)
        path = [(150.0 + share * reach * (n % 2), 150.0) for n in range(13)]
        events = [e for n, p in enumerate(path) for e in monitor.update(at({1: p}), n / 8)]
        assert [e.kind for e in events] == kinds
        if "stopped" in kinds:
            assert (events[1].time, events[1].seconds) == (1.0, 1.0)


def test_a_stop_is_emitted_once_until_it_moves_on() -> None:
    monitor = ZoneMonitor([Zone("square", SQUARE, stopped_s=1.0, debounce_s=0)])
    path = [(120.0, 150.0)] * 20 + [(170.0, 150.0)] * 9
    events = [e for n, p in enumerate(path) for e in monitor.update(at({1: p}), n / 8)]
    assert [(e.kind, e.time, e.seconds) for e in events] == [
        ("enter", 0.0, 0.0), ("stopped", 1.0, 1.0), ("stopped", 3.5, 1.0)
    ]  # fmt: skip


@pytest.mark.parametrize(("off", "wrong"), [(119, False), (121, True), (180, True), (239, True), (241, False)])
def test_the_wrong_way_is_more_than_120_degrees_off(off: float, wrong: bool) -> None:
    # The object travels towards +x and +y (down): at 30 degrees; the zone allows what is `off` from it.
    monitor = ZoneMonitor([Zone("lane", SQUARE, direction=30.0 - off, debounce_s=0)])
    step = np.array([np.cos(np.pi / 6), np.sin(np.pi / 6)])
    events = walk(monitor, [tuple(105 + 4 * n * step) for n in range(20)])
    assert ("wrong-way" in [e.kind for e in events]) is wrong


@pytest.mark.parametrize(("ground", "reach"), [(False, 40.0), (True, 2.0)])
def test_a_way_is_judged_over_the_height_or_two_meters(ground: bool, reach: float) -> None:
    zone = Zone("lane", SQUARE, ground=ground, direction=180.0, debounce_s=0)
    for share, kinds in ((0.99, ["enter"]), (1.0, ["enter", "wrong-way"])):
        monitor = ZoneMonitor([zone], to_ground=lambda p: p)
        events = walk(monitor, [(110.0, 150.0), (110 + share * reach, 150.0)])
        assert [e.kind for e in events] == kinds
    # A U-turn: each leg is judged by itself, from where the last one ended; wrong once a stay.
    monitor = ZoneMonitor([zone], to_ground=lambda p: p)
    path = [(150.0, 150.0), (150 - reach, 150.0), (150.0, 150.0), (150 - reach, 150.0), (150.0, 150.0)]
    events = walk(monitor, path)
    assert [(e.kind, round(e.time, 3)) for e in events] == [("enter", 0.0), ("wrong-way", 0.2)]


@pytest.mark.parametrize(("y", "counted"), [(-0.1, 0), (0.0, 1), (90.0, 1), (90.1, 0)])
def test_crossings_at_the_ends_of_a_line(y: float, counted: int) -> None:
    line = Line("gate", (0.0, 0.0), (0.0, 90.0))
    for path in ([(50.0, y), (-40.0, y)], [(-40.0, y), (50.0, y)]):
        assert len(walk(ZoneMonitor(lines=[line]), path)) == counted


def test_the_path_crosses_where_it_meets_the_line_not_at_its_ends() -> None:
    line = Line("gate", (0.0, 0.0), (0.0, 90.0))
    assert len(walk(ZoneMonitor(lines=[line]), [(50.0, -40.0), (-50.0, 80.0)])) == 1  # at y = 20
    assert walk(ZoneMonitor(lines=[line]), [(50.0, -80.0), (-50.0, 40.0)]) == []  # at y = -20


def test_lines_in_meters_and_in_pixels_side_by_side() -> None:
    lines = [Line("meters", (3.0, 0.0), (3.0, 4.0), ground=True), Line("pixels", (300.0, 0.0), (300.0, 400.0))]
    monitor = ZoneMonitor(lines=lines, to_ground=lambda p: p / 100 + [0, 0.5])
    events = walk(monitor, [(310, 340), (290, 340)])
    assert [(e.kind, e.place, e.direction) for e in events] == [
        ("cross", "meters", "forward"), ("cross", "pixels", "forward")
    ]  # fmt: skip
    apart = ZoneMonitor(lines=lines[1:], to_ground=lambda p: p / 100 + [0, 0.5])
    assert walk(apart, [(310, 340), (305, 340)]) == []
    below = walk(ZoneMonitor(lines=lines, to_ground=lambda p: p / 100 + [0, 0.5]), [(310, 380), (290, 380)])
    assert [e.place for e in below] == ["pixels"]


def test_counts_are_by_line_direction_and_label() -> None:
    monitor = ZoneMonitor(lines=[Line("gate", (300, 0), (300, 400))])
    monitor.update(at({1: (310, 50), 2: (310, 90), 3: (290, 50)}), 0.0)
    monitor.update(at({1: (290, 50), 2: (290, 90), 3: (310, 50)}), 0.1)
    monitor.update(at({1: (350, 50), 4: (310, 50)}, label=5), 0.2)
    monitor.update(at({4: (250, 50)}, label=5), 0.3)
    # One label of three does not change that of a track; the latest of them is not asked.
    assert monitor.counts == {
        ("gate", "forward", 2): 2, ("gate", "backward", 2): 2, ("gate", "forward", 5): 1
    }  # fmt: skip
    assert [(t.place, t.label, t.forward, t.backward, t.net) for t in monitor.totals()] == [
        ("gate", 2, 2, 2, 0), ("gate", 5, 1, 0, 1)
    ]  # fmt: skip
    monitor.reset()
    assert monitor.counts == {}
    assert monitor.update(at({1: (310, 50)}), 0.2) == []  # where it was before is forgotten too


def test_a_track_that_comes_back_under_its_id_crosses_again() -> None:
    monitor = ZoneMonitor(lines=[Line("gate", (300, 0), (300, 400))])
    walk(monitor, [(310, 50), (290, 50)])
    monitor.update(at({}), 1.0)
    events = [monitor.update(at({1: (x, 50)}), t) for x, t in ((290, 1.1), (310, 1.2), (290, 1.3))]
    assert [[e.direction for e in found] for found in events] == [[], ["backward"], ["forward"]]


def test_a_change_of_zones_keeps_what_did_not_change() -> None:
    square, other = Zone("square", SQUARE, debounce_s=0), Zone("other", SQUARE, debounce_s=0)
    gate, bar = Line("gate", (300, 0), (300, 400)), Line("bar", (320, 0), (320, 400))
    monitor = ZoneMonitor([square, other], [gate, bar])
    monitor.scale = (2.0, 2.0)
    half = {1: (150 / 2, 150 / 2), 2: (350 / 2, 50 / 2)}
    monitor.update(at(half), 0.0)
    monitor.update(at(half | {2: (270 / 2, 50 / 2)}), 1.0)
    assert monitor.counts == {("gate", "forward", 2): 1, ("bar", "forward", 2): 1}
    moved = Zone("other", [(x + 500, y) for x, y in SQUARE], debounce_s=0)
    after = monitor.changed([moved, square], [gate, Line("bar", (320, 0), (320, 401))])
    assert after.scale == (2.0, 2.0)
    assert after.counts == {("gate", "forward", 2): 1}
    assert after.occupancy() == {"other": 0, "square": 1}
    back = after.update(at(half), 2.0)
    assert [(e.place, e.direction) for e in back] == [("gate", "backward")]  # the new bar has just begun
    forth = after.update(at(half | {2: (270 / 2, 50 / 2)}), 3.0)
    assert [(e.place, e.direction) for e in forth] == [("gate", "forward"), ("bar", "forward")]
    left = after.update(at({}), 4.5)
    assert left == [ZoneEvent(3.0, "leave", "square", 1, 2, "", 3.0)]


def test_a_scale_maps_the_frame_to_the_zones_and_none_watches_nothing() -> None:
    monitor = ZoneMonitor([Zone("square", SQUARE, debounce_s=0)], size=(800, 800))
    monitor.resize((400, 400))
    assert [e.kind for e in monitor.update(boxes_of((70, 10, 80, 60)), 0.0)] == ["enter"]
    monitor.resize((400, 200))  # another view: tracks end, and nothing applies
    left = monitor.update(boxes_of((70, 10, 80, 60)), 1.0)
    assert [(e.kind, e.time) for e in left] == [("leave", 0.0)]
    assert monitor.occupancy() == {"square": 0}


def test_a_square_of_three_corners_is_enough_and_an_area_is_needed() -> None:
    Zone("triangle", SQUARE[:3])
    for corners in (SQUARE[:2], [(0, 0), (5, 5), (10, 10)]):
        with pytest.raises(InputError, match="zone 'bad' points: expected at least 3 corners"):
            Zone("bad", corners)


def test_zones_scaled_by_nothing_watch_nothing() -> None:
    monitor = ZoneMonitor([Zone("z", [(0, 0), (99, 0), (99, 99), (0, 99)], debounce_s=0)])
    monitor.scale = None
    boxes = np.array([[10, 10, 20, 20]], np.float32)
    tracks = Tracks(
        ids=np.array([1]), boxes=boxes, scores=np.ones(1, np.float32), labels=np.zeros(1, np.int32),
        match=np.zeros(1, np.int32), age=np.ones(1, np.float32),
        unseen=np.zeros(1, np.float32),
    )  # fmt: skip
    assert monitor.update(tracks, 0.0) == []
    monitor.scale = (1.0, 1.0)
    assert [event.kind for event in monitor.update(tracks, 0.1)] == ["enter"]


def test_a_zone_with_too_many_objects_is_an_event_once_until_there_are_fewer() -> None:
    monitor = ZoneMonitor([Zone("bay", [(0, 0), (99, 0), (99, 99), (0, 99)], debounce_s=0, max_occupancy=2)])
    found = []
    for time, inside in enumerate(([1], [1, 2, 3], [1, 2, 3, 4], [1, 2], [2], [2, 5, 6])):
        found += monitor.update(at(dict.fromkeys(inside, (50.0, 50.0))), float(time))
    full = [(e.time, e.kind, e.inside) for e in found if e.kind.startswith("occupancy")]
    # Who was gone for a second may come back; after two seconds it has left.
    assert full == [(1.0, "occupancy-above", 3), (4.0, "occupancy-normal", 2), (5.0, "occupancy-above", 3)]
    assert [e.inside for e in found if e.kind == "enter"] == [1, 3, 3, 4, 3, 3]  # after the whole frame
    other = monitor.changed(monitor.zones, [])
    assert other.update(at({2: (50.0, 50.0)}), 6.0) == []
    left = other.update(at({2: (50.0, 50.0)}), 7.0)
    assert [e.kind for e in left] == ["leave", "leave", "occupancy-normal"]
