"""The viewer's routes over a real event loop: images, messages, pause, and annotations that are edited."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("starlette", reason="the extra viewer is not installed")
pytest.importorskip("httpx", reason="httpx is not installed")

import httpx
import review_samples
import viewer_scene as scene
from starlette.testclient import TestClient

from edgevid.insight.review import Review
from edgevid.site.file import read_site
from edgevid.types import Frame
from edgevid.video.live import StreamEvent
from edgevid.viewer.app import viewer_app
from edgevid.viewer.broadcast import unpack
from edgevid.viewer.serve import Server


@pytest.fixture
def state():
    made = scene.make_state()
    yield made
    made.close()


@contextlib.contextmanager
def watching(state):
    """A socket that got the hello."""
    with TestClient(viewer_app(state)) as client, client.websocket_connect("/ws") as ws:
        yield ws, ws.receive_json()


def play(state, *indices: int) -> None:
    for index in indices:
        scene.play_one(state, Frame(scene.pixels(index), index / 25, index))


def image(ws) -> dict:
    """The next image's record, answered; messages before it are skipped."""
    while True:
        message = ws.receive()
        if message.get("bytes"):
            record, data = unpack(message["bytes"])
            assert data[:2] == b"\xff\xd8"
            ws.send_json({"ack": record["n"]})
            return record


def text(ws, kind: str) -> dict:
    while True:
        message = ws.receive()
        if message.get("text"):
            message = json.loads(message["text"])
            if message["type"] == kind:
                return message


def test_the_hello_describes_the_source(state) -> None:
    with watching(state) as (_, hello):
        assert hello["title"] == "yard.mp4"
        assert hello["model"] == "made by hand"
        assert hello["size"] == [640, 360]
        assert hello["reasons"]["TOO_SMALL"] == "too small"
        assert hello["calibrated"] is True
        assert hello["saves"] is False
        assert [place["name"] for place in hello["annotations"]] == ["crossing", "gate"]


def test_an_image_comes_with_its_record(state) -> None:
    play(state, 0)
    with watching(state) as (ws, _):
        play(state, 1)
        record = image(ws)
        record = record if record["frame"] == 1 else image(ws)
        person, small, car = record["objects"]
        assert person["verdicts"]["action"] == {"label": "walk", "confidence": 0.83}
        assert person["speed"] == {"reason": "UNCERTAIN"}
        assert small["verdicts"]["action"]["reason"] == "TOO_SMALL"
        assert car["detected"] is False
        assert car["speed"]["mps"] == 14.5
        assert car["ground_m"] == [42.5, 10.5]  # (495 - 70) / 10, (345 - 240) / 10
        assert record["timings_ms"]["detect"] == 12.0
        assert record["occupancy"] == {"crossing": 1}
        assert record["fps"] > 0


def test_two_viewers_get_the_same_image_that_was_encoded_once(state) -> None:
    with (
        TestClient(viewer_app(state)) as client,
        client.websocket_connect("/ws") as one,
        client.websocket_connect("/ws") as two,
    ):
        play(state, 5)
        assert image(one)["n"] == image(two)["n"] == 1
        assert state.broadcast.encoded == 1


def test_events_of_before_and_now_are_sent(state) -> None:
    play(state, 0)
    with watching(state) as (ws, hello):
        kinds = [(event["kind"], event.get("class_name")) for event in hello["events"]]
        assert kinds == [("enter", "person"), ("verdict", "person")]
        assert hello["events"][1]["label"] == "walk"
        state.source.events.append(StreamEvent(3.0, "lost", "the stream ended"))
        state.finder.poll_stream()
        event = text(ws, "event")["event"]
        assert (event["kind"], event["reason"]) == ("stream-lost", "the stream ended")


def test_a_file_is_paused_for_all_and_a_camera_for_none(state) -> None:
    with watching(state) as (ws, hello):
        assert hello["paused"] is False
        ws.send_json({"paused": True})
        assert text(ws, "state")["paused"] is True
        assert state.playback.paused
    state.source._source.live = True
    state.control({"paused": False})
    assert state.playback.paused


