"""The calibration page: points are dragged on a frame of the video, the grid follows, a file is written.

    serve(calibration_app(CalibrationDesk(Stills("gate.mp4"), folder=Path("calibration/camera"), name="gate")))

The page is static/calibration.html with its scripts; what it asks is answered here.
"""

from __future__ import annotations

import json
import math
import re
import threading
from pathlib import Path
from typing import Any

import cv2

from edgevid.errors import EdgevidError, InputError, require
from edgevid.site.calibrate import write_calibration
from edgevid.speed.calibration import CameraCalibration
from edgevid.speed.calibration_report import examine
from edgevid.types import Frame
from edgevid.video.open import masked
from edgevid.video.seek import FrameSeeker
from edgevid.viewer.calibration_solver import calibration_of, page_of, solve
from edgevid.viewer.serve import STATIC, static_files

QUALITY = 93
"""Of the JPEG that is shown: a mark on the road must stay sharp."""
LARGEST = 1 << 20
"""Bytes of a request."""
NAME = re.compile(r"[\w][\w. -]{0,80}", re.ASCII)


class CalibrationDesk:
    """What one calibration page works on: the source, where the file goes, and what was there before."""

    def __init__(
        self,
        stills: FrameSeeker,
        *,
        folder: Path,
        name: str,
        given: CameraCalibration | None = None,
        time: float = 0.0,
    ) -> None:
        """`given` is the calibration to start from; its image may have another size, not another aspect."""
        self.stills, self.folder, self.name, self.time = stills, folder, name, time
        self._lock = threading.Lock()
        self._frame = stills.at(time)
        self.given = given.scaled_to(self._frame.size) if given is not None else None
        self.saved: Path | None = None
        """The file that was written last."""

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the image that is shown."""
        return self._frame.size

    def frame(self, seconds: float) -> Frame:
        """The image at `seconds`, kept until another one is asked for."""
        with self._lock:
            if self.stills.live or abs(self._frame.time - seconds) > 1e-3:
                self._frame = self.stills.at(seconds)
            return self._frame

    def start(self) -> dict[str, Any]:
        """What the page must know when it opens."""
        uri = self.stills.uri
        return {
            "source": masked(uri) if "://" in uri else Path(uri).name,
            "size": list(self.size),
            "duration": self.stills.duration,
            "live": self.stills.live,
            "time": self._frame.time,
            "folder": str(self.folder),
            "name": self.name,
            "calibration": page_of(self.given) if self.given is not None else None,
        }

    def save(self, body: Any) -> tuple[int, dict[str, Any]]:
        """Writes the file: (HTTP status, answer). 409 where there is one and `replace` was not said."""
        name = body.get("name") if isinstance(body, dict) else None
        if not isinstance(name, str) or not NAME.fullmatch(name) or name.endswith("."):
            return 400, {"error": "The name may hold letters, digits, spaces, dots, - and _"}
        path = self.folder / f"{name.removesuffix('.toml')}.toml"
        try:
            calibration = calibration_of(body, self.size, path.stem)
            if path.exists() and body.get("replace") is not True:
                return 409, {"error": f"{path} exists", "path": str(path)}
            note = str(body.get("note") or "").strip()[:500] or self._provenance(calibration)
            self.saved = write_calibration(path, calibration, note, replace=True)
        except InputError as error:
            return 400, {"error": str(error).removeprefix("calibration: ")}
        return 200, {"path": str(path)}

    def _provenance(self, calibration: CameraCalibration) -> str:
        count, error = len(calibration.image), examine(calibration).error_px.mean()
        mean = f", mean error {error:.2f} px" if count > 4 else ""
        return (
            f"edgevid calibrate on {self.start()['source']} at {self._frame.time:.2f} s; {count} points{mean}"
        )


def calibration_app(desk: CalibrationDesk) -> Any:
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
        return JSONResponse(await run_in_threadpool(desk.start))

    async def picture(request: Request) -> Response:
        try:
            seconds = float(request.query_params.get("t", "0"))
            frame = await run_in_threadpool(desk.frame, seconds)
        except (EdgevidError, ValueError, OverflowError) as error:
            return JSONResponse({"error": str(error)}, status_code=400)
        data = await run_in_threadpool(_jpeg, frame)
        shown = {"x-time": f"{frame.time:.4f}", "x-size": f"{frame.width}x{frame.height}"}
        return Response(data, media_type="image/jpeg", headers={**shown, "cache-control": "no-store"})

    async def solved(request: Request) -> Response:
        body = await _body(request)
        if body is None:
            return JSONResponse({"ok": False, "error": "Wanted JSON"}, status_code=400)
        return JSONResponse(await run_in_threadpool(solve, body, desk.size))

    async def saved(request: Request) -> Response:
        body = await _body(request)
        if body is None:
            return JSONResponse({"error": "Wanted JSON"}, status_code=400)
        status, answer = await run_in_threadpool(desk.save, body)
        return JSONResponse(answer, status_code=status)

    return Starlette(
        routes=[
            Route("/", page),
            Route("/api/start", start),
            Route("/api/frame", picture),
            Route("/api/solve", solved, methods=["POST"]),
            Route("/api/save", saved, methods=["POST"]),
            static_files(),
        ]
    )


async def _body(request: Any) -> Any:
    """The JSON of a request; None where it is none, too large, or holds NaN."""
    if int(request.headers.get("content-length") or 0) > LARGEST:
        return None
    data = await request.body()
    try:
        return json.loads(data, parse_constant=lambda _: math.nan) if len(data) <= LARGEST else None
    except (ValueError, RecursionError):
        return None


def _jpeg(frame: Frame) -> bytes:
    done, data = cv2.imencode(".jpg", frame.image[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    assert done
    return bytes(data.tobytes())
