"""A listening socket that strangers can reach: how many connections it keeps, and whose."""

from __future__ import annotations

import errno
import os
import select
import socket
import time
import urllib.request
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from edgevid.output import listener as room
from edgevid.output.listener import Listener
from edgevid.output.metrics import Metrics
from edgevid.run.loop import Summary
from edgevid.types import Header


@pytest.fixture
def listener() -> Iterator[Listener]:
    with Listener("127.0.0.1", 0, strangers=3, is_known=lambda head: b"known" in head) as made:
        made.listen()
        yield made


def connected(listener: Listener, data: bytes = b"x") -> tuple[socket.socket, socket.socket]:
    """Both ends of a connection that has sent something."""
    client = socket.create_connection(listener.getsockname(), timeout=5)
    client.sendall(data)
    assert select.select([listener], [], [], 5)[0]
    return client, listener.accept()[0]


def ended(client: socket.socket) -> bool:
    client.settimeout(0.05)
    try:
        return client.recv(1) == b""
    except TimeoutError:
        return False


def test_the_oldest_connection_of_strangers_ends_and_none_of_an_admitted_client(listener: Listener) -> None:
    pairs = [connected(listener)]
    with listener.admitted(pairs[0][0].getsockname(), "operator"):
        pairs += [connected(listener) for _ in range(5)]
        assert [ended(client) for client, _ in pairs] == [False, True, True, False, False, False]
    assert [ended(client) for client, _ in pairs] == [False, True, True, True, False, False]


def test_each_role_has_its_own_limit(listener: Listener, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "MOST", 1)
    pairs = [connected(listener) for _ in range(3)]
    peers = [client.getsockname() for client, _ in pairs]
    with listener.admitted(peers[0], "operator"), listener.admitted(peers[1], "viewer"):
        assert not any(ended(client) for client, _ in pairs)
        with listener.admitted(peers[2], "viewer"):
            assert [ended(client) for client, _ in pairs] == [False, True, False]


def test_a_stranger_that_waits_too_long_ends(listener: Listener, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = connected(listener), connected(listener)
    monkeypatch.setattr(room, "WAIT_S", -1.0)
    with listener.admitted(second[0].getsockname(), "viewer"):
        listener.end_waiting()
        assert (ended(first[0]), ended(second[0])) == (True, False)


def test_a_host_that_connects_too_often_is_turned_away_but_for_known_clients(
    listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "PER_SECOND", 0.001)
    monkeypatch.setattr(room, "AT_ONCE", 2)
    pairs = [connected(listener) for _ in range(2)]
    client = socket.create_connection(listener.getsockname())
    client.sendall(b"a stranger")
    assert select.select([listener], [], [], 5)[0]
    listener.settimeout(0.1)
    with pytest.raises((TimeoutError, BlockingIOError)):
        listener.accept()
    with pytest.raises(ConnectionResetError):
        client.recv(1)
    assert not ended(connected(listener, b"who is known")[0])
    assert not any(ended(client) for client, _ in pairs)


def test_without_a_free_file_a_stranger_ends(listener: Listener, monkeypatch: pytest.MonkeyPatch) -> None:
    client, _ = connected(listener)

    def none_free(_: socket.socket) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(socket.socket, "accept", none_free)
    with pytest.raises(BlockingIOError):
        listener.accept()
    assert ended(client)
    with pytest.raises(OSError, match="Too many open files"):  # there is none to end
        listener.accept()


def test_idle_connections_and_garbage_do_not_stop_the_metrics(capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("prometheus_client", reason="needs prometheus_client: pip install prometheus-client")
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    with Metrics("127.0.0.1:0", SimpleNamespace(), Summary()) as metrics:
        metrics.open(Header("gate"))
        idle = [socket.create_connection(("127.0.0.1", metrics.port)) for _ in range(150)]
        for number, one in enumerate(idle):
            one.sendall((b"GET / HTTP/1.1\r\nx: ", os.urandom(99) + b"\r\n\r\n")[number % 2])
        answer = urllib.request.urlopen(f"http://127.0.0.1:{metrics.port}/metrics", timeout=30).read()
        assert b'edgevid_frames_total{camera="gate"} 0.0' in answer
        if before:
            end = time.monotonic() + 5
            while (held := len(os.listdir("/proc/self/fd")) - before - len(idle)) > 40 and time.monotonic() < end:
                time.sleep(0.05)
            assert held <= 40
        for one in idle:
            one.close()
    assert capfd.readouterr().err == ""


def test_the_metrics_name_sinks_without_hosts_and_folders() -> None:
    pytest.importorskip("prometheus_client", reason="needs prometheus_client: pip install prometheus-client")
    names = ("webhook hooks.example:443", "kafka k.example:9092/gate", "sqlite /srv/secret/a.db", "webhook b.example:1")
    summary = Summary()
    summary.workers = [SimpleNamespace(name=name, backlog=1, delivered=0, dropped=0, rejected=0) for name in names]  # type: ignore[assignment]
    with Metrics("127.0.0.1:0", SimpleNamespace(), summary) as metrics:
        metrics.open(Header("gate"))
        text = urllib.request.urlopen(f"http://127.0.0.1:{metrics.port}/metrics", timeout=30).read().decode()
    for label in ("webhook 1", "webhook 4", "kafka 2", "sqlite a.db"):
        assert f'edgevid_sink_backlog{{camera="gate",sink="{label}"}} 1.0' in text
    assert "example" not in text
    assert "/srv" not in text
