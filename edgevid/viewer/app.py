"""The overlay viewer's routes: the page, its socket, and the zones and lines that are edited in it.

from edgevid.viewer.app import viewer_app
from edgevid.viewer.serve import Server
with Server(viewer_app(state)) as server: ...
"""

import asyncio
import json
import time as clock
from collections.abc import AsyncIterator
from contextlib import suppress
from functools import partial
from typing import Any

from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from edgevid.errors import InputError, SourceError, log
from edgevid.output.recordings_folder import listed, read_name
from edgevid.output.records import as_json
from edgevid.viewer.broadcast import Client
from edgevid.viewer.security import SAFE, is_operator
from edgevid.viewer.serve import STATIC, json_of, make_app
from edgevid.viewer.state import EditConflict, ViewerState

MAX_CLIENTS = 16  # Of operators, and of those who only look
MAX_BYTES = 256 * 1024  # Of an edit of the annotations
WRITTEN_S = 10.0  # A file that was changed less than this ago may be written still
RESULT_S = 0.5  # Between two results of the stream of events
TRY_AGAIN_LATER = 1013  # The close code of RFC 6455


def viewer_app(state: ViewerState) -> Any:
    """The application that serves `state`."""
    routes: list[Any] = [Route("/api/openapi.json", lambda _: FileResponse(STATIC / "openapi.json")),
                         Route("/api/annotations", partial(_annotations, state), methods=["GET", "PUT"]),
                         Route("/api/events", partial(_events, state)), Route("/api/counts", partial(_events, state)),
                         Route("/api/recordings", partial(_recordings, state)),
                         Route("/api/latest", partial(_latest, state)), Route("/api/stream", partial(_stream, state)),
                         Route("/media/{camera}/{name}", partial(_media, state)),
                         WebSocketRoute("/ws", partial(_serve_client, state))]  # fmt: skip
    if state.review is not None:
        from edgevid.viewer.review import review_app

        routes.append(Mount("/review", review_app(state.review)))
    return make_app("viewer.html", routes)


async def _events(state: ViewerState, request: Request) -> Response:
    filters = {key: text for key, text in request.query_params.items() if text and key != "token"}
    limit = filters.pop("limit", "100")
    if not limit.isdecimal() or len(limit) > 9:
        raise InputError(f"limit: expected a number of at most nine digits, got {limit[:20]!r}")
    if request.url.path.endswith("counts"):
        return JSONResponse(await asyncio.to_thread(state.events.counts, filters))
    return JSONResponse(await asyncio.to_thread(state.events.find, filters, limit=int(limit)))


async def _recordings(state: ViewerState, request: Request) -> Response:
    """The files of each camera, oldest first; a snapshot's time is that of its event."""
    return JSONResponse(await asyncio.to_thread(listed, state.recordings) if state.recordings else [])


async def _media(state: ViewerState, request: Request) -> Response:
    """A clip, a file of the continuous recording, or a snapshot, in parts as a player wants them."""
    camera, name = request.path_params["camera"], request.path_params["name"]
    if state.recordings is None or camera.startswith(".") or read_name(name) is None:
        return JSONResponse({"error": "there is no such recording"}, 404)
    path = state.recordings / camera / name
    if not path.is_file():
        return JSONResponse({"error": "this recording was deleted for newer ones, or is not there yet"}, 404)
    kind = "attachment" if "download" in request.query_params else "inline"
    answer = FileResponse(path, filename=f"{camera}-{name}", content_disposition_type=kind)
    if "range" in request.headers or clock.time() - path.stat().st_mtime > WRITTEN_S:
        return answer
    # It may grow meanwhile, so that its length is not known.
    chunks = iter(partial(path.open("rb").read, FileResponse.chunk_size), b"")
    return StreamingResponse(chunks, headers=dict(answer.headers), media_type=answer.media_type)


async def _latest(state: ViewerState, request: Request) -> Response:
    latest = state.broadcast.latest
    return JSONResponse(as_json(latest.result) if latest else None)


async def _stream(state: ViewerState, request: Request) -> Response:
    """Server-sent events: each event as it comes, and the newest result twice per second."""
    if (client := _join(state, request.scope)) is None:
        return JSONResponse({"error": f"{MAX_CLIENTS} viewers are connected already"}, 503)
    client.visible = False  # no images

    async def lines() -> AsyncIterator[str]:
        sent = None
        try:
            while True:
                try:
                    message = json.loads(await asyncio.wait_for(client.next(), RESULT_S))
                    if message["type"] == "event":
                        yield f"event: event\ndata: {json.dumps(message['event'])}\n\n"
                except asyncio.TimeoutError:  # noqa: PERF203
                    latest = state.broadcast.latest
                    if latest is None or latest is sent:
                        yield ": nothing new\n\n"
                        continue
                    sent = latest
                    yield f"event: result\ndata: {json.dumps(as_json(latest.result), allow_nan=False)}\n\n"
        finally:
            state.broadcast.leave(client)

    return StreamingResponse(lines(), media_type="text/event-stream")


def _join(state: ViewerState, scope: Any) -> Client | None:
    """A new client; None where there are too many of its role."""
    operator = is_operator(scope)
    if sum(one.operator == operator for one in state.broadcast.clients) >= MAX_CLIENTS:
        return None
    client = state.broadcast.join()
    client.operator = operator
    return client


async def _annotations(state: ViewerState, request: Request) -> Response:
    """Zones and lines: read, or replaced as a whole. An error is a sentence under "error"."""
    if request.method in SAFE:
        return JSONResponse(state.annotations())
    sent = await json_of(request, MAX_BYTES)
    try:
        saved = await asyncio.to_thread(state.set_annotations, sent.get("annotations"), sent.get("version"))
        return JSONResponse(saved)
    except EditConflict as error:
        return JSONResponse({"error": str(error), **state.annotations()}, 409)
    except SourceError as error:
        return JSONResponse({"error": str(error)}, 507)


async def _serve_client(state: ViewerState, socket: WebSocket) -> None:
    await socket.accept()
    if (client := _join(state, socket.scope)) is None:
        await socket.close(TRY_AGAIN_LATER, f"{MAX_CLIENTS} viewers are connected already")
        return
    parts = _send(state, client, socket), _receive(state, client, socket), _report(state, client)
    tasks = [asyncio.create_task(one) for one in parts]
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
        hello = state.hello() | {"operator": client.operator}
        await socket.send_text(json.dumps(hello, allow_nan=False))
        while True:
            message = await client.next()
            await (socket.send_text(message) if isinstance(message, str) else socket.send_bytes(message))


async def _receive(state: ViewerState, client: Client, socket: WebSocket) -> None:
    """What a client may send: {"ack": n}, {"visible": bool}; an operator {"paused": bool}, {"step": true},
    {"seek": seconds}, too."""
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
            elif client.operator:
                state.control(message)


async def _report(state: ViewerState, client: Client) -> None:
    """Once per second: what this client gets, and how late."""
    while True:
        await asyncio.sleep(1)
        latency = client.latency_s
        client.send({"type": "stats", "viewers": len(state.broadcast.clients), "sent": client.sent,
                     "dropped": client.dropped,
                     "latency_ms": None if latency is None else round(1000 * latency, 1)})  # fmt: skip
