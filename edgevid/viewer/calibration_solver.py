"""The answers to the calibration page while points are dragged: grid, errors and warnings.

Solved by the same `make_calibration` and `examine` as everywhere else; the page itself knows no geometry.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import shapely

from edgevid.errors import InputError
from edgevid.output.ground_grid import grid_lines, round_cell
from edgevid.speed.calibration import CameraCalibration, default_regions, make_calibration, rectangle
from edgevid.speed.calibration_report import CalibrationReport, examine
from edgevid.types import Array

MOST = 200
"""Points that a page may send."""


class Unfinished(InputError):
    """Something is still to be typed."""


def calibration_of(body: Any, size: tuple[int, int], name: str = "") -> CameraCalibration:
    """The calibration of what the page sent; InputError says what is wrong in the page's own words."""
    if not isinstance(body, dict):
        raise InputError("calibration: expected an object")
    lens = body.get("lens") or {}
    if not isinstance(lens, dict):
        raise InputError("calibration: expected an object as lens")
    k1 = _number(lens.get("k1", 0), "k1") if lens.get("k1") is not None else 0.0
    focal = _number(lens["focal"], "focal length") if lens.get("focal") is not None else None
    corners = body.get("region")
    region = shapely.Polygon(_points(corners, "region", least=3)) if corners else None
    pixels, meters = _pairs(body)
    return make_calibration(pixels, meters, size, region=region, k1=k1, focal=focal, name=name)


def solve(body: Any, size: tuple[int, int]) -> dict[str, Any]:
    """The answer for the page: `ok` with grid and report, or `error` in one sentence.

    `todo` says that nothing is wrong, only not everything typed yet.
    """
    try:
        calibration = calibration_of(body, size)
        report = examine(calibration)
        lines = grid_lines(calibration, cell_m=_cell(calibration))
    except Unfinished as words:
        return {"ok": False, "todo": True, "error": _plain(str(words))}
    except InputError as error:
        return {"ok": False, "todo": False, "error": _plain(str(error))}
    corners = np.array(calibration.region.exterior.coords)[:-1]
    grid = [
        {
            "points": np.round(line.points, 1).tolist(),
            "label": line.label,
            "at": [round(v, 1) for v in line.at],
        }
        for line in lines
    ]
    return {"ok": True, "grid": grid, "region": np.round(corners, 1).tolist(), **told(calibration, report)}


def _cell(calibration: CameraCalibration) -> float:
    """Meters of a cell: a few across the road, not too many along it."""
    corners = calibration.to_ground(np.array(calibration.region.exterior.coords))
    short, long = sorted(np.ptp(corners, axis=0).tolist())
    return round_cell(min(long / 8, max(short / 3, long / 24)))


def told(calibration: CameraCalibration, report: CalibrationReport) -> dict[str, Any]:
    """The report as JSON; what is not finite is null."""
    camera = report.camera
    return {
        "errors": [
            {"px": _finite(px), "m": _finite(m)}
            for px, m in zip(report.error_px, report.error_m, strict=True)
        ],
        "exact": len(calibration.image) == 4,
        "outliers": list(report.outliers),
        "scales": [
            {
                "place": s.place, "pixel": [_finite(v) for v in s.pixel],
                "meter": [_finite(v) for v in s.meter], "along": _finite(s.along),
                "across": _finite(s.across), "error": _finite(s.error),
            }
            for s in report.scales
        ],
        "camera": {
            "height": _finite(camera.height_m), "pitch": _finite(camera.pitch_deg),
            "wide": _finite(camera.width_deg), "focal": _finite(camera.focal_px),
        } if camera else None,
        "warnings": list(report.warnings),
    }  # fmt: skip


def page_of(calibration: CameraCalibration) -> dict[str, Any]:
    """An existing calibration as the page holds it."""
    size = calibration.meters[2] if len(calibration.meters) == 4 else np.zeros(2)
    chosen = not any(calibration.region.equals(area) for area in default_regions(calibration.image))
    made: dict[str, Any] = {
        "mode": "points",
        "points": [
            {"u": float(u), "v": float(v), "x": float(x), "y": float(y)}
            for (u, v), (x, y) in zip(calibration.image, calibration.meters, strict=True)
        ],
        "region": np.array(calibration.region.exterior.coords)[:-1].tolist() if chosen else None,
        "lens": {"k1": calibration.k1 or None, "focal": calibration.focal if calibration.k1 else None},
    }
    if (size > 0).all() and np.array_equal(calibration.meters, rectangle(*size)):
        made |= {"mode": "rectangle", "rectangle": calibration.image.tolist()}
        made |= {"width": float(size[0]), "length": float(size[1])}
    return made


def _pairs(body: dict[str, Any]) -> tuple[Array, Array]:
    """Pixels and meters of the rectangle or of the points."""
    if body.get("mode") == "rectangle":
        pixels = _points(body.get("rectangle"), "rectangle", least=4)
        if len(pixels) != 4:
            raise InputError(f"calibration: expected 4 corners, got {len(pixels)}")
        if body.get("width") is None or body.get("length") is None:
            raise Unfinished("calibration: type the rectangle's width and length in meters")
        return pixels, rectangle(_number(body["width"], "width"), _number(body["length"], "length"))
    rows = body.get("points")
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows) or len(rows) > MOST:
        raise InputError(f"calibration: expected a list of at most {MOST} points")
    whole = [row for row in rows if row.get("x") is not None and row.get("y") is not None]
    if len(whole) < 4:
        missing = len(rows) - len(whole)
        raise Unfinished(
            f"calibration: expected at least 4 points with meters, got {len(whole)}"
            + (f"; {missing} still without meters" if missing else "")
        )
    if len(whole) < len(rows):
        number = next(n for n, row in enumerate(rows, 1) if row not in whole)
        raise Unfinished(f"calibration: type the meters of point {number}, or remove it")
    pixels = np.array([[_number(r.get(k), f"point {n}") for k in "uv"] for n, r in enumerate(rows, 1)])
    meters = np.array([[_number(r.get(k), f"point {n}") for k in "xy"] for n, r in enumerate(rows, 1)])
    return pixels, meters


def _points(given: Any, what: str, *, least: int) -> Array:
    good = isinstance(given, list) and least <= len(given) <= MOST
    if not good or not all(isinstance(p, list) and len(p) == 2 for p in given):
        raise InputError(f"calibration: expected {least} to {MOST} points [u, v] as {what}")
    return np.array([[_number(v, what) for v in p] for p in given])


def _number(given: Any, what: str) -> float:
    if isinstance(given, bool) or not isinstance(given, (int, float)) or not math.isfinite(given):
        raise InputError(f"calibration: expected a number for {what}, got {given!r}")
    if abs(given) > 1e6:
        raise InputError(f"calibration: expected a number below a million for {what}, got {given:g}")
    return float(given)


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _plain(words: str) -> str:
    """Without the prefix that tells a terminal which part speaks."""
    words = words.removeprefix("calibration: ")
    return words[:1].upper() + words[1:]
