"""Zones and lines: who entered, left, stayed, crossed, drove the wrong way or stopped.

Each object is one point: the middle of its box's bottom edge, where it touches the ground; of a rotated box,
which is a footprint that a camera far above detects, its center. A crossing
is found where the segment between two positions cuts the line, so that an object fast enough to jump
the line between two frames is counted too. Every object counts once for each line and direction.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Literal, NamedTuple, Protocol

import numpy as np
import shapely
from annotated_types import Ge, Le, Len

from edgevid.errors import FieldError, InputError
from edgevid.files.fields import Count, Positive
from edgevid.files.schema import Checked
from edgevid.speed.contact import contact_points
from edgevid.types import Array, Tracks, scale_between

log = logging.getLogger("edgevid")

ToGround = Callable[[Array], Array]
"""Image points (N, 2) in pixels to ground points (N, 2) in meters."""
ZoneEventKind = Literal[
    "enter", "leave", "dwell", "cross", "wrong-way", "stopped", "occupancy-above", "occupancy-normal"
]
Direction = Literal["", "forward", "backward"]

STATIONARY_M, STATIONARY_HEIGHTS = 0.5, 0.2
"""An object is stationary within this distance of where it stopped: in meters, or in its box's heights."""
WRONG_WAY_M, WRONG_WAY_HEIGHTS = 2.0, 1.0
"""Distance over which a direction of travel is measured: in meters, or in the box's heights."""
WRONG_WAY_DEG = 120.0
"""A direction of travel this far from the allowed one is the wrong way."""
FARTHEST = 1e6
"""No corner of a zone is farther from the origin, in pixels or meters."""


class ZoneEvent(NamedTuple):
    """One object entered, left or crossed something, or broke a rule of a zone; `Event` has it with more."""

    time: float
    """Seconds on the stream's clock."""
    kind: ZoneEventKind
    place: str
    """Name of the zone or line."""
    id: int
    """Track id; of occupancy, the object that entered last."""
    label: int
    """Class index of the track."""
    direction: Direction = ""
    """Of a crossing: "forward" (to the right of start -> end in the image) or "backward"."""
    seconds: float = 0.0
    """Time inside for "leave" and "dwell", time stationary for "stopped"."""
    inside: int = 0
    """Objects in the zone now, for "enter", "leave" and occupancy."""


Coordinate = Annotated[float, Ge(-FARTHEST), Le(FARTHEST)]
Point = Annotated[tuple[Coordinate, Coordinate], Checked(f"a point [x, y], each at most {FARTHEST:g} from 0")]


@dataclass(frozen=True)
class Zone:
    """A polygon, and the events that it emits."""

    name: str
    """Different from those of other zones and lines."""
    points: Annotated[
        Sequence[Point], Len(3), Checked("at least 3 points [[x, y], ...], each at most 1e+06 from 0")
    ]
    """Corners in frame pixels, or in meters where `ground`."""
    ground: bool = False
    """Whether the points are in meters."""
    dwell_s: Positive | None = None
    """A "dwell" event once an object has been inside for this long."""
    stopped_s: Positive | None = None
    """A "stopped" event once an object inside has been stationary for this long."""
    direction: Annotated[float, Ge(-360), Le(360)] | None = None
    """Allowed direction of travel, degrees from +x towards +y; "wrong-way" for the opposite one."""
    max_occupancy: Count | None = None
    """An "occupancy-above" event once more objects are inside, "occupancy-normal" once no longer."""
    debounce_s: Positive = 0.2
    """How long an object must be on the other side of the edge before it has entered or left."""

    def __post_init__(self) -> None:
        shape = shapely.Polygon(self.points) if len(self.points) >= 3 else None
        if shape is None or not shape.is_valid or shape.area == 0:
            expected = "at least 3 corners of a polygon that does not cross itself"
            raise FieldError(f"zone {self.name!r}", "points", expected, list(self.points))
        _check_pixels(f"zone {self.name!r}", "points", self.points, self.ground)


