"""Which lines objects crossed and how long they stayed in zones: the specification of ZonesCore.

Everything is decided on observed points. An object has left a line for good where its point is half of its box's
shorter side away, so that a box around the point does not touch the line, or where it is in the third observation in
a row on one side farther away than its own jitter explains. Between two points that left the line, the first and the
last of a track among them, the straight path crosses it or not: jitter on the line is no crossing, and what was
hidden there is one."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

HALF = 0.5  # Of the shorter side of the box: the distance at which a line or an edge was left for good
IN_A_ROW, JITTERS, LEAST = 3, 3.0, 0.2
"""A line was also left for good in so many observations in a row on one side, at so many times the mean
second difference of the distance (six standard deviations of white noise), at least this share of HALF."""
MEMORY = 0.1  # Weight of the newest second difference in their mean, once there are 10
ON_THE_EDGE = 2.5  # Times `debounce_s` for which an object whose box is on the edge must be on the other side
WRONG_WAY = math.cos(math.radians(120.0))  # Traveling at least 120 degrees off the allowed direction is the wrong way
AWAY, FIRST_STEP_S = 2.0, 0.5
"""A stream was away where a step is longer than `lost_after_s` and so many times the one before it, which is
taken for so many seconds at first: a stream of a frame every two seconds is not."""
ENTER, LEAVE, DWELL, STOPPED, WRONG, FORWARD, BACKWARD = range(7)  # Kinds of events

Point = tuple[float, float]
Row = tuple[int, int, int, int, float, float]  # Kind, index of the line or zone, id, label, time, seconds


def side(line: Any, p: Point) -> float:
    """Positive to the right of the line in the image (y down), negative to its left, 0 on it."""
    x1, y1, x2, y2 = line[:4]
    return float((x2 - x1) * (p[1] - y1) - (y2 - y1) * (p[0] - x1))


def distance(x1: float, y1: float, x2: float, y2: float, p: Point) -> float:
    """From a point to the segment between two others."""
    dx, dy = x2 - x1, y2 - y1
    along = ((p[0] - x1) * dx + (p[1] - y1) * dy) / (dx * dx + dy * dy)
    along = min(1.0, max(0.0, along))
    return math.hypot(p[0] - x1 - along * dx, p[1] - y1 - along * dy)


def crossing(line: Any, before: Point, after: Point) -> int:
    """1 where the straight path crosses the line forward (to its right), -1 backward, else 0. A point on the line
    belongs to its right. The path must meet the line between its ends or in one."""
    a, b = side(line, before), side(line, after)
    if (a >= 0) == (b >= 0):
        return 0
    x1, y1, x2, y2 = line[:4]
    share = a / (a - b)
    x, y = before[0] + share * (after[0] - before[0]), before[1] + share * (after[1] - before[1])
    dx, dy = x2 - x1, y2 - y1
    along = ((x - x1) * dx + (y - y1) * dy) / (dx * dx + dy * dy)
    return (1 if b >= 0 else -1) if -1e-9 <= along <= 1 + 1e-9 else 0


def within(rings: Sequence[NDArray[Any]], p: Point) -> bool:
    """Whether a point is in a polygon with holes: rings around it an odd number of times (even-odd rule)."""
    inside = False
    for ring in rings:
        x1, y1 = ring[-1]
        for x2, y2 in ring:
            if (y1 > p[1]) != (y2 > p[1]) and p[0] < (x2 - x1) * (p[1] - y1) / (y2 - y1) + x1:
                inside = not inside
            x1, y1 = x2, y2
    return inside


def clear(rings: Sequence[NDArray[Any]], p: Point, reach: float) -> bool:
    """Whether a point is at least `reach` from every edge of a polygon."""
    edges = [(ring[k - 1], ring[k]) for ring in rings for k in range(len(ring))]
    return all(distance(a[0], a[1], b[0], b[1], p) >= reach for a, b in edges)


class _Passing:
    """One object at one line."""

    def __init__(self, p: Point, off: float, time: float) -> None:
        self.anchor = self.last = p  # the last point that had left the line, and the last one
        self.since, self.row, self.count = time, 1, 1  # on this side since then; observations there, in all
        self.off, self.step, self.jitter = off, 0.0, 0.0  # distance to the right, its last difference

    def update(self, p: Point, off: float, time: float) -> None:
        if (off >= 0) != (self.off >= 0):
            self.since, self.row = time, 0
        step = off - self.off
        if self.count > 1:
            weight = max(MEMORY, 1 / (self.count - 1))
            self.jitter += weight * (abs(step - self.step) - self.jitter)
        self.last, self.off, self.step = p, off, step
        self.row, self.count = self.row + 1, self.count + 1

    def needed(self, reach: float) -> float:
        """The distance from the line at which it was left for good."""
        sure = self.row >= IN_A_ROW and self.count >= IN_A_ROW + 2
        return min(reach, max(LEAST * reach, JITTERS * self.jitter)) if sure else reach


class _Stay:
    """One object in or near one zone."""

    def __init__(self) -> None:
        self.inside, self.other_side_since, self.entered = False, math.nan, 0.0
        self.dwelt = self.stopped = self.wrong = False
        self.stop_point: Point | None = None
        self.travel_start: Point | None = None
        self.stationary_since = 0.0


class _Object:
    def __init__(self, number: int) -> None:
        self.id = number
        self.reported = self.observed = 0.0
        self.votes: dict[int, int] = {}
        self.passings: list[_Passing | None] = []
        self.stays: list[_Stay] = []

    def label(self) -> int:
        return max(self.votes, key=self.votes.__getitem__)


class ZonesCore:
    """The state of every object at every line and zone."""

    def __init__(
        self, anchors: NDArray[np.float64], lines: NDArray[np.float64], zones: NDArray[np.float64],
        rings: Sequence[Sequence[NDArray[np.float64]]], lost_after_s: float, width: float, height: float,
    ) -> None:  # fmt: skip
        """`anchors` (A, 2): where in its box an object is, shares of width and height.

        `lines` (L, 6): x1, y1, x2, y2, index of the anchor, whether in meters. `zones` (Z, 8): index of the anchor,
        whether in meters, dwell_s, stopped_s, direction in radians (NaN: none), debounce_s, and the distances of
        standing and of traveling, in heights of the box or meters; `rings`: the corners (K, 2) of each zone's
        outline and holes. Points in pixels are kept within `width` and `height` for zones."""
        self.anchors, self.lines, self.zones, self.rings = anchors, lines, zones, rings
        self.lost_after_s, self.width, self.height = lost_after_s, width, height
        self.reset()

    def reset(self) -> None:
        """Removes every object."""
        self.objects: dict[int, _Object] = {}
        self.time, self.step, self._rows = -math.inf, FIRST_STEP_S, list[Row]()

    def update(
        self, ids: NDArray[np.int64], boxes: NDArray[np.float32], labels: NDArray[np.int32],
        match: NDArray[np.int32], ground: NDArray[np.float64], scale_x: float, scale_y: float, rotated: bool,
        time: float,
    ) -> list[Row]:  # fmt: skip
        """The events at `time`, those of objects that ended first.

        `boxes` (N, 4) in frame pixels, which `scale_x` and `scale_y` bring to those of lines and zones; rows without
        a `match` are not observed. `ground` (A, N, 3): each anchor in meters, and half the box's shorter side there;
        (0, 0, 3) without meters. Of `rotated` boxes the bottom is the center."""
        step = time - self.time
        self._rows = self.finish() if step > max(self.lost_after_s, AWAY * self.step) else []
        for i in sorted(self.objects.keys() - set(ids.tolist())):
            if time - self.objects[i].reported > self.lost_after_s:
                self._end(i)
        for n, i in enumerate(ids.tolist()):
            one = self.objects.get(i)
            if match[n] >= 0:
                one = self.objects.setdefault(i, _Object(i)) if one is None else one
                x1, y1, x2, y2 = (float(v) for v in boxes[n])
                box = (x1 * scale_x, y1 * scale_y, x2 * scale_x, y2 * scale_y)
                meters = [tuple(map(float, row)) for row in ground[:, n]] if len(ground) else []
                self._observe(one, box, int(labels[n]), meters, rotated, time)
            if one is not None:
                one.reported = time
        self.time, self.step = time, step if math.isfinite(step) else self.step
        return self._rows

    def finish(self) -> list[Row]:
        """Ends every object."""
        self._rows = []
        for i in sorted(self.objects):
            self._end(i)
        return self._rows

    def inside(self) -> list[tuple[int, int]]:
        """Zone and label of each object in a zone."""
        known = [one for _, one in sorted(self.objects.items())]
        return [(z, one.label()) for one in known for z, stay in enumerate(one.stays) if stay.inside]

    def adopt(self, other: "ZonesCore", lines: Sequence[int], zones: Sequence[int]) -> None:
        """Takes the objects of `other`; `lines` and `zones` are the indices there of those here, -1: new."""
        self.time, self.step = other.time, other.step
        for i, was in other.objects.items():
            one = self.objects[i] = _Object(i)
            one.reported, one.observed, one.votes = was.reported, was.observed, was.votes
            one.passings = [was.passings[k] if k >= 0 else None for k in lines]
            one.stays = [was.stays[k] if k >= 0 else _Stay() for k in zones]

    def _add(self, kind: int, k: int, one: _Object, time: float, seconds: float = 0.0) -> None:
        self._rows.append((kind, k, one.id, one.label(), time, seconds))

    def _observe(
        self, one: _Object, box: tuple[float, ...], label: int, meters: list[Any], rotated: bool, time: float
    ) -> None:
        """One observed box; `meters` of each anchor: x, y and the reach."""
        x1, y1, x2, y2 = box
        wide, high = x2 - x1, y2 - y1
        one.votes[label] = one.votes.get(label, 0) + 1
        shares = [(fx, 0.5 if rotated and fy == 1 and fx == 0.5 else fy) for fx, fy in self.anchors.tolist()]
        pixels = [(x1 + fx * wide, y1 + fy * high) for fx, fy in shares]
        reach = HALF * min(wide, high)
        if not one.stays and not one.passings:
            one.passings, one.stays = [None] * len(self.lines), [_Stay() for _ in self.zones]
        for k, line in enumerate(self.lines):
            a, on_ground = int(line[4]), line[5] != 0
            p = meters[a][:2] if on_ground else pixels[a]
            self._at_line(k, one, p, meters[a][2] if on_ground else reach, time)
        for k, zone in enumerate(self.zones):
            a, on_ground = int(zone[0]), zone[1] != 0
            p = meters[a][:2] if on_ground else self._in_frame(pixels[a])
            near, unit = (meters[a][2], 1.0) if on_ground else (reach, high)
            self._at_zone(k, one, p, near, unit, time)
        one.observed = time

    def _in_frame(self, p: Point) -> Point:
        """A box that ends at the frame's edge stands in a zone that reaches it."""
        if not self.width > 0:
            return p
        return min(max(p[0], 1.0), self.width - 2), min(max(p[1], 1.0), self.height - 2)

    def _at_line(self, k: int, one: _Object, p: Point, reach: float, time: float) -> None:
        line, at = self.lines[k], one.passings[k]
        off = side(line, p) / math.hypot(line[2] - line[0], line[3] - line[1])
        if at is None:
            one.passings[k] = _Passing(p, off, time)
            return
        at.update(p, off, time)
        if distance(line[0], line[1], line[2], line[3], p) >= at.needed(reach * (1 - 1e-6)):
            self._leave_line(k, one, at)

    def _leave_line(self, k: int, one: _Object, at: _Passing) -> None:
        way, at.anchor = crossing(self.lines[k], at.anchor, at.last), at.last
        if way:
            self._add(FORWARD if way > 0 else BACKWARD, k, one, at.since)

    def _at_zone(self, k: int, one: _Object, p: Point, reach: float, unit: float, time: float) -> None:
        stay, debounce_s = one.stays[k], self.zones[k, 5]
        if within(self.rings[k], p) == stay.inside:
            stay.other_side_since = math.nan
        else:
            if math.isnan(stay.other_side_since):
                stay.other_side_since = time
            held = time - stay.other_side_since
            if held >= debounce_s * ON_THE_EDGE or (held >= debounce_s and clear(self.rings[k], p, reach * (1 - 1e-6))):
                self._pass_edge(k, one, stay)
        if stay.inside:
            self._stay(k, one, stay, p, unit, time)

    def _pass_edge(self, k: int, one: _Object, stay: _Stay) -> None:
        """Entering, or leaving, at the time at which the object was first on the other side."""
        since, entered = stay.other_side_since, stay.entered
        if stay.inside:
            one.stays[k] = _Stay()
            stay.inside = False
            self._add(LEAVE, k, one, since, since - entered)
        else:
            stay.inside, stay.entered, stay.other_side_since = True, since, math.nan
            self._add(ENTER, k, one, since)

    def _stay(self, k: int, one: _Object, stay: _Stay, p: Point, unit: float, time: float) -> None:
        """Dwelling, stopping and the wrong way, each once per stay (stopping: once per stop)."""
        _, _, dwell_s, stopped_s, direction, _, still, travel = self.zones[k].tolist()
        stayed = time - stay.entered
        if stayed >= dwell_s and not stay.dwelt:
            stay.dwelt = True
            self._add(DWELL, k, one, time, stayed)
        if stay.stop_point is None or math.dist(p, stay.stop_point) > still * unit:
            stay.stop_point, stay.stationary_since, stay.stopped = p, time, False
        stood = time - stay.stationary_since
        if stood >= stopped_s and not stay.stopped:
            stay.stopped = True
            self._add(STOPPED, k, one, time, stood)
        if math.isnan(direction) or stay.wrong:
            return
        if stay.travel_start is None:
            stay.travel_start = p
        dx, dy = p[0] - stay.travel_start[0], p[1] - stay.travel_start[1]
        gone = math.hypot(dx, dy)
        if gone < travel * unit or gone == 0:
            return
        stay.travel_start = p
        if (dx * math.cos(direction) + dy * math.sin(direction)) / gone <= WRONG_WAY:
            stay.wrong = True
            self._add(WRONG, k, one, time)

    def _end(self, i: int) -> None:
        """What was not decided yet is decided by the last observed point."""
        one = self.objects.pop(i)
        for k, at in enumerate(one.passings):
            if at is not None:
                self._leave_line(k, one, at)
        for k, stay in enumerate(one.stays):
            if stay.inside:
                left = one.observed if math.isnan(stay.other_side_since) else stay.other_side_since
                self._add(LEAVE, k, one, left, left - stay.entered)
