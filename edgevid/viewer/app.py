"""The overlay viewer's routes: the page, its socket, and the places that are edited in it.

from edgevid.viewer.app import viewer_app
from edgevid.viewer.serve import Server
with Server(viewer_app(show)) as server: ...
"""

from __future__ import annotations

import asyncio
import json
import logging
from contextlib import suppress
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from edgevid.errors import InputError, SourceError
from edgevid.viewer.broadcast import Viewer
from edgevid.viewer.serve import STATIC, static_files
from edgevid.viewer.state import Stale, ViewerState

log = logging.getLogger("edgevid")

MOST_VIEWERS = 16
MOST_BYTES = 256 * 1024
"""Of an edit of the places."""
TRY_AGAIN = 1013


def viewer_app(show: ViewerState) -> Starlette:
    """The application that shows `show`."""

    async def page(request: Request) -> Response:
        return FileResponse(STATIC / "viewer.html")

    async def watch(socket: WebSocket) -> None:
        await _watch(show, socket)

    async def places(request: Request) -> Response:
        return await _places(show, request)

    routes = [
        Route("/", page),
        Route("/api/places", places, methods=["GET", "PUT"]),
        WebSocketRoute("/ws", watch),
        static_files(),
    ]
    return Starlette(routes=routes)


async def _places(show: ViewerState, request: Request) -> Response:
    """Zones and lines: read, or replaced as a whole. A refusal is a sentence under "error"."""
    if request.method == "GET":
        return JSONResponse(show.places())
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MOST_BYTES:
            return JSONResponse({"error": f"places: expected at most {MOST_BYTES} bytes"}, 413)
    try:
        asked = json.loads(body)
        if not isinstance(asked, dict):
            raise ValueError("expected an object")
        answer = await asyncio.to_thread(show.set_places, asked.get("places"), asked.get("version"))
    except Stale as error:
        return JSONResponse({"error": str(error), **show.places()}, 409)
    except InputError as error:
        return JSONResponse({"error": str(error)}, 422)
    except SourceError as error:
        return JSONResponse({"error": str(error)}, 507)
    except (ValueError, RecursionError) as error:
        return JSONResponse({"error": f"places: expected JSON: {error}"}, 400)
    return JSONResponse(answer)


async def _watch(show: ViewerState, socket: WebSocket) -> None:
    """One viewer, from its arrival to its end."""
    await socket.accept()
    if len(show.hub.viewers) >= MOST_VIEWERS:
        await socket.close(TRY_AGAIN, f"{MOST_VIEWERS} viewers are there already")
        return
    viewer = show.hub.join()
    tasks = [asyncio.create_task(one) for one in (_send(show, viewer, socket), _hear(show, viewer, socket))]
    tasks.append(asyncio.create_task(_report(show, viewer)))
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        show.hub.leave(viewer)
        for task in tasks:
            task.cancel()
        done, _ = await asyncio.wait(tasks)
        for task in done:
            if not task.cancelled() and (error := task.exception()) is not None:
                log.warning("a viewer ended: %s", error)
        with suppress(RuntimeError, WebSocketDisconnect):
            await socket.close()


async def _send(show: ViewerState, viewer: Viewer, socket: WebSocket) -> None:
    with suppress(WebSocketDisconnect, RuntimeError):  # it may go at any time
        await socket.send_text(json.dumps(show.hello(), allow_nan=False))
        while True:
            message = await viewer.next()
            if isinstance(message, str):
                await socket.send_text(message)
            else:
                await socket.send_bytes(message)


async def _hear(show: ViewerState, viewer: Viewer, socket: WebSocket) -> None:
    """What a viewer may say: {"got": n}, {"looking": bool}, {"paused": bool}, {"step": true}."""
    with suppress(WebSocketDisconnect):
        while True:
            try:
                said: Any = json.loads(await socket.receive_text())
            except (ValueError, KeyError, RecursionError):
                continue  # no viewer of ours says such a thing
            if not isinstance(said, dict):
                continue
            if type(said.get("got")) is int:
                viewer.heard(said["got"])
            elif isinstance(said.get("looking"), bool):
                viewer.look(said["looking"])
            else:
                show.control(said)


async def _report(show: ViewerState, viewer: Viewer) -> None:
    """Once a second: how this viewer fares."""
    while True:
        await asyncio.sleep(1)
        show.poll()
        late = viewer.latency_s
        viewer.say(
            {
                "type": "stats",
                "viewers": len(show.hub.viewers),
                "sent": viewer.sent,
                "left_out": viewer.dropped,
                "late_ms": None if late is None else round(1000 * late, 1),
            }
        )
