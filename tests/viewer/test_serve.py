"""The server of the pages: address, port, a strong token, a clean end."""

from __future__ import annotations

import re
import socket
import threading
import time

import pytest

from edgevid.errors import InputError, MissingExtraError, SourceError
from edgevid.viewer.serve import STATIC, Server, is_loopback

pytest.importorskip("starlette", reason="the extra viewer is not installed")
pytest.importorskip("httpx", reason="httpx is not installed")

import httpx
from one_page import application


def test_a_served_page_ends_cleanly_and_releases_its_port() -> None:
    before = set(threading.enumerate())
    with Server(application()) as server:
        assert server.host == "127.0.0.1"
        assert server.token is None
        assert httpx.get(server.url).text == "hello"
        port = server.port
    until = time.monotonic() + 60  # a busy machine may need longer than the seconds that `close` waits
    while set(threading.enumerate()) - before and time.monotonic() < until:
        time.sleep(0.01)
    assert not set(threading.enumerate()) - before
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
    with pytest.raises(MissingExtraError, match=r'pip install "edgevid\[viewer\]"'):
        Server(application())


def test_the_shared_files_exist_and_load_nothing_from_the_network() -> None:
    for file in STATIC.iterdir():
        text = file.read_text()
        assert not re.search(r"(https?:)?//(?!www\.w3\.org)[a-z]+\.[a-z]", text), file.name
    assert {"base.css", "theme.js"} <= {file.name for file in STATIC.iterdir()}
