"""MqttSink against mosquitto: events in order, retained states, the last will, failures in one sentence."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from brokers import NEEDS_PAHO, Listener, broker, certificate, free_port, program, until
from event_samples import an_event

from edgevid.errors import InputError, MissingExtraError, SourceError
from edgevid.output import delivery
from edgevid.output.delivery import Delivery
from edgevid.output.mqtt import MqttSink, topic_part
from edgevid.types import Event, Header

pytest.importorskip("paho.mqtt.client", reason=NEEDS_PAHO)


def sink_for(port: int, **options: Any) -> MqttSink:
    sink = MqttSink(f"mqtt://127.0.0.1:{port}/street", **options)
    sink.open(Header("gate"))
    return sink


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sink that failed is tried again soon."""
    monkeypatch.setattr(delivery.random, "uniform", lambda low, high: 0.1)
    monkeypatch.setattr(delivery, "MAX_BACKOFF_S", 0.5)


class Gated(MqttSink):
    """Sends nothing while the test prepares the other side."""

    gate = threading.Event()

    def send(self, events: Sequence[Event]) -> None:
        assert self.gate.wait(10)
        super().send(events)


def test_a_broker_that_is_away_and_comes_back_has_every_event_once_in_order(tmp_path: Path) -> None:
    port, seen = free_port(), list[str]()
    sink = Gated(f"mqtt://127.0.0.1:{port}/street")
    sink.gate.set()
    with Delivery([sink], tmp_path / "spool") as events:
        for part in range(2):
            for n in range(part * 300, part * 300 + 300):
                events.put(an_event(n))
            assert until(lambda: "nothing answers on this port" in events.workers[0].failure)
            sink.gate.clear()
            with broker(port, tmp_path), Listener(port) as listener:
                sink.gate.set()
                seen += [one["id"] for one in listener.at("street/events", 300)]
                assert until(lambda: events.workers[0].backlog == 0)
    assert seen == [an_event(n).id for n in range(600)]
    assert events.workers[0].rejected == events.workers[0].dropped == 0


def test_a_broker_that_stops_in_the_middle_loses_nothing(tmp_path: Path) -> None:
    port = free_port()
    sink = sink_for(port)
    with broker(port, tmp_path) as server, Listener(port) as listener:
        sink.send([an_event(0, track=1)])
        assert [one["id"] for one in listener.at("street/events")] == [an_event(0).id]  # before the broker dies
        server.kill()
        server.wait()
        with pytest.raises(SourceError):
            sink.send([an_event(1, track=1), an_event(2, track=1)])
    with broker(port, tmp_path), Listener(port) as listener:
        sink.send([an_event(1, track=1), an_event(2, track=1)])
        found = listener.at("street/events", 2)
        assert [(one["id"], one["type"]) for one in found] == [(an_event(n).id, "update") for n in (1, 2)]
        sink.close()


def test_the_status_and_the_states_are_retained(tmp_path: Path) -> None:
    port = free_port()
    sink = sink_for(port)
    with broker(port, tmp_path):
        sink.send([])
        sink.send([
            an_event(0, place="line/1", direction="forward", class_name="car", track=1),
            replace(an_event(1, place="yard", count=2, track=1), kind="enter"),
        ])  # fmt: skip
        with Listener(port) as late:
            assert late.at("street/gate/status") == ["online"]
            assert late.at(f"street/gate/{topic_part('line/1')}/forward") == [{"count": 1, "car": 1}]
            assert late.at("street/gate/yard/occupancy") == [{"count": 2}]
            assert late.at("street/gate/health")[0]["problem"] == "OFF"
            sensor = late.at(sensor_topic(late, "yard_occupancy"))[0]
            assert sensor["state_topic"] == "street/gate/yard/occupancy"
            assert all(kept for *_, kept in late.messages)
            sink.close()
            assert late.at("street/gate/status", 2) == ["online", "offline"]
            assert late.at("street/gate/yard/occupancy", 2)[1] == {"count": 0}


