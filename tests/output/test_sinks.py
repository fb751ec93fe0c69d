"""Sinks: CSV, MOTChallenge text, and places that cannot be written."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from result_samples import sample_result

from edgevid.errors import SourceError
from edgevid.output import to_supervision
from edgevid.output.sinks import CsvSink, EventLines, JsonLines, MotText
from edgevid.types import Header

SUPERVISION = ["x_min", "y_min", "x_max", "y_max", "class_id", "confidence", "tracker_id"]
"""The first columns of supervision's CSVSink; the others follow sorted."""


def test_mot_text_counts_frames_from_one_and_leaves_out_what_was_not_seen(tmp_path: Path) -> None:
    frame, result = sample_result()
    result.tracks.match[1] = -1
    with MotText(tmp_path / "out.txt") as sink:
        sink.write(frame, result)
    lines = (tmp_path / "out.txt").read_text().splitlines()
    assert [line.split(",")[:2] for line in lines] == [["5", "1"]]
    assert lines[0].startswith("5,1,64.00,108.00,64.00,180.00,0.9000")


def test_csv_has_a_row_per_object_with_its_speed_error_and_reason(tmp_path: Path) -> None:
    with CsvSink(tmp_path / "out.csv") as sink:
        sink.write(*sample_result(0))
        sink.write(*sample_result(2))
        rows = list(csv.DictReader((tmp_path / "out.csv").open(newline="")))  # on disk before it is closed
    header = list(rows[0])
    assert header[:7] == SUPERVISION
    assert header[7:] == sorted(header[7:])
    assert [row["tracker_id"] for row in rows] == ["1", "2"]
    assert [row["speed_mps"] for row in rows] == ["10.0", ""]
    assert [row["speed_sigma_mps"] for row in rows] == ["0.5", ""]
    assert [row["speed_reason"] for row in rows] == ["", "OFF_PLANE"]
    assert [row["action"] for row in rows] == ["run", ""]
    assert {(row["frame"], row["time_s"], row["class_name"]) for row in rows} == {("4", "0.16", "person")}


def test_csv_of_frames_without_objects_is_its_header(tmp_path: Path) -> None:
    with CsvSink(tmp_path / "out.csv") as sink:
        sink.write(*sample_result(0))
    assert (tmp_path / "out.csv").read_text().startswith("x_min,y_min,x_max,y_max,class_id,confidence,")


def test_csv_begins_as_supervision_writes_it(tmp_path: Path) -> None:
    supervision = pytest.importorskip("supervision")
    result = sample_result()[1]
    with supervision.CSVSink(str(tmp_path / "theirs.csv")) as theirs, CsvSink(tmp_path / "ours.csv") as ours:
        theirs.append(to_supervision(result), {"frame": 4})
        ours.write(*sample_result())
    one, two = (list(csv.DictReader((tmp_path / f"{n}.csv").open(newline=""))) for n in ("theirs", "ours"))
    assert list(one[0])[:7] == list(two[0])[:7] == SUPERVISION
    for mine, other in zip(one, two, strict=True):
        assert {key: mine[key] for key in ("class_id", "tracker_id", "class_name", "frame")}.items() <= (other.items())
        assert all(float(mine[k]) == pytest.approx(float(other[k]), abs=0.01) for k in SUPERVISION)


def test_a_place_that_cannot_be_written_is_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="cannot be written"):
        JsonLines(tmp_path / "no" / "out.jsonl")


def test_a_device_as_a_file_of_events_is_not_read() -> None:
    with pytest.raises(OSError, match="No space left"), EventLines("/dev/full", append=True) as sink:
        sink.open(Header("gate"))
