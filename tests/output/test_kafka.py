"""KafkaSink against librdkafka's mock cluster: each event in order, and failures in one sentence."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from brokers import certificate, free_port, until
from event_samples import an_event
from kafka_mock import mock_cluster

from edgevid.errors import InputError, MissingExtraError, SourceError
from edgevid.output import delivery, server
from edgevid.output.delivery import Delivery
from edgevid.output.server import KafkaSink


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sink that failed is tried again soon."""
    monkeypatch.setattr(delivery.random, "uniform", lambda low, high: 0.1)
    monkeypatch.setattr(delivery, "MAX_BACKOFF_S", 0.5)


def test_a_message_is_an_event_with_its_id_and_camera() -> None:
    with mock_cluster() as cluster:
        with KafkaSink(f"kafka://{cluster.address}/street") as sink:
            sink.send([an_event(0, class_name="car"), an_event(1)])
        first, second = cluster.messages("street", 2)
    assert json.loads(first.value()) == an_event(0, class_name="car").to_dict()
    assert (first.key(), first.headers()) == (b"gate", [("id", an_event(0).id.encode())])
    assert second.partition() == first.partition()


def test_a_broker_that_goes_away_and_comes_back_has_every_event_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "WAIT_S", 1.0)
    with mock_cluster() as cluster, Delivery([KafkaSink(f"kafka://{cluster.address}/street")], tmp_path) as events:
        worker = events.workers[0]
        cluster.down()
        for n in range(600):
            if n == 300:
                assert until(lambda: worker.failure)
                cluster.up()
                assert until(lambda: worker.backlog == 0)
                cluster.down()
            events.put(an_event(n))
        assert until(lambda: worker.failure)
        cluster.up()
        assert until(lambda: worker.backlog == 0)
        found = [dict(one.headers())["id"].decode() for one in cluster.messages("street", 600)]
    assert list(dict.fromkeys(found)) == [an_event(n).id for n in range(600)]
    assert worker.dropped == worker.rejected == 0


@contextlib.contextmanager
def tls_server(cert: Path, key: Path) -> Iterator[int]:
    """Takes TLS connections, and ends them."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                plain, _ = listener.accept()
                with contextlib.suppress(OSError), context.wrap_socket(plain, server_side=True) as safe:
                    safe.recv(1)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]


def test_tls_with_another_name_or_an_unknown_issuer_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "WAIT_S", 2.0)
    cert, key = certificate(tmp_path, "elsewhere")
    with tls_server(cert, key) as port:
        for ca in cert, None:
            with (
                KafkaSink(f"kafkas://localhost:{port}/street", ca=ca) as sink,
                pytest.raises(SourceError, match="is for another name, or not trusted: check host and ca"),
            ):
                sink.send([an_event(0)])


@pytest.mark.parametrize(
    ("host", "message"),
    [("nowhere.invalid", "the host is unknown"), ("127.0.0.1:{port}", "nothing answers on this port")],
)
def test_no_broker_is_one_sentence(host: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "WAIT_S", 2.0)
    address = host.format(port=free_port())
    with KafkaSink(f"kafka://{address}/street") as sink, pytest.raises(SourceError, match=message):
        sink.send([an_event(0)])


def test_a_login_goes_by_sasl_and_an_address_that_cannot_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    sink = KafkaSink("kafkas://gate:p@ss/1@host/street", mechanism="SCRAM-SHA-512")
    expected = {"security.protocol": "SASL_SSL", "sasl.username": "gate", "sasl.password": "p@ss/1"}
    assert expected.items() <= sink._settings.items()
    assert (sink.name, sink._settings["sasl.mechanism"]) == ("kafka host:9093/street", "SCRAM-SHA-512")
    with pytest.raises(InputError, match="an address such as kafkas://HOST/TOPIC, got 'host'"):
        KafkaSink("host")
    monkeypatch.setitem(sys.modules, "confluent_kafka", None)
    with pytest.raises(MissingExtraError, match=r'pip install "edgevid\[kafka\]"'):
        KafkaSink("kafka://host")
