"""The answers to the calibration page while points are dragged: grid, errors and warnings. `make_calibration` and
`examine` solve it as everywhere else; the page itself has no geometry."""

import math
from typing import Any

import numpy as np
import shapely

from edgevid.errors import InputError
from edgevid.output.ground_grid import grid_lines, round_cell
from edgevid.speed.calibration import CameraCalibration, make_calibration, rectangle
from edgevid.speed.calibration_file import has_default_region, rectangle_size
from edgevid.speed.calibration_report import CalibrationReport, examine
from edgevid.types import F64

MAX_POINTS = 200


class IncompleteError(InputError):
    """Some fields are still empty."""


def from_page(body: Any, size: tuple[int, int], name: str = "") -> CameraCalibration:
    """The calibration that the page sent; InputError names the mistake in the terms of the page."""
    if not isinstance(body, dict):
        raise InputError("calibration: expected an object")
    lens = body.get("lens") or {}
    if not isinstance(lens, dict):
        raise InputError("calibration: expected an object as lens")
    k1 = 0.0 if lens.get("k1") is None else _number(lens["k1"], "k1")
    focal = None if lens.get("focal") is None else _number(lens["focal"], "focal length")
    region = shapely.Polygon(_points(body["region"], "region", least=3)) if body.get("region") else None
    pixels, meters = _pairs(body)
    return make_calibration(pixels, meters, size, region=region, k1=k1, focal=focal, name=name)


def solve(body: Any, size: tuple[int, int]) -> dict[str, Any]:
    """The answer for the page: `ok` with grid and report, or `error` in one sentence. `incomplete`: nothing is wrong,
    but fields are still empty."""
    try:
        calibration = from_page(body, size)
        report = examine(calibration)
        lines = grid_lines(calibration, cell_m=_cell(calibration))
    except InputError as error:
        text = str(error).removeprefix("calibration: ")  # which a terminal needs
        incomplete = isinstance(error, IncompleteError)
        return {"ok": False, "incomplete": incomplete, "error": text[:1].upper() + text[1:]}
    grid, region = [line.as_json() for line in lines], np.round(_corners(calibration), 1).tolist()
    return {"ok": True, "grid": grid, "region": region, **_report_json(calibration, report)}


def _corners(calibration: CameraCalibration) -> F64:
    return np.array(calibration.region.exterior.coords)[:-1]


def _cell(calibration: CameraCalibration) -> float:
    """Meters per cell: a few across the road, not too many along it."""
    short, long = sorted(np.ptp(calibration.to_ground(_corners(calibration)), axis=0).tolist())
    return round_cell(min(long / 8, max(short / 3, long / 24)))


def _report_json(calibration: CameraCalibration, report: CalibrationReport) -> dict[str, Any]:
    camera = report.camera
    return {
        "errors": [{"px": _finite(px), "m": _finite(m)}
                   for px, m in zip(report.error_px, report.error_m, strict=True)],
        "exact": len(calibration.image) == 4,
        "outliers": list(report.outliers),
        "scales": [{"place": s.place, "pixel": [*map(_finite, s.pixel)], "meter": [*map(_finite, s.meter)],
                    "along": _finite(s.along), "across": _finite(s.across), "error": _finite(s.error)}
                   for s in report.scales],
        "camera": {"height": _finite(camera.height_m), "pitch": _finite(camera.pitch_deg),
                   "width": _finite(camera.width_deg), "focal": _finite(camera.focal_px)} if camera else None,
        "warnings": list(report.warnings),
    }  # fmt: skip


def to_page(calibration: CameraCalibration) -> dict[str, Any]:
    """An existing calibration in the page's JSON."""
    made: dict[str, Any] = {
        "mode": "points",
        "points": [
            {"u": float(u), "v": float(v), "x": float(x), "y": float(y)}
            for (u, v), (x, y) in zip(calibration.image, calibration.meters, strict=True)
        ],
        "region": None if has_default_region(calibration) else _corners(calibration).tolist(),
        "lens": {"k1": calibration.k1 or None, "focal": calibration.focal if calibration.k1 else None},
    }
    size = rectangle_size(calibration)
    if size is not None:
        made |= {"mode": "rectangle", "rectangle": calibration.image.tolist()}
        made |= {"width": size[0], "length": size[1]}
    return made


def _pairs(body: dict[str, Any]) -> tuple[F64, F64]:
    if body.get("mode") == "rectangle":
        pixels = _points(body.get("rectangle"), "rectangle", least=4)
        if len(pixels) != 4:
            raise InputError(f"calibration: expected 4 corners, got {len(pixels)}")
        if body.get("width") is None or body.get("length") is None:
            raise IncompleteError("calibration: enter the rectangle's width and length in meters")
        return pixels, rectangle(_number(body["width"], "width"), _number(body["length"], "length"))
    rows = body.get("points")
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows) or len(rows) > MAX_POINTS:
        raise InputError(f"calibration: expected a list of at most {MAX_POINTS} points")
    whole = [row for row in rows if row.get("x") is not None and row.get("y") is not None]
    if len(whole) < 4:
        missing = len(rows) - len(whole)
        raise IncompleteError(
            f"calibration: expected at least 4 points with meters, got {len(whole)}"
            + (f"; {missing} without meters" if missing else "")
        )
    if len(whole) < len(rows):
        number = next(n for n, row in enumerate(rows, 1) if row not in whole)
        raise IncompleteError(f"calibration: enter the meters of point {number}, or remove it")
    pixels = np.array([[_number(r.get(k), f"point {n}") for k in "uv"] for n, r in enumerate(rows, 1)])
    meters = np.array([[_number(r.get(k), f"point {n}") for k in "xy"] for n, r in enumerate(rows, 1)])
    return pixels, meters


def _points(given: Any, what: str, *, least: int) -> F64:
    good = isinstance(given, list) and least <= len(given) <= MAX_POINTS
    if not good or not all(isinstance(p, list) and len(p) == 2 for p in given):
        raise InputError(f"calibration: expected {least} to {MAX_POINTS} points [u, v] as {what}")
    return np.array([[_number(v, what) for v in p] for p in given])


def _number(given: Any, what: str) -> float:
    if isinstance(given, bool) or not isinstance(given, (int, float)) or not math.isfinite(given):
        raise InputError(f"calibration: expected a number for {what}, got {given!r}")
    if abs(given) > 1e6:
        raise InputError(f"calibration: expected a number below a million for {what}, got {given:g}")
    return float(given)


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
