"""Report: each figure against one worked by hand, intervals over days when the clocks change, and gaps."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from report_samples import Day, write

from edgevid.errors import InputError
from edgevid.report import Report, Store, interval_of
from edgevid.types import utc_seconds

pytest.importorskip("duckdb")


def report_of(tmp_path: Path, *days: Day, every: int = 60, zone: str = "UTC", **options: Any) -> Report:
    """The report of some days; the store is closed with the process."""
    (tmp_path / "day.jsonl").unlink(missing_ok=True)
    return Report(Store([write(tmp_path / "day.jsonl", *days)]), every, zone, **options)


def whole(report: Report, name: str) -> list[tuple[Any, ...]]:
    """The rows of a table for the whole time, without camera, bounds and share."""
    return [row[4:] for row in report.table(name, by_interval=False)[1:]]


def test_counts_are_by_line_direction_class_and_interval(tmp_path: Path) -> None:
    day = Day()
    for track, (at, direction, name) in enumerate(
        [(1, "forward", "car"), (2, "forward", "car"), (3, "backward", "bus"), (70, "forward", "car")]
    ):
        day.add("cross", at, track, place="gate", direction=direction, class_name=name)
        day.add("track-ended", at + 1, track, class_name=name, seconds=1.0)
    day.events[-2] = replace(day.events[-2], class_name="truck")  # not yet known for a car when it crossed
    report = report_of(tmp_path, day)
    assert whole(report, "counts") == [
        ("gate", "backward", "bus", 1), ("gate", "forward", "car", 3),
        (None, None, "bus", 1), (None, None, "car", 3),
    ]  # fmt: skip
    first, *rows = report.table("counts", by_interval=True)
    assert first == ("camera", "start", "end", "observed", "line", "direction", "class", "count")
    gate = [row for row in rows if row[4] == "gate"]
    assert [row[1:3] for row in gate] == [("2026-01-31T12:00:00.000+00:00", "2026-01-31T12:01:00.000+00:00")] * 2 + [
        ("2026-01-31T12:01:00.000+00:00", "2026-01-31T12:02:00.000+00:00")
    ]
    assert [row[7] for row in gate] == [1, 2, 1]


def test_a_clock_that_was_not_set_is_named_and_a_start_by_it_does_not_count(tmp_path: Path) -> None:
    day = a_drive([50.0])
    day.header = replace(day.header, start=10.0)  # 1970
    ((start, end),) = [row[1:3] for row in report_of(tmp_path, day).table("counts", by_interval=False)[1:2]]
    assert start[:10] == end[:10] == "2026-01-31"
    day.events[0] = replace(day.events[0], utc="1970-01-01T00:00:10.000Z")
    with pytest.raises(InputError, match=r"up to ten years, got 1970-01-01 .*a clock was not set; edgevid forget"):
        report_of(tmp_path, day)


def test_events_of_a_camera_without_a_name_have_a_report(tmp_path: Path) -> None:
    day = a_drive([50.0])
    day.events[:] = [replace(event, camera="") for event in day.events]
    assert report_of(tmp_path, day).cameras == [""]


def covers(n: int, p: float, low: int, high: int) -> float:
    """How often the quantile p lies between the order statistics of these ranks, from 1, of n: a binomial."""
    return sum(math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(low, high))


def test_the_interval_of_a_quantile_holds_at_least_95_times_of_100(tmp_path: Path) -> None:
    """Between two order statistics, whose coverage is a binomial's (David and Nagaraja 2003, 7.1)."""
    store = report_of(tmp_path, a_drive([50.0])).store
    for p in (0.5, 0.85):
        found = []
        for n in range(6, 400):
            ((low, high),) = store.rows("SELECT low_rank(?, ?), high_rank(?, ?)", n, p, n, p)
            if low >= 1 and high <= n:
                found.append((n, covers(n, p, low, high)))
        assert found[0][0] == {0.5: 6, 0.85: 29}[p]
        assert min(share for _, share in found) > 0.95
        assert np.mean([share for _, share in found]) < 0.965


def a_drive(speeds: list[float | None], **values: Any) -> Day:
    day = Day()
    for track, kmh in enumerate(speeds):
        day.vehicle(track, 1 + track, kmh, **values)
    return day


