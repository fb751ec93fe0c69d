"""The calibration page: a user drags points on a frame of the video, the grid follows, and saves a file.

    session = CalibrationSession(FrameSeeker("gate.mp4"), folder=Path("calibration/camera"), name="gate")
    serve(calibration_app(session))

The page is static/calibration.html with its scripts; its requests are answered here.
"""

from __future__ import annotations

import json
import math
import re
import threading
from pathlib import Path
from typing import Any

import cv2

from edgevid.errors import EdgevidError, InputError, masked, require
from edgevid.speed.calibration import CameraCalibration
from edgevid.speed.calibration_file import provenance_text, write_calibration
from edgevid.types import Frame
from edgevid.video.seek import FrameSeeker
from edgevid.viewer.calibration_solver import from_page, solve, to_page
from edgevid.viewer.serve import STATIC, static_files

QUALITY = 93
"""Of the JPEG: a mark on the road must stay sharp."""
MAX_BYTES = 1 << 20
"""Of a request."""
NAME = re.compile(r"[\w][\w. -]{0,80}", re.ASCII)


class CalibrationSession:
    """What one calibration page works on: the source, the file to write, and the existing calibration."""

    def __init__(
        self,
        frames: FrameSeeker,
        *,
        folder: Path,
        name: str,
        existing: CameraCalibration | None = None,
        time: float = 0.0,
    ) -> None:
        """`existing` is the calibration to start from; its image has the aspect ratio of the source's."""
        self.frames, self.folder, self.name, self.time = frames, folder, name, time
        self._lock = threading.Lock()
        self._frame = frames.at(time)
        self.existing = existing.scaled_to(self._frame.size) if existing is not None else None
        self.saved: Path | None = None
        """The file that was written last."""

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
            "source": masked(uri) if "://" in uri else Path(uri).name,
            "size": list(self.size),
            "duration": self.frames.duration,
            "live": self.frames.live,
            "time": self._frame.time,
            "folder": str(self.folder),
            "name": self.name,
            "calibration": to_page(self.existing) if self.existing is not None else None,
        }

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
        data = await run_in_threadpool(_jpeg, frame)
        headers = {"x-time": f"{frame.time:.4f}", "x-size": f"{frame.width}x{frame.height}"}
        return Response(data, media_type="image/jpeg", headers={**headers, "cache-control": "no-store"})

    async def solved(request: Request) -> Response:
        body = await _body(request)
        if body is None:
            return JSONResponse({"ok": False, "error": "Expected JSON"}, status_code=400)
        return JSONResponse(await run_in_threadpool(solve, body, session.size))

    async def saved(request: Request) -> Response:
        body = await _body(request)
        if body is None:
            return JSONResponse({"error": "Expected JSON"}, status_code=400)
        status, answer = await run_in_threadpool(session.save, body)
        return JSONResponse(answer, status_code=status)

    return Starlette(
        routes=[
            Route("/", page),
            Route("/api/start", start),
            Route("/api/frame", image),
            Route("/api/solve", solved, methods=["POST"]),
            Route("/api/save", saved, methods=["POST"]),
            static_files(),
        ]
    )


async def _body(request: Any) -> Any:
    """The JSON of a request; None where it is not JSON or too large."""
    if int(request.headers.get("content-length") or 0) > MAX_BYTES:
        return None
    data = await request.body()
    try:
        return json.loads(data, parse_constant=lambda _: math.nan) if len(data) <= MAX_BYTES else None
    except (ValueError, RecursionError):
        return None


def _jpeg(frame: Frame) -> bytes:
    done, data = cv2.imencode(".jpg", frame.image[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    assert done
    return bytes(data.tobytes())
