"""A wall of the cameras of a fleet: one page of small images, and behind each of them the camera's own page."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route

from edgevid.output.records import as_json
from edgevid.run.fleet import Camera, Fleet
from edgevid.site.build import build_calibration
from edgevid.viewer.app import viewer_app
from edgevid.viewer.broadcast import encode_jpeg, limit_size, pack
from edgevid.viewer.config import View
from edgevid.viewer.security import is_operator
from edgevid.viewer.serve import Server, make_app
from edgevid.viewer.state import ViewerState

TILE_SIDE, TILE_QUALITY = 640, 75  # Longest side of a small image in pixels, and its JPEG quality


class Wall:
    """The states of the cameras that a fleet shows, and the application that serves them."""

    def __init__(self, fleet: Fleet, unit: str) -> None:
        self._fleet, self._unit, fleet.view = fleet, unit, self._show
        self._states: dict[str, ViewerState] = {}
        self._apps: dict[str, Any] = {}
        self._tiles: dict[str, tuple[Any, bytes]] = {}
        self.app = make_app("wall.html", [Route("/api/cameras", self._cameras), Route("/api/tile/{name}", self._tile),
                                          Mount("/camera/{name}", self._camera)])  # fmt: skip

    def _show(self, camera: Camera) -> ViewerState:
        """What is shown of a run that begins."""
        record, given = camera.loaded.site.record, camera.given
        state = self._states[camera.name] = ViewerState(
            camera.source, camera.pipeline, title=camera.name, model=camera.pipeline.detector.recipe.name,
            calibration=build_calibration(camera.loaded, camera.source.size), monitor=camera.zones, unit=self._unit,
            site_file=given if isinstance(given, Path) else None, recordings=record.folder if record else None,
        )  # fmt: skip
        state.source.live = True  # its page neither pauses nor seeks: the fleet alone reads it
        self._apps[camera.name] = viewer_app(state)
        return state

    def _cameras(self, request: Request) -> Response:
        """What each camera does, and the number of its newest image; why it does not, for the operator alone."""
        rows = []
        for camera in self._fleet.cameras:
            state = self._states.get(camera.name)
            status = camera.status()._asdict() | {"n": state.broadcast.published if state else 0}
            rows.append(status if is_operator(request.scope) else status | {"detail": ""})
        return JSONResponse(rows)

    async def _tile(self, request: Request) -> Response:
        """The newest image of a camera, small, with its record; encoded once for all viewers."""
        name = request.path_params["name"]
        latest = self._states[name].broadcast.latest if name in self._states else None
        if latest is None:
            return Response(status_code=204)
        if self._tiles.get(name, (None, b""))[0] is not latest:
            self._tiles[name] = latest, await asyncio.to_thread(_encoded, latest)
        return Response(self._tiles[name][1], media_type="application/octet-stream")

    async def _camera(self, scope: Any, receive: Any, send: Any) -> None:
        """The page of one camera, and what it asks for."""
        app = self._apps.get(scope["path_params"]["name"], PlainTextResponse("there is no such camera yet", 404))
        await app(scope, receive, send)


def _encoded(latest: Any) -> bytes:
    image = limit_size(latest.frame.image, TILE_SIDE)
    return pack(as_json(latest.result), encode_jpeg(image, TILE_QUALITY))


@contextmanager
def wall(fleet: Fleet, view: View, *, unit: str = "km/h") -> Iterator[str]:
    """Serves the wall of a fleet that has not begun, until the block ends; gives its address."""
    with Server(Wall(fleet, unit).app, purpose="The wall of cameras", **view.server) as server:
        yield server.url
