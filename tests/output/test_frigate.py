"""FrigateSink against a stand-in: a server that speaks the documented part of Frigate's API, not Frigate."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from brokers import until
from event_samples import a_frame, a_result
from web_server import send, serving

from edgevid.errors import InputError, MissingExtraError, SourceError
from edgevid.output import delivery
from edgevid.output.delivery import Delivery, RejectedError
from edgevid.output.frigate import FrigateSink, sub_label
from edgevid.types import Event, Header, utc_text

pytest.importorskip("httpx", reason='needs httpx: pip install "edgevid[webhook]"')


class StandIn:
    """Events of one camera, "gate", with a login where it has a password; source: Frigate's HTTP API."""

    def __init__(self, password: str = "") -> None:
        self.password, self.tokens = password, list[str]()
        self.events: dict[str, dict[str, Any]] = {}
        self.requests: list[tuple[str, str, Any]] = []
        self.lose_answers = self.fail = 0

    def answer(self, method: str, path: str, body: Any, cookie: str) -> tuple[int, Any, str]:
        parts = [unquote(one) for one in urlsplit(path).path.strip("/").split("/")]
        assert parts.pop(0) == "api"
        if parts == ["login"] and method == "POST":
            if body == {"user": "me", "password": self.password}:
                self.tokens.append(f"frigate_token=token{len(self.tokens)}")
                return 200, {}, self.tokens[-1]
            return 401, {"message": "Login failed"}, ""
        if self.password and cookie not in self.tokens:
            return 401, {}, ""
        self.requests.append((method, path, body))
        if self.fail:
            self.fail -= 1
            return 500, {"success": False, "message": "An unknown error occurred"}, ""
        return *self.route(method, parts, parse_qs(urlsplit(path).query), body), ""

    def route(self, method: str, parts: list[str], query: dict[str, list[str]], body: Any) -> tuple[int, Any]:
        match method, *parts:
            case "GET", "config":
                return 200, {"cameras": {"gate": {}}}
            case "GET", "events":
                found = [one for one in self.events.values() if one["label"] in query["labels"]]
                return 200, [one for one in found if one["start_time"] > float(query["after"][0])]
            case "POST", "events", camera, label, "create":
                if camera != "gate":
                    return 404, {"success": False, "message": f"{camera} is not a valid camera."}
                now, duration = time.time(), body["duration"]
                name = f"{now}-abc{len(self.events)}"
                self.events[name] = {
                    "id": name, "camera": camera, "label": label, "sub_label": body["sub_label"],
                    "start_time": now - body.get("pre_capture", 5), "data": {"score": body["score"]},
                    "end_time": None if duration is None else now + duration, "draw": body["draw"],
                }  # fmt: skip
                return 200, {"success": True, "message": "Successfully created event.", "event_id": name}
            case "POST", "events", name, "sub_label":
                if name not in self.events:
                    return 404, {"success": False, "message": f"Event {name} not found"}
                self.events[name]["sub_label"] = body["subLabel"]
                return 200, {"success": True}
            case "PUT", "events", name, "end":
                self.events[name]["end_time"] = body["end_time"]
                return 200, {"success": True, "message": "Event successfully ended."}
        return 404, {"detail": "Not Found"}

    @contextlib.contextmanager
    def serving(self) -> Iterator[str]:
        with serving(self.handle) as address:
            yield address.removeprefix("http://")

    def handle(self, handler: Any) -> None:
        size = int(handler.headers.get("content-length", 0))
        body = json.loads(handler.rfile.read(size)) if size else None
        status, found, token = self.answer(handler.command, handler.path, body, handler.headers.get("cookie", ""))
        if self.lose_answers and handler.command == "POST":
            self.lose_answers -= 1
            return
        cookie = {"set_cookie": f"{token}; HttpOnly; Path=/"} if token else {}
        send(handler, json.dumps(found).encode(), "application/json", status, **cookie)


