"""Zones, lines and the ground grid, between the site's values and the browser's pixels. The browser draws and edits in
frame pixels. An annotation (a zone or a line) in meters is projected through the calibration and back; one whose points
were not moved keeps its meters to the last digit."""

import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgevid.errors import InputError
from edgevid.files import checked
from edgevid.output.ground_grid import grid_lines
from edgevid.speed.calibration import CameraCalibration
from edgevid.types import Array
from edgevid.zones import Line, Zone, mapped

Annotations = tuple[tuple[Zone, ...], tuple[Line, ...]]
Scale = tuple[float, float]
SAME: Scale = (1.0, 1.0)
MAX_ANNOTATIONS, MAX_POINTS, MAX_NAME = 64, 64, 60
OPTIONS = ("dwell_s", "stopped_s", "direction")
HIDDEN = ("max_occupancy", "holes", "anchor")  # What the page does not show, and keeps
MOVED_PX = 0.02  # Points closer than this to where they were shown were not moved


def to_json(zones: Sequence[Zone], lines: Sequence[Line], calibration: CameraCalibration | None,
            scale: Scale = SAME) -> list[dict[str, Any]]:  # fmt: skip
    """Every annotation as the browser has it: kind, name, points in frame pixels, options. `calibration` is that of the
    current frames; `scale` multiplies frame pixels to those of the image that the annotations were drawn on
    (ZoneMonitor.scale)."""
    shapes: list[Zone | Line] = [*zones, *lines]
    return [_item(shape, calibration, scale) for shape in shapes]


def from_json(items: Any, size: tuple[int, int], calibration: CameraCalibration | None, before: Annotations,
              scale: Scale = SAME) -> Annotations:  # fmt: skip
    """The zones and lines that a browser sent; InputError tells what is invalid. `size` is the frame's (width, height);
    `before` are the annotations that `to_json` sent, with this `calibration` and `scale`."""
    if not isinstance(items, list) or len(items) > MAX_ANNOTATIONS:
        raise InputError(f"annotations: expected a list of at most {MAX_ANNOTATIONS}")
    known = {shape.name: shape for shapes in before for shape in shapes}
    parsed = [_parsed(item, size, calibration, known, scale) for item in items]
    names = [one.name for one in parsed]
    if twice := [name for name in names if names.count(name) > 1]:
        raise InputError(f"two zones or lines are named {twice[0]!r}: expected different names")
    zones = tuple(one for one in parsed if isinstance(one, Zone))
    return zones, tuple(one for one in parsed if isinstance(one, Line))


def in_shares(shapes: Sequence[Any], names: Collection[str], size: tuple[float, float]) -> tuple[Any, ...]:
    """Those of these names as shares of frames of `size`; points beyond the frame go to its edge."""

    def share(points: Any) -> list[tuple[float, float]]:
        return [(x, y) for x, y in np.clip(np.asarray(points, float) / size, 0, 1).round(6).tolist()]

    def found(shape: Any) -> Any:
        return shape if shape.ground or shape.name not in names else mapped(shape, share, relative=True)

    return tuple(map(found, shapes))


def grid_json(calibration: CameraCalibration | None) -> list[dict[str, Any]]:
    """The ground grid and the calibrated region in frame pixels: polylines, each with its label."""
    if calibration is None:
        return []
    lines = [line.as_json() for line in grid_lines(calibration)]
    region = _rounded(np.array(calibration.region.exterior.coords))
    return [*lines, {"points": region, "label": "", "at": None}]


def _item(shape: Zone | Line, calibration: CameraCalibration | None, scale: Scale) -> dict[str, Any]:
    pixels = np.asarray(_corners(shape), float)
    pixels = calibration.to_image(pixels) if shape.ground and calibration is not None else pixels / scale
    found = {"kind": "line", "name": shape.name, "ground": shape.ground, "points": _rounded(pixels)}
    if isinstance(shape, Zone):
        found |= {key: getattr(shape, key) for key in OPTIONS if getattr(shape, key) is not None}
        found |= {"kind": "zone", "debounce_s": shape.debounce_s, "arrow": _arrow(shape, calibration, scale)}
    return found


