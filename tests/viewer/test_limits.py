"""What strangers and token holders may take of the server: connections, time, memory, lines of the log."""

from __future__ import annotations

import base64
import inspect
import json
import logging
import os
import select
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("starlette", reason="the extra viewer is not installed")
pytest.importorskip("httpx", reason="httpx is not installed")

import httpx
import review_samples
import viewer_scene as scene
from brokers import certificate
from event_samples import an_event
from one_page import application
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from edgevid.cli import options
from edgevid.cli.options import SERVING, serving
from edgevid.errors import InputError
from edgevid.files.toml import read_toml
from edgevid.insight.review import Review
from edgevid.output import listener
from edgevid.viewer import app as room
from edgevid.viewer import security, serve
from edgevid.viewer.app import viewer_app
from edgevid.viewer.security import SecurityMiddleware
from edgevid.viewer.serve import Server

OWNER, VIEWER = "the-token-of-the-owner", "the-token-of-viewers"
BEARER = {"authorization": f"Bearer {OWNER}"}
KEY = base64.b64encode(bytes(16)).decode()
SLOW_S = 30.0  # For an answer on a busy machine


@pytest.fixture
def state() -> Iterator[Any]:
    made = scene.make_state()
    yield made
    made.close()


@pytest.fixture
def server(state: Any) -> Iterator[Server]:
    with Server(viewer_app(state), port=0, token=OWNER, viewer_token=VIEWER) as made:
        yield made


def connected(server: Server, data: bytes) -> socket.socket:
    made = socket.create_connection((server.host, server.port), timeout=SLOW_S)
    made.sendall(data)
    return made


def head(*lines: str, first: str = "GET / HTTP/1.1") -> bytes:
    return "\r\n".join([first, "host: 127.0.0.1", *lines, "", ""]).encode()


def answered(one: socket.socket) -> bytes:
    """All that a server sends until it ends the connection."""
    found = b""
    try:
        while data := one.recv(65536):
            found += data
    except ConnectionError:
        pass
    return found


def test_many_idle_connections_leave_room_for_the_owner(server: Server) -> None:
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    idle = [connected(server, b"GET / HTTP/1.1\r\n") for _ in range(400)]
    assert httpx.get(f"{server.address}api/latest", headers=BEARER, timeout=SLOW_S).status_code == 200
    if before:
        end = time.monotonic() + SLOW_S
        while (held := len(os.listdir("/proc/self/fd")) - before - len(idle)) > 270 and time.monotonic() < end:
            time.sleep(0.05)
        assert held <= 270
    for one in idle:
        one.close()


