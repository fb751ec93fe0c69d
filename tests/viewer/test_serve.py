"""The server of the pages: address, token, host names, other sites' requests, a clean end."""

from __future__ import annotations

import asyncio
import re
import socket
import threading

import pytest

from edgevid.errors import InputError, MissingExtraError, SourceError
from edgevid.viewer.security import SecurityMiddleware
from edgevid.viewer.serve import STATIC, Server, is_loopback, static_files

pytest.importorskip("starlette", reason="the extra viewer is not installed")
pytest.importorskip("httpx", reason="httpx is not installed")

import httpx
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

TOKEN = "right-token"


def application() -> Starlette:
    async def page(request):
        return PlainTextResponse("hello")

    async def socket_(ws):
        await ws.accept()
        await ws.send_text("hello")
        await ws.close()

    routes = [Route("/", page, methods=["GET", "POST"]), WebSocketRoute("/ws", socket_), static_files()]
    return Starlette(routes=routes)


def client(token: str | None = None, *, host: str = "127.0.0.1:8470", **options) -> TestClient:
    return TestClient(SecurityMiddleware(application(), token=token, **options), base_url=f"http://{host}")


def test_a_page_is_served_with_headers_that_bind_the_browser() -> None:
    answer = client().get("/")
    assert answer.text == "hello"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"


@pytest.mark.parametrize("host", ["127.0.0.1:1", "localhost:1", "[::1]:1", "127.9.9.9", "LOCALHOST"])
def test_this_machine_may_be_named_in_its_own_ways(host: str) -> None:
    assert client(host="127.0.0.1").get("/", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "127.0.0.1.evil.example", "", "192.168.1.5", "localhost.evil.example", "a/b", "[::1"],
)
def test_a_foreign_host_name_is_rejected(host: str) -> None:
    """DNS rebinding: evil.example may resolve to 127.0.0.1."""
    middleware = SecurityMiddleware(application(), token=None)
    sent: list[dict] = []

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": "/", "query_string": b""}
    asyncio.run(middleware({**scope, "headers": [(b"host", host.encode())]}, None, send))
    assert sent[0]["status"] == 421


def test_on_a_public_address_a_literal_address_is_accepted_and_a_name_must_be_allowed() -> None:
    public = client(public=True, allowed_hosts=["gate.local"])
    assert public.get("/", headers={"host": "192.168.1.5:8470"}).status_code == 200
    assert public.get("/", headers={"host": "gate.local"}).status_code == 200
    assert public.get("/", headers={"host": "evil.example"}).status_code == 421


def test_without_the_token_there_is_a_form_and_nothing_else() -> None:
    answer = client(TOKEN).get("/")
    assert answer.status_code == 401
    assert "Token needed" in answer.text
    assert "hello" not in answer.text
    assert client(TOKEN).get("/static/base.css").status_code == 200


@pytest.mark.parametrize("wrong", ["", "right-toke", "right-tokenn", "RIGHT-TOKEN", "ü"])
def test_a_wrong_token_is_rejected(wrong: str) -> None:
    assert client(TOKEN).get("/", params={"token": wrong}).status_code == 401
    assert client(TOKEN).get("/", headers={"authorization": f"Bearer {wrong}".encode()}).status_code == 401


def test_the_token_moves_from_the_address_into_a_cookie() -> None:
    visitor = client(TOKEN, port=8470)
    answer = visitor.get("/", params={"token": TOKEN, "x": "1"}, follow_redirects=False)
    assert answer.status_code == 303
    assert answer.headers["location"] == "/?x=1"
    assert "HttpOnly" in answer.headers["set-cookie"]
    assert "SameSite=Lax" in answer.headers["set-cookie"]
    assert visitor.get("/").text == "hello"


@pytest.mark.parametrize(
    "path", ["//evil.example/", "/\\evil.example/", "/%5Cevil.example/", "/\\/evil.example/"]
)
def test_the_redirect_cannot_lead_elsewhere(path: str) -> None:
    visitor = client(TOKEN)
    answer = visitor.get(f"http://127.0.0.1:8470{path}", params={"token": TOKEN}, follow_redirects=False)
    assert answer.headers["location"] == "/evil.example/"


def test_the_token_as_a_header() -> None:
    assert client(TOKEN).get("/", headers={"authorization": f"Bearer {TOKEN}"}).text == "hello"


def test_another_site_can_neither_post_nor_open_a_socket() -> None:
    visitor = client()
    assert visitor.post("/").text == "hello"
    assert visitor.post("/", headers={"origin": "http://127.0.0.1:8470"}).text == "hello"
    assert visitor.post("/", headers={"origin": "https://evil.example"}).status_code == 403
    assert visitor.post("/", headers={"origin": "null"}).status_code == 403
    with (
        pytest.raises(WebSocketDisconnect),
        visitor.websocket_connect("/ws", headers={"origin": "http://evil"}),
    ):
        pass
    with visitor.websocket_connect("/ws", headers={"host": "127.0.0.1:8470"}) as ws:
        assert ws.receive_text() == "hello"


def test_a_socket_needs_the_token_too() -> None:
    with (
        pytest.raises(WebSocketDisconnect),
        client(TOKEN).websocket_connect("/ws", headers={"host": "127.0.0.1:8470"}),
    ):
        pass


def test_a_served_page_ends_cleanly_and_releases_its_port() -> None:
    before = threading.active_count()
    with Server(application()) as server:
        assert server.host == "127.0.0.1"
        assert server.token is None
        assert httpx.get(server.url).text == "hello"
        port = server.port
    assert threading.active_count() == before
    with Server(application(), port=port) as again:
        assert again.port == port


def test_a_port_in_use_is_reported_or_skipped() -> None:
    with Server(application(), port=0) as first, pytest.raises(SourceError, match="choose another"):
        Server(application(), port=first.port)


def test_on_a_public_address_there_is_always_a_token() -> None:
    with Server(application(), host="0.0.0.0", port=0) as server:
        assert server.token
        assert len(server.token) >= 24
        assert server.url.endswith(f"?token={server.token}")
        local = f"http://127.0.0.1:{server.port}/"
        assert httpx.get(local).status_code == 401
        assert httpx.get(local, params={"token": server.token}).status_code == 303
    assert is_loopback("127.0.0.1")
    assert not is_loopback("0.0.0.0")
    assert not is_loopback("gate.local")


@pytest.mark.parametrize("token", ["", "short", "with a space in it", 'quote"and;semicolon'])
def test_a_weak_or_odd_token_is_rejected(token: str) -> None:
    with pytest.raises(InputError, match="token: expected"):
        Server(application(), token=token)


def test_odd_ports_and_addresses_are_rejected() -> None:
    with pytest.raises(InputError, match="port"):
        Server(application(), port=70000)
    with pytest.raises(SourceError, match="cannot listen"):
        Server(application(), host="203.0.113.7", port=0)
    with pytest.raises((SourceError, socket.gaierror)):
        Server(application(), host="no such host", port=0)


def test_the_missing_extra_is_reported_with_its_pip_line(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'edgevid\[viewer\]'"):
        Server(application())


def test_the_shared_files_exist_and_load_nothing_from_the_network() -> None:
    for file in STATIC.iterdir():
        text = file.read_text()
        assert not re.search(r"(https?:)?//(?!www\.w3\.org)[a-z]+\.[a-z]", text), file.name
    assert {"base.css", "theme.js"} <= {file.name for file in STATIC.iterdir()}
