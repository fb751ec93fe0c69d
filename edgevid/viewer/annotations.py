"""Zones, lines and the ground grid, between the site's values and the browser's pixels.

The browser draws and edits in frame pixels. Places in meters are shown through the calibration and put back
through it; a place whose points were not moved keeps its meters to the last digit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from edgevid.errors import InputError
from edgevid.output.ground_grid import grid_lines
from edgevid.speed import homography as ground
from edgevid.speed.calibration import CameraCalibration
from edgevid.types import Array
from edgevid.zones import Line, Zone

Places = tuple[tuple[Zone, ...], tuple[Line, ...]]
Scale = tuple[float, float]
SAME: Scale = (1.0, 1.0)
MOST_PLACES, MOST_POINTS, LONGEST_NAME = 64, 64, 60
OPTIONS = ("dwell_s", "stopped_s", "direction")
MOVED_PX = 0.02
"""Points closer than this to where they were shown were not moved."""


def shown(
    zones: Sequence[Zone], lines: Sequence[Line], calibration: CameraCalibration | None, scale: Scale = SAME
) -> list[dict[str, Any]]:
    """Every place as the browser has it: kind, name, points in frame pixels, options.

    `calibration` is that of the present frames; `scale` is what frame pixels are multiplied by to lie on the
    image that the places were drawn on (ZoneMonitor.scale).
    """
    made: list[dict[str, Any]] = []
    for zone in zones:
        one = _shown("zone", zone.name, zone.points, zone.ground, calibration, scale)
        one |= {key: getattr(zone, key) for key in OPTIONS if getattr(zone, key) is not None}
        made.append(one | {"debounce_s": zone.debounce_s, "arrow": _arrow(zone, calibration, scale)})
    made += [
        _shown("line", line.name, (line.start, line.end), line.ground, calibration, scale) for line in lines
    ]
    return made


def taken(
    given: Any,
    size: tuple[int, int],
    calibration: CameraCalibration | None,
    before: Places,
    scale: Scale = SAME,
) -> Places:
    """The zones and lines that a browser sent; InputError says in a sentence what is wrong.

    `size` is the frame's (width, height); `before` are the places as they were shown, with this `calibration`
    and `scale`.
    """
    if not isinstance(given, list) or len(given) > MOST_PLACES:
        raise InputError(f"places: expected a list of at most {MOST_PLACES}")
    kept = {one["name"]: one for one in shown(*before, calibration, scale)}
    known: dict[str, Zone | Line] = {zone.name: zone for zone in before[0]}
    known |= {line.name: line for line in before[1]}
    zones: list[Zone] = []
    lines: list[Line] = []
    for one in given:
        place = _taken(one, size, calibration, kept, known, scale)
        if isinstance(place, Zone):
            zones.append(place)
        else:
            lines.append(place)
    names = [zone.name for zone in zones] + [line.name for line in lines]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"two places are named {name!r}: expected different names")
    return tuple(zones), tuple(lines)


def grid(calibration: CameraCalibration | None) -> list[dict[str, Any]]:
    """The ground grid in frame pixels: polylines, each with its label."""
    if calibration is None:
        return []
    found = [
        {"points": _rounded(line.points), "label": line.label, "at": _rounded([line.at])[0]}
        for line in grid_lines(calibration)
    ]
    return [
        *found,
        {"points": _rounded(np.array(calibration.region.exterior.coords)), "label": "", "at": None},
    ]


def _shown(
    kind: str,
    name: str,
    points: Sequence[tuple[float, float]],
    on_ground: bool,
    calibration: CameraCalibration | None,
    scale: Scale,
) -> dict[str, Any]:
    where = np.asarray(points, float)
    where = to_pixels(calibration, where) if on_ground and calibration is not None else where / scale
    return {"kind": kind, "name": name, "ground": on_ground, "points": _rounded(where)}


def to_pixels(calibration: CameraCalibration, meters: Array) -> Array:
    """(N, 2) frame pixels of points on the ground, lens distortion put back."""
    straight = ground.apply(calibration.to_image, meters)
    if calibration.k1 == 0:
        return straight
    center = np.array(calibration.size) / 2
    r2 = (((straight - center) / calibration.focal) ** 2).sum(1, keepdims=True)
    return np.asarray((straight - center) * (1 + calibration.k1 * r2) + center)


def _arrow(zone: Zone, calibration: CameraCalibration | None, scale: Scale) -> list[list[float]] | None:
    """The allowed way as an arrow in pixels, from the zone's middle."""
    if zone.direction is None:
        return None
    points = np.asarray(zone.points, float)
    way = np.array([math.cos(math.radians(zone.direction)), math.sin(math.radians(zone.direction))])
    middle, reach = points.mean(0), 0.3 * float(np.hypot(*np.ptp(points, axis=0)))
    ends = np.stack([middle - way * reach / 2, middle + way * reach / 2])
    return _rounded(to_pixels(calibration, ends) if zone.ground and calibration else ends / scale)


