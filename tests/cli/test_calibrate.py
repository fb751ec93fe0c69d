"""`edgevid calibrate` by options: what it writes, and each mistake in one sentence."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import shapely
from road_camera import LATTICE, SIZE, lattice, pixels_of

from edgevid import cli
from edgevid.files import toml_text
from edgevid.speed.calibration import make_calibration, rectangle
from edgevid.speed.calibration_file import calibration_tables, read_calibration


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image of 960 x 540 pixels: calibrations need one, whatever it shows."""
    path = tmp_path_factory.mktemp("calibration") / "road.png"
    assert cv2.imwrite(str(path), np.full((540, 960, 3), 90, np.uint8))
    return path


def run(*arguments: object) -> int:
    try:
        cli.main(["calibrate", *map(str, arguments)])
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


RECT = ("--rectangle", "200,450 750,450 550,200 400,200", "--width-m", 7, "--length-m", 30)


def test_six_numbers_make_a_calibration_and_an_image(
    photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, seen = tmp_path / "camera" / "gate.toml", tmp_path / "grid.png"
    assert run(photo, *RECT, "--out", out, "--image", seen) == 0
    reported = capsys.readouterr().out
    for words in ("4 points", "near", "middle", "far", "m/pixel", "camera of this view", "written: "):
        assert words in reported
    text = out.read_text()
    assert "[rectangle]" in text
    assert "[region]" not in text
    made = read_calibration(out)
    np.testing.assert_allclose(made.to_ground(made.image), rectangle(7, 30), atol=1e-6)
    drawn = cv2.imread(str(seen))
    assert (drawn != 90).any(2).mean() > 0.005
    assert run(photo, *RECT, "--out", out) == 2  # it is there already
    assert "--force" in capsys.readouterr().err
    assert run(photo, *RECT, "--out", out, "--force") == 0


def test_pairs_of_options_and_files_are_joined_and_outliers_dropped(
    photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = pixels_of(LATTICE) / 2
    image[4] += [35, 0]
    lines = [f"{u:.2f};{v:.2f};{x:g};{y:g}" for (u, v), (x, y) in zip(image[:13], LATTICE[:13], strict=True)]
    table = tmp_path / "pairs.csv"
    table.write_text("u;v;X;Y\n# taken with a wheel\n" + "\n".join(lines) + "\n", encoding="utf-8-sig")
    points = []
    for (u, v), (x, y) in zip(image[13:], LATTICE[13:], strict=True):
        points += ["--point", f"{u},{v}={x},{y}"]
    out = tmp_path / "gate.toml"
    assert run(photo, "--pairs", table, *points, "--out", out, "--drop-outliers", "--provenance", 'a "wheel"') == 0
    reported = capsys.readouterr().out
    assert "dropped: point 7" in reported  # the two points of the flags come first
    assert "14 points: reprojection error mean 0.0" in reported
    assert 'a \\"wheel\\"' in out.read_text()
    np.testing.assert_allclose(read_calibration(out).to_ground(image[:2]), LATTICE[:2], atol=0.05)


def test_an_existing_calibration_is_checked_and_rescaled(
    photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = tmp_path / "old.toml"
    area = shapely.box(300, 500, 1500, 1000)
    old.write_text(
        toml_text(calibration_tables(make_calibration(pixels_of(LATTICE), LATTICE, SIZE, region=area), "by hand"))
    )
    out = tmp_path / "new.toml"
    assert run(photo, "--calibration", old, "--out", out) == 0
    made = read_calibration(out)
    assert made.size == (960, 540)
    np.testing.assert_allclose(made.region.bounds, (150, 250, 750, 500))
    assert "15 points" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--rectangle", "1,2 3,4 5,6", "--width-m", 7, "--length-m", 30), "expected 4 corners"),
        (("--rectangle", "1,2 3,4 5,6 seven", "--width-m", 7, "--length-m", 30), "got 'seven'"),
        (("--rectangle", "1,2 3,4 5,6 7,inf", "--width-m", 7, "--length-m", 30), "finite"),
        (RECT[:4], "--width-m and --length-m"),
        ((*RECT[:4], "--length-m", 0), "positive size"),
        (("--width-m", 7, "--point", "1,2=3,4"), "expected --rectangle with"),
        (("--point", "1,2"), '"u,v=X,Y"'),
        (("--point", "1,2=3,4"), "at least 4"),
        (("--rectangle", "400,200 750,450 550,200 200,450", *RECT[2:]), "cross over"),
        (("--rectangle", "100,100 200,100 300,100 400,100", *RECT[2:]), "on one line"),
        ((*RECT, "--region", "1,2 3,4"), "at least 3 corners"),
        ((*RECT, "--region", "0,0 900,500 900,0 0,500"), "cross itself"),
        ((*RECT, "--region", "0,1 950,1 950,500"), "beyond the horizon"),
        ((*RECT, "--k1", 5), "k1 from -1 to 1"),
        ((*RECT, "--out", "gate.json"), "ends in .toml"),
        ((*RECT, "--out", "/proc/nowhere/gate.toml"), "cannot be written"),
        ((*RECT, "--image", "grid.what"), "ends in .png or .jpg"),
        (("--pairs", "absent.csv"), "readable CSV"),
        (("--calibration", "absent.toml", "--out", "x.toml"), "no such file"),
    ],
)
def test_each_mistake_of_the_options_is_one_sentence(
    photo: Path, arguments: tuple, words: str, capsys: pytest.CaptureFixture[str], monkeypatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(photo, *arguments) == 2
    assert words in capsys.readouterr().err.replace("\n", " ")
    assert not list(tmp_path.iterdir())


def test_another_aspect_ratio_is_rejected(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    square, old = tmp_path / "square.png", tmp_path / "old.toml"
    cv2.imwrite(str(square), np.zeros((600, 600, 3), np.uint8))
    old.write_text(toml_text(calibration_tables(lattice())))
    assert run(square, "--calibration", old, "--out", tmp_path / "new.toml") == 2
    assert "aspect ratio" in capsys.readouterr().err


def test_a_time_behind_the_end_is_a_mistake(
    street_clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "gate.toml"
    assert run(street_clip, *RECT, "--time", "1e6", "--out", out) == 2
    assert "--time: expected at most 11.96 s" in " ".join(capsys.readouterr().err.split())
    assert not out.exists()
    assert run("--source", street_clip, *RECT, "--time", "11.5", "--out", out) == 0
