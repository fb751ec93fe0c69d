"""A web application of one page and one socket, for tests of what stands in front of pages."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles

from edgevid.viewer.serve import STATIC


def application() -> Starlette:
    async def page(request):
        return PlainTextResponse("hello")

    async def socket_(ws):
        await ws.accept()
        await ws.send_text("hello")
        await ws.close()

    routes = [Route("/", page, methods=["GET", "POST"]), WebSocketRoute("/ws", socket_)]
    return Starlette(routes=[*routes, Mount("/static", StaticFiles(directory=STATIC))])
