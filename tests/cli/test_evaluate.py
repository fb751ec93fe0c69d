"""`edgevid evaluate`: its outputs, limits and comparisons, and speeds from a record to their scores."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from score_tables import csv_of, drawn
from speed_tables import RESULTS, TRUTH, write
from typer.testing import CliRunner

from edgevid.abstain.file import PolicyFile, write_policy
from edgevid.abstain.policy import Settings
from edgevid.cli import app
from edgevid.errors import InputError
from edgevid.evaluate.tune.scores import read_scores
from edgevid.output.sinks import JsonLines
from edgevid.speed.calibration import make_calibration
from edgevid.speed.estimator import SpeedEstimator
from edgevid.synthetic.scene import Camera, Scene, drive
from edgevid.types import Detections, Frame, Result, Tracks


def run(results: Any, *arguments: Any) -> Any:
    return CliRunner().invoke(app(), ["evaluate", "speed", *map(str, (results, *arguments))])


def test_the_command_prints_and_writes(tmp_path: Path) -> None:
    truth, results = write(tmp_path / "t.csv", TRUTH), write(tmp_path / "r.csv", RESULTS)
    out, html = tmp_path / "out.json", tmp_path / "out.html"
    done = run(results, "--truth", truth, "--json", out, "--html", html, "--details")
    assert done.exit_code == 0, done.output
    assert "1.80 km/h" in done.output
    assert "STALE 16.7%" in done.output
    assert "By track" in done.output
    written = json.loads(out.read_text())
    assert written["metrics"]["live mean"]["value"] == pytest.approx(1.8)
    assert written["metrics"]["track speed p95"]["unit"] == "km/h"
    assert [row["track"] for row in written["tables"]["By track"]] == ["1", "2"]
    assert (written["task"], written["missed"]) == ("speed", [])
    assert "1.80 km/h" in html.read_text()


def test_a_limit_that_is_not_kept_is_status_1(tmp_path: Path) -> None:
    truth, results = write(tmp_path / "t.csv", TRUTH), write(tmp_path / "r.csv", RESULTS)
    done = run(results, "--truth", truth, "--max", "live-mean=1.9", "--min", "live-within-95-%=50%")
    assert done.exit_code == 0, done.output
    done = run(results, "--truth", truth, "--max", "live-mean=1.7")
    assert done.exit_code == 1
    assert "live mean is 1.80 km/h, above the ceiling of 1.70 km/h" in done.output
    assert isinstance(run(results, "--truth", truth, "--max", "live=1").exception, InputError)


def test_the_command_with_pairs_and_one_kind(tmp_path: Path) -> None:
    truth, results = write(tmp_path / "t.csv", TRUTH), write(tmp_path / "r.csv", "id,time_s,mps\nx,1,12\n")
    pairs = write(tmp_path / "p.csv", "truth,result\n1,x\n")
    done = run(results, "--truth", truth, "--pairs", pairs, "--kind", "live")
    assert done.exit_code == 0, done.output
    assert "7.20 km/h" in done.output
    assert isinstance(run(results, "--truth", truth, "--kind", "soon").exception, InputError)
    nothing = write(tmp_path / "n.jsonl", json.dumps({"schema": "edgevid.result/3", "objects": [], "time_s": 0}) + "\n")
    done = run(nothing, "--truth", truth)
    assert isinstance(done.exception, InputError)
    assert "--calibration" in str(done.exception)


def test_from_a_run_to_its_score(tmp_path: Path) -> None:
    """A street without noise, measured, recorded and evaluated from the record alone."""
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
    done = run(tmp_path / "seen.jsonl", "--truth", truth, "--json", out)
    assert done.exit_code == 0, done.output
    written = json.loads(out.read_text())
    assert max(written["metrics"][f"{kind} mean"]["value"] for kind in ("live", "smoothed", "track speed")) < 0.5
    assert next(row for row in written["tables"]["Errors"] if row["measure"] == "values")["smoothed"] > 30
    assert "TOO_SHORT" in " ".join(written["notes"])


def test_a_dash_prints_json_alone(tmp_path: Path) -> None:
    truth, results = write(tmp_path / "t.csv", TRUTH), write(tmp_path / "r.csv", RESULTS)
    done = run(results, "--truth", truth, "--json", "-")
    assert json.loads(done.output)["metrics"]["live mean"]["value"] == pytest.approx(1.8)


def test_two_results_are_compared_by_the_task_or_by_their_own_labels(tmp_path: Path) -> None:
    truth, a = write(tmp_path / "t.csv", TRUTH), write(tmp_path / "a.csv", RESULTS)
    b = write(tmp_path / "b.csv", RESULTS.replace("1,live,3.0,10,1,", "1,live,3.0,12,1,"))
    done = CliRunner().invoke(app(), ["evaluate", "compare", str(a), str(b), "--truth", str(truth), "--task", "speed"])
    assert done.exit_code == 0, done.output
    assert "1.80 km/h" in done.output
    done = CliRunner().invoke(app(), ["evaluate", "compare", str(a), str(b), "--truth", str(truth)])
    assert "--task: expected one of tracking" in str(done.exception)
    rng, lines = np.random.default_rng(0), {"one": ["track,label,x,y"], "two": ["track,label,x,y"]}
    for n in range(60):
        sure, label = rng.uniform(0.5, 0.9), rng.choice(["x", "y"])
        for name, right in (("one", rng.random() < 0.5), ("two", rng.random() < 0.95)):
            share = sure if (label == "x") == right else 1 - sure
            lines[name].append(f"{n},{label},{share:.6f},{1 - share:.6f}")
    files = [str(write(tmp_path / f"{name}.csv", "\n".join(rows))) for name, rows in lines.items()]
    done = CliRunner().invoke(app(), ["evaluate", "compare", *files, "--min", "accuracy=0"])
    assert done.exit_code == 0, done.output
    assert "real" in done.output
    done = CliRunner().invoke(app(), ["evaluate", "compare", *files[::-1], "--min", "accuracy=0"])
    assert done.exit_code == 1
    groups = write(tmp_path / "g.csv", "\n".join(f"{n},{n // 6}" for n in range(60)))
    done = CliRunner().invoke(app(), ["evaluate", "compare", *files, "--groups", str(groups), "--json", "-"])
    assert json.loads(done.output)["groups"] == 10


def test_two_policies_are_compared_on_new_tracks(tmp_path: Path) -> None:
    truth = csv_of(tmp_path / "new.csv", drawn(400, seed=6))
    for name, threshold in (("strict", 0.9), ("loose", 0.1)):
        write_policy(tmp_path / f"{name}.toml", PolicyFile(read_scores(truth).names, Settings(threshold)))
    policies = [str(tmp_path / f"{name}.toml") for name in ("strict", "loose")]
    call = ["evaluate", "compare", *policies, "--truth", str(truth), "--task", "abstain", "--json", "-"]
    done = CliRunner().invoke(app(), call)
    found = json.loads(done.output)["metrics"]
    assert found["coverage"]["low"] > 0.2
    assert found["risk"]["low"] > 0
