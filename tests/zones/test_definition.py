"""Crossings and stays against a definition by brute force, and the situations that users report."""

from __future__ import annotations

import importlib
import itertools
import math
import os
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgevid import Tracker
from edgevid.kernels import reference
from edgevid.types import Detections, Tracks
from edgevid.zones import Line, Zone, ZoneEvent, ZoneMonitor

GATE = Line("gate", (300, -1000), (300, 1000))
SHORT = Line("short", (300, 180), (300, 260))
BAY = [(200.0, 100.0), (400.0, 100.0), (400.0, 300.0), (200.0, 300.0)]
NOWHERE = np.zeros((0, 0, 3))
Step = tuple[float, float, bool]
"""x and y of an object, and whether it is observed there; else it is predicted there."""


def rows_of(steps: list[Step], n: int, side: float = 40.0) -> Tracks:
    x, y, observed = steps[n]
    box = [[x - side / 2, y - 2 * side, x + side / 2, y]]
    return Tracks.of(ids=[1], boxes=box, scores=[1], labels=[2], match=[0 if observed else -1], age=[0], unseen=[0])


def events_of(monitor: ZoneMonitor, steps: list[Step | None], fps: float = 25.0) -> list[ZoneEvent]:
    """The events of an object's path; None: it is not reported there."""
    found = []
    for n, step in enumerate(steps):
        tracks = Tracks.empty() if step is None else rows_of([step], 0)
        found += monitor.update(tracks, n / fps)
    return found + monitor.finish()


def has_left(line: Line, points: np.ndarray, n: int, reach: float) -> bool:
    """The definition, from the path up to point n: half a box away, or in the third observation in a row on
    this side farther away than three times the mean second difference of the distance."""
    a, b = np.array(line.start, float), np.array(line.end, float)
    along = (b - a) / np.hypot(*(b - a))
    share = np.clip((points[n] - a) @ along, 0, np.hypot(*(b - a)))
    far = math.hypot(*(points[n] - a - share * along))
    off = (points[: n + 1] - a) @ np.array([-along[1], along[0]])
    if far >= reach * (1 - 1e-6):
        return True
    if n < 4 or len(set(off[n - 2 :] >= 0)) > 1:
        return False
    mean = 0.0
    for k, size in enumerate(np.abs(np.diff(off, 2))):
        mean += max(0.1, 1 / (k + 1)) * (size - mean)
    return bool(far >= max(0.2 * reach * (1 - 1e-6), 3 * mean))


def crossings(line: Line, points: np.ndarray, reach: float = 20.0) -> list[int]:
    """The definition: straight paths between the first, the clear and the last points that cut the line."""
    if not len(points):
        return []
    clear = [n for n in range(1, len(points)) if has_left(line, points, n, reach)]
    chain = sorted({0, *clear, len(points) - 1})
    (x1, y1), (x2, y2) = line.start, line.end

    def right(p: np.ndarray) -> bool:
        return bool((x2 - x1) * (p[1] - y1) - (y2 - y1) * (p[0] - x1) >= 0)

    found = []
    for p, q in ((points[i], points[j]) for i, j in itertools.pairwise(chain)):
        if right(p) == right(q):
            continue
        # Where the path meets the line, by halves.
        low, high = p.astype(float), q.astype(float)
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if right(middle) == right(p) else (low, middle)
        share = ((low[0] - x1) * (x2 - x1) + (low[1] - y1) * (y2 - y1)) / ((x2 - x1) ** 2 + (y2 - y1) ** 2)
        if 0 <= share <= 1:
            found.append(1 if right(q) else -1)
    return found


