"""EventFinder: what becomes an event, and when."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from event_samples import a_frame, a_result

from edgevid.health.view_monitor import State
from edgevid.output.events import ENDED_S, EventFinder
from edgevid.types import Event, Header, Reason, utc_text
from edgevid.video.connect import StreamEvent
from edgevid.zones import ZoneEvent


class Found(list[Event]):
    """The events, and their kinds."""

    @property
    def kinds(self) -> list[str]:
        return [event.kind for event in self]


def finder(source: Any = None, **options: Any) -> tuple[EventFinder, Found]:
    found = Found()
    return EventFinder(Header("gate", start=1000.0), found.append, source, **options), found


def test_ids_are_numbered_and_times_are_in_utc() -> None:
    events, found = finder()
    result = a_result(2.5, [7])
    events.update(a_frame(result), result, [ZoneEvent(2.4, "cross", "line", 7, 0, "forward")] * 2)
    first, second = found
    assert first.id.endswith("-000001")
    assert second.id == first.id[:-1] + "2"
    assert first.utc == utc_text(1002.4)
    assert (first.place, first.direction, first.track, first.class_name) == ("line", "forward", 7, "car")
    assert first.box == (0.0, 0.0, 9.0, 9.0)
    assert first.frame == 25


def test_an_event_of_a_live_source_has_the_time_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgevid.output.events.clock.time", lambda: 5000.0)
    events, _ = finder(SimpleNamespace(live=True, now=lambda: 60.0, events=[]))
    assert events.utc(59.5) == 4999.5


def test_a_verdict_is_an_event_when_it_is_emitted_changes_and_ends() -> None:
    events, found = finder()
    for n, label in enumerate([-1, 0, 0, 1, -1, 1]):
        result = a_result(n / 10, [1], verdicts=[label])
        events.update(a_frame(result), result)
    assert found.kinds == ["verdict", "verdict-changed", "verdict-abstained", "verdict"]
    assert [event.label for event in found] == ["walk", "run", "run", "run"]
    assert [event.reason for event in found] == ["", "", "LOW_MARGIN", ""]


def test_a_track_ends_once_with_its_time_its_speed_and_why_it_had_no_verdict() -> None:
    events, found = finder()
    for n in range(11):
        result = a_result(n / 10, [4], verdicts=[-1], track_speeds=[(4, 12.0, 0.5)] if n == 10 else [])
        events.update(a_frame(result), result)
    result = a_result(1.0 + ENDED_S + 0.1, [])
    events.update(a_frame(result), result)
    events.close()
    assert found.kinds == ["track-speed", "verdict-abstained", "track-ended"]
    assert found[1].reason == "LOW_MARGIN"
    ended = found[-1]
    assert (ended.time_s, ended.seconds, ended.count, ended.confidence) == (1.0, 1.0, 11, 0.9)
    assert (ended.speed_mps, ended.speed_sigma_mps, ended.speed_heading_deg) == (12.0, 0.5, 90.0)


def test_the_end_of_a_run_ends_its_tracks() -> None:
    events, found = finder()
    result = a_result(0.0, [1, 2])
    events.update(a_frame(result), result)
    events.close()
    assert [(event.kind, event.track) for event in found] == [("track-ended", 1), ("track-ended", 2)]


def test_a_source_that_starts_again_ends_its_tracks() -> None:
    events, found = finder()
    for time in (0.0, 3.0, 0.0):
        result = a_result(time, [1])
        events.update(a_frame(result), result)
    assert [(event.kind, event.seconds) for event in found] == [("track-ended", 3.0)]


def test_a_speed_is_above_the_limit_only_by_more_than_its_error_allows() -> None:
    """The limit is 36 km/h, 10 m/s: 11 with an error of 1 may be 10, with one of 0.5 it is above."""
    events, found = finder(speed_limit_kmh=36)
    for time, sigma in enumerate((1.0, 0.5, 0.4)):
        result = a_result(time, [1], smoothed=[(1, 11.0, sigma)])
        events.update(a_frame(result), result)
    assert found.kinds == ["speed-limit"]
    assert found[0].speed_sigma_mps == 0.5


def test_a_moved_camera_and_an_unusable_image_are_events_and_so_are_their_ends() -> None:
    events, found = finder()
    alarm = SimpleNamespace(message="moved by 9 px")
    view = SimpleNamespace(references=[1], detail="too dark")
    states = [(None, State.ALIGNED, False), (alarm, State.MOVED, False), (None, State.UNKNOWN, False),
              (None, State.ALIGNED, True), (None, State.ALIGNED, False)]  # fmt: skip
    for n, (raised, state, damaged) in enumerate(states):
        result = a_result(n / 10, [])
        health = SimpleNamespace(alarm=raised, state=state, view=view)
        events.update(a_frame(result, damaged=damaged), result, health=health)
    assert found.kinds == ["camera-moved", "camera-aligned", "image-unusable", "image-usable"]
    assert [event.reason for event in found] == ["moved by 9 px", "acknowledged", "too dark", "too dark"]


def test_a_stream_is_lost_and_back_once_however_often_it_is_tried() -> None:
    source = SimpleNamespace(live=True, now=lambda: 0.0, events=[StreamEvent(0.0, "connected", "64x48")])
    events, found = finder(source)
    events.poll_stream()
    source.events += [StreamEvent(5.0, "stalled", "no frame"), StreamEvent(7.0, "lost", "no route")]
    events.poll_stream()
    source.events += [StreamEvent(15.0, "connected", "64x48")]
    events.poll_stream()
    events.poll_stream()
    assert [(event.kind, event.time_s, event.seconds) for event in found] == [
        ("stream-lost", 5.0, None),
        ("stream-back", 15.0, 10.0),
    ]


def test_a_speed_that_is_not_emitted_is_its_reason() -> None:
    events, found = finder()
    result = a_result(0.0, [1], track_speeds=[(1, 3.0, 0.1)])
    result.speeds.track_speeds.reason[0] = Reason.UNCERTAIN
    events.update(a_frame(result), result)
    assert (found[0].speed_mps, found[0].speed_reason) == (None, "UNCERTAIN")
