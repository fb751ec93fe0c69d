"""`edgevid evaluate speed`, from a record to its scores."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from speed_tables import RESULTS, TRUTH, write
from typer.testing import CliRunner

from edgevid.cli import app
from edgevid.errors import InputError
from edgevid.output.sinks import JsonLines
from edgevid.speed.calibration import make_calibration
from edgevid.speed.estimator import SpeedEstimator
from edgevid.synthetic.scene import Camera, Scene, drive
from edgevid.types import Detections, Frame, Result, Tracks


def run(*arguments: Any) -> Any:
    return CliRunner().invoke(app(), ["evaluate", "speed", *map(str, arguments)])


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
    nothing = write(tmp_path / "n.jsonl", json.dumps({"schema": "edgevid.result/2", "objects": [], "time_s": 0}) + "\n")
    done = run("--truth", truth, "--results", nothing)
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
    done = run("--truth", truth, "--results", tmp_path / "seen.jsonl", "--json", out)
    assert done.exit_code == 0, done.output
    overall = json.loads(out.read_text())["overall"]
    assert set(overall) == {"live", "smoothed", "track speed"}
    assert max(score["mean"] for score in overall.values()) < 0.5
    assert overall["smoothed"]["values"] > 30
    assert overall["live"]["reasons"]["TOO_SHORT"] > 0


def test_a_dash_prints_json_alone(tmp_path: Path) -> None:
    truth, results = write(tmp_path / "t.csv", TRUTH), write(tmp_path / "r.csv", RESULTS)
    done = run("--truth", truth, "--results", results, "--json", "-")
    assert json.loads(done.output)["overall"]["live"]["mean"] == pytest.approx(1.8)
