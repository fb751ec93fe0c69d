"""`edgevid evaluate speed`: scores worked by hand, both file formats, and every way a file can be wrong."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from edgevid.cli import app
from edgevid.errors import FileFormatError, InputError, SourceError
from edgevid.evaluate.speed.files import check_ids, read_pairs, read_results, read_truth
from edgevid.evaluate.speed.score import evaluate
from edgevid.output.sinks import JsonLines
from edgevid.speed.calibration import make_calibration
from edgevid.speed.estimator import SpeedEstimator
from edgevid.synthetic.scene import Camera, Scene, drive
from edgevid.types import Detections, Frame, Result, Tracks

TRUTH = "id,time_s,kmh\n1,0,36\n1,10,36\n2,0,0\n2,10,72\n"
RESULTS = """\
id,kind,time_s,mps,sigma_mps,reason
1,live,0.0,,,TOO_SHORT
1,live,1.0,11,1,OK
1,live,2.0,9,0.4,OK
1,live,3.0,10,1,
1,track speed,3.0,10.5,0.2,OK
2,live,4.0,8,0.1,OK
2,live,5.0,,,STALE
9,live,5.0,3,0.1,OK
"""


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def run(*arguments: Any) -> Any:
    return CliRunner().invoke(app(), ["evaluate", "speed", *map(str, arguments)])


def test_scores_by_hand(tmp_path: Path) -> None:
    truth = read_truth(write(tmp_path / "t.csv", TRUTH))
    found = evaluate(truth, read_results(write(tmp_path / "r.csv", RESULTS)))
    one = found.tracks["live"]["1"]
    # 11, 9 and 10 m/s against 10: +3.6, -3.6 and 0 km/h.
    assert (one.values, one.bias, one.median) == (3, pytest.approx(0), pytest.approx(3.6))
    assert one.mean == pytest.approx(2.4)
    assert one.within_68 == pytest.approx(2 / 3)  # 1 <= 1, 1 > 0.4, 0 <= 1
    assert one.within_95 == pytest.approx(2 / 3)  # 1 > 1.96 * 0.4
    assert one.variation == pytest.approx(math.sqrt((7.2**2 + 3.6**2) / 2))
    assert (one.silent, one.first_s) == (0.25, 1.0)
    two = found.tracks["live"]["2"]
    assert two.mean == pytest.approx(0)  # at 4 s of 0 to 72 km/h in 10 s: 28.8 km/h, 8 m/s
    assert two.reasons == {"STALE": 0.5}
    everything = found.overall["live"]
    assert everything.values == 4
    assert everything.mean == pytest.approx(1.8)
    assert everything.reasons == {"STALE": pytest.approx(1 / 6), "TOO_SHORT": pytest.approx(1 / 6)}
    assert found.overall["track speed"].bias == pytest.approx(1.8)
    assert found.unmatched == ["9"]
    assert found.missed == []


def test_a_passage_is_judged_by_the_mean_true_speed(tmp_path: Path) -> None:
    truth = read_truth(write(tmp_path / "t.csv", "id,time_s,mps\na,0,0\na,1,10\na,3,10\n"))
    rows = read_results(write(tmp_path / "r.csv", "id,kind,time_s,mps\na,track speed,,9\n"))
    score = evaluate(truth, rows).overall["track speed"]
    assert score.bias == pytest.approx(3.6 * (9 - 25 / 3))
    assert math.isnan(score.within_95)  # no standard error was stated


def test_one_row_of_truth_without_a_time_holds_for_all_moments(tmp_path: Path) -> None:
    truth = read_truth(write(tmp_path / "t.jsonl", '{"id": 7, "kmh": 50}\n'))
    assert truth["7"].at(np.array([0.0, 1e6])) * 3.6 == pytest.approx([50, 50])


def test_values_outside_of_the_truths_time_are_not_judged(tmp_path: Path) -> None:
    truth = read_truth(write(tmp_path / "t.csv", "id,time_s,mps\n1,1,5\n1,2,5\n"))
    rows = read_results(write(tmp_path / "r.csv", "id,time_s,mps\n1,0.5,9\n1,1.5,6\n1,2.5,9\n"))
    score = evaluate(truth, rows).overall["live"]
    assert (score.values, score.without_truth, score.bias) == (1, 2, pytest.approx(3.6))


def test_a_record_of_a_run_is_read(tmp_path: Path) -> None:
    line = {
        "schema": "edgevid.result/2", "frame": 0, "time_s": 1.0,
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
    broken = write(tmp_path / "broken.jsonl", json.dumps({"schema": "edgevid.result/2"}) + "\n")
    with pytest.raises(FileFormatError, match="line 1"):
        read_results(broken)


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
def test_each_mistake_in_a_truth_is_told_with_its_place(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(FileFormatError, match=says):
        read_truth(write(tmp_path / "t.csv", text))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"id": 1,\n', "line 1"),
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
def test_each_mistake_in_results_is_told_with_its_place(tmp_path: Path, text: str, says: str) -> None:
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


def test_the_command_prints_and_writes(tmp_path: Path) -> None:
    truth, results = write(tmp_path / "t.csv", TRUTH), write(tmp_path / "r.csv", RESULTS)
    out, sheet = tmp_path / "out.json", tmp_path / "out.csv"
    done = run("--truth", truth, "--results", results, "--tracks", "--json", out, "--csv", sheet)
    assert done.exit_code == 0, done.output
    assert "1.80" in done.output
    assert "STALE 16.7 %" in done.output
    written = json.loads(out.read_text())
    assert written["overall"]["live"]["mean"] == pytest.approx(1.8)
    assert written["overall"]["track speed"]["variation"] is None
    rows = list(csv.DictReader(sheet.open()))
    assert [(r["kind"], r["id"]) for r in rows] == [
        ("live", "all"), ("track speed", "all"), ("live", "1"), ("live", "2"), ("track speed", "1")
    ]  # fmt: skip
    assert float(rows[0]["mean"]) == pytest.approx(1.8)


def test_the_command_with_pairs_and_one_kind(tmp_path: Path) -> None:
    truth, results = write(tmp_path / "t.csv", TRUTH), write(tmp_path / "r.csv", "id,time_s,mps\nx,1,12\n")
    pairs = write(tmp_path / "p.csv", "truth,result\n1,x\n")
    done = run("--truth", truth, "--results", results, "--pairs", pairs, "--kind", "live")
    assert done.exit_code == 0, done.output
    assert "+7.20" in done.output
    assert isinstance(run("--truth", truth, "--results", results, "--kind", "soon").exception, InputError)
    nothing = write(
        tmp_path / "n.jsonl", json.dumps({"schema": "edgevid.result/2", "objects": [], "time_s": 0}) + "\n"
    )
    done = run("--truth", truth, "--results", nothing)
    assert isinstance(done.exception, InputError)
    assert "--camera" in str(done.exception)


def test_from_a_run_to_its_score(tmp_path: Path) -> None:
    """A street without noise, measured, recorded and judged: the record carries all that is needed."""
    scene, camera = Scene([drive(4, 50, towards=True, lane=-1.75, near=15, far=60)]), Camera()
    meters = np.array([[-7, 15], [7, 15], [7, 60], [-7, 60]], float)
    pixels = camera.project(np.column_stack([meters, np.zeros(4)]))
    speed_estimator = SpeedEstimator(make_calibration(pixels, meters, (1920, 1080)), click_px=0, noise_px=1)
    rows = ["id,time_s,kmh"]
    with JsonLines(tmp_path / "seen.jsonl") as sink:
        for n in range(75):
            now = scene.at(n / 30)
            zero = np.zeros(len(now.ids) if n < 74 else 0)
            tracks = Tracks.of(
                ids=now.ids[: len(zero)], boxes=now.boxes[: len(zero)], scores=zero + 1, labels=zero,
                match=zero, age=zero, unseen=zero,
            )  # fmt: skip
            speeds = speed_estimator.update(tracks, n / 30)
            result = Result(n, n / 30, (1920, 1080), Detections.empty(), tracks, speeds, {}, {},
                            {"class": ("car",)}, {})  # fmt: skip
            sink.write(Frame(np.zeros((2, 2, 3), np.uint8), n / 30, n), result)
            rows += [f"4,{n / 30},{3.6 * speed}" for speed in now.speeds]
    truth = write(tmp_path / "t.csv", "\n".join(rows) + "\n")
    out = tmp_path / "out.json"
    done = run("--truth", truth, "--results", tmp_path / "seen.jsonl", "--json", out)
    assert done.exit_code == 0, done.output
    overall = json.loads(out.read_text())["overall"]
    assert set(overall) == {"live", "smoothed", "track speed"}
    assert max(score["mean"] for score in overall.values()) < 0.5
    assert overall["smoothed"]["values"] > 30
    assert overall["live"]["reasons"]["TOO_SHORT"] > 0
