"""The viewer's routes over a real event loop: images, words, pause, and places that are edited."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("starlette", reason="the extra viewer is not installed")
pytest.importorskip("httpx", reason="httpx is not installed")

import viewer_scene as scene
from starlette.testclient import TestClient

from edgevid.site.file import read_site
from edgevid.types import Frame
from edgevid.video.live import StreamEvent
from edgevid.viewer.app import viewer_app
from edgevid.viewer.broadcast import Moment
from edgevid.viewer.encode import unpack
from edgevid.viewer.serve import Server


@pytest.fixture
def show():
    made = scene.make_show()
    yield made
    made.close()


@contextlib.contextmanager
def watching(show):
    """A socket that has had the greeting."""
    with TestClient(viewer_app(show)) as client, client.websocket_connect("/ws") as ws:
        yield ws, ws.receive_json()


def play(show, *indices: int) -> None:
    for index in indices:
        scene.play_one(show, Frame(scene.pixels(index), index / 25, index))


def picture(ws) -> dict:
    """The next image's record, answered; words before it are passed over."""
    while True:
        message = ws.receive()
        if message.get("bytes"):
            record, data = unpack(message["bytes"])
            assert data[:2] == b"\xff\xd8"
            ws.send_json({"got": record["n"]})
            return record


def words(ws, kind: str) -> dict:
    while True:
        message = ws.receive()
        if message.get("text"):
            said = json.loads(message["text"])
            if said["type"] == kind:
                return said


def test_the_greeting_says_what_is_seen(show) -> None:
    with watching(show) as (_, hello):
        assert hello["title"] == "yard.mp4"
        assert hello["model"] == "made by hand"
        assert hello["size"] == [640, 360]
        assert hello["reasons"]["TOO_SMALL"] == "too small"
        assert hello["calibrated"] is True
        assert hello["saves"] is False
        assert [place["name"] for place in hello["places"]] == ["crossing", "gate"]


def test_a_picture_comes_with_its_record(show) -> None:
    play(show, 0)
    with watching(show) as (ws, _):
        play(show, 1)
        record = picture(ws)
        record = record if record["frame"] == 1 else picture(ws)
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


def test_two_viewers_see_the_same_picture_that_was_encoded_once(show) -> None:
    with (
        TestClient(viewer_app(show)) as client,
        client.websocket_connect("/ws") as one,
        client.websocket_connect("/ws") as two,
    ):
        play(show, 5)
        assert picture(one)["n"] == picture(two)["n"] == 1
        assert show.hub.encoded == 1


def test_what_happened_before_and_now_is_told(show) -> None:
    play(show, 0)
    with watching(show) as (ws, hello):
        kinds = [(event["kind"], event.get("class")) for event in hello["events"]]
        assert kinds == [("enter", "person"), ("verdict", "person")]
        assert hello["events"][1]["label"] == "walk"
        show.source.events.append(StreamEvent(3.0, "lost", "the stream ended"))
        show.poll()
        show.poll()
        event = words(ws, "event")["event"]
        assert (event["kind"], event["detail"], event["n"]) == ("lost", "the stream ended", 3)


def test_a_file_is_paused_for_all_and_a_camera_for_none(show) -> None:
    with watching(show) as (ws, hello):
        assert hello["paused"] is False
        ws.send_json({"paused": True})
        assert words(ws, "state")["paused"] is True
        assert show.gate.paused
    show.source.live = True
    show.control({"paused": False})
    assert show.gate.paused


@pytest.mark.parametrize("said", ["", "null", "[]", "{", '{"got": "1"}', '{"paused": 1}', "[" * 2000])
def test_nonsense_from_a_viewer_is_passed_over(show, said: str) -> None:
    with watching(show) as (ws, _):
        ws.send_text(said)
        play(show, 1)
        assert picture(ws)["frame"] == 1


def test_how_a_viewer_fares_is_told_every_second(show) -> None:
    with watching(show) as (ws, _):
        play(show, 1)
        picture(ws)
        stats = words(ws, "stats")
        assert stats["viewers"] == 1
        assert stats["sent"] == 1
        assert stats["late_ms"] > 0


def test_edited_places_count_from_the_next_frame_on(show) -> None:
    play(show, 0)
    with watching(show) as (ws, hello), TestClient(viewer_app(show)) as client:
        places = hello["places"]
        places[0]["name"] = "square"
        places.append({"kind": "zone", "name": "lane", "points": [[400, 100], [600, 100], [600, 300]]})
        answer = client.put("/api/places", json={"places": places, "version": 0})
        assert answer.status_code == 200
        assert answer.json()["saved"] is False
        assert words(ws, "places")["version"] == 1
        play(show, 1)
        assert {zone.name for zone in show.monitor.zones} == {"square", "lane"}
        assert client.get("/api/places").json()["version"] == 1


def test_places_are_saved_to_the_site_file_and_nothing_else_in_it_changes(tmp_path: Path) -> None:
    site = tmp_path / "gate.toml"
    before = (
        '# my gate\nsource = "gate.mp4"\n\n[[zone]]\nname = "old"\n'
        "points = [\n  [0, 0],\n  [9, 0],\n  [9, 9]\n]\n\n"
        '[detect]\nscore = 0.5  # mine\n\n[[line]]\nname = "l"\nstart = [0, 1]\nend = [9, 1]\n'
    )
    site.write_text(before)
    show = scene.make_show(site_file=site)
    with TestClient(viewer_app(show)) as client:
        sent = client.get("/api/places").json()
        assert client.put("/api/places", json=sent).json()["saved"] is True
    show.close()
    text = site.read_text()
    assert text.startswith('# my gate\nsource = "gate.mp4"\n')
    assert "score = 0.5  # mine" in text
    read = read_site(site)
    assert [zone.name for zone in read.zones] == ["crossing"]
    assert [line.name for line in read.lines] == ["gate"]
    assert read.score == 0.5
    assert [path.name for path in tmp_path.iterdir()] == ["gate.toml"]


