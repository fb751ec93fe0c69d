"""Calibration files: read, written back, and each mistake named by its key."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from road_camera import lattice

from edgevid.errors import FileFormatError, InputError
from edgevid.files import toml_text
from edgevid.speed.calibration import rectangle
from edgevid.speed.calibration_file import calibration_tables, read_calibration, write_calibration

GOOD = """\
image_size = [1920, 1080]

[rectangle]
pixels = [[400, 900], [1500, 900], [1100, 400], [800, 400]]
width_m = 7
length_m = 30
"""


def test_a_calibration_file_is_read_and_written_back(tmp_path: Path) -> None:
    path = tmp_path / "gate.toml"
    path.write_text(GOOD)
    read = read_calibration(path)
    np.testing.assert_allclose(read.to_ground(read.image), rectangle(7, 30), atol=1e-6)
    (tmp_path / "again.toml").write_text(toml_text(calibration_tables(read, "by hand")))
    np.testing.assert_allclose(read_calibration(tmp_path / "again.toml").homography, read.homography, rtol=1e-3)


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ("image_size = [1920, 1080]", "image_size = [1920]", "image_size"),
        ("[400, 900], [1500, 900], [1100, 400], [800, 400]", "[400, 900], [1500, 900]", "rectangle.pixels"),
        ("[1500, 900], [1100, 400]", "[1100, 400], [1500, 900]", "rectangle"),
        ("[1500, 900], [1100, 400], [800, 400]", "[500, 900], [600, 900], [700, 900]", "rectangle"),
        ("width_m = 7", "width_m = 0", "rectangle.width_m"),
        ("width_m = 7", 'width_m = "seven"', "rectangle.width_m"),
        ("length_m = 30", "lenght_m = 30", "rectangle.length_m"),
        ("[rectangle]", "[region]\npixels = [[0, 0], [1, 1], [1, 0], [0, 1]]\n[rectangle]", "region.pixels"),
        ("[rectangle]", "[region]\npixels = [[0, 0], [1900, 0], [900, 1000]]\n[rectangle]", "region.pixels"),
        ("[rectangle]", "[wrong]", "points"),
    ],
)
def test_each_mistake_in_a_calibration_names_its_key(tmp_path: Path, old: str, new: str, key: str) -> None:
    assert old in GOOD
    path = tmp_path / "gate.toml"
    path.write_text(GOOD.replace(old, new))
    with pytest.raises(FileFormatError) as caught:
        read_calibration(path)
    assert caught.value.key == key


def test_a_failed_save_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_calibration(tmp_path / "gate.toml", lattice())
    before = path.read_text()
    wrong = {"": [{"image_size": 3}]}
    monkeypatch.setattr("edgevid.speed.calibration_file.calibration_tables", lambda *_: wrong)
    with pytest.raises(FileFormatError):
        write_calibration(path, lattice(), replace=True)
    assert path.read_text() == before
    assert [p.name for p in tmp_path.iterdir()] == ["gate.toml"]


def test_comments_of_a_calibration_survive_the_next_save(tmp_path: Path) -> None:
    path = tmp_path / "gate.toml"
    path.write_text(GOOD.replace("width_m = 7", "width_m = 7  # between the kerbs").replace("[rect", "# paint\n[rect"))
    read = read_calibration(path)
    write_calibration(path, read, "again", replace=True)
    text = path.read_text()
    assert "# paint\n[rectangle]\n" in text
    assert "width_m = 7  # between the kerbs" in text
    assert 'provenance = "again"' in text
    path.write_text("no TOML")
    write_calibration(path, read, "again", replace=True)
    np.testing.assert_allclose(read_calibration(path).homography, read.homography, rtol=1e-9)


def test_the_calibrated_sample_road_fits_its_marks() -> None:
    path = Path(__file__).resolve().parents[2] / "calibration" / "camera" / "gantry_road.toml"
    read = read_calibration(path)
    assert read.error_px().mean() < 1.5
    assert read.error_m().max() < 0.8


def test_what_is_no_path_is_rejected() -> None:
    with pytest.raises(InputError, match="a TOML file: expected its path, got None"):
        read_calibration(None)  # type: ignore[arg-type]
