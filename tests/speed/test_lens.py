"""Lens distortion and resolution: the radius that a lens can show, and a focal length that scales."""

from __future__ import annotations

import math

import numpy as np
import pytest
import shapely

from edgevid.errors import InputError
from edgevid.speed import homography
from edgevid.speed.calibration import CameraCalibration, make_calibration
from edgevid.synthetic.scene import Camera
from edgevid.types import scale_between

K1, FOCAL, SIZE = -0.15, 1400.0, (1920, 1080)
METERS = np.array([[-7, 15], [7, 15], [7, 60], [-7, 60]], float)


def distorted() -> CameraCalibration:
    """The exact calibration of a camera with barrel distortion."""
    pixels = Camera(k1=K1).project(np.column_stack([METERS, np.zeros(4)]))
    return make_calibration(pixels, METERS, SIZE, region=shapely.box(200, 300, 1700, 1000), k1=K1, focal=FOCAL)


@pytest.mark.parametrize("share", [0.5, 1 / 3, 2.0])
def test_the_focal_length_scales_with_the_resolution(share: float) -> None:
    whole = distorted()
    other = whole.scaled_to((round(1920 * share), round(1080 * share)))
    assert other.focal == pytest.approx(FOCAL * share)
    assert other.k1 == K1
    points = np.array([[300.0, 900.0], [1600.0, 500.0], [960.0, 700.0]])
    np.testing.assert_allclose(other.to_ground(points * share), whole.to_ground(points), atol=1e-6)
    np.testing.assert_allclose(other.undistort(points * share), whole.undistort(points) * share, atol=1e-6)
    np.testing.assert_allclose(other.to_image(METERS), whole.to_image(METERS) * share, atol=1e-6)
    edges = np.array([[201.0, 301.0], [199.0, 301.0], [1699.0, 999.0], [1699.0, 1001.0]])
    assert other.contains(edges * share).tolist() == [True, False, True, False]


def test_an_aspect_within_a_hundredth_is_the_same_view() -> None:
    assert scale_between((1920, 1080), (960, 540)) == (0.5, 0.5)
    assert scale_between((1000, 1000), (1009, 1000)) == (1.009, 1.0)
    assert scale_between((1000, 1000), (1011, 1000)) is None
    assert scale_between((1000, 1000), (1000, 1009)) == (1.0, 1.009)
    assert scale_between((1000, 1000), (1000, 1011)) is None


def test_the_same_size_is_the_same_calibration() -> None:
    whole = distorted()
    assert whole.scaled_to(SIZE) is whole


@pytest.mark.parametrize("k1", [-0.05, -0.15, -0.4])
def test_a_lens_shows_nothing_beyond_the_fold_of_its_distortion(k1: float) -> None:
    # r (1 + k1 r^2) is greatest where its derivative 1 + 3 k1 r^2 is 0: at r = 1 / sqrt(-3 k1), where it is
    # two thirds of r. No pixel lies farther from the middle, in focal lengths.
    radius = 2 / 3 / math.sqrt(-3 * k1)

    def calibrate(share: float) -> CameraCalibration:
        r, middle = share * radius * 500, np.array([500.0, 500.0])
        corners = middle + r * np.array([[-0.6, 0.8], [0.6, 0.8], [0.6, 0.0], [-0.6, 0.0]])
        return make_calibration(
            corners, np.array([[0, 0], [4, 0], [4, 8], [0, 8]], float), (1000, 1000), k1=k1, focal=500.0,
            region=shapely.box(495, 500, 505, 505),
        )  # fmt: skip

    assert calibrate(0.97).k1 == k1
    with pytest.raises(InputError, match=r"at most 0\.\d\d|at most 1\.\d\d"):
        calibrate(1.03)


@pytest.mark.parametrize("k1", [-0.15, 0.1])
def test_distortion_there_and_back(k1: float) -> None:
    points = np.array([[960.0, 540.0], [100.0, 200.0], [1500.0, 900.0]])
    straight = homography.undistort(points, k1, FOCAL, (960.0, 540.0))
    np.testing.assert_allclose(homography.distort(straight, k1, FOCAL, (960.0, 540.0)), points, atol=1e-5)
    # By hand: 700 pixels right of the middle are half a focal length.
    bent = homography.distort(np.array([[1660.0, 540.0]]), k1, FOCAL, (960.0, 540.0))
    np.testing.assert_allclose(bent, [[960 + 700 * (1 + k1 / 4), 540]])
    beyond = homography.distort(np.array([[960.0 + 1.6 * FOCAL, 540.0]]), -0.15, FOCAL, (960.0, 540.0))
    assert np.isnan(beyond).all()  # the fold is at 1 / sqrt(0.45) = 1.49 focal lengths
