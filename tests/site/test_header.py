"""The header of a run: camera, masked source, and the hashes of what decides results."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgevid.abstain.file import PolicyFile, read_policy, write_policy
from edgevid.abstain.policy import Settings
from edgevid.detect.detector import Detector
from edgevid.files import sha256_of
from edgevid.models.hub import resolve_model
from edgevid.output.records import read_header
from edgevid.output.sinks import JsonLines
from edgevid.pipeline import Pipeline
from edgevid.run.loop import run
from edgevid.site.build import build_header, build_pipeline, camera_name, load_site
from edgevid.site.file import Site
from edgevid.speed.calibration_file import read_calibration
from edgevid.speed.estimator import SpeedEstimator
from edgevid.track import Tracker
from edgevid.video.open import open_video
from edgevid.video.writer import VideoWriter

CALIBRATION = Path(__file__).resolve().parents[2] / "calibration" / "camera" / "gantry_road.toml"


def test_a_header_has_the_hashes_of_model_and_calibration_and_no_password() -> None:
    site = Site(source="rtsp://me:hunter2@gate/1", model="street-nano", calibration=CALIBRATION)
    loaded = load_site(site)
    header = build_header(loaded, build_pipeline(loaded, (1280, 720)), start=0.0)
    assert header.camera == "gate-1"
    assert "hunter2" not in str(header.to_dict())
    local = resolve_model("street-nano").local
    assert local is not None
    assert header.sha256 == {"model": sha256_of(local), "calibration": sha256_of(CALIBRATION)}
    assert header.to_dict()["start_utc"] == "1970-01-01T00:00:00.000Z"
    assert header.versions["onnxruntime"]


def test_a_run_from_python_says_what_it_was_measured_with(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "gate.mp4") as writer:
        writer.write(np.zeros((360, 640, 3), np.uint8), 0.0)
    detector, calibration = Detector.load("street-nano"), read_calibration(CALIBRATION)
    write_policy(tmp_path / "p.toml", PolicyFile(detector.names, Settings()))
    pipeline = Pipeline(
        detector, Tracker(), speed_estimator=SpeedEstimator(calibration, (640, 360)),
        class_policy=read_policy(tmp_path / "p.toml").policy(),
    )  # fmt: skip
    with open_video(tmp_path / "gate.mp4") as video:
        run(pipeline, video, [JsonLines(tmp_path / "a.jsonl")])
    header, model = read_header(tmp_path / "a.jsonl"), resolve_model("street-nano").local
    assert (header["camera"], header["model"]) == ("gate", "street-nano")
    assert header["source"].endswith("gate.mp4")
    assert header["versions"]["av"]
    assert model is not None
    files = {"model": model, "calibration": CALIBRATION, "policy": tmp_path / "p.toml"}
    assert header["sha256"] == {name: sha256_of(path) for name, path in files.items()}


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("a/gate.mp4", "gate"),
        ("0", "camera-0"),
        ("http://u:p@10.0.0.7:8080/a/b.mjpg?pwd=1", "10.0.0.7-8080-a-b.mjpg"),
        ("", "camera"),
    ],
)
def test_a_source_names_its_camera(source: str, name: str) -> None:
    assert camera_name(source) == name
