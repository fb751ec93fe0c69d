"""ZoneMonitor: the events and counts of zones and lines, from tracks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, Literal, NamedTuple, Protocol, get_args

import numpy as np

from edgevid import kernels
from edgevid.errors import InputError, log
from edgevid.kernels.reference.zones import HALF
from edgevid.types import F64, Array, Tracks, scale_between
from edgevid.zones.shapes import Anchor, Line, Zone, in_pixels

ToGround = Callable[[Array], Array]  # Image points (N, 2) in pixels to ground points (N, 2) in meters
ZoneEventKind = Literal[  # What happens in a zone or on a line
    "enter", "leave", "dwell", "stopped", "wrong-way", "cross", "occupancy-above", "occupancy-normal"
]
KINDS: tuple[ZoneEventKind, ...] = get_args(ZoneEventKind)
CROSS = KINDS.index("cross")
Direction = Literal["", "forward", "backward"]

STATIONARY_M, STATIONARY_HEIGHTS = 0.5, 0.2  # Stationary: within this of where it stopped, in meters or box heights
WRONG_WAY_M, WRONG_WAY_HEIGHTS = 2.0, 1.0  # Distance that tells a direction of travel, in meters or box heights
NOWHERE: F64 = np.zeros((0, 0, 3))


class ZoneEvent(NamedTuple):
    """One object entered, left or crossed something, or broke a rule of a zone; `Event` has it with more."""

    time: float  # Seconds on the stream's clock: of a crossing, when it was first observed on the other side
    kind: ZoneEventKind
    place: str  # Name of the zone or line
    id: int  # Track id; of occupancy, the object that entered last
    label: int  # Class index that most observations of the track had so far
    direction: Direction = ""  # Of a crossing: "forward" (to the right of start -> end in the image) or "backward"
    seconds: float = 0.0  # Time inside for "leave" and "dwell", time stationary for "stopped"
    inside: int = 0  # Objects in the zone now, for "enter", "leave" and occupancy


class Total(NamedTuple):
    """What one zone or line counted of one class."""

    place: str  # Name of the zone or line
    label: int  # Class index
    forward: int = 0  # Crossings of a line to the right of start -> end in the image
    backward: int = 0  # Crossings to its left
    inside: int = 0  # Objects in a zone now
    entries: int = 0  # How often objects entered a zone
    exits: int = 0  # How often they left it, ended tracks too
    dwell_s: float = float("nan")  # Mean time inside of the stays that ended; NaN without one

    @property
    def net(self) -> int:
        """Forward less backward."""
        return self.forward - self.backward


class ZoneMonitorLike(Protocol):
    """What turns tracks into events: a ZoneMonitor, or a wrapper of one."""

    def update(self, tracks: Tracks, time: float) -> list[ZoneEvent]: ...
    def resize(self, size: tuple[int, int]) -> None: ...


class ZoneMonitor:
    """Events of zones and lines; `counts[(line, direction, label)]` are the crossings so far."""

    def __init__(
        self, zones: Iterable[Zone] = (), lines: Iterable[Line] = (), *, to_ground: ToGround | None = None,
        size: tuple[int, int] | None = None, lost_after_s: float = 1.0,
    ) -> None:  # fmt: skip
        """`to_ground` is needed when a zone or line is given in meters.

        `size` is the (width, height) of the frames that zones and lines were drawn on, for streams whose size
        differs or changes (see `resize`); relative ones need it. An object that was not reported for longer
        than `lost_after_s` has ended, and so have all where there was no update for so long: the tracker's."""
        zones, lines = tuple(zones), tuple(lines)
        places: list[Zone | Line] = [*zones, *lines]
        self.relative = {place.name for place in places if place.relative}  # Those given as shares
        self.zones, self.lines = in_pixels(zones, size), in_pixels(lines, size)
        names = [place.name for place in places]
        if len(set(names)) != len(names):
            raise InputError(f"zones and lines: expected different names, got {sorted(names)}")
        if to_ground is None and any(place.ground for place in places):
            raise InputError("zones and lines in meters need a calibrated camera: give to_ground")
        if not lost_after_s >= 0:
            raise InputError(f"lost_after_s: expected seconds of at least 0, got {lost_after_s!r}")
        self._to_ground, self._size, self._lost_after_s = to_ground, size, float(lost_after_s)
        self._anchors = sorted({place.anchor for place in places})
        self._grounded = any(place.ground for place in places)
        self.scale: tuple[float, float] | None = (1.0, 1.0)
        """Factors of x and y from the frame to the zones' pixels; None: another view, where none of them applies."""
        self._core = self._new_core()
        self.reset()

    def reset(self) -> None:
        """Removes every object and count."""
        self._core.reset()
        self.counts: Counter[tuple[str, str, int]] = Counter()
        self._stays: dict[tuple[str, int], tuple[int, float]] = {}  # Ended stays and their seconds by zone and label
        self._above: set[str] = set()
        self._ended: list[Any] = []

    def resize(self, size: tuple[int, int]) -> None:
        """The stream continues with frames of another (width, height): objects end, counts stay. Another aspect
        ratio is another view: there are no events until the old one is back."""
        self._ended += self._core.finish()
        if self._size is not None:
            self.scale = scale_between(size, self._size)
            if self.scale is None:
                log.warning("zones and lines: drawn on another view (aspect ratio); nothing is counted")

    def changed(self, zones: Iterable[Zone], lines: Iterable[Line]) -> ZoneMonitor:
        """A monitor of other zones and lines that continues: unchanged ones keep their counts and objects inside."""
        other = ZoneMonitor(zones, lines, to_ground=self._to_ground, size=self._size, lost_after_s=self._lost_after_s)
        other.scale = self.scale
        lines_were = {line.name: n for n, line in enumerate(self.lines) if line in other.lines}
        zones_were = {zone.name: n for n, zone in enumerate(self.zones) if zone in other.zones}
        kept = lines_were.keys() | zones_were.keys()
        other.counts.update({key: n for key, n in self.counts.items() if key[0] in kept})
        other._stays = {key: found for key, found in self._stays.items() if key[0] in kept}
        other._above, other._ended = self._above & kept, []
        other._core.adopt(
            self._core,
            [lines_were.get(line.name, -1) for line in other.lines],
            [zones_were.get(zone.name, -1) for zone in other.zones],
        )
        return other

    def update(self, tracks: Tracks, time: float) -> list[ZoneEvent]:
        """The events at `time` seconds on the stream's clock."""
        scale = self.scale
        if scale is None:
            tracks, scale = tracks[:0], (1.0, 1.0)
        rotated = tracks.rotated.shape[1] > 0
        ground = self._ground(tracks, scale, rotated=rotated) if self._grounded else NOWHERE
        rows = self._core.update(
            tracks.ids, tracks.boxes, tracks.labels, tracks.match, ground, *scale, rotated, float(time)
        )
        rows, self._ended = self._ended + rows, []
        return self._events(rows, time) if rows else []

    def finish(self) -> list[ZoneEvent]:
        """Ends every object, where no further frame comes: who is inside leaves, and objects that were still
        on a line crossed it if they were last observed on its other side."""
        rows, self._ended = self._ended + self._core.finish(), []
        return self._events(rows, max((row[4] for row in rows), default=0.0))

    def occupancy(self) -> dict[str, int]:
        """How many objects are in each zone now."""
        counts = Counter(index for index, _ in self._core.inside())
        return {zone.name: counts[n] for n, zone in enumerate(self.zones)}

    def totals(self) -> list[Total]:
        """What each zone and line counted so far, a row for each class that was there."""
        inside = Counter((self.zones[index].name, label) for index, label in self._core.inside())
        rows = []
        for place, label in sorted({(key[0], key[2]) for key in self.counts}):
            forward, backward = (self.counts[place, way, label] for way in ("forward", "backward"))
            rows.append(Total(place, label, forward, backward))
        for key in sorted({*self._stays, *inside}):
            exits, seconds = self._stays.get(key, (0, 0.0))
            mean, now = seconds / exits if exits else float("nan"), inside[key]
            rows.append(Total(*key, inside=now, entries=exits + now, exits=exits, dwell_s=mean))
        return rows

    def _new_core(self) -> kernels.ZonesCore:
        nan, inf = float("nan"), float("inf")
        lines = [(*line.start, *line.end, self._anchors.index(line.anchor), line.ground) for line in self.lines]
        zones = [
            (
                self._anchors.index(zone.anchor), zone.ground,
                inf if zone.dwell_s is None else zone.dwell_s,
                inf if zone.stopped_s is None else zone.stopped_s,
                nan if zone.direction is None else np.deg2rad(zone.direction), zone.debounce_s,
                STATIONARY_M if zone.ground else STATIONARY_HEIGHTS,
                WRONG_WAY_M if zone.ground else WRONG_WAY_HEIGHTS,
            )
            for zone in self.zones
        ]  # fmt: skip
        rings = [[np.array(ring, float) for ring in (zone.points, *zone.holes)] for zone in self.zones]
        size = self._size or (0, 0)
        return kernels.ZonesCore(
            np.array([share_of(anchor) for anchor in self._anchors], float).reshape(-1, 2),
            np.array(lines, float).reshape(-1, 6), np.array(zones, float).reshape(-1, 8), rings,
            self._lost_after_s, float(size[0]), float(size[1]),
        )  # fmt: skip

    def _ground(self, tracks: Tracks, scale: tuple[float, float], *, rotated: bool) -> F64:
        """(A, N, 3): each anchor in meters, and half the shorter side of the box there."""
        boxes = tracks.boxes * np.tile(scale, 2)
        sides = boxes[:, 2:] - boxes[:, :2]
        half = HALF * sides.min(1, initial=np.inf)
        found = np.empty((len(self._anchors), len(boxes), 3))
        for n, anchor in enumerate(self._anchors):
            share = (0.5, 0.5) if rotated and anchor == "bottom_center" else share_of(anchor)
            points = boxes[:, :2] + share * sides
            steps = [points, points + np.outer(half, (1, 0)), points + np.outer(half, (0, 1))]
            at, right, below = np.split(self._to_ground(np.concatenate(steps)), 3)  # type: ignore[misc]
            found[n, :, :2] = at
            found[n, :, 2] = np.maximum(*(np.hypot(*(p - at).T) for p in (right, below)))
        return found

    def _events(self, rows: list[Any], time: float) -> list[ZoneEvent]:
        """The events of the core's rows, with the occupancy after them, and of zones now too full or no longer."""
        counts = self.occupancy() if any(row[0] < 2 for row in rows) else {}  # enter and leave
        found = [self._event(row, counts) for row in rows]
        changed = {event.place: event for event in found if event.kind in ("enter", "leave")}
        for zone in self.zones:
            if zone.max_occupancy is None or zone.name not in changed:
                continue
            count, above = counts[zone.name], zone.name in self._above
            if (count > zone.max_occupancy) != above:
                self._above ^= {zone.name}
                kind: ZoneEventKind = "occupancy-normal" if above else "occupancy-above"
                found.append(changed[zone.name]._replace(kind=kind, time=time, seconds=0.0, inside=count))
        return found

    def _event(self, row: Any, inside: dict[str, int]) -> ZoneEvent:
        number, index, i, label, time, seconds = row
        if number >= CROSS:
            way: Direction = "backward" if number > CROSS else "forward"
            name = self.lines[index].name
            self.counts[name, way, label] += 1
            return ZoneEvent(time, "cross", name, i, label, way)
        kind, name = KINDS[number], self.zones[index].name
        if kind == "leave":
            exits, stayed = self._stays.get((name, label), (0, 0.0))
            self._stays[name, label] = exits + 1, stayed + seconds
        count = inside[name] if kind in ("enter", "leave") else 0
        return ZoneEvent(time, kind, name, i, label, seconds=seconds, inside=count)


def share_of(anchor: Anchor) -> tuple[float, float]:
    """Where an anchor is in its box: shares of its width and height.

    >>> share_of("bottom_center"), share_of("center"), share_of("top_left")
    ((0.5, 1.0), (0.5, 0.5), (0.0, 0.0))
    """
    high, _, wide = anchor.rpartition("_")
    return {"left": 0.0, "right": 1.0}.get(wide, 0.5), {"top": 0.0, "bottom": 1.0}.get(high, 0.5)
