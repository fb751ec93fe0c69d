"""Homographies, the camera behind them, and the checks of calibrated points, by hand."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgevid.errors import FileFormatError, InputError
from edgevid.files import toml_text
from edgevid.speed import homography
from edgevid.speed.calibration import (
    CameraCalibration,
    check_lens,
    check_pairs,
    check_region,
    check_spread,
    make_calibration,
    rectangle,
)
from edgevid.speed.calibration_file import calibration_tables, read_calibration, rectangle_size
from edgevid.speed.homography import camera_from_homography
from edgevid.types import Array

SIZE = (1200, 800)


def view(focal: float, pitch_deg: float, height: float, turn_deg: float = 0.0) -> Array:
    """(3, 4) of a camera at (2, -3, height) that looks `turn_deg` left of +y and `pitch_deg` down."""
    pitch, turn = math.radians(pitch_deg), math.radians(turn_deg)
    ahead = np.array([-math.sin(turn) * math.cos(pitch), math.cos(turn) * math.cos(pitch), -math.sin(pitch)])
    right = np.array([math.cos(turn), math.sin(turn), 0])
    down = np.cross(ahead, right)
    rotation = np.stack([right, down, ahead])
    intrinsic = np.array([[focal, 0, SIZE[0] / 2], [0, focal, SIZE[1] / 2], [0, 0, 1]])
    return intrinsic @ np.column_stack([rotation, -rotation @ [2, -3, height]])


@pytest.mark.parametrize("mirror", [1, -1])
@pytest.mark.parametrize(
    ("focal", "pitch", "height", "turn"),
    [(1000.0, 20.0, 6.0, 0.0), (700.0, 35.0, 12.0, 25.0), (1500.0, 8.0, 4.0, -40.0)],
)
def test_the_camera_of_a_homography(focal: float, pitch: float, height: float, turn: float, mirror: int) -> None:
    matrix = view(focal, pitch, height, turn) @ np.diag([mirror, 1, 1, 1])
    plane = matrix[:, [0, 1, 3]]
    foot = np.linalg.inv(plane) @ [SIZE[0] / 2, SIZE[1] * 0.8, 1]
    visible = foot[:2] / foot[2]
    plane = plane / (plane[2] @ [*visible, 1])
    found = camera_from_homography(plane, SIZE, visible)
    assert found is not None
    assert found.focal_px == pytest.approx(focal)
    assert found.height_m == pytest.approx(height)
    assert found.pitch_deg == pytest.approx(pitch)
    assert found.width_deg == pytest.approx(2 * math.degrees(math.atan(600 / focal)))
    scaled = found.matrix / found.matrix[2, 3] * matrix[2, 3]
    np.testing.assert_allclose(scaled, matrix, rtol=1e-6, atol=1e-6 * focal)


def test_no_perspective_no_camera() -> None:
    assert camera_from_homography(np.diag([10.0, 10.0, 1.0]), SIZE, np.zeros(2)) is None
    weak = view(200_000.0, 60.0, 5000.0)[:, [0, 1, 3]]
    assert camera_from_homography(weak / weak[2, 2], SIZE, np.array([2.0, 2880.0])) is None  # 167 widths


def test_a_point_through_a_homography_and_its_horizon() -> None:
    h = np.array([[2.0, 0, 1], [0, 4, -2], [0, 0.5, 1]])
    np.testing.assert_allclose(homography.apply(h, np.array([[3.0, 2.0]])), [[3.5, 3.0]])
    assert np.isnan(homography.apply(h, np.array([[3.0, -2.0], [3.0, -4.0]]))).all()
    # The derivative of (2x + 1) / (y / 2 + 1) and (4y - 2) / (y / 2 + 1) at (3, 2).
    np.testing.assert_allclose(homography.jacobian(h, np.array([[3.0, 2.0]]))[0], [[1, -0.875], [0, 1.25]])
    scaled = homography.normalized(h, np.array([[0.0, 1.0], [0.0, 3.0]]))
    np.testing.assert_allclose(scaled, h / 2)


@pytest.mark.parametrize("n", [4, 8])
def test_a_fit_of_exact_points_is_exact(n: int) -> None:
    h = np.linalg.inv(view(1000.0, 25.0, 6.0)[:, [0, 1, 3]])
    random = np.random.default_rng(n)
    image = np.array([[200, 700], [1000, 720], [800, 500], [350, 480]], float)
    image = np.concatenate([image, random.uniform([200, 450], [1000, 780], (n - 4, 2))])
    h = homography.normalized(h, image)
    np.testing.assert_allclose(homography.fit(image, homography.apply(h, image)), h, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("seed", range(20))
def test_a_fit_of_noisy_points_has_no_larger_error_than_opencv(seed: int) -> None:
    random = np.random.default_rng(seed)
    meters = random.uniform([-6, 8], [6, 60], (random.integers(5, 12), 2))
    plane = view(1000.0, 25.0, 6.0)[:, [0, 1, 3]]
    image = homography.apply(homography.normalized(plane, meters), meters)
    image += random.normal(0, 3, image.shape)

    def error(to_image: Array) -> float:
        return float(np.square(homography.apply(to_image, meters) - image).sum())

    theirs, _ = cv2.findHomography(meters, image, method=0)
    assert theirs is not None
    ours = homography.inverse(homography.fit(image, meters), image)
    assert error(homography.normalized(ours, meters)) <= error(homography.normalized(theirs, meters)) + 1e-4


@pytest.mark.parametrize("k1", [-0.2, 0.3])
def test_a_lens_of_opencv_is_undone(k1: float) -> None:
    points = np.random.default_rng(0).uniform([100, 100], [1100, 700], (20, 2))
    rays = np.column_stack([(points - [600, 400]) / 900, np.ones(20)])
    matrix, lens = np.array([[900, 0, 600], [0, 900, 400], [0, 0, 1.0]]), np.array([k1, 0, 0, 0])
    bent = cv2.projectPoints(rays, np.zeros(3), np.zeros(3), matrix, lens)[0].reshape(-1, 2)
    assert np.abs(bent - points).max() > 20
    np.testing.assert_allclose(homography.undistort(bent, k1, 900.0, (600.0, 400.0)), points, atol=1e-3)


def test_points_that_fix_no_homography() -> None:
    line = np.array([[0, 0], [100, 100], [200, 200], [0, 300]], float)
    with pytest.raises(InputError, match="fix no plane"):
        homography.fit(line, rectangle(10, 20))
    with pytest.raises(InputError, match="expected at least 4 pairs, got 3"):
        homography.fit(line[:3], rectangle(10, 20)[:3])
    with pytest.raises(InputError, match="expected at least 4 pairs"):
        homography.fit(line, rectangle(10, 20)[:3])


QUAD = np.array([[300, 700], [900, 700], [700, 400], [500, 400]], float)


def calibration() -> CameraCalibration:
    return make_calibration(QUAD, rectangle(7, 30), SIZE)


def test_errors_and_distances_of_a_calibration() -> None:
    meters = np.array([[0, 0], [0, 10], [10, 10], [10, 0], [5, 5]], float)
    pixels = 100 + 20 * meters
    pixels[4] += [4, 0]
    made = make_calibration(pixels, meters, (1000, 1000))
    projected = homography.apply(made.inverse_homography, meters)
    np.testing.assert_allclose(made.error_px(), np.hypot(*(projected - pixels).T))
    np.testing.assert_allclose(made.error_m(), made.error_px() / 20, rtol=0.05)
    point = np.array([[650.0, 550.0]])
    step = 1e-3
    moved = [(calibration().to_ground(point + d) - calibration().to_ground(point))[0] / step
             for d in (np.array([step, 0]), np.array([0, step]))]  # fmt: skip
    values = np.linalg.svd(np.array(moved).T)[1]
    np.testing.assert_allclose(calibration().ground_sample_distances(point), [values], rtol=1e-3)
    np.testing.assert_allclose(calibration().ground_sample_distance(point), values[:1], rtol=1e-3)


def test_the_default_region_is_the_hull_with_a_tenth_of_its_size_around() -> None:
    made = calibration()
    hull = 300 * (600 + 200) / 2
    margin = 0.1 * math.sqrt(hull)
    inside = np.array([[600, 700 + 0.98 * margin], [600, 700 + 1.02 * margin], [600, 400 - 0.98 * margin]])
    assert made.contains(inside).tolist() == [True, False, True]


@pytest.mark.parametrize("k1", [-1.0, 1.0])
def test_limits_of_the_lens(k1: float) -> None:
    middle = np.array([[600.0, 400.0]])
    check_lens(middle, SIZE, k1, 1.0)
    for bad, focal in ((1.01 * k1, 1.0), (k1, 0.0), (k1, -5.0), (math.nan, 1.0), (k1, math.inf)):
        with pytest.raises(InputError, match="expected k1 from -1 to 1"):
            check_lens(middle, SIZE, bad, focal)


def test_limits_of_the_pairs() -> None:
    check_pairs(QUAD, rectangle(7, 30), (1, 1))
    for image, meters in ((QUAD[:3], QUAD[:3]), (QUAD, QUAD[:3]), (QUAD[:, :1], QUAD[:, :1]), (QUAD[0], QUAD[0])):
        with pytest.raises(InputError, match="expected at least 4 pixels"):
            check_pairs(image, meters, SIZE)
    for far in (1e6, -2e6, math.nan):
        for pair in ((QUAD + far, QUAD), (QUAD, QUAD + far)):
            with pytest.raises(InputError, match="expected numbers up to"):
                check_pairs(*pair, SIZE)
    for size in ((0, 5), (5, 0), (5, 5, 5)):
        with pytest.raises(InputError, match="width and height"):
            check_pairs(QUAD, QUAD, size)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="expected a region"):
        check_region(None)  # type: ignore[arg-type]


def spread(image: Array, meters: Array | None = None) -> str:
    """What is wrong with the points, or nothing."""
    try:
        check_spread(np.array(image, float), np.array(rectangle(10, 10) if meters is None else meters, float))
    except InputError as error:
        return str(error)
    return ""


def test_what_four_points_may_not_be() -> None:
    square = rectangle(100, 100)
    assert spread(square) == ""
    assert "points 1 and 3 are the same" in spread(square[[0, 1, 0, 3]], square[[0, 1, 0, 3]])
    assert "points 1 and 3 are one pixel with two places" in spread(square[[0, 1, 0, 3]])
    assert "points 2 and 4 are one place in meters with two pixels" in spread(square, square[[0, 1, 2, 1]])
    assert "the four pixels cross over" in spread(square[[0, 2, 1, 3]])
    assert "the four meters cross over" in spread(square, square[[0, 2, 1, 3]])
    assert "the pixels lie on one line" in spread([[0, 0], [100, 0], [200, 0.02], [300, 0]])
    for height, words in ((0.0099, "span an area"), (0.0101, "three of the four pixels")):  # of 100: 1e-4
        assert words in spread([[0, 0], [100, 0], [100, height], [0, height]])
    dart = [[0, 0], [100, 0], [20, 20], [0, 100]]
    assert "turn both ways" in spread(dart, dart)
    assert "convex on one side" in spread(dart)
    assert "convex on one side" in spread(square, dart)
    # The third corner is off the line of its neighbors by share times 100.
    for share, words in ((0.0049, "three of the four pixels"), (0.0051, "")):
        off = share * 100 * math.sqrt(2)
        found = spread([[0, 0], [100, 0], [50 + off / 2, 50 + off / 2], [0, 100]])
        assert (words in found) if words else (found == "")


def test_five_points_may_share_a_place_but_not_a_pixel() -> None:
    five = np.array([[0, 0], [100, 0], [100, 100], [0, 100], [50, 50]], float)
    assert spread(five, five[[0, 1, 2, 3, 3]]) == ""
    assert "points 4 and 5" in spread(five[[0, 1, 2, 3, 3]], five)


def test_a_rectangle_has_a_size() -> None:
    assert rectangle(2, 3).tolist() == [[0, 0], [2, 0], [2, 3], [0, 3]]
    for sides in ((0, 3), (2, 0), (-2, 3)):
        with pytest.raises(InputError, match="rectangle of positive size"):
            rectangle(*sides)


def test_a_rectangle_is_written_as_one_and_other_points_as_points() -> None:
    made = calibration()
    assert rectangle_size(made) == (7, 30)
    assert "[rectangle]" in toml_text(calibration_tables(made))
    moved = make_calibration(QUAD, rectangle(7, 30) + 1, SIZE)
    assert rectangle_size(moved) is None
    assert "[[points]]" in toml_text(calibration_tables(moved))
    five = np.concatenate([rectangle(7, 30), [[3.5, 15]]])
    assert rectangle_size(make_calibration(made.to_image(five), five, SIZE)) is None


def test_an_image_has_one_pixel_or_more(tmp_path: Path) -> None:
    path = tmp_path / "gate.toml"
    corners = "[[300, 700], [900, 700], [700, 400], [500, 400]]"
    for size, good in (([1, 1], True), ([0.9, 1], False), ([1, 0.9], False), ([1.1e6, 1], False), ([1, 1.1e6], False)):
        path.write_text(f"image_size = {size}\n[rectangle]\npixels = {corners}\nwidth_m = 7\nlength_m = 30\n")
        if good:
            assert read_calibration(str(path)).size == (1, 1)
        else:
            with pytest.raises(FileFormatError, match="image_size"):
                read_calibration(path)
