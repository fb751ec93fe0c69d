"""The overlay viewer's routes: the page, its socket, and the zones and lines that are edited in it.

from edgevid.viewer.app import viewer_app
from edgevid.viewer.serve import Server
with Server(viewer_app(state)) as server: ...
"""

from __future__ import annotations

import asyncio
import json
import logging
from contextlib import suppress
from functools import partial
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from edgevid.errors import InputError, SourceError
from edgevid.viewer.broadcast import Client
from edgevid.viewer.serve import STATIC, static_files
from edgevid.viewer.state import EditConflict, ViewerState

log = logging.getLogger("edgevid")

MAX_CLIENTS = 16
MAX_BYTES = 256 * 1024
"""Of an edit of the annotations."""
TRY_AGAIN_LATER = 1013
"""The close code of RFC 6455."""


def viewer_app(state: ViewerState) -> Starlette:
    """The application that serves `state`."""

    async def page(request: Request) -> Response:
        return FileResponse(STATIC / "viewer.html")

    routes = [
        Route("/", page),
        Route("/api/annotations", partial(_annotations, state), methods=["GET", "PUT"]),
        WebSocketRoute("/ws", partial(_serve_client, state)),
        static_files(),
    ]
    return Starlette(routes=routes)


async def _annotations(state: ViewerState, request: Request) -> Response:
    """Zones and lines: read, or replaced as a whole. An error is a sentence under "error"."""
    if request.method == "GET":
        return JSONResponse(state.annotations())
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BYTES:
            return JSONResponse({"error": f"annotations: expected at most {MAX_BYTES} bytes"}, 413)
    try:
        sent = json.loads(body)
        if not isinstance(sent, dict):
            raise ValueError("expected an object")
        answer = await asyncio.to_thread(state.set_annotations, sent.get("annotations"), sent.get("version"))
    except EditConflict as error:
        return JSONResponse({"error": str(error), **state.annotations()}, 409)
    except InputError as error:
        return JSONResponse({"error": str(error)}, 422)
    except SourceError as error:
        return JSONResponse({"error": str(error)}, 507)
    except (ValueError, RecursionError) as error:
        return JSONResponse({"error": f"annotations: expected JSON: {error}"}, 400)
    return JSONResponse(answer)


async def _serve_client(state: ViewerState, socket: WebSocket) -> None:
    """One client, from its arrival to its end."""
    await socket.accept()
    if len(state.broadcast.clients) >= MAX_CLIENTS:
        await socket.close(TRY_AGAIN_LATER, f"{MAX_CLIENTS} viewers are connected already")
        return
    client = state.broadcast.join()
    tasks = [
        asyncio.create_task(one)
        for one in (_send(state, client, socket), _receive(state, client, socket), _report(state, client))
    ]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        state.broadcast.leave(client)
        for task in tasks:
            task.cancel()
        done, _ = await asyncio.wait(tasks)
        for task in done:
            if not task.cancelled() and (error := task.exception()) is not None:
                log.warning("a viewer ended: %s", error)
        with suppress(RuntimeError, WebSocketDisconnect):
            await socket.close()


async def _send(state: ViewerState, client: Client, socket: WebSocket) -> None:
    with suppress(WebSocketDisconnect, RuntimeError):  # it may go at any time
        await socket.send_text(json.dumps(state.hello(), allow_nan=False))
        while True:
            message = await client.next()
            if isinstance(message, str):
                await socket.send_text(message)
            else:
                await socket.send_bytes(message)


async def _receive(state: ViewerState, client: Client, socket: WebSocket) -> None:
    """What a client may send: {"ack": n}, {"visible": bool}, {"paused": bool}, {"step": true}."""
    with suppress(WebSocketDisconnect):
        while True:
            try:
                message: Any = json.loads(await socket.receive_text())
            except (ValueError, KeyError, RecursionError):
                continue  # the page sends no such thing
            if not isinstance(message, dict):
                continue
            if type(message.get("ack")) is int:
                client.acknowledge(message["ack"])
            elif isinstance(message.get("visible"), bool):
                client.set_visible(message["visible"])
            else:
                state.control(message)


async def _report(state: ViewerState, client: Client) -> None:
    """Once per second: what this client gets, and how late."""
    while True:
        await asyncio.sleep(1)
        state.poll_stream()
        latency = client.latency_s
        latency_ms = None if latency is None else round(1000 * latency, 1)
        viewers, sent, dropped = len(state.broadcast.clients), client.sent, client.dropped
        client.send(
            {"type": "stats", "viewers": viewers, "sent": sent, "dropped": dropped, "latency_ms": latency_ms}
        )