@dataclass(frozen=True)
class Line:
    """A line whose crossings are counted."""

    name: str
    """Different from those of other zones and lines."""
    start: Point
    """In frame pixels, or in meters where `ground`."""
    end: Point
    """Forward is from the left to the right of start -> end in the image."""
    ground: bool = False
    """Whether the points are in meters."""

    def __post_init__(self) -> None:
        if tuple(self.start) == tuple(self.end):
            raise FieldError(f"line {self.name!r}", "end", "a point other than the start", self.end)
        _check_pixels(f"line {self.name!r}", "end", [self.start, self.end], self.ground)


def _check_pixels(name: str, key: str, points: Sequence[tuple[float, float]], ground: bool) -> None:
    """Points in pixels that all lie within one: shares of the frame's size, taken for pixels."""
    if not ground and all(0 <= value <= 1 for point in points for value in point):
        expected = "frame pixels (multiply shares of the frame by its width and height), or ground = true"
        raise FieldError(name, key, expected, list(points))


@dataclass(slots=True)
class _Stay:
    """One object in or near one zone."""

    inside: bool = False
    other_side_since: float | None = None  # of the edge, until `debounce_s` have passed
    entered: float = 0.0
    emitted: set[ZoneEventKind] = field(default_factory=set)
    stop_point: Array | None = None
    stationary_since: float = 0.0
    travel_start: Array | None = None


class ZoneMonitorLike(Protocol):
    """What turns tracks into events: a ZoneMonitor, or a wrapper of one."""

    def update(self, tracks: Tracks, time: float) -> list[ZoneEvent]: ...
    def resize(self, size: tuple[int, int]) -> None: ...


