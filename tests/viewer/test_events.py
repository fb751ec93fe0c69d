"""The numbered events: in order, the latest kept, and each change of a verdict once."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import pytest

from edgevid.types import Detections, Reason, Result, SpeedReport, Speeds, Tracks, Verdicts
from edgevid.video.live import StreamEvent
from edgevid.viewer.events import MAX_EVENTS, EventLog, class_name
from edgevid.zones import ZoneEvent

NAMES = {"class": ("person", "car"), "action": ("walk", "wave")}


@pytest.fixture
def sent() -> list[dict[str, Any]]:
    return []


@pytest.fixture
def log(sent: list[dict[str, Any]]) -> EventLog:
    return EventLog(sent.append)


def result(
    ids: list[int],
    labels: list[int],
    *,
    time: float = 1.0,
    verdicts: dict[str, list[int]] | None = None,
    ended: tuple[int, float, Reason] | None = None,
) -> Result:
    """One moment with these tracks, labels of verdicts by task, and the track that ended: id, m/s, reason."""
    n = len(ids)
    tracks = Tracks.of(
        ids=ids, boxes=[[0, 0, 9, 9]] * n, scores=[0.9] * n, labels=labels, match=[0] * n, age=[1] * n,
        unseen=[0] * n,
    )  # fmt: skip
    tables = {}
    for task, emitted in (verdicts or {}).items():
        reason = [Reason.OK if label >= 0 else Reason.LOW_CONFIDENCE for label in emitted]
        tables[task] = Verdicts.of(ids=ids, labels=emitted, confidence=[0.8126] * n, reason=reason)
    speeds = Speeds.empty()
    if ended is not None:
        speeds = Speeds.of(
            ids=[ended[0]], mps=[ended[1]], sigma=[0.25], heading=[90.0], time=[time], reason=[ended[2]]
        )
    report = SpeedReport(track_speeds=speeds)
    return Result(0, time, (64, 48), Detections.empty(), tracks, report, {}, tables, NAMES)


def test_events_are_numbered_sent_and_kept(log: EventLog, sent: list[dict[str, Any]]) -> None:
    log.emit("note", 1.23456, place="gate")
    log.emit("note", 2)
    assert sent == log.latest()
    assert sent == [
        {"n": 1, "kind": "note", "time_s": 1.235, "place": "gate"},
        {"n": 2, "kind": "note", "time_s": 2.0},
    ]


def test_the_latest_are_kept_and_numbers_go_on(log: EventLog, sent: list[dict[str, Any]]) -> None:
    for n in range(MAX_EVENTS + 5):
        log.emit("note", n)
    assert len(sent) == MAX_EVENTS + 5
    assert [event["n"] for event in log.latest()] == list(range(6, MAX_EVENTS + 6))


def test_threads_send_in_the_order_of_the_numbers(log: EventLog, sent: list[dict[str, Any]]) -> None:
    threads = [threading.Thread(target=lambda: [log.emit("note", 0) for _ in range(200)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [event["n"] for event in sent] == list(range(1, 801))


def test_a_zone_event_names_place_class_and_duration(log: EventLog, sent: list[dict[str, Any]]) -> None:
    events = [
        ZoneEvent(3.0, "leave", "yard", 7, 1, seconds=2.3456),
        ZoneEvent(3.5, "cross", "gate", 8, 5, direction="forward"),
    ]
    log.add_zone_events(events, NAMES["class"])
    assert sent == [
        {"n": 1, "kind": "leave", "time_s": 3.0, "place": "yard", "id": 7, "direction": "",
         "seconds": 2.35, "class": "car"},
        {"n": 2, "kind": "cross", "time_s": 3.5, "place": "gate", "id": 8, "direction": "forward",
         "seconds": 0.0, "class": "5"},
    ]  # fmt: skip


def test_a_verdict_is_an_event_when_it_changes(log: EventLog, sent: list[dict[str, Any]]) -> None:
    for label in (0, 0, -1, 0, 1, 1):
        log.add_result(result([4], [0], verdicts={"action": [label]}))
    assert [event["label"] for event in sent] == ["walk", "wave"]  # an abstention between is no change
    assert sent[0] == {
        "n": 1, "kind": "verdict", "time_s": 1.0, "id": 4, "task": "action", "label": "walk",
        "confidence": 0.813, "class": "person",
    }  # fmt: skip


def test_each_task_and_object_has_verdicts_of_its_own(log: EventLog, sent: list[dict[str, Any]]) -> None:
    log.add_result(result([4, 5], [0, 0], verdicts={"action": [0, 0], "pose": [0, 0]}))
    assert [(event["task"], event["id"]) for event in sent] == [
        ("action", 4), ("action", 5), ("pose", 4), ("pose", 5),
    ]  # fmt: skip
    log.add_result(result([4], [1], verdicts={"class": [1]}))
    assert len(sent) == 4  # the detector's class is shown with the object


def test_an_object_that_comes_back_is_a_new_one(log: EventLog, sent: list[dict[str, Any]]) -> None:
    log.add_result(result([4], [0], verdicts={"action": [0]}))
    log.add_result(result([], []))
    log.add_result(result([4], [0], verdicts={"action": [0]}))
    assert [event["label"] for event in sent] == ["walk", "walk"]
    log.restart()
    log.add_result(result([4], [0], verdicts={"action": [0]}))
    assert [event["kind"] for event in sent] == ["verdict", "verdict", "restart", "verdict"]
    assert sent[2]["time_s"] == 0.0


def test_the_speed_of_an_ended_track_has_the_class_of_the_track(
    log: EventLog, sent: list[dict[str, Any]]
) -> None:
    log.add_result(result([4], [1]))
    log.add_result(result([], [], time=2.0, ended=(4, 14.0004, Reason.OK)))
    assert sent == [
        {"n": 1, "kind": "track_speed", "time_s": 2.0, "id": 4, "mps": 14.0, "sigma_mps": 0.25,
         "class": "car"},
    ]  # fmt: skip
    log.add_result(result([], [], time=3.0, ended=(4, 14.0, Reason.OK)))
    assert "class" not in sent[1]  # its class went with the track
    log.add_result(result([], [], ended=(4, float("nan"), Reason.UNCERTAIN)))
    assert len(sent) == 2


def test_what_happened_to_the_stream_is_sent_once(log: EventLog, sent: list[dict[str, Any]]) -> None:
    source = SimpleNamespace(events=[StreamEvent(1.0, "connected", "h264")])
    log.add_stream_events(source)
    log.add_stream_events(source)
    source.events.append(StreamEvent(2.0, "lost", "the stream ended"))
    source.events.append(StreamEvent(2.0, "lost", "the stream ended"))  # equal, and another one
    log.add_stream_events(source)
    assert [(event["kind"], event["detail"]) for event in sent] == [
        ("connected", "h264"), ("lost", "the stream ended"), ("lost", "the stream ended"),
    ]  # fmt: skip
    del source.events[:2]  # a source keeps only its latest
    log.add_stream_events(source)
    assert len(sent) == 3
    log.add_stream_events(object())  # a file has none
    assert len(sent) == 3


def test_a_class_without_a_name_is_its_number() -> None:
    assert [class_name(("a", "b"), n) for n in (0, 1, 2, -1)] == ["a", "b", "2", "-1"]
