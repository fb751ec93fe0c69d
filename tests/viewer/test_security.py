"""What stands before every page: host names, other sites, tokens."""

from __future__ import annotations

import asyncio

import pytest

from edgevid.viewer.serve import SecurityMiddleware

pytest.importorskip("starlette", reason="the extra viewer is not installed")
pytest.importorskip("httpx", reason="httpx is not installed")

from one_page import application
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

TOKEN = "right-token"


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
    "host", ["evil.example", "127.0.0.1.evil.example", "", "192.168.1.5", "localhost.evil.example", "a/b", "[::1"]
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
    assert "samesite=lax" in answer.headers["set-cookie"].lower()
    assert visitor.get("/").text == "hello"


@pytest.mark.parametrize("path", ["//evil.example/", "/\\evil.example/", "/%5Cevil.example/", "/\\/evil.example/"])
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
    with pytest.raises(WebSocketDisconnect), visitor.websocket_connect("/ws", headers={"origin": "http://evil"}):
        pass
    with visitor.websocket_connect("/ws", headers={"host": "127.0.0.1:8470"}) as ws:
        assert ws.receive_text() == "hello"


def test_a_socket_needs_the_token_too() -> None:
    with pytest.raises(WebSocketDisconnect), client(TOKEN).websocket_connect("/ws", headers={"host": "127.0.0.1:8470"}):
        pass


def test_what_is_neither_a_page_nor_a_socket_is_passed_on() -> None:
    types: list[str] = []

    async def app(scope, receive, send) -> None:
        types.append(scope["type"])

    asyncio.run(SecurityMiddleware(app, token=TOKEN)({"type": "lifespan"}, None, None))
    assert types == ["lifespan"]


def test_headers_of_the_application_take_precedence() -> None:
    async def app(scope, receive, send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"Cache-Control", b"no-store")]})
        await send({"type": "http.response.body", "body": b""})

    answer = TestClient(SecurityMiddleware(app, token=None), base_url="http://localhost").get("/")
    assert answer.headers.get_list("cache-control") == ["no-store"]
    assert answer.headers["referrer-policy"] == "no-referrer"


def test_each_port_has_a_cookie_of_its_own() -> None:
    """Browsers share cookies between the ports of one host."""
    names = {
        client(TOKEN, port=port).get("/", params={"token": TOKEN}, follow_redirects=False).headers["set-cookie"]
        for port in (8470, 8471)
    }
    assert {name.split("=")[0] for name in names} == {"edgevid-8470", "edgevid-8471"}
    assert client(TOKEN, port=8471).get("/", headers={"cookie": f"edgevid-8470={TOKEN}"}).status_code == 401
    assert client(TOKEN, port=8471).get("/", headers={"cookie": f"edgevid-8471={TOKEN}"}).status_code == 200
    assert client(TOKEN, port=8471).get("/", headers={"cookie": "a b;=;{"}).status_code == 401