def test_two_editors_do_not_overwrite_each_other(show) -> None:
    with TestClient(viewer_app(show)) as client:
        assert client.put("/api/places", json={"places": [], "version": 0}).status_code == 200
        answer = client.put("/api/places", json={"places": [], "version": 0})
        assert answer.status_code == 409
        assert "somebody else" in answer.json()["error"]
        assert answer.json()["version"] == 1


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400), (b"[1]", 400), (b"\xff", 400), (b"[" * 100000, 400), (b"x" * 300_000, 413),
        (b'{"places": [{}], "version": 0}', 422), (b'{"places": [], "version": "0"}', 409),
    ],
)  # fmt: skip
def test_bad_places_are_refused_with_a_sentence(show, body: bytes, status: int) -> None:
    with TestClient(viewer_app(show)) as client:
        answer = client.put("/api/places", content=body)
        assert answer.status_code == status
        assert len(answer.json()["error"]) > 10
        assert show.places()["version"] == 0


def test_a_site_file_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    show = scene.make_show(site_file=tmp_path / "file" / "gate.toml")
    with TestClient(viewer_app(show)) as client:
        answer = client.put("/api/places", json={"places": [], "version": 0})
        assert answer.status_code == 507
        assert "cannot be written" in answer.json()["error"]
        assert len(client.get("/api/places").json()["places"]) == 2
    show.close()


def test_a_real_socket_that_reads_nothing_holds_nobody_up() -> None:
    """Over TCP with the websockets client: one viewer never answers, the other one sees every frame."""
    websockets = pytest.importorskip("websockets.sync.client")
    show = scene.make_show()
    with Server(viewer_app(show), port=0) as server:
        url = f"ws://127.0.0.1:{server.port}/ws"
        with websockets.connect(url), websockets.connect(url) as quick:
            json.loads(quick.recv())
            seen = []
            for index in range(40):
                play(show, index)
                while True:
                    message = quick.recv(timeout=5)
                    if isinstance(message, bytes):
                        record, _ = unpack(message)
                        quick.send(json.dumps({"got": record["n"]}))
                        seen.append(record["frame"])
                        break
            assert seen == list(range(40))
            assert {viewer.sent for viewer in show.hub.viewers} == {2, 40}
            assert show.hub.encoded == 40
        show.close()


def test_more_viewers_than_there_is_room_for_are_told_to_come_again(show, monkeypatch) -> None:
    from starlette.websockets import WebSocketDisconnect

    monkeypatch.setattr("edgevid.viewer.app.MOST_VIEWERS", 1)
    with TestClient(viewer_app(show)) as client, client.websocket_connect("/ws") as first:
        first.receive_json()
        with client.websocket_connect("/ws") as second, pytest.raises(WebSocketDisconnect) as told:
            second.receive_json()
        assert told.value.code == 1013


def test_a_stream_that_changes_its_size_brings_grid_and_zones_along(show) -> None:
    import numpy as np

    with watching(show) as (ws, hello):
        show.scale = (0.5, 0.5)  # as site_resize.Resizing sets it, before the frame is processed
        frame = Frame(np.zeros((720, 1280, 3), np.uint8), 1.0, 1)
        show.observe(frame, scene.result(1, Frame(scene.pixels(1), 1.0, 1)))
        again = words(ws, "hello")
        assert again["size"] == [1280, 720]
        assert again["places"][0]["points"][0] == [120, 400]
        doubled = (2 * np.array(hello["grid"][0]["points"])).tolist()
        assert np.allclose(again["grid"][0]["points"], doubled, atol=0.05)
        show.scale = None  # another view
        assert show.places()["places"] == []
        with TestClient(viewer_app(show)) as client:
            answer = client.put("/api/places", json={"places": [], "version": 0})
            assert answer.status_code == 422
            assert "another view" in answer.json()["error"]


def test_a_calibration_that_goes_while_a_picture_is_described_is_used_to_its_end(show) -> None:
    class Leaving:
        """A calibration that the frame loop takes away in the middle: the stream shows another view."""

        def holds(self, feet):
            show.calibration = None
            return np.ones(len(feet), bool)

        def place(self, feet):
            return feet / 10

    show.calibration = Leaving()
    frame = Frame(scene.pixels(0), 0.0, 0)
    record = show._describe(Moment(1, frame, scene.result(0, frame), {}, 0.0))
    assert all("ground_m" in one for one in record["objects"])
    show.calibration = scene.calibration()


def test_edits_are_told_in_the_order_of_their_versions(show, monkeypatch) -> None:
    told, tell = [], show.hub.tell

    def slowly(**words) -> None:
        if words.get("version") == 1:
            time.sleep(0.2)  # time for the second edit to overtake the first
        told.append(words.get("version"))
        tell(**words)

    monkeypatch.setattr(show.hub, "tell", slowly)
    now = show.places()
    first = threading.Thread(target=show.set_places, args=(now["places"], now["version"]))
    first.start()
    while show._version == 0:
        time.sleep(0.001)
    show.set_places(now["places"], 1)
    first.join()
    assert told == [1, 2]