def test_v50_and_v85_are_quantiles_with_an_interval_of_order_statistics(tmp_path: Path) -> None:
    speeds = [40.0 + k for k in range(100)]
    report = report_of(tmp_path, a_drive([*speeds, None, None]), every=3600)
    rows = {row[0]: row[1:] for row in whole(report, "speeds")}
    tracks, measured, share, v50, v50_se, low, high, v85, v85_se, v85_low, v85_high = rows["all"]
    assert (tracks, measured, share) == (102, 100, pytest.approx(2 / 102))
    # n p = 50 and 85; 1.96 standard deviations are 9.8 and 7.0 ranks: ranks 40 and 78 to 61 and 93, from 1
    assert (v50, low, high) == (pytest.approx(89.5), pytest.approx(79.0), pytest.approx(100.0))
    assert (v85, v85_low, v85_high) == (
        pytest.approx(np.quantile(speeds, 0.85)),
        pytest.approx(117.0),
        pytest.approx(132.0),
    )
    assert v50_se == pytest.approx(21 / 2 / 1.96, abs=1e-3)
    assert v85_se == pytest.approx(15 / 2 / 1.96, abs=1e-3)
    assert rows["gate forward"] == rows["car"] == rows["all"]
    assert whole(report, "no_speed") == [("UNCERTAIN", 2)]


def test_an_error_that_all_speeds_share_widens_the_interval(tmp_path: Path) -> None:
    day = a_drive([50.0] * 100)
    day.events[:] = [
        type(e).of(e.to_dict() | ({"speed_sigma_mps": 1 / 3.6} if e.speed_mps else {})) for e in day.events
    ]
    (row,) = [row for row in whole(report_of(tmp_path, day, every=3600), "speeds") if row[0] == "all"]
    assert row[4:8] == (
        pytest.approx(50.0),
        pytest.approx(1.0),
        pytest.approx(48.04, abs=0.01),
        pytest.approx(51.96, abs=0.01),
    )


def test_too_few_speeds_have_no_v85_and_persons_are_in_no_v85_of_vehicles(tmp_path: Path) -> None:
    day = a_drive([50.0] * 22)
    for track in range(100, 140):
        day.vehicle(track, 50, 5.0, class_name="person")
    rows = {row[0]: row for row in whole(report_of(tmp_path, day, every=3600), "speeds")}
    assert rows["all"][1:3] == (22, 22)
    assert rows["all"][4] == pytest.approx(50.0)
    assert rows["all"][8] is None
    assert "person" not in rows
    rows = {row[0]: row for row in whole(report_of(tmp_path, day, every=3600, classes=["person"]), "speeds")}
    assert rows["all"][1:3] == (40, 40)


def test_the_summary_names_what_is_above_the_limit(tmp_path: Path) -> None:
    day = a_drive([50.0, 90.0])
    day.add("speed-limit", 3, 1, class_name="car", speed_mps=25.0)
    assert ("1", "above the speed limit") in report_of(tmp_path, day).views("gate")[0].rows


def test_a_camera_without_calibration_has_no_table_of_speeds(tmp_path: Path) -> None:
    day = Day()
    day.add("track-ended", 1, 1, class_name="car", seconds=1.0)
    report = report_of(tmp_path, day)
    assert whole(report, "speeds") == whole(report, "no_speed") == []
    assert not any("Speed" in view.title for view in report.views("gate"))


def test_dwell_and_occupancy_of_a_zone(tmp_path: Path) -> None:
    """One inside from 10 to 40 s, two more from 20 to 30 s: 30 s empty, 20 with one, 10 with three."""
    day = Day()
    for at, kind, track, seconds in [
        (10, "enter", 1, None), (20, "enter", 2, None), (20, "enter", 3, None), (30, "leave", 2, 10.0),
        (30, "leave", 3, 10.0), (40, "leave", 1, 30.0), (60, "track-ended", 9, 1.0),
    ]:  # fmt: skip
        day.add(kind, at, track, place="yard" if kind != "track-ended" else "", seconds=seconds)
    report = report_of(tmp_path, day, every=30)
    (row,) = whole(report, "zones")
    assert row[:6] == ("yard", 3, pytest.approx(50 / 3), 10.0, pytest.approx(28.0), 30.0)
    assert row[6:] == (pytest.approx(50 / 60), 3, 3)
    halves = [row[4:] for row in report.table("zones", by_interval=True)[1:]]
    assert [half[6] for half in halves[:2]] == [pytest.approx(40 / 30), pytest.approx(10 / 30)]
    assert [half[8] for half in halves[:2]] == [3, 1]


def test_occupancy_does_not_count_while_the_stream_is_away(tmp_path: Path) -> None:
    day = Day()
    day.add("enter", 0, 1, place="yard", count=1)
    day.add("stream-lost", 20, reason="away")
    day.add("leave", 20, 1, place="yard", seconds=20.0, count=0)
    day.add("stream-back", 50, seconds=30.0)
    day.add("track-ended", 60, 2, seconds=1.0)
    (row,) = whole(report_of(tmp_path, day), "zones")
    assert row[6] == pytest.approx(20 / 30)