def _corners(shape: Zone | Line) -> Sequence[tuple[float, float]]:
    return shape.points if isinstance(shape, Zone) else (shape.start, shape.end)


def _arrow(zone: Zone, calibration: CameraCalibration | None, scale: Scale) -> list[list[float]] | None:
    """The allowed direction as an arrow in pixels, at the zone's center."""
    if zone.direction is None:
        return None
    points = np.asarray(zone.points, float)
    direction = np.array([math.cos(math.radians(zone.direction)), math.sin(math.radians(zone.direction))])
    center, length = points.mean(0), 0.3 * float(np.hypot(*np.ptp(points, axis=0)))
    ends = np.stack([center - direction * length / 2, center + direction * length / 2])
    return _rounded(calibration.to_image(ends) if zone.ground and calibration else ends / scale)


def _parsed(item: Any, size: tuple[int, int], calibration: CameraCalibration | None, known: Mapping[str, Zone | Line],
            scale: Scale) -> Zone | Line:  # fmt: skip
    if not isinstance(item, dict) or item.get("kind") not in ("zone", "line"):
        raise InputError("annotation: expected kind 'zone' or 'line'")
    name = _name(item.get("name"))
    pixels = _points(name, item.get("points"), size)
    on_ground = item.get("ground") is True
    if on_ground and calibration is None:
        raise InputError(f"{name!r} is in meters, which needs a calibrated camera: start with --calibration")
    points: Sequence[tuple[float, float]]
    was = known.get(str(item.get("previous_name", name)))
    if was and _is_unmoved(_item(was, calibration, scale), item["kind"], on_ground, pixels):
        points = _corners(was)
    else:
        placed = calibration.to_ground(pixels) if on_ground and calibration else pixels * scale
        if not np.isfinite(placed).all():
            raise InputError(f"{name!r}: a point lies above the horizon, where there is no ground")
        points = [(round(float(x), 2), round(float(y), 2)) for x, y in placed]  # as the file will have them
    kind: type[Zone | Line] = Line if item["kind"] == "line" else Zone
    values: dict[str, Any] = {"name": name, "ground": on_ground}
    values |= {key: getattr(was, key) for key in HIDDEN if hasattr(was, key) and hasattr(kind, key)}
    if kind is Line:
        if len(points) != 2:
            raise InputError(f"line {name!r}: expected 2 ends, got {len(points)} points")
        values |= {"start": points[0], "end": points[1]}
    else:
        values |= {key: item[key] for key in (*OPTIONS, "debounce_s") if item.get(key) is not None}
        values["points"] = points
    checked(kind, values, Path(name))
    return kind(**values)


def _is_unmoved(before: Mapping[str, Any], kind: str, on_ground: bool, pixels: Array) -> bool:
    """Whether an annotation still has the kind and the points that were sent to the browser."""
    if (before["kind"], before["ground"]) != (kind, on_ground) or len(before["points"]) != len(pixels):
        return False
    return bool(np.abs(np.asarray(before["points"]) - pixels).max() < MOVED_PX)


def _name(value: Any) -> str:
    if not isinstance(value, str) or not 1 <= len(value.strip()) <= MAX_NAME or not value.isprintable():
        raise InputError(f"name: expected 1 to {MAX_NAME} printable characters")
    return value.strip()


def _points(name: str, value: Any, size: tuple[int, int]) -> Array:
    expected = f"{name!r}: expected 2 to {MAX_POINTS} points [x, y] in the image"
    if not isinstance(value, list) or not 2 <= len(value) <= MAX_POINTS:
        raise InputError(expected)
    pairs = all(isinstance(point, list) and len(point) == 2 for point in value)
    if not pairs or not all(type(v) in (int, float) and math.isfinite(v) for point in value for v in point):
        raise InputError(expected)
    points = np.asarray(value, float)
    if ((points < -np.array(size)) | (points > 2 * np.array(size))).any():
        raise InputError(f"{name!r}: a point is far outside of the image")
    return points


def _rounded(points: Any) -> list[list[float]]:
    return [[round(float(x), 2), round(float(y), 2)] for x, y in points if np.isfinite([x, y]).all()]
