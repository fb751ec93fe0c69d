"""A web application of one page and one socket, for tests of what stands in front of pages."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute

from edgevid.viewer.serve import static_files


def application() -> Starlette:
    async def page(request):
        return PlainTextResponse("hello")

    async def socket_(ws):
        await ws.accept()
        await ws.send_text("hello")
        await ws.close()

    routes = [Route("/", page, methods=["GET", "POST"]), WebSocketRoute("/ws", socket_), static_files()]
    return Starlette(routes=routes)
