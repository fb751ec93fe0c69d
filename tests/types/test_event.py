"""Event and Header: plain values and back, and times in UTC."""

from __future__ import annotations

import json

import pytest
from event_samples import an_event

from edgevid.types import Event, Header
from edgevid.types.event import utc_seconds, utc_text


def test_an_event_is_the_same_after_json_and_has_no_empty_field() -> None:
    event = an_event(3, place="gate", speed_mps=0.0, box=(1.0, 2.0, 3.5, 4.0))
    values = json.loads(json.dumps(event.to_dict()))
    assert values["schema"] == "edgevid.event/1"
    assert "label" not in values
    assert values["speed_mps"] == 0.0
    assert Event.of(values) == event
    assert Event.of(values | {"of_a_later_version": 1}) == event


@pytest.mark.parametrize("text", ["2026-01-31T12:00:00Z", "2026-01-31T13:00:00+01:00", "2026-01-31T12:00:00"])
def test_a_time_without_a_zone_is_utc(text: str) -> None:
    assert utc_text(utc_seconds(text)) == "2026-01-31T12:00:00.000Z"


def test_two_runs_of_one_recording_have_different_names() -> None:
    first, second = Header("gate", start=0.0), Header("gate", start=0.0)
    assert first.run.startswith("gate-20")
    assert first.run != second.run
    assert first.to_dict()["start_utc"] == "1970-01-01T00:00:00.000Z"
