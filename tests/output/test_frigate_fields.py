"""Objects with Frigate's field names: new, update, end, zones, speeds with their errors."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from event_samples import an_event

from edgevid.output import mqtt
from edgevid.output.mqtt import FrigateObjects
from edgevid.types import Event

FIELDS = {
    "id", "camera", "frame_time", "start_time", "end_time", "label", "sub_label", "score", "top_score",
    "false_positive", "has_snapshot", "has_clip", "current_zones", "entered_zones", "stationary", "active",
    "box", "area", "ratio", "current_estimated_speed", "average_estimated_speed", "velocity_angle",
}  # fmt: skip
"""Those of docs.frigate.video/integrations/mqtt."""


def of(kind: Any, number: int, **values: Any) -> Event:
    return replace(an_event(number, track=7, class_name="car", **values), kind=kind)


def test_an_object_from_its_first_event_to_its_end() -> None:
    objects = FrigateObjects()
    first = objects.message(of("enter", 0, place="yard", confidence=0.8, box=(10.2, 20.0, 30.0, 30.0), count=1))
    assert first["schema"] == "edgevid.event/1"  # and Frigate's fields beside the event's own
    assert first["type"] == "new"
    assert first["before"] == first["after"]
    after = first["after"]
    assert set(after) == FIELDS | {"current_estimated_speed_error", "average_estimated_speed_error"}
    assert (after["id"], after["camera"], after["label"]) == ("gate-1-7", "gate", "car")
    assert (after["box"], after["area"], after["ratio"]) == ([10, 20, 30, 30], 200, 2.0)
    assert after["current_zones"] == after["entered_zones"] == ["yard"]
    assert after["current_estimated_speed"] is None
    fast = objects.message(of("speed-limit", 1, speed_mps=10.0, speed_sigma_mps=0.5, confidence=0.6))
    assert (fast["type"], fast["before"]) == ("update", after)
    assert fast["after"]["current_estimated_speed"] == 36.0
    assert fast["after"]["current_estimated_speed_error"] == 1.8
    assert (fast["after"]["score"], fast["after"]["top_score"]) == (0.6, 0.8)
    named = objects.message(of("verdict", 2, label="turning", label_confidence=0.9))
    assert named["after"]["sub_label"] == ["turning", 0.9]
    stopped = objects.message(of("stopped", 3, place="yard"))["after"]
    assert (stopped["stationary"], stopped["active"]) == (True, False)
    assert objects.message(of("leave", 4, place="yard"))["after"]["current_zones"] == []
    mean = {"speed_mps": 5.0, "speed_sigma_mps": 0.1, "speed_heading_deg": 90.0}
    assert objects.message(of("track-speed", 5, **mean))["after"]["average_estimated_speed"] == 18.0
    end = objects.message(of("track-ended", 6, seconds=6.0))
    assert end["type"] == "end"
    assert end["after"]["end_time"] - end["after"]["start_time"] == 6.0
    assert (end["after"]["average_estimated_speed_error"], end["after"]["velocity_angle"]) == (0.36, 90.0)
    assert end["after"]["entered_zones"] == ["yard"]
    assert objects.message(of("enter", 7, place="yard"))["type"] == "new"


def test_an_event_of_no_object_has_its_own_fields_only(monkeypatch: pytest.MonkeyPatch) -> None:
    objects = FrigateObjects()
    moved = replace(an_event(0, reason="by 12 pixels"), kind="camera-moved")
    assert objects.message(moved) == moved.to_dict()
    monkeypatch.setattr(mqtt, "MOST_OBJECTS", 2)
    for track in range(5):
        objects.message(an_event(track, track=track))
    assert list(objects._objects) == ["gate-1-3", "gate-1-4"]