@pytest.mark.parametrize("message", ["", "null", "[]", "{", '{"ack": "1"}', '{"paused": 1}', "[" * 2000])
def test_malformed_messages_are_ignored(state, message: str) -> None:
    with watching(state) as (ws, _):
        ws.send_text(message)
        play(state, 1)
        assert image(ws)["frame"] == 1


def test_each_viewer_gets_its_statistics_every_second(state) -> None:
    with watching(state) as (ws, _):
        play(state, 1)
        image(ws)
        stats = text(ws, "stats")
        assert stats["viewers"] == 1
        assert stats["sent"] == 1
        assert stats["latency_ms"] > 0


def test_edited_annotations_count_from_the_next_frame_on(state) -> None:
    play(state, 0)
    with watching(state) as (ws, hello), TestClient(viewer_app(state)) as client:
        annotations = hello["annotations"]
        annotations[0]["name"] = "square"
        annotations.append({"kind": "zone", "name": "lane", "points": [[400, 100], [600, 100], [600, 300]]})
        answer = client.put("/api/annotations", json={"annotations": annotations, "version": 0})
        assert answer.status_code == 200
        assert answer.json()["saved"] is False
        assert text(ws, "annotations")["version"] == 1
        play(state, 1)
        assert {zone.name for zone in state.monitor.zones} == {"square", "lane"}
        assert client.get("/api/annotations").json()["version"] == 1


def test_annotations_are_saved_to_the_site_file_and_nothing_else_in_it_changes(tmp_path: Path) -> None:
    site = tmp_path / "gate.toml"
    before = (
        '# my gate\nsource = "gate.mp4"\n\n[[zone]]\nname = "old"\n'
        "points = [\n  [0, 0],\n  [9, 0],\n  [9, 9]\n]\n\n"
        '[detect]\nscore = 0.5  # mine\n\n[[line]]\nname = "l"\nstart = [0, 1]\nend = [9, 1]\n'
    )
    site.write_text(before)
    state = scene.make_state(site_file=site)
    with TestClient(viewer_app(state)) as client:
        sent = client.get("/api/annotations").json()
        assert client.put("/api/annotations", json=sent).json()["saved"] is True
    state.close()
    text = site.read_text()
    assert text.startswith('# my gate\nsource = "gate.mp4"\n')
    assert "score = 0.5  # mine" in text
    read = read_site(site)
    assert [zone.name for zone in read.zones] == ["old", "crossing"]  # what another program drew stays
    assert [line.name for line in read.lines] == ["l", "gate"]
    assert read.score == 0.5
    assert [path.name for path in tmp_path.iterdir()] == ["gate.toml"]


def test_two_editors_do_not_overwrite_each_other(state) -> None:
    with TestClient(viewer_app(state)) as client:
        assert client.put("/api/annotations", json={"annotations": [], "version": 0}).status_code == 200
        answer = client.put("/api/annotations", json={"annotations": [], "version": 0})
        assert answer.status_code == 409
        assert "another user" in answer.json()["error"]
        assert answer.json()["version"] == 1


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400), (b"[1]", 400), (b"\xff", 400), (b"[" * 100000, 400), (b"x" * 300_000, 413),
        (b'{"annotations": [{}], "version": 0}', 422), (b'{"annotations": [], "version": "0"}', 409),
    ],
)  # fmt: skip
def test_invalid_annotations_are_rejected_with_a_reason(state, body: bytes, status: int) -> None:
    with TestClient(viewer_app(state)) as client:
        answer = client.put("/api/annotations", content=body)
        assert answer.status_code == status
        assert len(answer.json()["error"]) > 10
        assert state.annotations()["version"] == 0


def test_a_site_file_that_cannot_be_written_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    state = scene.make_state(site_file=tmp_path / "file" / "gate.toml")
    with TestClient(viewer_app(state)) as client:
        answer = client.put("/api/annotations", json={"annotations": [], "version": 0})
        assert answer.status_code == 507
        assert "cannot be written" in answer.json()["error"]
        assert len(client.get("/api/annotations").json()["annotations"]) == 2
    state.close()


