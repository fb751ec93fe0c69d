"""Delivery: every event in order to every sink, whatever a sink does; the loop never waits."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import pytest
from event_samples import SlowToAccept, an_event

from edgevid.output import delivery
from edgevid.output.delivery import Delivery, RejectedError
from edgevid.types import Event


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Failures are answered at once, and the end of a run does not wait for long."""
    monkeypatch.setattr(delivery.random, "uniform", lambda low, high: 0.01)
    monkeypatch.setattr(delivery, "DRAIN_S", 1.0)


def ids(start: int, end: int) -> list[str]:
    return [an_event(n).id for n in range(start, end)]


def test_a_sink_that_fails_gets_the_same_events_again_and_others_do_not_wait(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    slow, there = SlowToAccept(failures=3), SlowToAccept()
    there.name = "there"
    with caplog.at_level(logging.INFO, "edgevid"), Delivery([slow, there], tmp_path / "gate") as events:
        for n in range(600):
            events.put(an_event(n))
    assert slow.ids == there.ids == ids(0, 600)
    assert slow.closed
    assert caplog.text.count("the server is away; events wait in the spool") == 1
    assert "takes events again" in caplog.text
    assert events.notes() == []


def test_what_a_sink_did_not_take_comes_with_the_next_run(tmp_path: Path) -> None:
    away = SlowToAccept(failures=10**9)
    with Delivery([away], tmp_path / "gate") as events:
        for n in range(5):
            events.put(an_event(n))
    assert events.notes() == ["slow: 5 events wait for the camera's next run (the server is away)"]
    back = SlowToAccept()
    with Delivery([back], tmp_path / "gate") as events:
        events.put(an_event(5))
    assert back.ids == ids(0, 6)


def test_two_sinks_of_one_name_have_positions_of_their_own_and_no_password_is_in_them(tmp_path: Path) -> None:
    sinks = [SlowToAccept(failures=10**9), SlowToAccept()]
    for sink in sinks:
        sink.name = "mqtt://me:hunter2@gate"
    with Delivery(sinks, tmp_path / "gate") as events:
        events.put(an_event(0))
        assert [worker.name for worker in events.workers] == ["mqtt://***:***@gate", "mqtt://***:***@gate 2"]
    assert [worker.backlog for worker in events.workers] == [1, 0]
    assert not any("hunter2" in path.name for path in tmp_path.rglob("*"))


@pytest.mark.parametrize(
    ("name", "other"), [("sqlite улица", "sqlite дорога"), ("redis a b", "redis a-b"), ("x" * 101, "y" + "x" * 100)]
)
def test_sinks_of_similar_names_do_not_share_a_position(tmp_path: Path, name: str, other: str) -> None:
    for failures, expected in ((10**9, []), (0, ids(0, 3))):
        there, away = SlowToAccept(), SlowToAccept(failures=failures)
        there.name, away.name = name, other
        with Delivery([there, away], tmp_path / "gate") as events:
            for n in range(3 if failures else 0):
                events.put(an_event(n))
        assert away.ids == expected


def test_what_the_other_side_never_takes_is_left_out_and_counted(tmp_path: Path) -> None:
    class Picky(SlowToAccept):
        def send(self, events: Sequence[Event]) -> None:
            if an_event(3) in events:
                raise RejectedError("400: no such camera")
            super().send(events)

    picky = Picky()
    with Delivery([picky], tmp_path / "gate") as events:
        for n in range(8):
            events.put(an_event(n))
    assert picky.ids == [i for i in ids(0, 8) if i != an_event(3).id]
    assert events.notes() == ["slow: 1 events were rejected"]


def test_what_a_sink_holds_is_acknowledged_when_it_is_safe(tmp_path: Path) -> None:
    class Holds(SlowToAccept):
        held = 0
        fails = True

        def send(self, events: Sequence[Event]) -> None:
            super().send(events)
            self.held += len(events)

        def close(self) -> None:
            if self.fails:
                raise OSError("No space left on device")
            self.held = 0

    first, second = Holds(), Holds()
    second.fails = False
    for sink, new in ((first, range(3)), (second, range(3, 4))):
        with Delivery([sink], tmp_path / "gate") as events:
            for n in new:
                events.put(an_event(n))
    assert second.ids == ids(0, 4)


def test_a_full_disk_keeps_events_in_memory_until_there_is_space(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    sink, full = SlowToAccept(), [3]
    with Delivery([sink], tmp_path / "gate") as events:
        append = events._spool.append

        def on_a_full_disk(lines: Sequence[bytes]) -> None:
            if full[0]:
                full[0] -= 1
                raise OSError(28, "No space left on device")
            append(lines)

        monkeypatch.setattr(events._spool, "append", on_a_full_disk)
        monkeypatch.setattr(events._over, "wait", lambda seconds: False)
        for n in range(3):
            events.put(an_event(n))
    assert sink.ids == ids(0, 3)
    assert caplog.text.count("cannot be written: No space left on device") == 1


def test_events_beyond_the_memory_are_dropped_and_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "MOST_QUEUED", 0)
    with Delivery([SlowToAccept()], tmp_path / "gate") as events:
        events.put(an_event(0))
    assert events.notes() == ["1 events were dropped: the spool's disk is full"]
