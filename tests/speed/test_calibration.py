"""Calibrations: the fit, its inverse, rescaling, and each way in which one is rejected."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from road_camera import METERS, SIZE, calibration, ground_homography, pixels_of

from edgevid.errors import InputError
from edgevid.speed import homography
from edgevid.speed.calibration import make_calibration, rectangle
from edgevid.synthetic.scene import Camera


def test_homography_and_its_derivative() -> None:
    h = ground_homography()
    back = homography.normalized(np.linalg.inv(h), METERS)
    np.testing.assert_allclose(homography.apply(back, METERS), pixels_of(METERS), rtol=1e-9)
    at, step = np.array([[2.0, 30.0]]), 1e-4
    numeric = [
        (homography.apply(back, at + d) - homography.apply(back, at - d))[0] / (2 * step)
        for d in (np.array([step, 0]), np.array([0, step]))
    ]
    np.testing.assert_allclose(homography.jacobian(back, at)[0], np.array(numeric).T, rtol=1e-6)


def test_points_beyond_the_horizon_have_no_meters() -> None:
    high = np.array([[960.0, 10.0]])
    assert np.isnan(calibration().to_ground(high)).all()


def test_a_four_point_fit_is_exact_and_more_points_average_their_errors() -> None:
    exact = calibration()
    assert exact.error_px().max() < 1e-6
    many = np.array([[x, y] for x in (-7, 0, 7) for y in (15, 25, 40, 60)], float)
    random = np.random.default_rng(1)
    noisy = make_calibration(pixels_of(many) + random.normal(0, 1, (12, 2)), many, (1920, 1080))
    assert 0.2 < noisy.error_px().mean() < 2.0
    middle = pixels_of(np.array([[0.0, 30.0]]))
    np.testing.assert_allclose(noisy.to_ground(middle), [[0, 30]], atol=0.3)
    assert noisy.scale_error(middle)[0] < exact.scale_error(middle)[0]


def test_lens_distortion_is_removed() -> None:
    lens = Camera(k1=-0.15)
    bent = make_calibration(pixels_of(METERS, lens), METERS, (1920, 1080), k1=-0.15, focal=1400.0)
    point = np.array([[3.0, 22.0]])
    np.testing.assert_allclose(bent.to_ground(pixels_of(point, lens)), point, atol=0.02)


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


def test_another_resolution_is_rescaled_and_another_aspect_ratio_rejected() -> None:
    half = calibration().scaled_to((960, 540))
    np.testing.assert_allclose(half.to_ground(pixels_of(METERS) / 2), METERS, atol=1e-6)
    with pytest.raises(InputError, match="aspect ratio"):
        calibration().scaled_to((1024, 768))


@pytest.mark.parametrize("size", [(0, 30), (7, 0), (-7, 30), (float("nan"), 30)])
def test_a_rectangle_without_size_is_rejected(size: tuple[float, float]) -> None:
    with pytest.raises(InputError, match="positive size"):
        rectangle(*size)


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


def test_many_threads_may_query_a_new_calibration_at_once() -> None:
    """The frame loop and the viewers do. GEOS alone would corrupt the memory and abort the process."""
    elsewhere = Path(__file__).parent  # in the clone's folder Python would take the package without kernels
    command = [sys.executable, "-c", CROWD]
    done = subprocess.run(command, capture_output=True, text=True, cwd=elsewhere, check=False)
    assert done.returncode == 0, done.stderr[-500:]
    assert done.stdout.strip("{}\n").isdigit()  # one number: all counted alike
