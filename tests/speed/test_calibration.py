"""Calibrations from flags: what is said of a good one, and each way in which one is refused."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import shapely

from edgevid import cli
from edgevid.errors import FileFormatError, InputError
from edgevid.site.calibrate import draw_calibration, parse_pairs, parse_region, read_pairs
from edgevid.speed.calibration import CameraCalibration, make_calibration, rectangle
from edgevid.speed.calibration_file import calibration_text, read_calibration, write_calibration
from edgevid.speed.calibration_report import examine, is_mirrored
from edgevid.speed.outliers import find_outliers, without
from edgevid.synthetic.camera import Camera

CAMERA = Camera()
SIZE = (1920, 1080)
LATTICE = np.array([(x, y) for y in (15, 25, 35, 45, 55) for x in (-5, 0, 5)], float)


def pixels_of(meters: np.ndarray) -> np.ndarray:
    return CAMERA.project(np.column_stack([meters, np.zeros(len(meters))]))


def shifted(width: float, length: float, x: float = -3.5) -> np.ndarray:
    """A rectangle that begins 20 m before the camera."""
    return rectangle(width, length) + np.array([x, 20])


def lattice(noise: float = 0.0) -> CameraCalibration:
    random = np.random.default_rng(3)
    return make_calibration(pixels_of(LATTICE) + random.normal(0, noise, (15, 2)), LATTICE, SIZE)


def test_the_camera_behind_a_calibration_is_found() -> None:
    seen = lattice().camera()
    assert seen is not None
    assert seen.focal_px == pytest.approx(1400, rel=1e-4)
    assert seen.height_m == pytest.approx(8.0, abs=1e-3)
    assert seen.pitch_deg == pytest.approx(18.0, abs=1e-3)
    assert seen.width_deg == pytest.approx(2 * np.degrees(np.arctan(960 / 1400)), abs=1e-2)


def test_a_view_straight_down_does_not_tell_its_camera_and_says_so() -> None:
    square = np.array([[100, 900], [1100, 900], [1100, 100], [100, 100]], float)
    report = examine(make_calibration(square, rectangle(10, 8), SIZE))
    assert report.camera is None
    assert any("no perspective" in words for words in report.warnings)
    # 10 m on 1000 pixels, the same everywhere
    assert all(s.along == pytest.approx(0.01) and s.across == pytest.approx(0.01) for s in report.scales)


def test_a_good_calibration_is_told_its_scale_and_not_warned() -> None:
    report = examine(lattice(0.5))
    assert report.warnings == ()
    assert report.outliers == ()
    assert [s.place for s in report.scales] == ["near", "middle", "far"]
    along = [s.along for s in report.scales]
    assert along == sorted(along)
    assert max(s.error for s in report.scales) < 0.03
    assert 0.1 < report.error_px.mean() < 1.5


def test_the_scale_error_is_that_of_lengths_along_the_road() -> None:
    """SCIENCE.md 1.6 by another way: lengths of 1 m measured through calibrations with errors of 2 px."""
    corners = np.array([[-3.5, 20], [3.5, 20], [3.5, 50], [-3.5, 50]], float)
    claimed = make_calibration(pixels_of(corners), corners, SIZE).scale_error(
        pixels_of(np.array([[0.0, 35.0]])), samples=300
    )
    random, lengths = np.random.default_rng(1), []
    step = pixels_of(np.array([[0.0, 34.5], [0.0, 35.5]]))
    for _ in range(300):
        moved = make_calibration(pixels_of(corners) + random.normal(0, 2, (4, 2)), corners, SIZE)
        lengths.append(np.hypot(*np.diff(moved.to_ground(step), axis=0)[0]))
    assert claimed[0] == pytest.approx(np.std(lengths), rel=0.15)


def test_outliers_are_named_and_can_be_left_out() -> None:
    image = pixels_of(LATTICE) + np.random.default_rng(5).normal(0, 0.5, (15, 2))
    image[7] += [40, 0]
    image[2] += [0, -25]
    made = make_calibration(image, LATTICE, SIZE)
    assert sorted(find_outliers(made)) == [2, 7]
    assert any("contradict point" in words for words in examine(made).warnings)
    better = without(made, find_outliers(made))
    assert len(better.image) == 13
    assert better.error_px().max() < 2


def test_five_points_tell_that_one_is_wrong_but_not_which() -> None:
    meters = LATTICE[[0, 2, 7, 12, 14]]
    image = pixels_of(meters)
    image[2] += [30, 0]
    report = examine(make_calibration(image, meters, SIZE))
    assert report.outliers == ()
    assert any("one of the five" in words for words in report.warnings)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"meters": shifted(1.75, 3.0, -1)}, "a small patch"),
        ({"meters": shifted(7, 30)[[1, 0, 3, 2]]}, None),  # corners turned, meters too
        ({"mirror": True}, "the ground is mirrored"),
        ({"region": shapely.box(0, 200, 1920, 1079)}, "extrapolated"),
        ({"meters": shifted(7, 300)}, "the horizon is near"),
        ({"stretch": 8}, "only a lens with a"),
    ],
)
def test_what_is_doubtful_is_said(change: dict, words: str | None) -> None:
    meters = change.get("meters", shifted(7, 30))
    image = pixels_of(meters)
    told = meters * [-1 if "mirror" in change else 1, change.get("stretch", 1)]
    made = make_calibration(image, told, SIZE, region=change.get("region"))
    warnings = examine(made).warnings
    assert is_mirrored(made) == ("mirror" in change)
    assert words is None or any(words in said for said in warnings), warnings


QUAD = np.array([[400, 900], [1500, 900], [1100, 400], [800, 400]], float)


@pytest.mark.parametrize(
    ("image", "meters", "options", "words"),
    [
        (QUAD[:3], rectangle(7, 30)[:3], {}, "at least 4"),
        (QUAD, rectangle(7, 30)[:, :1], {}, "at least 4"),
        (QUAD * np.nan, rectangle(7, 30), {}, "numbers up to"),
        (QUAD, np.full((4, 2), np.inf), {}, "numbers up to"),
        (QUAD[[0, 1, 3, 2]], rectangle(7, 30), {}, "cross over"),
        (QUAD, rectangle(7, 30)[[0, 2, 1, 3]], {}, "cross over"),
        ([[0, 0], [100, 100], [200, 200], [300, 300]], rectangle(7, 30), {}, "pixels lie on one line"),
        (QUAD, [[0, 0], [0, 5], [0, 9], [0, 12]], {}, "meters lie on one line"),
        ([[0, 0], [300, 0], [150, 300], [150, 0.2]], rectangle(7, 30), {}, "three of the four pixels"),
        ([[0, 0], [300, 0], [150, 300], [150, 80]], rectangle(7, 30), {}, "convex on one side"),
        (QUAD[[0, 1, 2, 2]], rectangle(7, 30), {}, "one pixel with two places"),
        (QUAD, rectangle(7, 30)[[0, 1, 2, 2]], {}, "one place in meters with two pixels"),
        (np.concatenate([QUAD, QUAD[:1]]), np.concatenate([rectangle(7, 30), [[0, 0]]]), {}, "are the same"),
        (QUAD, rectangle(7, 30), {"k1": 3.0}, "k1 from -1 to 1"),
        (QUAD, rectangle(7, 30), {"k1": -0.9, "focal": 300}, "a lens shows nothing"),
        (QUAD, rectangle(7, 30), {"focal": -5}, "focal length above 0"),
        (QUAD, rectangle(7, 30), {"size": (0, 1080)}, "width and height"),
        (QUAD, rectangle(7, 30), {"region": shapely.box(0, 10, 1900, 900)}, "beyond the horizon"),
        (
            QUAD,
            rectangle(7, 30),
            {"region": shapely.Polygon([(0, 0), (9, 9), (9, 0), (0, 9)])},
            "cross itself",
        ),
        (QUAD, rectangle(7, 30), {"region": shapely.Polygon()}, "at least 3 corners"),
    ],
)
def test_what_fixes_no_plane_is_refused(image, meters, options, words) -> None:
    options = dict(options)
    with pytest.raises(InputError, match=words):
        make_calibration(image, meters, options.pop("size", SIZE), **options)


@pytest.mark.parametrize("size", [(0, 30), (7, 0), (-7, 30), (float("nan"), 30)])
def test_a_rectangle_without_size_is_refused(size: tuple[float, float]) -> None:
    with pytest.raises(InputError, match="positive size"):
        rectangle(*size)


# From flags


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


def test_six_numbers_make_a_calibration_and_a_picture(
    photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, seen = tmp_path / "camera" / "gate.toml", tmp_path / "grid.png"
    assert run(photo, *RECT, "--out", out, "--image", seen) == 0
    said = capsys.readouterr().out
    for words in ("4 points", "near", "middle", "far", "m/pixel", "camera of this view", "written: "):
        assert words in said
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


def test_pairs_of_flags_and_files_are_joined_and_outliers_dropped(
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
    assert (
        run(photo, "--pairs", table, *points, "--out", out, "--drop-outliers", "--provenance", 'a "wheel"')
        == 0
    )
    said = capsys.readouterr().out
    assert "dropped: point 7" in said  # the two points of the flags come first
    assert "14 points: reprojection error mean 0.0" in said
    assert 'a \\"wheel\\"' in out.read_text()
    np.testing.assert_allclose(read_calibration(out).to_ground(image[:2]), LATTICE[:2], atol=0.05)


def test_an_existing_calibration_is_checked_and_rescaled(
    photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = tmp_path / "old.toml"
    area = shapely.box(300, 500, 1500, 1000)
    old.write_text(
        calibration_text(make_calibration(pixels_of(LATTICE), LATTICE, SIZE, region=area), "by hand")
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
def test_each_mistake_of_the_flags_is_one_sentence(
    photo: Path, arguments: tuple, words: str, capsys: pytest.CaptureFixture[str], monkeypatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(photo, *arguments) == 2
    assert words in capsys.readouterr().err.replace("\n", " ")
    assert not list(tmp_path.iterdir())


def test_another_aspect_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    square, old = tmp_path / "square.png", tmp_path / "old.toml"
    cv2.imwrite(str(square), np.zeros((600, 600, 3), np.uint8))
    old.write_text(calibration_text(lattice()))
    assert run(square, "--calibration", old, "--out", tmp_path / "new.toml") == 2
    assert "aspect ratio" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("u,v,X,Y\n", "got 'none'"),
        ("1,2,3,4\n1,2,3\n", "line 2"),
        ("1,2,3,4\n1,2,x,4\n", "line 2"),
        ("1,2,3,nan\n", "line 1"),
    ],
)
def test_a_wrong_line_of_pairs_is_named(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "pairs.csv").write_text(text)
    with pytest.raises(FileFormatError, match=words):
        read_pairs(tmp_path / "pairs.csv")


def test_parts_that_are_empty_are_empty() -> None:
    assert parse_region(" ") is None
    assert parse_pairs([])[0].shape == (0, 2)


def test_a_failed_save_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_calibration(tmp_path / "gate.toml", lattice())
    before = path.read_text()
    monkeypatch.setattr("edgevid.speed.calibration_file.calibration_text", lambda *_: "image_size = 3")
    with pytest.raises(FileFormatError):
        write_calibration(path, lattice(), replace=True)
    assert path.read_text() == before
    assert [p.name for p in tmp_path.iterdir()] == ["gate.toml"]


def test_outliers_are_drawn_red() -> None:
    image = pixels_of(LATTICE)
    image[7] += [40, 0]
    made = make_calibration(image, LATTICE, SIZE)
    drawn = draw_calibration(np.zeros((1080, 1920, 3), np.uint8), made, examine(made))
    u, v = np.round(image[7]).astype(int)
    assert tuple(drawn[v, u]) == (255, 96, 84)
    u, v = np.round(image[1]).astype(int)
    assert tuple(drawn[v, u]) == (120, 230, 160)


# Single images


CROWD = """
import threading
import numpy as np
from edgevid.speed.calibration import make_calibration
pixels = np.random.default_rng(0).uniform(0, 600, (2000, 2))
corners = np.array([[0, 0], [50, 0], [50, 30], [0, 30.0]])
found = set()
def ask(calibration, gate):
    gate.wait()
    found.add(int(calibration.contains(pixels).sum()))
for _ in range(1500):
    calibration, gate = make_calibration(corners * 10 + 20, corners, (640, 360)), threading.Barrier(4)
    threads = [threading.Thread(target=ask, args=(calibration, gate)) for _ in range(4)]
    [t.start() for t in threads], [t.join() for t in threads]
print(found)
"""


def test_many_threads_may_ask_a_new_calibration_at_once() -> None:
    """The frame loop and the viewers do. GEOS alone would corrupt the memory and abort the process."""
    elsewhere = Path(__file__).parent  # in the clone's folder Python would take the package without kernels
    command = [sys.executable, "-c", CROWD]
    done = subprocess.run(command, capture_output=True, text=True, cwd=elsewhere, check=False)
    assert done.returncode == 0, done.stderr[-500:]
    assert done.stdout.strip("{}\n").isdigit()  # one number: all counted alike