class ZoneMonitor:
    """Events of zones and lines; `counts[(line, direction, label)]` are the crossings so far."""

    def __init__(
        self,
        zones: Iterable[Zone] = (),
        lines: Iterable[Line] = (),
        *,
        to_ground: ToGround | None = None,
        size: tuple[int, int] | None = None,
    ) -> None:
        """`to_ground` is needed when a zone or line is given in meters.

        `size` is the (width, height) of the frames that zones and lines were drawn on, for streams whose size
        differs or changes (see `resize`).
        """
        self.zones, self.lines = tuple(zones), tuple(lines)
        places: list[Zone | Line] = [*self.zones, *self.lines]
        names = [place.name for place in places]
        if len(set(names)) != len(names):
            raise InputError(f"zones and lines: expected different names, got {sorted(names)}")
        if to_ground is None and any(place.ground for place in places):
            raise InputError("zones and lines in meters need a calibrated camera: give to_ground")
        self._to_ground, self._size = to_ground, size
        self.scale: tuple[float, float] | None = (1.0, 1.0)
        """Factors of x and y from the frame to the zones' pixels; None: another view, where no zone and no
        line applies."""
        self._polygons = [shapely.Polygon(zone.points) for zone in self.zones]
        for polygon in self._polygons:
            shapely.prepare(polygon)
        self.reset()

    def reset(self) -> None:
        """Removes every object and count."""
        self.counts: Counter[tuple[str, str, int]] = Counter()
        self._before: dict[int, tuple[Array, Array]] = {}
        self._stays: dict[int, list[_Stay]] = {}
        self._labels: dict[int, int] = {}
        self._crossed: dict[int, set[tuple[str, str]]] = {}
        self._above: set[str] = set()
        self._time = -np.inf

    def resize(self, size: tuple[int, int]) -> None:
        """The stream continues with frames of another (width, height); counts and objects stay.

        Another aspect ratio is another view: there are no events until the old one is back.
        """
        if self._size is not None:
            self.scale = scale_between(size, self._size)
            if self.scale is None:
                log.warning("zones and lines: drawn on another view (aspect ratio); nothing is counted")

    def changed(self, zones: Iterable[Zone], lines: Iterable[Line]) -> ZoneMonitor:
        """A monitor of other zones and lines that continues from here: those that did not change keep
        their counts and the objects inside."""
        other = ZoneMonitor(zones, lines, to_ground=self._to_ground, size=self._size)
        other.scale = self.scale
        lasting = {line.name for line in other.lines if line in self.lines}
        other.counts.update({key: n for key, n in self.counts.items() if key[0] in lasting})
        for i, stays in self._stays.items():
            was = {zone.name: (zone, stay) for zone, stay in zip(self.zones, stays, strict=True)}
            both = [(zone, was.get(zone.name)) for zone in other.zones]
            other._stays[i] = [old[1] if old and old[0] == zone else _Stay() for zone, old in both]
        for i, crossed in self._crossed.items():
            other._crossed[i] = {key for key in crossed if key[0] in lasting}
        other._above = {zone.name for zone in other.zones if zone in self.zones} & self._above
        other._before, other._labels, other._time = dict(self._before), dict(self._labels), self._time
        return other

    def update(self, tracks: Tracks, time: float) -> list[ZoneEvent]:
        """The events at `time` seconds on the stream's clock."""
        if self.scale is None:
            tracks = tracks[:0]
        boxes = tracks.boxes * np.tile(self.scale or (1.0, 1.0), 2)
        image = contact_points(boxes, rotated=tracks.rotated.shape[1] > 0)
        ground = self._to_ground(image) if self._to_ground is not None else image
        ids = [int(i) for i in tracks.ids]
        events = self._ended(set(ids))
        for i, label in zip(ids, tracks.labels, strict=True):
            self._labels[i] = int(label)
            self._stays.setdefault(i, [_Stay() for _ in self.zones])
        events += self._crossings(ids, image, ground, time)
        for index, zone in enumerate(self.zones):
            points = ground if zone.ground else image
            sizes = np.ones(len(ids)) if zone.ground else boxes[:, 3] - boxes[:, 1]
            within = shapely.contains_xy(self._polygons[index], points[:, 0], points[:, 1])
            for i, point, size, inside in zip(ids, points, sizes, within, strict=True):
                stay = self._stays[i][index]
                events += self._enter_or_leave(zone, i, stay, bool(inside), time)
                if stay.inside:
                    events += self._inside(zone, i, stay, point, float(size), time)
        self._before = {i: (image[n], ground[n]) for n, i in enumerate(ids)}
        self._time = time
        return self._counted(events, time)

    def occupancy(self) -> dict[str, int]:
        """How many objects are in each zone now."""
        return {
            zone.name: sum(stays[n].inside for stays in self._stays.values())
            for n, zone in enumerate(self.zones)
        }

    def _counted(self, events: list[ZoneEvent], time: float) -> list[ZoneEvent]:
        """The events with the occupancy after them, and those of zones that are now too full or no longer."""
        counts = self.occupancy() if events else {}
        found = [
            e._replace(inside=counts.get(e.place, 0)) if e.kind in ("enter", "leave") else e for e in events
        ]
        changed = {event.place: event for event in events if event.kind in ("enter", "leave")}
        for zone in self.zones:
            if zone.max_occupancy is None or zone.name not in changed:
                continue
            count, above = counts[zone.name], zone.name in self._above
            if (count > zone.max_occupancy) != above:
                self._above ^= {zone.name}
                kind: ZoneEventKind = "occupancy-normal" if above else "occupancy-above"
                found.append(changed[zone.name]._replace(kind=kind, time=time, seconds=0.0, inside=count))
        return found

    def _event(
        self, kind: ZoneEventKind, place: str, i: int, time: float, direction: Direction = "", s: float = 0.0
    ) -> ZoneEvent:
        return ZoneEvent(time, kind, place, i, self._labels[i], direction, s)

    def _ended(self, present: set[int]) -> list[ZoneEvent]:
        """Objects whose track ended leave their zones at the time of the last update that had them."""
        events = []
        for i in [i for i in self._stays if i not in present]:
            for zone, stay in zip(self.zones, self._stays.pop(i), strict=True):
                if stay.inside:
                    stayed = self._time - stay.entered
                    events.append(self._event("leave", zone.name, i, self._time, s=stayed))
            self._labels.pop(i, None)
            self._crossed.pop(i, None)
        return events

    def _crossings(self, ids: list[int], image: Array, ground: Array, time: float) -> list[ZoneEvent]:
        known = [n for n, i in enumerate(ids) if i in self._before]
        if not known or not self.lines:
            return []
        events = []
        for line in self.lines:
            points = (ground if line.ground else image)[known]
            before = np.stack([self._before[ids[n]][1 if line.ground else 0] for n in known])
            for n, side in zip(known, crossing_sides(line, before, points), strict=True):
                direction: Direction = "forward" if side > 0 else "backward"
                done = self._crossed.setdefault(ids[n], set())
                if side == 0 or (line.name, direction) in done:
                    continue
                done.add((line.name, direction))
                self.counts[line.name, direction, self._labels[ids[n]]] += 1
                events.append(self._event("cross", line.name, ids[n], time, direction))
        return events

    def _enter_or_leave(self, zone: Zone, i: int, stay: _Stay, inside: bool, time: float) -> list[ZoneEvent]:
        """Entering and leaving, once the object has been on the other side for `debounce_s`."""
        if inside == stay.inside:
            stay.other_side_since = None
            return []
        if stay.other_side_since is None:
            stay.other_side_since = time
        crossed = stay.other_side_since
        if time - crossed < zone.debounce_s:
            return []
        stay.other_side_since, stay.inside = None, inside
        if not inside:
            return [self._event("leave", zone.name, i, crossed, s=crossed - stay.entered)]
        stay.entered, stay.emitted, stay.stop_point, stay.travel_start = crossed, set(), None, None
        return [self._event("enter", zone.name, i, crossed)]

    def _inside(
        self, zone: Zone, i: int, stay: _Stay, point: Array, height: float, time: float
    ) -> list[ZoneEvent]:
        """Dwelling, stopping and the wrong way, each emitted once per stay (stopping: once per stop)."""
        events = []
        stayed = time - stay.entered
        if zone.dwell_s is not None and stayed >= zone.dwell_s and "dwell" not in stay.emitted:
            stay.emitted.add("dwell")
            events.append(self._event("dwell", zone.name, i, time, s=stayed))
        near = STATIONARY_M if zone.ground else STATIONARY_HEIGHTS * height
        if stay.stop_point is None or np.hypot(*(point - stay.stop_point)) > near:
            stay.stop_point, stay.stationary_since = point, time
            stay.emitted.discard("stopped")
        stationary = time - stay.stationary_since
        if zone.stopped_s is not None and stationary >= zone.stopped_s and "stopped" not in stay.emitted:
            stay.emitted.add("stopped")
            events.append(self._event("stopped", zone.name, i, time, s=stationary))
        reach = WRONG_WAY_M if zone.ground else WRONG_WAY_HEIGHTS * height
        return events + self._wrong_way(zone, i, stay, point, reach, time)

    def _wrong_way(
        self, zone: Zone, i: int, stay: _Stay, point: Array, reach: float, time: float
    ) -> list[ZoneEvent]:
        """Measures the direction of travel over every `reach`."""
        if zone.direction is None or "wrong-way" in stay.emitted:
            return []
        if stay.travel_start is None:
            stay.travel_start = point
        moved = point - stay.travel_start
        distance = float(np.hypot(*moved))
        if distance < reach:
            return []
        stay.travel_start = point
        allowed = np.deg2rad(zone.direction)
        cosine = (moved @ [np.cos(allowed), np.sin(allowed)]) / distance
        if cosine > np.cos(np.deg2rad(WRONG_WAY_DEG)):
            return []
        stay.emitted.add("wrong-way")
        return [self._event("wrong-way", zone.name, i, time)]