@pytest.fixture(autouse=True)
def own_spool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the sink remembers is in the test's folder, and one that failed is tried again soon."""
    monkeypatch.setenv("EDGEVID_SPOOL", str(tmp_path / "spool"))
    monkeypatch.setattr(delivery.random, "uniform", lambda low, high: 0.1)


def seen(number: int, kind: str = "cross", *, track: int | None = 7, ago: float = 0.0, **more: Any) -> Event:
    """An event of a car, or of the camera."""
    about = {"class_name": "car", "confidence": 0.9, "box": (16.0, 12.0, 32.0, 36.0)} if track else {}
    return Event(
        f"gate-1-{number:06d}", kind, utc_text(time.time() - ago), float(number), "gate", "gate-1",
        track=track, **about | more,
    )  # type: ignore[arg-type]  # fmt: skip


def opened(host: str, **options: Any) -> FrigateSink:
    sink = FrigateSink(f"http://{host}", **options)
    sink.open(Header("gate"))
    return sink


def test_a_car_that_crosses_is_an_event_with_its_box_speed_and_clip() -> None:
    api = StandIn()
    with api.serving() as host, opened(host) as sink:
        result = a_result(1.0, [7])
        sink.write(a_frame(result), result)
        sink.send([seen(1, speed_mps=23.0, speed_sigma_mps=1.0)])
        ((method, path, body),) = api.requests
        assert (method, path) == ("POST", "/api/events/gate/car/create")
        assert body == {
            "source_type": "api", "sub_label": "car 83 ± 4 km/h", "score": 0.9, "duration": 20,
            "include_recording": True,
            "draw": {"boxes": [{"box": [0.25, 0.25, 0.25, 0.5], "score": 90}]},
        }  # fmt: skip
        sink.send([
            seen(2, "enter", speed_mps=23.0, speed_sigma_mps=1.0),  # the clip goes on: the same event
            seen(3, "track-speed", speed_mps=24.2, speed_sigma_mps=0.6),
            seen(4, "track-ended", speed_mps=24.2, speed_sigma_mps=0.6),
        ])  # fmt: skip
    (event,) = api.events.values()
    assert event["sub_label"] == "car 87 ± 2 km/h"
    assert [path.rpartition("/")[2] for _, path, _ in api.requests] == ["create", "sub_label"]


def test_kinds_and_a_duration_of_the_object_itself() -> None:
    api = StandIn()
    with api.serving() as host, opened(host, kinds=("enter", "camera-moved"), duration_s=0.0) as sink:
        sink.send([seen(1), seen(2, "enter", class_name="dog/cat #1"), seen(3, "leave")])
        (event,) = api.events.values()
        assert (event["label"], event["sub_label"], event["end_time"]) == ("dog/cat #1", "dog/cat #1", None)
        ended = seen(4, "track-ended")
        sink.send([ended, seen(5, "camera-moved", track=None, reason="by 12 px"), seen(6, "track-speed")])
    first, second = api.events.values()
    assert utc_text(first["end_time"]) == ended.utc
    assert (second["label"], second["sub_label"]) == ("camera-moved", "by 12 px")
    assert len(api.requests) == 3


def test_a_second_clip_begins_when_the_first_is_over() -> None:
    api = StandIn()
    with api.serving() as host, opened(host, duration_s=5) as sink:
        sink.send([seen(1, ago=20), seen(2, "enter", ago=17), seen(3, "dwell", ago=2)])
    assert len(api.events) == 2


def test_an_answer_that_is_lost_makes_no_second_event() -> None:
    api = StandIn()
    with api.serving() as host, opened(host) as sink:
        api.lose_answers = 1
        with pytest.raises(SourceError):
            sink.send([seen(1)])
        sink.send([seen(1)])
        assert len(api.events) == 1
        api.fail = 1
        with pytest.raises(SourceError, match="answers 500"):
            sink.send([seen(2, track=8)])
        sink.send([seen(2, track=8), seen(3, "track-speed", speed_mps=10.0, speed_sigma_mps=0.1)])
    assert [one["sub_label"] for one in api.events.values()] == ["car 36 ± 1 km/h", "car"]