def test_a_real_socket_that_reads_nothing_delays_no_one() -> None:
    """Over TCP with the websockets client: one viewer never answers, the other one sees every frame."""
    websockets = pytest.importorskip("websockets.sync.client")
    state = scene.make_state()
    with Server(viewer_app(state), port=0) as server:
        url = f"ws://127.0.0.1:{server.port}/ws"
        with websockets.connect(url), websockets.connect(url) as quick:
            json.loads(quick.recv())
            indices = []
            for index in range(40):
                play(state, index)
                while True:
                    message = quick.recv(timeout=5)
                    if isinstance(message, bytes):
                        record, _ = unpack(message)
                        quick.send(json.dumps({"ack": record["n"]}))
                        indices.append(record["frame"])
                        break
            assert indices == list(range(40))
            assert {client.sent for client in state.broadcast.clients} == {2, 40}
            assert state.broadcast.encoded == 40
        state.close()


def test_more_viewers_than_there_is_room_for_are_rejected(state, monkeypatch) -> None:
    from starlette.websockets import WebSocketDisconnect

    monkeypatch.setattr("edgevid.viewer.app.MAX_CLIENTS", 1)
    with TestClient(viewer_app(state)) as client, client.websocket_connect("/ws") as first:
        first.receive_json()
        with client.websocket_connect("/ws") as second, pytest.raises(WebSocketDisconnect) as caught:
            second.receive_json()
        assert caught.value.code == 1013


def test_a_stream_that_changes_its_size_brings_grid_and_zones_along(state) -> None:

    with watching(state) as (ws, hello):
        state.resize((1280, 720))  # as the frame loop does before the frame is processed
        frame = Frame(np.zeros((720, 1280, 3), np.uint8), 1.0, 1)
        state.observe(frame, scene.result(1, Frame(scene.pixels(1), 1.0, 1)))
        again = text(ws, "hello")
        assert again["size"] == [1280, 720]
        assert again["annotations"][0]["points"][0] == [120, 400]
        doubled = (2 * np.array(hello["grid"][0]["points"])).tolist()
        assert np.allclose(again["grid"][0]["points"], doubled, atol=0.15)  # both are rounded to 0.1 px
        state.resize((720, 720))  # another aspect ratio, so another view
        assert state.annotations()["annotations"] == []
        with TestClient(viewer_app(state)) as client:
            answer = client.put("/api/annotations", json={"annotations": [], "version": 0})
            assert answer.status_code == 422
            assert "another view" in answer.json()["error"]


def test_review_is_a_tab_where_the_operator_alone_decides(state, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    state.review = Review(kept, later=True)
    with Server(viewer_app(state), port=0, token="operator-token", viewer_token="visitor-token") as server:

        def client(token: str | None) -> httpx.Client:
            headers = {"authorization": f"Bearer {token}"} if token else {}
            return httpx.Client(base_url=server.address, headers=headers, follow_redirects=True)

        with client(None) as stranger, client("visitor-token") as visitor, client("operator-token") as operator:
            assert stranger.get("/review/api/review/items").status_code == 401
            assert "/static/review.js" in visitor.get("/review").text
            assert visitor.get("/review/api/review/items").json() == []
            review_samples.write_folder(kept, 6)
            items = visitor.get("/review/api/review/items").json()
            assert visitor.get("/review/api/review/count").json() == [{"items": len(items)}]
            assert visitor.get(f"/review/media/crop/{items[0]['id']}").content[:2] == b"\xff\xd8"
            decision = {"batch": "1", "reviewer": "ann", "labels": {items[0]["id"]: "circle"}}
            assert visitor.post("/review/api/review", json=decision).status_code == 403
            assert state.review.rows("SELECT * FROM votes") == []
            assert operator.post("/review/api/review", json=decision).status_code == 200
            roles = [one.get("/review/api/review/role").json()["operator"] for one in (visitor, operator)]
            assert roles == [False, True]
        assert [vote["label"] for vote in state.review.rows("SELECT * FROM votes")] == ["circle"]


def test_without_a_folder_there_is_no_review(state) -> None:
    with watching(state) as (_, hello):
        assert hello["review"] is False
    assert TestClient(viewer_app(state)).get("/review/").status_code == 404