def test_gaps_and_the_share_that_was_observed(tmp_path: Path) -> None:
    """A stream that is lost, an image that cannot be used meanwhile, and the time between two runs."""
    day, later = Day(), Day(start=utc_seconds("2026-01-31T12:05:00Z"))
    day.vehicle(1, 5)
    day.add("stream-lost", 60, reason="away")
    day.add("image-unusable", 80, reason="dark")
    day.add("image-usable", 100)
    day.add("stream-back", 90)
    day.vehicle(2, 118)  # ends at 120 s
    later.vehicle(1, 28)
    report = report_of(tmp_path, day, later)
    gaps = report.table("gaps", by_interval=False)
    assert gaps[0] == ("camera", "start", "end", "seconds", "reason")
    assert [row[1][14:19] + " " + row[2][14:19] + f" {row[3]:.0f} " + row[4] for row in gaps[1:]] == [
        "01:00 01:40 40 image unusable, stream lost", "02:00 05:00 180 no run",
    ]  # fmt: skip
    observed = {row[1][14:16]: row[3] for row in report.table("counts", by_interval=True)[1:]}
    assert observed == {"00": 1.0, "01": pytest.approx(20 / 60), "02": 0.0, "05": 0.5}
    (view,) = [view for view in report.views("gate") if view.title == "By interval"]
    rows = [row for row in view.rows if row[0].endswith("12:01:00")]
    assert rows[0][1] == "33 %"
    assert rows[0][2].endswith("*")


def test_runs_that_overlap_are_reported(tmp_path: Path) -> None:
    first, again = Day(), Day(start=utc_seconds("2026-01-31T12:00:30Z"))
    first.vehicle(1, 58)
    again.vehicle(1, 58)
    summary = report_of(tmp_path, first, again).views("gate")[0]
    assert ("30 s", "observed by two runs at once: counted twice") in summary.rows


def test_from_and_to_are_the_first_and_last_place_of_a_track(tmp_path: Path) -> None:
    day = Day()
    for track, places in enumerate([("north", "gate", "south"), ("north", "south"), ("south",)]):
        for step, place in enumerate(places):
            line = place == "gate"
            day.add("cross" if line else "enter", 10 * track + step, track, place=place, class_name="car")
    report = report_of(tmp_path, day)
    assert [row[1:] for row in report.table("ways", by_interval=False)[1:]] == [
        ("car", "north", "south", 2), ("car", "south", None, 1),
    ]  # fmt: skip


def incidents(report: Report) -> list[tuple[str, str, float, str | None, str]]:
    """Kind, minutes and seconds of the start, seconds, place and what of each incident."""
    return [(row[4], row[1][14:19], row[3], row[5], row[6]) for row in report.table("incidents", by_interval=False)[1:]]


def test_standstills_queues_crowds_and_wrong_ways(tmp_path: Path) -> None:
    day = Day()
    for track in (1, 2, 3):
        day.add("enter", 10 * track, track, place="lane", class_name="car")
        day.add("stopped", 10 * track + 10, track, place="lane", seconds=5.0, class_name="car")
    day.add("wrong-way", 45, 9, place="lane", class_name="bus")
    for at, kind in ((50, "above"), (52, "normal"), (60, "above"), (70, "normal"), (200, "above"), (201, "normal")):
        day.add(f"occupancy-{kind}", at, 1, place="yard", count=6)
    day.add("leave", 90, 2, place="lane", seconds=70.0)
    day.add("leave", 100, 1, place="lane", seconds=90.0)
    day.add("track-ended", 300, 3, seconds=1.0)  # still there at the end of the run
    assert sorted(incidents(report_of(tmp_path, day))) == [
        ("crowded", "00:50", 20.0, "yard", "above its limit, 6 or more inside"),
        ("crowded", "03:20", 1.0, "yard", "above its limit, 6 or more inside"),
        ("queue", "00:35", 55.0, "lane", "up to 3 at rest"),
        ("standstill", "00:15", 85.0, "lane", "car 1"),
        ("standstill", "00:25", 65.0, "lane", "car 2"),
        ("standstill", "00:35", 265.0, "lane", "car 3"),
        ("wrong way", "00:45", 0.0, "lane", "bus 9"),
    ]


