"""Files of speeds: both formats, and every way a file can be wrong."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from speed_tables import TRUTH, write

from edgevid.errors import FileFormatError, InputError, SourceError
from edgevid.evaluate.speed import check_ids, read_pairs, read_results, read_truth


def test_one_row_of_truth_without_a_time_holds_for_all_moments(tmp_path: Path) -> None:
    truth = read_truth(write(tmp_path / "t.jsonl", '{"id": 7, "kmh": 50}\n'))
    assert truth["7"].at(np.array([0.0, 1e6])) * 3.6 == pytest.approx([50, 50])


def test_a_record_of_a_run_is_read(tmp_path: Path) -> None:
    line = {
        "schema": "edgevid.result/3", "frame": 0, "time_s": 1.0,
        "objects": [{"id": 3, "speed": {"mps": 5.0, "sigma_mps": 0.5}},
                    {"id": 4, "speed": {"reason": "STALE"}}, {"id": 5}],
        "smoothed": [{"id": 3, "time_s": 0.5, "mps": 4.0, "sigma_mps": 0.25}],
        "track_speeds": [{"id": 2, "time_s": 0.1, "reason": "TOO_SHORT"}],
    }  # fmt: skip
    rows = read_results(write(tmp_path / "seen.jsonl", json.dumps(line) + "\n"))
    assert [(r.kind, r.id, r.time, r.reason) for r in rows] == [
        ("live", "3", 1.0, "OK"), ("live", "4", 1.0, "STALE"),
        ("smoothed", "3", 0.5, "OK"), ("track speed", "2", 0.1, "TOO_SHORT"),
    ]  # fmt: skip
    assert rows[2].sigma == 0.25
    broken = write(tmp_path / "broken.jsonl", json.dumps({"schema": "edgevid.result/3"}) + "\n")
    with pytest.raises(FileFormatError, match="line 1"):
        read_results(broken)


@pytest.mark.parametrize("name", ["a.mp4", "a.csv", "a.jsonl"])
@pytest.mark.parametrize("data", [b"\x00\x00\x00\x20ftypisom\xff\xfe\n", b"\x00\x00", b"\xff\n"])
def test_a_binary_file_is_no_record(tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(data)
    expected = r"expected records \(JSON lines\), CSV or JSON, got a binary file"
    for read in (read_results, read_truth, read_pairs):
        with pytest.raises(FileFormatError, match=expected):
            read(tmp_path / name)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "line 1"),
        ("number,speed\n1,2\n", "names the columns"),
        ("id,time_s,mps\n", "at least one row"),
        ("id,time_s,mps\n,0,3\n", "line 2: id"),
        ("id,time_s,mps\n1,0,fast\n", "line 2: mps"),
        ("id,time_s,mps\n1,0,nan\n", "line 2: mps"),
        ("id,time_s,mps\n1,0,-3\n", "at least 0"),
        ("id,time_s,mps\n1,0,\n", "mps or kmh"),
        ("id,time_s,mps\n1,0\n", "3 values"),
        ("id,time_s,mps\n1,0,3\n1,0,4\n", "two at 0 s"),
        ("id,time_s,mps\n1,,3\n1,1,4\n", "without a time"),
    ],
)
def test_each_error_in_a_truth_names_its_line(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(FileFormatError, match=says):
        read_truth(write(tmp_path / "t.csv", text))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"id": 1,\n', "line 1"),
        (f'{{"id": {"1" * 5000}}}\n', "line 1"),
        ("[" * 100_000 + "\n", "line 1"),
        ("[1, 2]", "an object"),
        ('{"id": 1, "time_s": 0, "mps": true}\n', "finite number"),
        ('{"id": 1, "time_s": 0, "mps": 1, "kind": "later"}\n', "one of live"),
        ('{"id": 1, "time_s": 0, "reason": "TIRED"}\n', "one of OK"),
        ('{"id": 1, "time_s": 0, "mps": 1, "reason": "STALE"}\n', "a speed where the reason is OK"),
        ('{"id": 1, "time_s": 0}\n', "a speed where the reason is OK"),
        ('{"id": 1, "mps": 1}\n', "time_s"),
        ('{"id": 1, "time_s": 0, "mps": 1, "sigma_kmh": -1}\n', "standard error"),
    ],
)
def test_each_error_in_results_names_its_line(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(FileFormatError, match=says):
        read_results(write(tmp_path / "r.jsonl", text))


def test_files_that_are_not_there_and_ids_that_do_not_meet(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="cannot be read"):
        read_truth(tmp_path / "absent.csv")
    truth = read_truth(write(tmp_path / "t.csv", TRUTH))
    rows = read_results(write(tmp_path / "r.csv", "id,time_s,mps\nx,0,1\n"))
    with pytest.raises(InputError, match="--pairs"):
        check_ids(truth, rows)
    assert read_pairs(write(tmp_path / "p.csv", "truth,result\n1,x\n")) == {"1": "x"}
