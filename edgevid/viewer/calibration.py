"""The calibration page: a user drags points on a frame of the video, the grid follows, and saves a file.

    session = CalibrationSession(FrameSeeker("gate.mp4"), folder=Path("calibration/camera"), name="gate")
    serve(calibration_app(session))

The page is static/calibration.html with its scripts; its requests are answered here.
"""

import json
import math
import re
import threading
from pathlib import Path
from typing import Any

from edgevid.errors import EdgevidError, InputError, masked, require
from edgevid.speed.calibration import CameraCalibration
from edgevid.speed.calibration_file import provenance_text, write_calibration
from edgevid.types import Frame
from edgevid.video.open import FrameSeeker
from edgevid.viewer.broadcast import encode_jpeg
from edgevid.viewer.calibration_solver import from_page, solve, to_page
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
