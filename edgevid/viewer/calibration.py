"""The calibration page: a user drags points on a frame of the video, the grid follows, and saves a file.

    session = CalibrationSession(FrameSeeker("gate.mp4"), folder=Path("calibration/camera"), name="gate")
    serve(calibration_app(session))

The page is static/calibration.html with its scripts and has no geometry: `make_calibration` and `examine` answer it
while points are dragged, as everywhere else.
"""

import json
import math
import re
import threading
from pathlib import Path
from typing import Any

import numpy as np
import shapely

from edgevid.errors import EdgevidError, InputError, masked, require
from edgevid.output.ground_grid import grid_lines, round_cell
from edgevid.speed import CalibrationReport, CameraCalibration, examine, make_calibration, rectangle
from edgevid.speed.calibration_file import has_default_region, provenance_text, rectangle_size, write_calibration
from edgevid.types import F64, Frame
from edgevid.video.open import FrameSeeker
from edgevid.viewer.broadcast import encode_jpeg
from edgevid.viewer.serve import STATIC, static_files

QUALITY = 93  # Of the JPEG: a mark on the road must stay sharp
MAX_BYTES = 1 << 20  # Of a request
NAME = re.compile(r"[\w][\w. -]{0,80}", re.ASCII)


class CalibrationSession:
    """What one calibration page works on: the source, the file to write, and the existing calibration."""

    def __init__(
        self, frames: FrameSeeker, *, folder: Path, name: str, existing: CameraCalibration | None = None,
        time: float = 0.0,
    ) -> None:  # fmt: skip
        """`existing` is the calibration to start from; its image has the aspect ratio of the source's."""
        self.frames, self.folder, self.name, self.time = frames, folder, name, time
        self._lock = threading.Lock()
        self._frame = frames.at(time)
        self.existing = existing.scaled_to(self._frame.size) if existing is not None else None
        self.saved: Path | None = None  # The file that was written last

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the image."""
        return self._frame.size

    def frame(self, seconds: float) -> Frame:
        """The image at `seconds`, kept until the next request for another one."""
        with self._lock:
            if self.frames.live or abs(self._frame.time - seconds) > 1e-3:
                self._frame = self.frames.at(seconds)
            return self._frame

    def start(self) -> dict[str, Any]:
        """What the page needs when it opens."""
        uri = self.frames.uri
        return {
            "source": masked(uri) if "://" in uri else Path(uri).name, "size": list(self.size),
            "duration": self.frames.duration, "live": self.frames.live, "time": self._frame.time,
            "folder": str(self.folder), "name": self.name,
            "calibration": to_page(self.existing) if self.existing is not None else None,
        }  # fmt: skip

    def save(self, body: Any) -> tuple[int, dict[str, Any]]:
        """Writes the file: (HTTP status, answer). 409 where it exists and `replace` is not true."""
        name = body.get("name") if isinstance(body, dict) else None
        if not isinstance(name, str) or not NAME.fullmatch(name) or name.endswith("."):
            return 400, {"error": "The name may hold letters, digits, spaces, dots, - and _"}
        path = self.folder / f"{name.removesuffix('.toml')}.toml"
        try:
            calibration = from_page(body, self.size, path.stem)
            if path.exists() and body.get("replace") is not True:
                return 409, {"error": f"{path} exists", "path": str(path)}
            note = str(body.get("note") or "").strip()[:500] or provenance_text(
                self.frames.uri, self._frame.time, calibration
            )
            self.saved = write_calibration(path, calibration, note, replace=True)
        except InputError as error:
            return 400, {"error": str(error).removeprefix("calibration: ")}
        return 200, {"path": str(path)}


def calibration_app(session: CalibrationSession) -> Any:
    """The ASGI application of the page; MissingExtraError without the extra `viewer`."""
    require("starlette", extra="viewer", purpose="The calibration page")
    from starlette.applications import Starlette
    from starlette.concurrency import run_in_threadpool
    from starlette.requests import Request
    from starlette.responses import FileResponse, JSONResponse, Response
    from starlette.routing import Route

    async def page(_: Request) -> Response:
        return FileResponse(STATIC / "calibration.html", media_type="text/html")

    async def start(_: Request) -> Response:
        return JSONResponse(await run_in_threadpool(session.start))

    async def image(request: Request) -> Response:
        try:
            seconds = float(request.query_params.get("t", "0"))
            frame = await run_in_threadpool(session.frame, seconds)
        except (EdgevidError, ValueError, OverflowError) as error:
            return JSONResponse({"error": str(error)}, status_code=400)
        data = await run_in_threadpool(encode_jpeg, frame.image, QUALITY)
        headers = {"x-time": f"{frame.time:.4f}", "x-size": f"{frame.width}x{frame.height}"}
        return Response(data, media_type="image/jpeg", headers={**headers, "cache-control": "no-store"})

    async def solve_points(request: Request) -> Response:
        return JSONResponse(await run_in_threadpool(solve, await json_of(request), session.size))

    async def save(request: Request) -> Response:
        status, answer = await run_in_threadpool(session.save, await json_of(request))
        return JSONResponse(answer, status_code=status)

    async def not_json(_: Request, error: Exception) -> Response:
        return JSONResponse({"ok": False, "error": str(error)}, status_code=400)

    routes = [
        Route("/", page), Route("/api/start", start), Route("/api/frame", image),
        Route("/api/solve", solve_points, methods=["POST"]), Route("/api/save", save, methods=["POST"]),
        static_files(),
    ]  # fmt: skip
    return Starlette(routes=routes, exception_handlers={NotJsonError: not_json})


class NotJsonError(InputError):
    """A request whose body is not JSON, or too large."""


async def json_of(request: Any) -> Any:
    """The JSON of a request; NaN reads as the number."""
    data = b"" if int(request.headers.get("content-length") or 0) > MAX_BYTES else await request.body()
    try:
        return json.loads(data[: MAX_BYTES + 1], parse_constant=lambda _: math.nan)
    except (ValueError, RecursionError):
        raise NotJsonError("expected JSON") from None


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