def hourly(counts: list[int], kmh: list[float]) -> Day:
    """Days of one hour's vehicles, from Monday, 2026-02-02 on."""
    day = Day(start=utc_seconds("2026-02-02T07:00:00Z"))
    for number, (count, speed) in enumerate(zip(counts, kmh, strict=True)):
        for k in range(count):
            day.vehicle(1000 * number + k, 86400 * number + 3600 + 3000 * k / count, speed)
        day.add("track-ended", 86400 * number + 2 * 3600 + 60, 1000 * number + 999, seconds=1.0)
    return day


def test_an_hour_is_unusual_where_it_is_far_from_three_other_days(tmp_path: Path) -> None:
    counts, speeds = [100, 110, 95, 30, 105], [50.0, 51.0, 49.0, 50.0, 30.0]
    found = [one[3:] for one in incidents(report_of(tmp_path, hourly(counts, speeds), every=3600)) if one[1] == "00:00"]
    assert (None, "30 tracks, usually 103") in found or (None, "30 tracks, usually 102") in found
    assert (None, "median 30, usually 50") in found
    assert len([what for _, what in found if "tracks" in what and not what.startswith("0 ")]) == 1


def test_few_days_and_weekends_are_not_called_unusual(tmp_path: Path) -> None:
    assert incidents(report_of(tmp_path, hourly([100, 10, 100], [50.0] * 3), every=3600)) == []
    week = hourly([100, 100, 100, 100, 100, 20, 20], [50.0] * 7)
    assert incidents(report_of(tmp_path, week, every=3600)) == []


@pytest.mark.parametrize(
    ("start", "hours", "first", "last"),
    [
        ("2026-03-28T23:00:00Z", 23, "2026-03-29T00:00:00.000+01:00", "2026-03-29T23:00:00.000+02:00"),
        ("2026-10-24T22:00:00Z", 25, "2026-10-25T00:00:00.000+02:00", "2026-10-25T23:00:00.000+01:00"),
        ("2026-06-30T22:00:00Z", 24, "2026-07-01T00:00:00.000+02:00", "2026-07-01T23:00:00.000+02:00"),
    ],
    ids=["23 hours", "25 hours", "24 hours"],
)
def test_a_day_has_as_many_hours_as_its_clocks_show(
    tmp_path: Path, start: str, hours: int, first: str, last: str
) -> None:
    day = Day(start=utc_seconds(start))
    for hour in range(hours):
        day.vehicle(hour, 3600 * hour + 60)
    hourly = report_of(tmp_path, day, every=3600, zone="Europe/Berlin").table("counts", by_interval=True)[1:]
    rows = [row for row in hourly if row[4] == "gate"]
    assert (len(rows), {row[7] for row in rows}, rows[0][1], rows[-1][1]) == (hours, {1}, first, last)
    daily = report_of(tmp_path, day, every=86400, zone="Europe/Berlin").table("counts", by_interval=True)[1:]
    assert [row[7] for row in daily if row[4] == "gate"] == [hours]


def test_speeds_in_miles_and_one_camera_of_two(tmp_path: Path) -> None:
    gate, yard = a_drive([50.0] * 30), Day("yard")
    yard.vehicle(1, 5)
    report = report_of(tmp_path, gate, yard, unit="mph", camera="gate", every=3600)
    assert report.cameras == ["gate"]
    assert whole(report, "speeds")[0][4] == pytest.approx(50 / 1.609344, abs=1e-4)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"camera": "gat"}, "--camera: expected one of gate, got 'gat'; did you mean 'gate'"),
        ({"classes": ["cat"]}, "--classes: expected one of car, got 'cat'; did you mean 'car'"),
        ({"zone": "Europe/Berln"}, "--timezone: expected a name such as .* did you mean 'Europe/Berlin'"),
    ],
    ids=["camera", "class", "time zone"],
)
def test_what_is_not_there_is_named(tmp_path: Path, options: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        report_of(tmp_path, a_drive([50.0]), **options)


def test_intervals_divide_a_day_and_are_not_too_many(tmp_path: Path) -> None:
    assert [interval_of(text) for text in ("30s", "15m", "15min", "1h", "1d", "7d")] == [
        30,
        900,
        900,
        3600,
        86400,
        604800,
    ]
    for text in ("0", "0m", "7m", "25h", "-1h", "hour", "1.5h", ""):
        with pytest.raises(InputError, match="divides a day"):
            interval_of(text)
    day = Day()
    day.vehicle(1, 5)
    day.vehicle(2, 86400 * 3)
    with pytest.raises(InputError, match="up to 20000 intervals, got 259"):
        report_of(tmp_path, day, every=1)