def test_a_request_must_be_complete_in_time(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = connected(server, b"GET / HTTP/1.1\r\nhost: 127")
    monkeypatch.setattr(serve, "WAIT_S", 0.2)
    put = head(f"authorization: Bearer {OWNER}", "content-length: 9", first="PUT /api/annotations HTTP/1.1")
    answer = answered(connected(server, put + b"{"))
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"connection: close" in answer
    monkeypatch.setattr(listener, "WAIT_S", 0.2)
    assert answered(slow) == b""


@pytest.mark.parametrize("first", ["PUT /api/annotations HTTP/1.1", "GET /ws HTTP/1.1"])
def test_an_origin_that_is_no_address_is_another_site(
    server: Server, first: str, caplog: pytest.LogCaptureFixture
) -> None:
    upgrade = (
        "connection: upgrade",
        "upgrade: websocket",
        "sec-websocket-version: 13",
        f"sec-websocket-key: {'A' * 22}==",
    )
    one = connected(server, head("origin: http://[", *upgrade * first.startswith("GET"), first=first))
    assert answered(one).startswith(b"HTTP/1.1 403 ")
    assert not caplog.records  # a stranger made a traceback of it


@pytest.mark.parametrize(("token", "status"), [(OWNER, 413), (VIEWER, 413), ("another-token", 413)])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_large_body_is_rejected_before_it_is_read(server: Server, token: str, status: int, chunked: bool) -> None:
    length = "transfer-encoding: chunked" if chunked else "content-length: 400000000"
    one = connected(server, head(f"authorization: Bearer {token}", length, first="PUT /api/annotations HTTP/1.1"))
    sent, block = 0, b"10000\r\n" + b" " * 65536 + b"\r\n" if chunked else b" " * 65536
    try:
        while sent < 400_000_000:
            sent += one.send(block)
    except OSError:
        pass
    assert sent < 16_000_000  # what the system's buffers hold
    expected = {OWNER: 413, VIEWER: 403, "another-token": 401}[token] if chunked else status
    assert answered(one)[:12] in (f"HTTP/1.1 {expected}".encode(), b"")  # the end may overtake the answer


def websocket(server: Server, token: str) -> socket.socket:
    key = base64.b64encode(os.urandom(16)).decode()
    upgrade = ("connection: upgrade", "upgrade: websocket", "sec-websocket-version: 13", f"sec-websocket-key: {key}")
    one = connected(server, head(*upgrade, f"authorization: Bearer {token}", first="GET /ws HTTP/1.1"))
    assert one.recv(12) == b"HTTP/1.1 101"
    return one


def frame(data: bytes, opcode: int = 1) -> bytes:
    return struct.pack("!BB", 0x80 | opcode, 0x80 | len(data)) + b"\0\0\0\0" + data


@pytest.mark.parametrize("opcode", [1, 9])
def test_a_flood_of_messages_waits_in_the_buffers_of_its_client(server: Server, state: Any, opcode: int) -> None:
    flood = websocket(server, VIEWER)
    flood.setblocking(False)
    message, sent, stop = frame(b'{"ack": 1}', opcode) * 1000, 0, time.monotonic() + 1.0
    while time.monotonic() < stop:
        if select.select([], [flood], [], 0.1)[1]:
            sent += flood.send(message)
    flood.setblocking(True)
    with websocket(server, OWNER) as owner:
        assert b"hello" in owner.recv(65536) + owner.recv(65536)
    assert sent < 8_000_000
    client = state.broadcast.clients[0]
    assert not client.operator
    flood.close()


def test_a_flood_of_viewers_leaves_threads_and_locks_to_the_owner() -> None:
    going_on, running, most, lock = threading.Event(), 0, 0, threading.Lock()

    def slow(request: Any) -> Any:  # as a frame of the calibration page, or the items of the review page
        nonlocal running, most
        if not security.is_operator(request.scope):
            with lock:
                running += 1
                most = max(most, running)
            assert going_on.wait(SLOW_S)
            with lock:
                running -= 1
        return JSONResponse({})

    with Server(serve.make_app("calibration.html", [Route("/api/frame", slow)]), port=0, token=OWNER,
                viewer_token=VIEWER) as server:  # fmt: skip
        ask = head(f"authorization: Bearer {VIEWER}", "connection: close", first="GET /api/frame HTTP/1.1")
        flood = [connected(server, ask) for _ in range(60)]
        while running < security.AT_ONCE:
            time.sleep(0.01)
        assert httpx.get(f"{server.address}api/frame", headers=BEARER, timeout=SLOW_S / 2).status_code == 200
        going_on.set()
        assert all(answered(one).startswith(b"HTTP/1.1 200 ") for one in flood)
    assert most == security.AT_ONCE


def test_more_requests_of_a_role_than_connections_are_turned_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(security, "MOST", 0)
    guarded = SecurityMiddleware(application(), token=OWNER, viewer_token=VIEWER)
    with TestClient(guarded, base_url="http://127.0.0.1") as client:
        status = [client.get("/", headers={"authorization": f"Bearer {one}"}).status_code for one in (VIEWER, OWNER)]
    assert status == [503, 200]


def test_text_that_is_no_utf8_ends_its_connection_without_a_line(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    with websocket(server, VIEWER) as one:
        one.sendall(frame(b"\xff\xfe\xfd"))
        assert struct.pack("!H", 1007) in answered(one)  # RFC 6455: not consistent with the type of the message
    assert not caplog.records


def test_viewers_take_no_place_of_an_operator(state: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "MAX_CLIENTS", 1)
    guarded = SecurityMiddleware(viewer_app(state), token=OWNER, viewer_token=VIEWER)
    local = {"host": "127.0.0.1"}
    with TestClient(guarded, base_url="http://127.0.0.1") as client:
        viewer, owner = ({**local, "authorization": f"Bearer {token}"} for token in (VIEWER, OWNER))
        with client.websocket_connect("/ws", headers=viewer) as first:
            assert first.receive_json()["operator"] is False
            assert client.get("/api/stream", headers=viewer).status_code == 503
            with client.websocket_connect("/ws", headers=owner) as second:
                assert second.receive_json()["operator"] is True


@pytest.mark.parametrize("seconds", ["Infinity", "1e308", "1" + "0" * 400, "NaN", "-1"])
def test_a_moment_that_no_file_has_is_not_sought(state: Any, seconds: str) -> None:
    with TestClient(viewer_app(state)) as client, client.websocket_connect("/ws") as ws:
        ws.receive_json()
        ws.send_text(f'{{"seek": {seconds}}}')
        ws.send_json({"paused": True})
        assert ws.receive_json()["type"] == "state"
    assert state.playback.target is None


def test_garbage_fills_no_log(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(60):
        with connected(server, os.urandom(200).replace(b"\n", b"") + b"\r\n\r\n") as one:
            answered(one)
        if number == 30:
            logging.getLogger("edgevid").warning("a line of another thread")
    lines = [record.getMessage() for record in caplog.records]
    assert "a line of another thread" in lines
    assert len(lines) <= 11
    assert OWNER not in caplog.text


def test_wrong_tokens_are_limited_and_the_right_one_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(security, "WRONG_PER_S", 0.001)
    guarded = SecurityMiddleware(application(), token=OWNER)
    with TestClient(guarded, base_url="http://127.0.0.1") as client:
        wrong = [client.get("/", params={"token": f"wrong-{number}"}).status_code for number in range(40)]
        assert wrong[:20] == [401] * 20
        assert wrong[-10:] == [429] * 10
        assert client.get("/").status_code == 401  # the form, still
        assert client.get("/", headers=BEARER).text == "hello"


@pytest.mark.parametrize(
    "cookies",
    [
        f"edgevid-8470=other; edgevid-8470={OWNER}", f"edgevid-8470={OWNER}; edgevid-8470=other; edgevid-8470=",
        f'a; b="c; edgevid-8470={OWNER}', f"{{}}=;;; x=y=z;edgevid-8470={OWNER};", f'edgevid-8470="{OWNER}"',
    ],
)  # fmt: skip
def test_cookies_of_other_programs_hide_none(cookies: str) -> None:
    guarded = SecurityMiddleware(application(), token=OWNER, port=8470)
    assert TestClient(guarded, base_url="http://127.0.0.1").get("/", headers={"cookie": cookies}).status_code == 200


def test_the_large_cookies_of_other_programs_come_along(state: Any) -> None:
    from websockets.sync.client import connect

    with Server(viewer_app(state), port=0, token=OWNER) as server:
        cookies = "; ".join([*(f"other{n}={'x' * 4000}" for n in range(10)), f"edgevid-{server.port}={OWNER}"])
        assert httpx.get(f"{server.address}api/latest", headers={"cookie": cookies}).status_code == 200
        with connect(f"ws://127.0.0.1:{server.port}/ws", additional_headers={"cookie": cookies}) as ws:
            assert json.loads(ws.recv(SLOW_S))["type"] == "hello"


def test_pages_over_tls(state: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    from websockets.sync.client import connect

    cert, key = certificate(tmp_path, "localhost")
    trusted = ssl.create_default_context(cafile=cert)
    with Server(viewer_app(state), port=0, token=OWNER, tls_cert=cert, tls_key=key) as server:
        assert server.address == f"https://127.0.0.1:{server.port}/"
        address = f"localhost:{server.port}/"
        for _ in range(30):
            connected(server, b"GET / HTTP/1.1\r\n\r\n").close()
        with httpx.Client(verify=trusted) as client:
            answer = client.get(f"https://{address}?token={OWNER}")
            assert answer.status_code == 303
            assert "Secure" in answer.headers["set-cookie"]
        with connect(f"wss://{address}ws", ssl=trusted, additional_headers=BEARER) as ws:
            assert json.loads(ws.recv(SLOW_S))["type"] == "hello"
    assert len(caplog.records) <= 11
    with pytest.raises(InputError, match="expected a certificate and its key"):
        Server(application(), port=0, tls_cert=cert)


def test_the_tokens_of_the_operator_and_of_viewers_differ() -> None:
    with pytest.raises(InputError, match="expected different ones"):
        Server(application(), port=0, token=OWNER, viewer_token=OWNER)


def test_a_short_token_on_a_public_address_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    with Server(application(), host="0.0.0.0", port=0, token="short-token"):
        assert "a token of less than 16 characters can be guessed" in caplog.text


@pytest.mark.parametrize("by_file", [True, False])
def test_a_token_is_neither_printed_nor_in_the_command_line(
    by_file: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "token").write_text(f"{OWNER}\n")
    monkeypatch.setenv("EDGEVID_TOKEN", "another-token" if by_file else OWNER)
    given = SimpleNamespace(**dict.fromkeys(SERVING))
    given.allow_host, given.token_file = [], tmp_path / "token" if by_file else None
    with Server(application(), host="0.0.0.0", port=0, **serving(given)) as server:
        assert OWNER not in server.url
        assert httpx.get(f"http://127.0.0.1:{server.port}/", timeout=SLOW_S).status_code == 401
        assert httpx.get(f"http://127.0.0.1:{server.port}/", headers=BEARER, timeout=SLOW_S).text == "hello"
    assert OWNER not in str(InputError(f"a message with {OWNER}"))
    for command in ("run", "review", "calibrate", "demo"):
        names = inspect.signature(import_module(f"edgevid.cli.{command}").command).parameters
        assert "token_file" in names or "token_file" in read_toml(Path(options.__file__).with_name(f"{command}.toml"))
        assert not {"token", "viewer_token"} & set(names)


def test_a_zone_drawn_in_the_page_widens_no_rights(tmp_path: Path) -> None:
    target, site = tmp_path / "kept" / "real.toml", tmp_path / "gate.toml"
    target.parent.mkdir()
    target.write_text('source = "rtsp://admin:hunter2@gate/1"\n')
    target.chmod(0o600)
    site.symlink_to(target)
    state = scene.make_state(site_file=site)
    with TestClient(viewer_app(state)) as client:
        sent = client.get("/api/annotations").json()
        sent["annotations"].append({"kind": "zone", "name": "lane", "points": [[400, 100], [600, 100], [600, 300]]})
        answer = client.put("/api/annotations", json=sent)
        assert answer.json()["saved"] is True
        assert "hunter2" not in answer.text + client.get("/").text + json.dumps(state.hello())
        again = client.get("/api/annotations").json()
        again["annotations"][0]["name"] = "moved"  # once more, what this page itself wrote
        assert client.put("/api/annotations", json=again).json()["saved"] is True
    state.close()
    assert '"lane"' in target.read_text()
    assert target.stat().st_mode & 0o777 == 0o600
    assert site.is_symlink()
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["gate.toml", "kept", "real.toml"]


def test_events_of_failures_name_no_host_and_no_folder(state: Any) -> None:
    failure = {"place": "webhook hooks.example:443", "reason": "/srv/data: no space"}
    with TestClient(viewer_app(state)) as client, client.websocket_connect("/ws") as ws:
        ws.receive_json()
        state.add_event(replace(an_event(1), kind="sink-failed", **failure))
        shown = json.dumps([ws.receive_json(), state.hello(), *(client.get(f"/api/{one}").json() for one in
                            ("events?kind=sink-failed", "counts?kind=sink-failed"))])  # fmt: skip
    assert shown.count("sink-failed") >= 4
    assert "hooks.example" not in shown
    assert "/srv" not in shown


def test_the_review_page_gets_no_address_of_a_camera(state: Any, tmp_path: Path) -> None:
    review_samples.write_folder(tmp_path, 2)
    state.review = Review(tmp_path, later=True)
    with TestClient(viewer_app(state)) as client:
        for query, label in (("", False), ("?blind", True)):
            items = client.get(f"/review/api/review/items{query}").json()
            assert [(item["source"], item["label"] is None) for item in items] == [(None, label)] * 2


@pytest.mark.parametrize(("name", "title"), [("", "cam-1"), ("yard", "yard")])
def test_a_page_names_the_camera_and_not_its_address(name: str, title: str) -> None:
    from edgevid.site.build import load_site
    from edgevid.site.file import Site
    from edgevid.viewer.config import build_config

    loaded = load_site(Site(source="rtsp://admin:hunter2@cam/1?token=abc", model="street-nano", name=name or None))
    video = SimpleNamespace(live=True, size=(640, 360))
    assert build_config(loaded, video, lambda: None, threads=1).title == title


def test_damaged_exchanges_neither_stop_the_server_nor_show_a_secret(tmp_path: Path) -> None:
    script = Path(__file__).resolve().parents[2] / "benchmarks" / "field_http.py"
    options = ["--count", "100", "--seconds", "0", "--json", str(tmp_path / "found.json")]
    done = subprocess.run([sys.executable, str(script), *options], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["exchanges"] == sum(found["statuses"].values()) == 100
    assert found["findings"] == []
    assert set(found["owner"]["statuses"]) <= {"200"}
