"""RedisSink against redis-server: each event exactly once in order, and failures in one sentence."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from brokers import certificate, free_port, program, running, until
from event_samples import an_event

from edgevid.errors import InputError, MissingExtraError, SourceError
from edgevid.output import delivery
from edgevid.output.delivery import Delivery
from edgevid.output.server import RedisSink

redis = pytest.importorskip("redis", reason='needs redis: pip install "edgevid[redis]"')


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sink that failed is tried again soon."""
    monkeypatch.setattr(delivery.random, "uniform", lambda low, high: 0.1)
    monkeypatch.setattr(delivery, "MAX_BACKOFF_S", 0.5)


@contextlib.contextmanager
def server(port: int, folder: Path, *options: object) -> Iterator[Any]:
    """redis-server that keeps what it has in a folder; a client of it, where it needs no login."""
    listen = options if "--tls-port" in options else ("--port", port, *options)
    command = [program("redis-server", "redis-server"), *listen, "--bind", "127.0.0.1", "--dir", folder]
    command += ["--appendonly", "yes", "--appendfsync", "always"]
    with running(command, port), redis.Redis(port=port, decode_responses=True) as client:
        yield client


def ids(client: Any) -> list[str]:
    return [fields["id"] for _, fields in client.xrange("edgevid")]


def test_a_server_that_is_away_and_comes_back_has_every_event_once_in_order(tmp_path: Path) -> None:
    port = free_port()
    with Delivery([RedisSink(f"redis://127.0.0.1:{port}")], tmp_path / "spool") as events:
        worker = events.workers[0]
        for part in range(2):
            for n in range(part * 300, part * 300 + 300):
                events.put(an_event(n))
            assert until(lambda: "nothing answers on this port" in worker.failure)
            with server(port, tmp_path) as client:
                assert until(lambda: worker.backlog == 0)
                assert ids(client) == [an_event(n).id for n in range(part * 300 + 300)]


def test_an_entry_is_an_event_and_the_oldest_are_deleted(tmp_path: Path) -> None:
    port = free_port()
    with server(port, tmp_path) as client, RedisSink(f"redis://127.0.0.1:{port}/0", max_entries=100) as sink:
        for n in range(0, 2000, 200):
            sink.send([an_event(k) for k in range(n, n + 200)])
        fields = client.xrange("edgevid")[-1][1]
        assert client.xlen("edgevid") < 400
    assert (fields["id"], fields["kind"], fields["camera"]) == (an_event(1999).id, "cross", "gate")
    assert json.loads(fields["event"]) == an_event(1999).to_dict()


def test_an_answer_that_is_lost_doubles_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    with server(port, tmp_path) as client, RedisSink(f"redis://127.0.0.1:{port}") as sink:
        execute = redis.client.Pipeline.execute

        def answer_lost(self: Any) -> None:
            execute(self)
            raise redis.ConnectionError("Connection closed by server.")

        with monkeypatch.context() as broken:
            broken.setattr(redis.client.Pipeline, "execute", answer_lost)
            with pytest.raises(SourceError, match="Connection closed"):
                sink.send([an_event(0), an_event(1)])
        sink.send([an_event(0), an_event(1), an_event(2)])
        assert ids(client) == [an_event(n).id for n in range(3)]


def test_a_key_that_is_no_stream_takes_nothing_and_loses_nothing(tmp_path: Path) -> None:
    port = free_port()
    with server(port, tmp_path) as client, RedisSink(f"redis://127.0.0.1:{port}") as sink:
        client.set("edgevid", "text")
        with pytest.raises(SourceError, match="edgevid is no stream but a string: choose another name"):
            sink.send([an_event(0)])
        client.delete("edgevid")
        sink.send([an_event(0)])
        assert ids(client) == [an_event(0).id]


def test_a_login_is_needed(tmp_path: Path) -> None:
    port = free_port()
    with server(port, tmp_path, "--requirepass", "p@ss/1"):
        with RedisSink(f"redis://:p@ss/1@127.0.0.1:{port}") as right:
            right.send([an_event(0)])
        for login in (":wrong@", ""):
            with (
                RedisSink(f"redis://{login}127.0.0.1:{port}") as sink,
                pytest.raises(SourceError, match="rejects the user or the password"),
            ):
                sink.send([an_event(0)])


def test_tls_trusts_the_named_certificate_for_its_name_only(tmp_path: Path) -> None:
    port = free_port()
    for name, message in (("localhost", ""), ("elsewhere", "its certificate is for another name")):
        cert, key = certificate(tmp_path, name)
        tls = ["--port", 0, "--tls-port", port, "--tls-cert-file", cert, "--tls-key-file", key]
        with server(port, tmp_path, *tls, "--tls-ca-cert-file", cert, "--tls-auth-clients", "no"):
            for ca, expected in (cert, message), (None, "its certificate is not trusted"):
                with (
                    RedisSink(f"rediss://localhost:{port}", ca=ca) as sink,
                    pytest.raises(SourceError, match=expected) if expected else contextlib.nullcontext(),
                ):
                    sink.send([an_event(0)])


def test_an_unknown_host_and_an_address_that_cannot_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with RedisSink("redis://nowhere.invalid") as sink, pytest.raises(SourceError, match="the host is unknown"):
        sink.send([an_event(0)])
    with pytest.raises(InputError, match="an address such as rediss://HOST, got 'host'"):
        RedisSink("host")
    with pytest.raises(InputError, match="a database's number as the path of the address, got 'street'"):
        RedisSink("redis://host/street")
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(MissingExtraError, match=r'pip install "edgevid\[redis\]"'):
        RedisSink("redis://host")