def sensor_topic(listener: Listener, part: str) -> str:
    """The discovery topic of one sensor."""

    def found() -> list[str]:
        return [name for name, *_ in listener.messages if name.startswith("homeassistant/sensor") and part in name]

    assert until(found)
    return found()[0]


def test_home_assistant_is_not_told_without_a_prefix(tmp_path: Path) -> None:
    port = free_port()
    with broker(port, tmp_path), Listener(port) as listener, sink_for(port, discovery="") as sink:
        sink.send([an_event(0)])
        listener.at("street/events")
        assert not [name for name, *_ in listener.messages if not name.startswith("street/")]


def test_the_last_will_of_a_killed_program_says_offline(tmp_path: Path) -> None:
    port = free_port()
    script = (
        "import sys, time; from edgevid.output.mqtt import MqttSink; from edgevid.types import Header\n"
        "sink = MqttSink(sys.argv[1]); sink.open(Header('gate')); sink.send([]); time.sleep(60)"
    )
    with broker(port, tmp_path), Listener(port) as listener:
        call = [sys.executable, "-c", script, f"mqtt://127.0.0.1:{port}/street"]
        with subprocess.Popen(call, cwd=tmp_path) as killed:
            try:
                assert listener.at("street/gate/status") == ["online"]
            finally:
                killed.kill()
        assert listener.at("street/gate/status", 2) == ["online", "offline"]


def test_a_login_and_a_permission_are_needed(tmp_path: Path) -> None:
    port = free_port()
    subprocess.run(
        [program("mosquitto_passwd", "mosquitto"), "-b", "-c", tmp_path / "users", "gate", "p@ss/1"], check=True
    )
    (tmp_path / "rights").write_text("user gate\ntopic write street/#\n")
    lines = f"password_file {tmp_path}/users", f"acl_file {tmp_path}/rights", "allow_anonymous false"
    with broker(port, tmp_path, *lines):
        with MqttSink(f"mqtt://gate:p@ss/1@127.0.0.1:{port}/street", discovery="") as right:
            right.send([an_event(0)])
        for login in ("gate:wrong@", ""):
            with pytest.raises(SourceError, match="rejects the login: Not authorized; check user") as caught:
                MqttSink(f"mqtt://{login}127.0.0.1:{port}/street").send([an_event(0)])
            assert "wrong" not in str(caught.value)
        other = MqttSink(f"mqtt://gate:p@ss/1@127.0.0.1:{port}/elsewhere", discovery="")
        with pytest.raises(SourceError, match="rejects messages below elsewhere: Not authorized"):
            other.send([an_event(0)])


def test_tls_trusts_the_named_certificate_for_its_name_only(tmp_path: Path) -> None:
    port = free_port()
    for name, message in (("localhost", ""), ("elsewhere", "its certificate is for another name")):
        cert, key = certificate(tmp_path, name)
        with broker(port, tmp_path, f"certfile {cert}", f"keyfile {key}"):
            sink = MqttSink(f"mqtts://localhost:{port}/street", ca=cert)
            if message:
                with pytest.raises(SourceError, match=message):
                    sink.send([an_event(0)])
            else:
                sink.send([an_event(0)])
                sink.close()
            with pytest.raises(SourceError, match=r"not trusted: name its issuer's certificate with ca ="):
                MqttSink(f"mqtts://localhost:{port}/street").send([])


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("mqtt://nowhere.invalid/street", "the host is unknown: check its name"),
        ("mqtt://127.0.0.1:1/street", "nothing answers on this port"),
    ],
)
def test_no_broker_is_one_sentence(url: str, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        MqttSink(url).send([an_event(0)])


def test_an_address_or_topic_that_cannot_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"an address such as mqtts://.*, got 'http://broker/street'"):
        MqttSink("http://broker/street")
    with pytest.raises(InputError, match=r"a topic without \+ and #, got 'street/\+'"):
        MqttSink("mqtt://broker/street/+")
    monkeypatch.setitem(sys.modules, "paho.mqtt.client", None)
    with pytest.raises(MissingExtraError, match=r'pip install "edgevid\[mqtt\]"'):
        MqttSink("mqtt://broker/street")
