"""The API of a viewer: events by filters, recordings in parts, results as they come, and its description."""

from __future__ import annotations

import json
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("starlette", reason="the extra viewer is not installed")
pytest.importorskip("httpx", reason="httpx is not installed")

import viewer_scene as scene
from starlette.routing import Route
from starlette.testclient import TestClient

from edgevid.types import Frame
from edgevid.viewer.app import viewer_app
from edgevid.viewer.security import SecurityMiddleware
from edgevid.viewer.serve import Server


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Any]:
    scene.make_recordings(tmp_path / "rec")
    made = scene.make_state(recordings=tmp_path / "rec")
    yield made
    made.close()


@pytest.fixture
def client(state: Any) -> Iterator[TestClient]:
    with TestClient(viewer_app(state)) as made:
        yield made


def test_events_are_filtered_and_counted(client: TestClient) -> None:
    assert [one["id"] for one in client.get("/api/events").json()] == ["old-2", "old-1"]
    (one,) = client.get("/api/events?class=car&min_kmh=70&place=gate").json()
    assert one["clip"] == "gate/00000001-20260131T120001Z-event.mp4"
    assert client.get("/api/events?after=2026-01-31T12:00:04Z&limit=1").json()[0]["id"] == "old-2"
    assert client.get("/api/counts?camera=yard").json()[0]["events"] == 1


@pytest.mark.parametrize("query", ["color=red", "min_kmh=fast", "limit=all"])
def test_a_mistake_in_a_filter_is_one_sentence(client: TestClient, query: str) -> None:
    answer = client.get(f"/api/events?{query}")
    assert answer.status_code == 422
    assert "expected" in answer.json()["error"]


def test_recordings_are_listed_and_served_in_parts(client: TestClient, state: Any) -> None:
    segment, clip = client.get("/api/recordings").json()
    assert segment == {"camera": "gate", "name": "gate/00000000-20260131T120000Z.mp4",
                       "utc": "2026-01-31T12:00:00.000Z", "kind": "segment"}  # fmt: skip
    assert clip["kind"] == "event"
    whole = (state.recordings / clip["name"]).read_bytes()
    part = client.get(f"/media/{clip['name']}", headers={"Range": "bytes=100-199"})
    assert (part.status_code, part.content) == (206, whole[100:200])
    assert part.headers["content-type"] == "video/mp4"
    saved = client.get(f"/media/{clip['name']}?download")
    assert saved.headers["content-disposition"].startswith('attachment; filename="gate-00000001-')
    assert saved.content == whole


def test_a_file_that_is_still_written_is_served_as_far_as_it_is(client: TestClient, state: Any) -> None:
    path = state.recordings / "gate" / "00000000-20260131T120000Z.mp4"
    path.touch()
    answer = client.get(f"/media/gate/{path.name}?download")
    assert "content-length" not in answer.headers
    assert answer.content == path.read_bytes()
    assert (answer.headers["content-type"], answer.status_code) == ("video/mp4", 200)
    assert answer.headers["content-disposition"].startswith("attachment")


@pytest.mark.parametrize(
    "path",
    ["gate/events.db", "../rec/events.db", "..%2frec/events.db", "gate/..%2f..%2fevents.db",
     "gate/00000009-20260131T120000Z.mp4", ".gate/00000000-20260131T120000Z.mp4"],
)  # fmt: skip
def test_nothing_else_is_served(client: TestClient, path: str) -> None:
    assert client.get(f"/media/{path}").status_code == 404


def test_without_recordings_there_are_none() -> None:
    state = scene.make_state()
    with TestClient(viewer_app(state)) as client:
        assert client.get("/api/recordings").json() == []
        assert client.get("/media/gate/00000000-20260131T120000Z.mp4").status_code == 404
        assert client.get("/api/latest").json() is None
        scene.play_one(state, Frame(scene.pixels(0), 0.0, 0))
        assert len(client.get("/api/latest").json()["objects"]) == 3
        assert [one["kind"] for one in client.get("/api/events").json()] == ["verdict", "enter"]
    state.close()


def test_events_and_results_come_as_server_sent_events(state: Any) -> None:
    with Server(viewer_app(state), port=0) as server:
        answer = urllib.request.urlopen(f"{server.address}api/stream", timeout=10)
        assert answer.headers["content-type"].startswith("text/event-stream")
        play = threading.Timer(0.2, scene.play_one, (state, Frame(scene.pixels(0), 0.0, 0)))
        play.start()
        kinds: dict[str, Any] = {}
        while len(kinds) < 2:
            line = answer.readline().decode()
            if line.startswith("event: "):
                kinds[line[7:].strip()] = json.loads(answer.readline()[6:])
        answer.close()
        play.join()
    assert kinds["event"]["kind"] in ("enter", "verdict")
    assert len(kinds["result"]["objects"]) == 3
    assert state.broadcast.encoded == 0  # no images for those who want none


def test_the_description_names_every_route(client: TestClient, state: Any) -> None:
    described = client.get("/api/openapi.json").json()
    routes = {one.path: one.methods - {"HEAD"} for one in viewer_app(state).routes if isinstance(one, Route)}
    del routes["/"]
    assert {path: {m.upper() for m in methods} for path, methods in described["paths"].items()} == routes
    for methods in described["paths"].values():
        for one in methods.values():
            assert one["summary"]
            assert one["responses"]
    parameters = {one["name"] for one in described["paths"]["/api/events"]["get"]["parameters"]}
    from edgevid.viewer.events import BOUNDS, EQUAL

    assert parameters == {*EQUAL, *BOUNDS, "limit"}


def test_the_token_of_viewers_reads_and_changes_nothing(state: Any) -> None:
    guarded = SecurityMiddleware(viewer_app(state), token="of-operators", viewer_token="of-viewers")
    for token, status, operator in (("of-viewers", 403, False), ("of-operators", 200, True)):
        with TestClient(guarded, base_url="http://127.0.0.1") as client:
            bearer = {"authorization": f"Bearer {token}"}
            assert client.get("/api/events", headers=bearer).status_code == 200
            assert client.get("/api/events").status_code == 401
            change = client.put("/api/annotations", headers=bearer, json={"annotations": [], "version": 0})
            assert change.status_code == status
            with client.websocket_connect("/ws", headers={**bearer, "host": "127.0.0.1"}) as ws:
                assert ws.receive_json()["operator"] is operator
                ws.send_json({"paused": True})
                ws.send_json({"seek": 1})
            assert client.get(f"/?token={token}").status_code == 200  # by the cookie
            assert client.get("/api/counts").status_code == 200
        assert state.playback.paused is operator
