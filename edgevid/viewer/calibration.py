"""The calibration page: a user drags points on a frame of the video, the grid follows, and saves a file.

    session = CalibrationSession(FrameSeeker("gate.mp4"), folder=Path("calibration/camera"), name="gate")
    serve(calibration_app(session))

The page is static/calibration.html with its scripts and has no geometry: `make_calibration` and `examine` answer it
while points are dragged, as everywhere else.
"""

import re
import threading
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from edgevid.errors import EdgevidError, FileFormatError, InputError, masked, require
from edgevid.evaluate.evaluation import plain
from edgevid.files import checked
from edgevid.output.ground_grid import grid_lines, round_cell
from edgevid.speed import CameraCalibration, examine
from edgevid.speed.calibration_file import CalibrationTable, calibration_tables, provenance_text, write_calibration
from edgevid.types import F64, Frame
from edgevid.video.open import FrameSeeker
from edgevid.viewer.broadcast import encode_jpeg
from edgevid.viewer.security import is_operator
from edgevid.viewer.serve import RequestError, json_of, make_app

QUALITY = 93  # Of the JPEG: a mark on the road must stay sharp
MAX_POINTS = 200
NAME = re.compile(r"[\w][\w. -]{0,80}", re.ASCII)


class CalibrationSession:
    """What one calibration page works on: the source, the file to write, and the existing calibration."""

    def __init__(self, frames: FrameSeeker, *, folder: Path, name: str, existing: CameraCalibration | None = None,
                 time: float = 0.0) -> None:  # fmt: skip
        """`existing` is the calibration to start from; its image has the aspect ratio of the source's."""
        self.frames, self.folder, self.name, self.time = frames, folder, name, time
        self._lock = threading.Lock()
        self._frame, self._jpeg = frames.at(time), b""
        self.existing = existing.scaled_to(self._frame.size) if existing is not None else None
        self.saved: Path | None = None  # The file that was written last

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the image."""
        return self._frame.size

    def frame(self, seconds: float | None) -> tuple[Frame, bytes]:
        """The image at `seconds` and its JPEG, kept until the next request for another one; None: the one kept."""
        with self._lock:
            if seconds is not None and (self.frames.live or abs(self._frame.time - seconds) > 1e-3):
                self._frame, self._jpeg = self.frames.at(seconds), b""
            self._jpeg = self._jpeg or encode_jpeg(self._frame.image, QUALITY)
            return self._frame, self._jpeg

    def start(self) -> dict[str, Any]:
        """What the page needs when it opens."""
        uri = self.frames.uri
        return {"source": masked(uri) if "://" in uri else Path(uri).name, "size": list(self.size),
                "duration": self.frames.duration, "live": self.frames.live, "time": self._frame.time, "name": self.name,
                "calibration": to_page(self.existing) if self.existing is not None else None}  # fmt: skip

    def save(self, sent: dict[str, Any]) -> dict[str, Any]:
        """Writes the file of the tables `calibration`. RequestError where it exists and `replace` is not true."""
        name = sent.get("name")
        if not isinstance(name, str) or not NAME.fullmatch(name) or name.endswith("."):
            raise RequestError("The name may hold letters, digits, spaces, dots, - and _")
        path = self.folder / f"{name.removesuffix('.toml')}.toml"
        calibration = from_page(sent.get("calibration"), self.size, path.stem)
        if path.exists() and sent.get("replace") is not True:
            raise RequestError(f"{path} exists.", 409)
        note = str(sent.get("note") or "").strip()[:500]
        note = note or provenance_text(self.frames.uri, self._frame.time, calibration)
        self.saved = write_calibration(path, calibration, note, replace=True)
        return {"path": str(path)}


def calibration_app(session: CalibrationSession) -> Any:
    """The ASGI application of the page; MissingExtraError without the extra `viewer`."""
    require("starlette", extra="viewer", purpose="The calibration page")
    from starlette.concurrency import run_in_threadpool
    from starlette.requests import Request
    from starlette.responses import JSONResponse, Response
    from starlette.routing import Route

    def start(_: Request) -> Response:
        return JSONResponse(session.start())

    def image(request: Request) -> Response:
        try:
            seconds = float(request.query_params.get("t", "0"))
            frame, data = session.frame(seconds if is_operator(request.scope) else None)
        except (EdgevidError, ValueError, OverflowError) as error:
            raise RequestError(str(error)) from None
        headers = {"x-time": f"{frame.time:.4f}", "x-size": f"{frame.width}x{frame.height}"}
        return Response(data, media_type="image/jpeg", headers={**headers, "cache-control": "no-store"})

    async def solve_points(request: Request) -> Response:
        return JSONResponse(await run_in_threadpool(solve, await json_of(request), session.size))

    async def save(request: Request) -> Response:
        return JSONResponse(await run_in_threadpool(session.save, await json_of(request)))

    return make_app("calibration.html", [Route("/api/start", start), Route("/api/frame", image),
                                         Route("/api/solve", solve_points, methods=["POST"]),
                                         Route("/api/save", save, methods=["POST"])])  # fmt: skip


def from_page(tables: Any, size: tuple[int, int], name: str = "") -> CameraCalibration:
    """The calibration of the tables of its file, which the page sends; RequestError names the mistake."""
    if not isinstance(tables, dict):
        raise RequestError("Expected the tables of a calibration")
    if isinstance(points := tables.get("points"), list) and len(points) > MAX_POINTS:
        raise RequestError(f"Expected at most {MAX_POINTS} points, got {len(points)}")
    try:
        return checked(CalibrationTable, tables | {"image_size": size}, Path()).calibration(name)
    except InputError as error:
        text = error.mistakes[0].sentence if isinstance(error, FileFormatError) else str(error)
        text = text.removeprefix("calibration: ")  # which a terminal needs
        raise RequestError(text[:1].upper() + text[1:]) from None


def to_page(calibration: CameraCalibration) -> dict[str, Any]:
    """The tables of the file of a calibration, in JSON."""
    tables = calibration_tables(calibration).items()
    found = {title.strip("[]"): rows if title[:1] == "[" else rows[0] for title, rows in tables if title and rows}
    return {title: plain(rows) for title, rows in found.items()}


def solve(tables: Any, size: tuple[int, int]) -> dict[str, Any]:
    """The answer for the page: `ok` with grid and report, or `error` in one sentence."""
    try:
        calibration = from_page(tables, size)
        report, lines = examine(calibration), grid_lines(calibration, cell_m=_cell(calibration))
    except InputError as error:
        return {"ok": False, "error": str(error)}
    grid, region = [line.as_json() for line in lines], _corners(calibration).round(1).tolist()
    return {"ok": True, "grid": grid, "region": region, **plain(asdict(report))}


def _corners(calibration: CameraCalibration) -> F64:
    return np.array(calibration.region.exterior.coords)[:-1]


def _cell(calibration: CameraCalibration) -> float:
    """Meters per cell: a few across the road, not too many along it."""
    short, long = sorted(np.ptp(calibration.to_ground(_corners(calibration)), axis=0).tolist())
    return round_cell(min(long / 8, max(short / 3, long / 24)))
