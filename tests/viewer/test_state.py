"""What a viewer shows, between the frame loop and the browsers."""

from __future__ import annotations

import dataclasses
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import viewer_scene as scene

from edgevid.errors import InputError
from edgevid.site.file import read_site
from edgevid.types import Frame, Reason, Result
from edgevid.viewer.broadcast import Published
from edgevid.viewer.state import EditConflict, ViewerState
from edgevid.zones import Line, Zone, ZoneMonitor


@pytest.fixture
def state():
    made = scene.make_state()
    yield made
    made.close()


def sent_by(state: ViewerState, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the state sends to all browsers from now on."""
    sent: list[dict[str, Any]] = []
    monkeypatch.setattr(state.broadcast, "send", lambda **message: sent.append(message))
    return sent


def moment(index: int, time: float | None = None) -> tuple[Frame, Result]:
    frame = Frame(scene.pixels(index), index / 25 if time is None else time, index)
    return frame, scene.result(index, frame)


def record(state: ViewerState, index: int = 0) -> dict[str, Any]:
    return state._describe(Published(1, *moment(index), {}, 0.0))


def test_the_hello_holds_what_a_page_needs(state) -> None:
    hello = state.hello()
    assert (hello["title"], hello["model"], hello["unit"]) == ("yard.mp4", "made by hand", "km/h")
    assert (hello["size"], hello["fps"], hello["live"], hello["paused"]) == ([640, 360], 25.0, False, False)
    assert hello["reasons"] == {reason.name: reason.description for reason in Reason}
    assert hello["calibrated"] is True
    assert len(hello["grid"]) > 5
    assert (hello["version"], hello["saves"], hello["events"]) == (0, False, [])


def test_without_a_calibration_there_is_no_grid_and_no_ground() -> None:
    state = scene.make_state(calibrated=False)
    assert (state.hello()["grid"], state.hello()["calibrated"]) == ([], False)
    assert not any("ground_m" in one for one in record(state)["objects"])
    state.close()


def test_objects_within_the_region_have_their_place_on_the_ground(state) -> None:
    person, small, car = record(state)["objects"]
    # 10 pixels per meter from (70, 345): feet at (125, 320), (337.5, 95) and (495, 240).
    assert person["ground_m"] == [5.5, 2.5]
    assert small["ground_m"] == [26.75, 25.0]
    assert car["ground_m"] == [42.5, 10.5]
    state.calibration = scene.calibration().scaled_to((320, 180))  # the same points lie outside of it now
    assert not any("ground_m" in one for one in record(state)["objects"][2:])


def test_edits_take_effect_between_two_frames(state, monkeypatch) -> None:
    sent = sent_by(state, monkeypatch)
    items = [{**one, "name": f"my {one['name']}"} for one in state.annotations()["annotations"]]
    answer = state.set_annotations(items, 0)
    assert (answer["version"], answer["saved"]) == (1, False)
    assert [one["name"] for one in answer["annotations"]] == ["my crossing", "my gate"]
    assert [message["type"] for message in sent] == ["annotations"]
    assert [zone.name for zone in state.monitor.zones] == ["crossing"]  # the loop still uses the old ones
    state.update(moment(0)[1].tracks, 0.0)
    assert [zone.name for zone in state.monitor.zones] == ["my crossing"]


def test_an_edit_of_an_old_version_changes_nothing(state, monkeypatch) -> None:
    sent = sent_by(state, monkeypatch)
    for version in (1, -1, "0", None):
        with pytest.raises(EditConflict, match="please edit again"):
            state.set_annotations([], version)
    with pytest.raises(InputError):
        state.set_annotations([{}], 0)
    assert sent == []
    assert state.annotations()["version"] == 0
    assert len(state.annotations()["annotations"]) == 2


def test_a_file_that_cannot_be_written_leaves_the_annotations_as_they_were(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    state = scene.make_state(site_file=tmp_path / "file" / "gate.toml")
    with pytest.raises(Exception, match="cannot be written"):
        state.set_annotations([], 0)
    assert len(state.annotations()["annotations"]) == 2
    assert state.annotations()["version"] == 0
    state.close()


def test_edits_are_saved_to_a_new_site_file(tmp_path: Path) -> None:
    site = tmp_path / "gate.toml"
    state = scene.make_state(site_file=site)
    state._site_header = 'source = "gate.mp4"\n'
    assert state.set_annotations(state.annotations()["annotations"], 0)["saved"] is True
    assert read_site(site).source.endswith("gate.mp4")
    assert [zone.name for zone in read_site(site).zones] == ["crossing"]
    state.close()


def test_zones_in_shares_of_the_frame_stay_so_in_the_file(tmp_path: Path) -> None:
    site = tmp_path / "gate.toml"
    state = scene.make_state(site_file=site)
    half = Zone(
        "half", [(0.1, 0.3), (0.5, 0.3), (0.5, 0.7)], holes=[[(0.4, 0.4), (0.45, 0.4), (0.45, 0.5)]], relative=True
    )
    across = Line("across", (0.3, 0), (0.3, 1), relative=True)
    state.monitor = ZoneMonitor([half, scene.ZONE], [across], size=(1280, 720))  # drawn on larger frames
    state.monitor.resize(scene.SIZE)
    state._relative = state.monitor.relative
    items = state.annotations()["annotations"]
    items[0] |= {"name": "left", "previous_name": "half"}
    items[2]["points"][1] = [64, 370]  # dragged beyond the frame
    state.set_annotations([*items, {"kind": "line", "name": "new", "points": [[9, 9], [90, 9]]}], 0)
    left, crossing = read_site(site).zones
    assert left == dataclasses.replace(half, name="left")
    assert crossing == scene.ZONE
    across, new = read_site(site).lines
    assert (across.start, across.end, across.relative) == ((0.3, 0), (0.1, 1), True)
    assert (new.start, new.relative) == ((18, 18), False)
    items = [{**one, "name": "again"} if one["name"] == "left" else one for one in state.annotations()["annotations"]]
    items[0]["previous_name"] = "left"
    state.set_annotations(items, 1)
    assert read_site(site).zones[0] == dataclasses.replace(half, name="again")
    state.close()


def test_another_size_is_rescaled_and_another_view_has_nothing(state, monkeypatch) -> None:
    sent = sent_by(state, monkeypatch)
    state.resize((1280, 720))
    assert sent[-1]["size"] == [1280, 720]
    assert sent[-1]["annotations"][0]["points"][0] == [120, 400]
    np.testing.assert_allclose(state.calibration.to_ground(np.array([[140.0, 690.0]])), [[0, 0]], atol=1e-6)
    state.resize((720, 720))
    assert (sent[-1]["grid"], sent[-1]["calibrated"], sent[-1]["annotations"]) == ([], False, [])
    with pytest.raises(InputError, match="another view"):
        state.set_annotations([], 0)
    state.resize((640, 360))  # the old view is back
    assert sent[-1]["calibrated"] is True
    assert sent[-1]["annotations"][0]["points"][0] == [60, 200]


def test_a_frame_of_another_size_is_noticed(state, monkeypatch) -> None:
    sent = sent_by(state, monkeypatch)
    frame, result = moment(0)
    state.observe(frame, result)
    assert not [m for m in sent if m["type"] == "hello"]
    state.observe(Frame(np.zeros((180, 320, 3), np.uint8), 0.04, 1), result)
    assert [m["size"] for m in sent if m["type"] == "hello"] == [[320, 180]]


def test_a_restart_forgets_ids_counts_and_the_tracks_of_the_pipeline(state, monkeypatch) -> None:
    calls: list[str] = []
    monkeypatch.setattr(state.pipeline, "reset", lambda: calls.append("reset"))
    for x, index in ((380, 0), (420, 1), (460, 2)):  # over the line at 400, and away from it
        result = moment(index)[1]
        result.tracks.boxes[2], result.tracks.match[2] = [x - 20, 150, x + 20, 240], 2  # detected
        state.update(result.tracks, result.time)
    assert sum(state.monitor.counts.values()) == 1
    state.source.restart()
    assert calls == ["reset"]
    assert sum(state.monitor.counts.values()) == 0


@pytest.mark.parametrize(
    ("message", "paused", "answers"),
    [
        ({"paused": True}, True, 1),
        ({"paused": False}, False, 1),
        ({"step": True}, True, 1),
        ({"paused": 1}, False, 1),  # no choice: the state is sent as it is
        ([], False, 0),
        (None, False, 0),
    ],
)
def test_a_file_is_paused_and_stepped(state, monkeypatch, message: object, paused: bool, answers: int) -> None:
    sent = sent_by(state, monkeypatch)
    state.control(message)
    assert state.playback.paused is paused
    assert sent == [{"type": "state", "paused": paused}] * answers


def test_a_camera_is_not_paused(monkeypatch) -> None:
    state = scene.make_state(live=True)
    sent = sent_by(state, monkeypatch)
    state.control({"paused": True})
    assert (state.playback.paused, sent) == (False, [])
    state.close()


def test_counts_occupancy_and_rate_are_named(state) -> None:
    for index, time_s in ((0, 0.0), (1, 0.04), (2, 0.08)):  # over the line at 400, and away from it
        frame, result = moment(index, time_s)
        result.tracks.boxes[2] = [360 + 40 * index, 150, 400 + 40 * index, 240]
        result.tracks.match[2] = 2  # detected: a prediction does not count
        state.update(result.tracks, result.time)
        state.observe(frame, result)
    found = state._counts()
    assert found["occupancy"] == {"crossing": 1}
    # To larger x over a line from top to bottom: to its left.
    assert found["counts"] == [{"place": "gate", "direction": "backward", "class": "car", "count": 1}]
    assert found["fps"] > 0
    assert (found["dropped"], found["lag_ms"]) == (0, 12.0)


def test_before_the_second_frame_there_is_no_rate(state) -> None:
    assert state._counts()["fps"] is None
    state.observe(*moment(0))
    assert state._counts()["fps"] is None


def test_a_calibration_that_goes_while_an_image_is_described_is_used_to_its_end(state) -> None:
    class Leaving:
        """A calibration that the frame loop takes away in the middle: the stream shows another view."""

        def contains(self, feet):
            state.calibration = None
            return np.ones(len(feet), bool)

        def to_ground(self, feet):
            return feet / 10

    state.calibration = Leaving()
    frame = Frame(scene.pixels(0), 0.0, 0)
    record = state._describe(Published(1, frame, scene.result(0, frame), {}, 0.0))
    assert all("ground_m" in one for one in record["objects"])
    state.calibration = scene.calibration()


def test_edits_are_sent_in_the_order_of_their_versions(state, monkeypatch) -> None:
    sent, send = [], state.broadcast.send

    def slowly(**message) -> None:
        if message.get("version") == 1:
            time.sleep(0.2)  # time for the second edit to overtake the first
        sent.append(message.get("version"))
        send(**message)

    monkeypatch.setattr(state.broadcast, "send", slowly)
    now = state.annotations()
    first = threading.Thread(target=state.set_annotations, args=(now["annotations"], now["version"]))
    first.start()
    while state._version == 0:
        time.sleep(0.001)
    state.set_annotations(now["annotations"], 1)
    first.join()
    assert sent == [1, 2]