def crossing_sides(line: Line, before: Array, after: Array) -> Array:
    """(N,) 1 where the step from `before` to `after` (N, 2) crosses `line` forward, -1 backward, else 0.

    Forward is from the left to the right of start -> end in the image (y down). A point exactly on
    the line belongs to its right side, so a step that ends on it and the next one that leaves it
    make one crossing together.

    >>> gate = Line("gate", (0.0, 0.0), (0.0, 10.0))
    >>> crossing_sides(gate, np.array([[5.0, 5.0], [5.0, 50.0]]), np.array([[-900.0, 5.0], [-9.0, 50.0]]))
    array([1, 0])
    """
    start, along = np.asarray(line.start, float), np.subtract(line.end, line.start)
    side_before = _cross(along, before - start) >= 0
    side_after = _cross(along, after - start) >= 0
    step = after - before
    turn = _cross(step, along)
    with np.errstate(divide="ignore", invalid="ignore"):
        where = _cross(before - start, step) / -turn  # position along the line, 0 to 1
    cuts = (side_before != side_after) & (where >= 0) & (where <= 1)
    return np.where(cuts, np.where(side_after, 1, -1), 0)


def _cross(a: Array, b: Array) -> Array:
    """z of the cross product; with y down, positive is clockwise: to the right."""
    return np.asarray(a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0])
