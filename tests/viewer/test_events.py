"""The events that a viewer filters: of a database or in memory, newest first, quickly."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from event_samples import an_event

from edgevid.errors import InputError
from edgevid.output import SqliteSink
from edgevid.types import Event
from edgevid.viewer import state
from edgevid.viewer.state import EventStore


@pytest.fixture
def store() -> EventStore:
    made = EventStore()
    made.add(an_event(1, track=7, class_name="car", place="gate", speed_mps=10.0, box=(1.0, 2.0, 3.0, 4.0)))
    made.add(an_event(2, track=8, class_name="person", place="yard"))
    made.add(an_event(3, track=9, class_name="car", place="yard", speed_mps=20.0, clip="gate/a.mp4"))
    return made


def test_the_newest_come_first_without_what_does_not_apply(store: EventStore) -> None:
    found = store.find({})
    assert [one["id"][-1] for one in found] == ["3", "2", "1"]
    assert found[2]["box"] == [1.0, 2.0, 3.0, 4.0]
    assert "direction" not in found[0]
    assert Event.of(found[0]) == an_event(3, track=9, class_name="car", place="yard", speed_mps=20.0, clip="gate/a.mp4")
    assert len(store.find({}, limit=2)) == 2


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"class": "car"}, "31"), ({"class": "car,person"}, "321"), ({"place": "yard"}, "32"),
        ({"track": "8"}, "2"), ({"kind": "enter"}, ""), ({"camera": "gate"}, "321"),
        ({"min_kmh": "50"}, "3"), ({"max_kmh": "36.1"}, "1"), ({"class": "car", "place": "gate"}, "1"),
        ({"after": "2026-01-31T12:00:02.000Z"}, "32"), ({"before": "2026-01-31T12:00:02.000Z"}, "1"),
    ],
)  # fmt: skip
def test_filters_are_combined(store: EventStore, filters: dict[str, str], expected: str) -> None:
    assert "".join(one["id"][-1] for one in store.find(filters)) == expected


def test_counts_are_of_the_same_filters(store: EventStore) -> None:
    (one,) = store.counts({"place": "gate"})
    assert one == {"camera": "gate", "kind": "cross", "place": "gate", "direction": None,
                   "class_name": "car", "events": 1}  # fmt: skip
    assert sum(one["events"] for one in store.counts({})) == 3


def test_mistakes_are_one_sentence(store: EventStore) -> None:
    with pytest.raises(InputError, match="min_kmh: expected a number, got 'fast'"):
        store.find({"min_kmh": "fast"})
    with pytest.raises(InputError, match=r"filter: expected one of class, camera, kind, .*, got 'x; DROP TABLE'"):
        store.find({"x; DROP TABLE": "1"})
    assert store.find({"class": "'; DROP TABLE events; --"}) == []
    assert len(store.find({})) == 3


def test_a_database_is_read_while_a_run_writes_it(tmp_path: Path) -> None:
    with SqliteSink(tmp_path / "events.db") as sink:
        sink.send([an_event(1)])
        store = EventStore(tmp_path / "events.db")
        store.add(an_event(2))  # the run's own sink brings it
        assert len(store.find({})) == 1
        sink.send([an_event(2)])
        assert len(store.find({})) == 2


def test_memory_is_bounded(store: EventStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "MOST_KEPT", 50)
    for number in range(4, 1001):
        store.add(an_event(number))
    assert len(store.find({}, limit=1000)) == 50


def test_a_week_of_events_has_an_index_for_each_order(tmp_path: Path) -> None:
    """What the benchmark times: no filter sorts the whole table."""
    with SqliteSink(tmp_path / "events.db"), sqlite3.connect(tmp_path / "events.db") as base:
        plan = base.execute("EXPLAIN QUERY PLAN SELECT * FROM events ORDER BY utc DESC LIMIT 9").fetchall()
    assert "events_by_utc" in plan[0][-1]