@st.composite
def paths(draw: st.DrawFn) -> list[Step]:
    """Walks around the lines: jitter, jumps, stops on the line, and predictions that go anywhere."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    jitter, speed = draw(st.sampled_from([0.0, 0.5, 2.0, 8.0])), draw(st.sampled_from([0.0, 2.0, 9.0]))
    jumps, missed = draw(st.sampled_from([0.0, 0.1])), draw(st.sampled_from([0.0, 0.1, 0.5]))
    x, y, steps = 300 + rng.normal(0, 30), 220 + rng.normal(0, 40), []
    heading = rng.uniform(0, 2 * np.pi)
    for _ in range(draw(st.integers(1, 60))):
        heading += rng.normal(0, 0.4)
        x, y = x + speed * math.cos(heading), y + speed * math.sin(heading)
        if rng.random() < jumps:
            x += rng.normal(0, 200)
        observed = bool(rng.random() >= missed)
        spread = jitter if observed else 300.0
        steps.append((x + rng.normal(0, spread), y + rng.normal(0, spread), observed))
    return steps


@settings(max_examples=400, deadline=None)
@given(paths())
def test_crossings_are_those_of_the_definition(steps: list[Step]) -> None:
    events = events_of(ZoneMonitor(lines=[GATE, SHORT]), list(steps))
    tables = [rows_of(steps, n) for n in range(len(steps))]
    boxes = [t.boxes[0].astype(float) for t in tables if t.match[0] >= 0]
    points = np.array([[(box[0] + box[2]) / 2, box[3]] for box in boxes])
    for line in (GATE, SHORT):
        found = [1 if e.direction == "forward" else -1 for e in events if e.place == line.name]
        assert found == crossings(line, points.reshape(-1, 2))


@settings(max_examples=400, deadline=None)
@given(paths())
def test_the_sum_of_the_crossings_is_the_change_of_side(steps: list[Step]) -> None:
    monitor = ZoneMonitor(lines=[GATE])
    events_of(monitor, list(steps))
    seen = [step for step in steps if step[2]]
    net = monitor.counts["gate", "forward", 2] - monitor.counts["gate", "backward", 2]
    expected = int(seen[-1][0] <= 300) - int(seen[0][0] <= 300) if seen else 0
    assert net == expected


@settings(max_examples=150, deadline=None)
@given(paths(), st.booleans())
def test_both_twins_give_the_same_events(steps: list[Step], rotated: bool) -> None:
    native = _native()
    cores = [_core(kernels) for kernels in (reference, native)]
    rng = np.random.default_rng(len(steps))
    for n in range(len(steps)):
        rows = rows_of(steps, n)
        ids = np.unique(rng.integers(1, 4, 3))
        boxes = np.repeat(rows.boxes, len(ids), 0) + rng.normal(0, 3, (len(ids), 1)).astype(np.float32)
        match = np.where(rng.random(len(ids)) < 0.8, rows.match[0], -1).astype(np.int32)
        ground = np.concatenate([rng.normal(4, 2, (2, len(ids), 2)), np.full((2, len(ids), 1), 0.5)], 2)
        time = 0.05 * n + (2.0 if n > 40 else 0.0)
        given_rows = (ids, boxes, rng.integers(0, 2, len(ids), dtype=np.int32), match, ground, 1.0, 1.1)
        first, second = (core.update(*given_rows, rotated, time) for core in cores)
        assert first == [pytest.approx(row) for row in second]
        assert cores[0].inside() == cores[1].inside()
        if n == 30:
            was, cores = cores, [_core(kernels) for kernels in (reference, native)]
            for new, old in zip(cores, was, strict=True):
                new.adopt(old, [0, -1, 2], [0, -1])
    assert cores[0].finish() == [pytest.approx(row) for row in cores[1].finish()]
    cores[1].reset()
    assert cores[1].inside() == []


def _native() -> Any:
    if os.environ.get("EDGEVID_KERNELS") == "native":
        return importlib.import_module("edgevid.kernels._native")
    return pytest.importorskip("edgevid.kernels._native", exc_type=ImportError)


def _core(kernels: Any) -> Any:
    lines = [[300, -9, 300, 900, 0, 0], [300, 180, 300, 260, 1, 0], [4, 0, 4, 9, 0, 1]]
    zones = [[0, 0, 0.5, 0.2, 1.0, 0.1, 0.2, 1.0], [1, 1, 0.5, math.inf, math.nan, 0.0, 0.5, 2.0]]
    hole = np.array([(250.0, 150), (350, 150), (350, 200)])
    rings = [[np.array(BAY), hole], [np.array([(2.0, 2), (6, 2), (6, 6), (2, 6)])]]
    anchors = np.array([(0.5, 1.0), (0.5, 0.5)])
    return kernels.ZonesCore(anchors, np.array(lines, float), np.array(zones), rings, 1.0, 600.0, 400.0)


# What users report (public bug reports of people who count), rebuilt on paths made for this purpose.


def detection(x: float, y: float, w: float = 40, h: float = 80) -> Detections:
    return Detections.of(boxes=[[x - w / 2, y - h, x + w / 2, y]], scores=[0.9], labels=[0])


def follow(
    path: list[tuple[float, float] | None], monitor: ZoneMonitor, *, size: tuple[float, float] = (40, 80)
) -> tuple[set[int], list[ZoneEvent]]:
    """The ids and events of one object at 25 frames per second; None: it is hidden."""
    tracker, ids, events = Tracker(track_high_thresh=0.4, new_track_thresh=0.5), set[int](), []
    for k, p in enumerate(path):
        tracks = tracker.update(Detections.empty() if p is None else detection(*p, *size), k / 25)
        ids |= set(tracks.ids.tolist())
        events += monitor.update(tracks, k / 25)
    return ids, events


def line_at(x: float = 300) -> ZoneMonitor:
    return ZoneMonitor(lines=[Line("gate", (x, 0), (x, 600))])


@pytest.mark.parametrize("speed", [3, 5, 8])
def test_who_is_hidden_at_the_line_is_counted_when_it_comes_out(speed: int) -> None:  # case 14
    monitor = line_at()
    hidden = int((200 - 6 * speed) / speed)
    path = [None if hidden <= k < hidden + 12 else (100.0 + speed * k, 400.0) for k in range(400 // speed)]
    ids, _ = follow(path, monitor)
    assert (len(ids), monitor.counts) == (1, {("gate", "backward", 0): 1})


def test_a_prediction_that_crosses_is_not_counted() -> None:  # case 15
    monitor = line_at()
    path = [*((100.0 + 5 * k, 400.0) for k in range(36)), *[None] * 6, *[(277.0, 400.0)] * 50]
    assert (follow(path, monitor)[1], monitor.finish()) == ([], [])


@pytest.mark.parametrize("size", [(20, 20), (40, 80), (80, 50), (200, 120)])
@pytest.mark.parametrize("seed", range(4))
def test_a_car_that_waits_on_the_line_is_counted_once_when_it_drives_on(
    size: tuple[float, float], seed: int
) -> None:  # case 16
    rng, monitor = np.random.default_rng(seed), line_at()
    path = [(180.0 + 4 * k, 400.0) for k in range(30)]
    path += [(300.0 + float(rng.normal(0, 2)), 400.0 + float(rng.normal(0, 2))) for _ in range(1500)]
    ids, events = follow([*path], monitor, size=size)
    assert (len(ids), events) == (1, [])
    path += [(300.0 + 4 * k, 400.0) for k in range(40)]
    monitor = line_at()
    follow([*path], monitor, size=size)
    assert monitor.counts == {("gate", "backward", 0): 1}


def test_a_person_stays_in_a_zone_while_it_is_missed_now_and_then() -> None:  # case 17
    zone = Zone("bay", [(100, 100), (600, 100), (600, 600), (100, 600)], dwell_s=10)
    path = [(300.0, 400.0) if k % 75 < 63 else None for k in range(750)]
    monitor = ZoneMonitor([zone])
    ids, events = follow([*path], monitor)
    assert (len(ids), [e.kind for e in events]) == (1, ["enter", "dwell"])
    assert [(e.kind, e.time, e.seconds) for e in monitor.finish()] == [
        ("leave", pytest.approx(29.48), pytest.approx(29.48))
    ]


def test_another_vehicle_after_an_outage_is_another_stay() -> None:  # case 18
    zone = Zone("bay", [(100, 100), (600, 100), (600, 600), (100, 600)], dwell_s=60)
    tracker, monitor = Tracker(), ZoneMonitor([zone])
    events = []
    for time in [*np.arange(0, 5, 0.04), *np.arange(605, 610, 0.04)]:  # ten minutes without a frame
        tracks = tracker.update(detection(300, 400), float(time))
        events += monitor.update(tracks, float(time))
    assert [(e.kind, e.id, round(e.time, 2), round(e.seconds, 2)) for e in events] == [
        ("enter", 1, 0.0, 0.0), ("leave", 1, 4.96, 4.96), ("enter", 2, 605.0, 0.0)
    ]  # fmt: skip


def test_the_same_id_after_an_outage_begins_again() -> None:
    zone = Zone("bay", BAY, dwell_s=60, debounce_s=0)
    monitor, seen = ZoneMonitor([zone], [GATE]), [(250.0, 200.0, True), (350.0, 200.0, True)]
    events = [e for n, t in enumerate((0.0, 600.0)) for e in monitor.update(rows_of(seen, n), t)]
    assert [(e.kind, e.time, e.seconds) for e in events] == [
        ("enter", 0.0, 0.0), ("leave", 0.0, 0.0), ("enter", 600.0, 0.0)
    ]  # fmt: skip


def test_a_frame_every_two_seconds_is_no_outage() -> None:
    monitor = ZoneMonitor([Zone("bay", BAY, dwell_s=6, debounce_s=0)])
    tracker, events = Tracker(), []
    for n in range(8):
        events += monitor.update(tracker.update(detection(300, 200), 2.0 * n), 2.0 * n)
    assert [(e.kind, e.time, e.id) for e in events] == [
        ("enter", 0.0, 1), ("leave", 0.0, 1), ("enter", 2.0, 2), ("dwell", 8.0, 2)
    ]  # fmt: skip


def test_in_and_out_again_are_two_crossings() -> None:  # case 34
    there, back = [200.0 + 8 * k for k in range(25)], [400.0 - 8 * k for k in range(25)]
    path = [(x, 400.0) for x in (there + back) * 3 + there]
    monitor = line_at()
    ids, _ = follow([*path], monitor)
    assert (len(ids), monitor.counts) == (1, {("gate", "backward", 0): 4, ("gate", "forward", 0): 3})
    assert [t.net for t in monitor.totals()] == [-1]


def test_a_zone_of_the_whole_frame_is_entered_and_left_once_an_id() -> None:
    frame = Zone("frame", [(0, 0), (639, 0), (639, 359), (0, 359)])
    monitor = ZoneMonitor([frame], size=(640, 360))
    rng, events = np.random.default_rng(0), []
    for n in range(300):  # a box at the lower edge, cut off there
        x, y = 320 + float(rng.normal(0, 2)), min(360.0, 360 + float(rng.normal(0, 3)))
        events += monitor.update(rows_of([(x, y, True)], 0), n / 25)
    assert [e.kind for e in events + monitor.finish()] == ["enter", "leave"]


def test_jitter_on_an_edge_is_not_entering_and_leaving() -> None:
    monitor, rng = ZoneMonitor([Zone("bay", BAY)]), np.random.default_rng(1)
    events = events_of(monitor, [(200 + float(rng.normal(0, 2)), 200.0, True) for _ in range(1500)])
    assert len(events) <= 2


def test_a_hole_does_not_belong_to_the_zone() -> None:
    hole = [(280.0, 180.0), (320.0, 180.0), (320.0, 220.0), (280.0, 220.0)]
    monitor = ZoneMonitor([Zone("bay", BAY, holes=[hole], debounce_s=0)])
    for x, inside in ((210.0, 1), (300.0, 0), (390.0, 1), (500.0, 0)):
        monitor.update(rows_of([(x, 200.0, True)], 0, side=1.0), x / 1000)
        assert monitor.occupancy() == {"bay": inside}, x


@pytest.mark.parametrize(
    ("anchor", "point"),
    [("bottom_center", (50, 80)), ("center", (50, 50)), ("top_left", (40, 20)), ("center_right", (60, 50))],
)
def test_the_point_is_a_choice(anchor: Any, point: tuple[float, float]) -> None:
    x, y = point
    around = [(x - 1.0, y - 1.0), (x + 1.0, y - 1.0), (x + 1.0, y + 1.0), (x - 1.0, y + 1.0)]
    monitor = ZoneMonitor([Zone("spot", around, anchor=anchor, debounce_s=0)])
    box = Tracks.of(ids=[1], boxes=[[40, 20, 60, 80]], scores=[1], labels=[0], match=[0], age=[0], unseen=[0])
    monitor.update(box, 0.0)
    assert monitor.occupancy() == {"spot": 1}


def test_totals_by_class_with_the_mean_dwell() -> None:
    monitor = ZoneMonitor([Zone("bay", BAY, debounce_s=0)])
    inside, outside = (300.0, 200.0, True), (600.0, 200.0, True)
    for n in range(30):
        monitor.update(rows_of([inside if n < 10 or 15 <= n < 25 else outside], 0), n / 10)
    (total,) = monitor.totals()
    assert (total.place, total.label, total.entries, total.exits, total.inside) == ("bay", 2, 2, 2, 0)
    assert total.dwell_s == pytest.approx(1.0)
