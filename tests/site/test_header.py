"""The header of a run: camera, masked source, and the hashes of what decides results."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgevid.files.digest import sha256_of
from edgevid.models.hub import resolve_model
from edgevid.pipeline import Pipeline
from edgevid.site.build import load_site
from edgevid.site.file import Site
from edgevid.site.header import build_header, camera_name

CALIBRATION = Path(__file__).resolve().parents[2] / "calibration" / "camera" / "gantry_road.toml"


def test_a_header_has_the_hashes_of_model_and_calibration_and_no_password() -> None:
    site = Site(source="rtsp://me:hunter2@gate/1", model="street-nano", calibration=CALIBRATION)
    header = build_header(load_site(site), Pipeline(lambda image: [], None), start=0.0)
    assert header.camera == "gate-1"
    assert "hunter2" not in str(header.to_dict())
    local = resolve_model("street-nano").local
    assert local is not None
    assert header.sha256 == {"model": sha256_of(local), "calibration": sha256_of(CALIBRATION)}
    assert header.to_dict()["start_utc"] == "1970-01-01T00:00:00.000Z"
    assert header.versions["onnxruntime"]


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
