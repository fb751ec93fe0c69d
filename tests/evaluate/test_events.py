"""Counts, alarms and two runs by their events, worked by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edgevid.errors import FileFormatError, InputError
from edgevid.evaluate.evaluation import poisson_interval
from edgevid.evaluate.events import differ, evaluate_alarms, evaluate_counts
from edgevid.output.tables import SqliteSink
from edgevid.types import Event, utc_text


def event(n: int, time: float, kind: str = "cross", **more: Any) -> Event:
    known = {"place": "gate", "class_name": "car", "direction": "forward", "run": "r", "camera": "north"}
    return Event(
        **{"id": f"r-{n}", "kind": kind, "utc": utc_text(1_800_000_000 + time), "time_s": time, **known, **more}
    )


def lines(path: Path, events: list[Event]) -> Path:
    path.write_text("".join(json.dumps(one.to_dict()) + "\n" for one in events))
    return path


def text(path: Path, value: str) -> Path:
    path.write_text(value)
    return path


def test_counts_by_class_direction_and_hour(tmp_path: Path) -> None:
    hour = utc_text(1_800_000_000)[:13]
    later = utc_text(1_800_003_600)[:13]
    events = [event(n, n) for n in range(4)] + [event(9, 4, direction="backward"), event(10, 3600, class_name="bus")]
    truth = text(tmp_path / "t.csv", f"hour,class,direction,count\n{hour},car,forward,5\n{hour},car,backward,1\n"
                 f"{later},car,forward,1\n")  # fmt: skip
    found = evaluate_counts(lines(tmp_path / "e.jsonl", events), truth)
    figures = found.figures()
    assert figures["count error"].value == pytest.approx((5 - 7) / 7)
    assert figures["absolute error"].value == pytest.approx(2 / 7)
    low, high = poisson_interval(5)
    assert figures["count error"][1:] == pytest.approx((low / 7 - 1, high / 7 - 1))
    assert list(found.groups) == [hour, later]
    rows = found.tables["Totals"].rows
    assert [row[:3] for row in rows] == [("car", "backward", 1), ("car", "forward", 4)]
    assert rows[1][-3:] == (6, pytest.approx(-1 / 3), "yes")  # 4 counted: 1.1 to 10.2
    assert found.notes == ["1 crossings have no row in the truth: not scored"]


def test_a_database_gives_the_same_counts(tmp_path: Path) -> None:
    events = [event(n, n) for n in range(6)]
    with SqliteSink(tmp_path / "e.db") as sink:
        sink.send(events)
    truth = text(tmp_path / "t.csv", "class,count\ncar,6\n")
    for path in (tmp_path / "e.db", lines(tmp_path / "e.jsonl", events)):
        assert evaluate_counts(path, truth).figures()["count error"].value == 0


def test_alarms_recall_false_alarms_and_delay(tmp_path: Path) -> None:
    """Three true times: one is met at once and twice, one after 4 s, one never; two alarms are false."""
    times = (100, 103, 204, 500, 900)
    events = [event(n, t, "stopped", confidence=0.5 + n / 10) for n, t in enumerate(times)]
    truth = text(tmp_path / "t.csv", "time,end,kind\n100,110,stopped\n200,201,stopped\n300,301,stopped\n")
    found = evaluate_alarms(lines(tmp_path / "e.jsonl", events), truth, tolerance_s=5, camera_days=0.5)
    figures = found.figures()
    assert figures["recall"].value == pytest.approx(2 / 3)
    assert figures["false alarms per camera-day"].value == 4
    assert figures["false alarms per camera-day"][1:] == pytest.approx([2 * v for v in poisson_interval(2)])
    assert (figures["delay median"].value, figures["delay p90"].value) == (2.0, pytest.approx(3.6))
    assert "1 more alarms repeat one" in found.notes
    # The surest alarms, 0.9 and 0.8, are false: with at most one false alarm a day nothing is left.
    assert "recall at 1 false alarms per camera-day, by a least confidence: 0.0 %" in " ".join(found.notes)
    utc = text(tmp_path / "u.csv", f"time,camera\n{utc_text(1_800_000_100)},north\n{utc_text(1_800_000_200)},south\n")
    other = evaluate_alarms(tmp_path / "e.jsonl", utc, kinds=["stopped"], tolerance_s=5, camera_days=1)
    assert other.figures()["recall"].value == 0.5  # the alarm at 204 is of another camera


def test_without_a_kind_or_known_columns_it_asks(tmp_path: Path) -> None:
    events = lines(tmp_path / "e.jsonl", [event(0, 1, "stopped")])
    with pytest.raises(InputError, match="--kinds"):
        evaluate_alarms(events, text(tmp_path / "t.csv", "time\n1\n"))
    with pytest.raises(FileFormatError, match="time, and of end, camera, kind"):
        evaluate_alarms(events, text(tmp_path / "t.csv", "start\n1\n"))
    with pytest.raises(FileFormatError, match="line 3: count: expected a number"):
        evaluate_counts(events, text(tmp_path / "t.csv", "class,count\ncar,1\nbus,many\n"))
    with pytest.raises(InputError, match="expected events, got none"):
        evaluate_counts(text(tmp_path / "none.jsonl", ""), text(tmp_path / "t.csv", "class,count\ncar,1\n"))


def test_two_runs_by_events(tmp_path: Path) -> None:
    a = [event(0, 10), event(1, 10.5), event(2, 30), event(3, 50, "stopped")]
    b = [event(0, 10.4, run="s"), event(1, 11.2, run="s"), event(2, 40, run="s"), event(3, 50, "dwell", run="s")]
    found = differ(lines(tmp_path / "a.jsonl", a), lines(tmp_path / "b.jsonl", b), tolerance_s=1)
    values = {name: one.value for name, one in found.figures().items()}
    assert values == {"events in both": 2 / 6, "in both": 2, "only in A": 2, "only in B": 2}
    assert [row[:3] for row in found.tables["Only in one"].rows] == [
        ("A", "cross", "30.00"), ("A", "stopped", "50.00"), ("B", "cross", "40.00"), ("B", "dwell", "50.00")
    ]  # fmt: skip
    # The same day again, an hour later on the stream's clock: UTC matches them.
    moved = [
        Event(**{**{k: v for k, v in one.to_dict().items() if k != "schema"}, "time_s": one.time_s + 3600}) for one in a
    ]
    again = differ(tmp_path / "a.jsonl", lines(tmp_path / "c.jsonl", moved))
    assert again.figures()["events in both"].value == 1
    assert again.notes == ["matched within 1 s by UTC"]