def _taken(
    one: Any,
    size: tuple[int, int],
    calibration: CameraCalibration | None,
    kept: Mapping[str, Mapping[str, Any]],
    known: Mapping[str, Zone | Line],
    scale: Scale,
) -> Zone | Line:
    if not isinstance(one, dict) or one.get("kind") not in ("zone", "line"):
        raise InputError("place: expected kind 'zone' or 'line'")
    name = _name(one.get("name"))
    pixels = _points(name, one.get("points"), size)
    on_ground = one.get("ground") is True
    if on_ground and calibration is None:
        raise InputError(f"{name!r} is in meters: that needs a calibrated camera (--camera)")
    was = kept.get(str(one.get("was", name)))
    place = known[str(was["name"])] if was is not None else None
    same = (
        was is not None
        and (was["kind"], was["ground"]) == (one["kind"], on_ground)
        and len(was["points"]) == len(pixels)
        and bool(np.abs(np.asarray(was["points"]) - pixels).max() < MOVED_PX)
    )
    if same and isinstance(place, Zone):
        points: Sequence[tuple[float, float]] = place.points
    elif same and isinstance(place, Line):
        points = (place.start, place.end)
    else:
        points = _tuples(_meters(name, pixels, calibration) if on_ground and calibration else pixels * scale)
    if one["kind"] == "line":
        if len(points) != 2:
            raise InputError(f"line {name!r}: expected 2 ends, got {len(points)} points")
        return Line(name, points[0], points[1], on_ground)
    options = {key: _number(name, key, one[key]) for key in OPTIONS if one.get(key) is not None}
    debounce = _number(name, "debounce_s", one.get("debounce_s", 0.2))
    return Zone(name, points, on_ground, debounce_s=debounce, **options)


def _meters(name: str, pixels: Array, calibration: CameraCalibration) -> Array:
    meters = calibration.place(pixels)
    if not np.isfinite(meters).all():
        raise InputError(f"{name!r}: a point lies above the horizon, where there is no ground")
    return meters


def _name(given: Any) -> str:
    if not isinstance(given, str) or not given.strip() or len(given.strip()) > LONGEST_NAME:
        raise InputError(f"name: expected 1 to {LONGEST_NAME} characters")
    if not given.isprintable():
        raise InputError("name: expected characters that can be printed")
    return given.strip()


def _points(name: str, given: Any, size: tuple[int, int]) -> Array:
    expected = f"{name!r}: expected 2 to {MOST_POINTS} points [x, y] in the image"
    if not isinstance(given, list) or not 2 <= len(given) <= MOST_POINTS:
        raise InputError(expected)
    for point in given:
        pair = isinstance(point, list) and len(point) == 2
        if not pair or not all(type(v) in (int, float) and math.isfinite(v) for v in point):
            raise InputError(expected)
    points = np.asarray(given, float)
    far = (points < -np.array(size)) | (points > 2 * np.array(size))
    if far.any():
        raise InputError(f"{name!r}: a point is far outside of the image")
    return points


def _number(name: str, key: str, given: Any) -> float:
    low, high = (-360.0, 360.0) if key == "direction" else (0.0, 86400.0)
    if type(given) not in (int, float) or not low <= given <= high:
        raise InputError(f"{name!r}: {key}: expected a number from {low:g} to {high:g}")
    return float(given)


def _tuples(points: Array) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in points]


def _rounded(points: Any) -> list[list[float]]:
    return [[round(float(x), 2), round(float(y), 2)] for x, y in points if np.isfinite([x, y]).all()]