def test_a_killed_run_makes_no_second_event() -> None:
    api = StandIn()
    with api.serving() as host:
        for _ in range(2):  # the second program gets the event again: the first had not acknowledged it
            with opened(host) as sink:
                sink.send([seen(1)])
        api.lose_answers = 1
        with opened(host) as sink, pytest.raises(SourceError):
            sink.send([seen(2, track=8)])
        with opened(host) as sink:
            sink.send([seen(2, track=8)])
    assert len(api.events) == 2


def test_a_late_event_begins_earlier_and_one_too_late_is_rejected_and_counted(tmp_path: Path) -> None:
    api = StandIn()
    with api.serving() as host:
        sink = opened(host)
        with Delivery([sink], tmp_path / "spool" / "gate") as events:
            for one in (seen(1, ago=3600), seen(2, track=8, ago=30)):
                events.put(one)
            assert until(lambda: events.workers[0].backlog == 0)
        assert events.workers[0].rejected == 1
    (event,) = api.events.values()
    assert 33 < time.time() - event["start_time"] < 45
    with api.serving() as host, pytest.raises(RejectedError, match="3600 s ago, and Frigate's events begin"):
        opened(host).send([seen(1, ago=3600)])


def test_the_login_is_taken_and_taken_again_when_it_expired() -> None:
    api = StandIn("p@ss")
    with api.serving() as host, opened(f"me:p%40ss@{host}") as sink:
        sink.send([seen(1)])
        api.tokens.clear()  # expired
        sink.send([seen(2, track=8)])
        assert len(api.events) == 2
        assert sink.check() == "Frigate has the camera gate"
    for login in ("me:wrong@", ""):
        with (
            api.serving() as host,
            opened(f"{login}{host}") as sink,
            pytest.raises(SourceError, match="answers 401 Unauthorized; check the login in the address"),
        ):
            sink.send([seen(3, track=9)])


def test_another_camera_and_other_mistakes_are_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    with StandIn().serving() as host, opened(host, camera="yard") as sink:
        for call in (sink.check, lambda: sink.send([seen(1)])):
            with pytest.raises(SourceError, match=r'no camera \'yard\': write camera = "...", one of gate$'):
                call()
    with pytest.raises(SourceError, match="nothing answers on this port"):
        opened("127.0.0.1:1").send([seen(1)])
    with pytest.raises(InputError, match=r"such as https://HOST:8971, got 'rtsp://frigate:8554/gate'$"):
        FrigateSink("rtsp://frigate:8554/gate")
    monkeypatch.setitem(sys.modules, "httpx", None)
    with pytest.raises(MissingExtraError, match=r'pip install "edgevid\[webhook\]"'):
        FrigateSink("http://frigate")


def test_an_event_that_was_deleted_in_frigate_stops_nothing() -> None:
    api = StandIn()
    with api.serving() as host, opened(host) as sink:
        sink.send([seen(1)])
        api.events.clear()
        sink.send([seen(2, "track-speed", speed_mps=24.2, speed_sigma_mps=0.6)])
    assert api.requests[-1][1].endswith("/sub_label")


def test_what_a_sub_label_says() -> None:
    assert sub_label(seen(1, speed_mps=24.2)) == "car 87 km/h"
    assert sub_label(seen(1, speed_mps=24.2, speed_sigma_mps=0.05)) == "car 87 ± 1 km/h"
    assert sub_label(seen(1, speed_reason="OFF_PLANE")) == "car"
    assert sub_label(seen(1, "occupancy-above", track=None, place="yard", count=5)) == "yard 5"
    assert len(sub_label(seen(1, class_name="c" * 500))) == 100
    assert sub_label(seen(1, track=None, kind="stream-lost", reason="no packet")) == "no packet"
