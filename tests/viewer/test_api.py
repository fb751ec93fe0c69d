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
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.routing import Route
from starlette.testclient import TestClient

from edgevid.types import Frame
from edgevid.viewer.app import viewer_app
from edgevid.viewer.serve import STATIC, SecurityMiddleware, Server


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
    from edgevid.viewer.state import BOUNDS, EQUAL

    assert parameters == {*EQUAL, *BOUNDS, "limit"}


TYPES: dict[str, Any] = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
    "number": (int, float),
    "null": type(None),
}


def mismatch(value: Any, schema: Any, whole: Any) -> str:
    """Where a value is not as a schema says: of the words that the description uses; "" where it is."""
    if "$ref" in schema:
        return mismatch(value, whole["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]], whole)
    kinds = schema.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if kinds and not any(isinstance(value, TYPES[kind]) for kind in kinds):
        return f"{value!r} is no {kinds}"
    if "enum" in schema and value not in schema["enum"]:
        return f"{value!r} is none of {schema['enum']}"
    if isinstance(value, dict):
        if lacking := [key for key in schema.get("required", []) if key not in value]:
            return f"{lacking} are missing"
        parts = [(value[key], one) for key, one in schema.get("properties", {}).items() if key in value]
    else:
        parts = [(one, schema.get("items", {})) for one in value] if isinstance(value, list) else []
    return next(filter(None, (mismatch(*part, whole) for part in parts)), "")


ODD = ["car", "gate", "50", "-1", "nan", "1e999", "9" * 5000, "٣", "a,b", ""]
TEXT = st.one_of(st.text(max_size=20), st.sampled_from(ODD))
NAMES = st.sampled_from(["gate", "00000001-20260131T120001Z-event.mp4", "00000000-20260131T120000Z.mp4", "x"])
BODY = st.one_of(
    st.binary(max_size=40),
    st.lists(st.dictionaries(TEXT, TEXT), max_size=2).map(
        lambda items: json.dumps({"version": len(items), "annotations": items}).encode()
    ),
    st.just(b" " * 300_000), st.just(b"[" * 100_000),
)  # fmt: skip


@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_every_answer_is_as_it_is_described(client: TestClient, data: st.DataObject) -> None:
    described = json.loads((STATIC / "openapi.json").read_text())
    routes = [(path, method) for path, methods in described["paths"].items() for method in methods]
    path, method = data.draw(st.sampled_from([one for one in routes if one[0] != "/api/stream"]))
    known = described["paths"][path][method]
    parameters = [one["name"] for one in known.get("parameters", []) if one["in"] == "query"]
    query = data.draw(st.dictionaries(st.sampled_from([*parameters, "other"]), TEXT, max_size=3))
    path = path.replace("{camera}", data.draw(NAMES)).replace("{name}", data.draw(NAMES))
    headers = {}
    if "media" in path and (span := data.draw(st.sampled_from(["", "bytes=0-9", "bytes=9999999-", "bytes=x"]))):
        headers["Range"] = span
    body = data.draw(BODY) if method == "put" else None
    answer = client.request(method, path, params=query, content=body, headers=headers)
    if answer.status_code == 404 and "media" in path and "error" not in answer.text:
        return  # no such address
    assert str(answer.status_code) in known["responses"]
    content = known["responses"][str(answer.status_code)].get("content", {})
    if content:
        kind = answer.headers["content-type"].split(";")[0]
        assert kind in content
        if "schema" in content[kind] and kind == "application/json":
            assert mismatch(answer.json(), content[kind]["schema"], described) == ""


def test_nothing_is_changed_by_those_who_may_only_look(state: Any) -> None:
    guarded = SecurityMiddleware(viewer_app(state), token="of-operators", viewer_token="of-viewers")
    with TestClient(guarded, base_url="http://127.0.0.1", headers={"authorization": "Bearer of-viewers"}) as client:
        described = client.get("/api/openapi.json").json()
        for path in described["paths"]:
            for method in ("POST", "PUT", "PATCH", "DELETE"):
                assert client.request(method, path, json={}).status_code == 403
    assert state.annotations()["version"] == 0


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
