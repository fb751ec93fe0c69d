"""The synthetic camera over a road from 15 to 60 m, and calibrations of it."""

from __future__ import annotations

import math

import numpy as np
import shapely

from edgevid.speed.calibration import CameraCalibration, make_calibration
from edgevid.synthetic.scene import Camera

CAMERA, SIZE = Camera(), (1920, 1080)
METERS = np.array([[-7, 15], [7, 15], [7, 60], [-7, 60]], float)
LATTICE = np.array([(x, y) for y in (15, 25, 35, 45, 55) for x in (-5, 0, 5)], float)


def pixels_of(meters: np.ndarray, camera: Camera = CAMERA) -> np.ndarray:
    return camera.project(np.column_stack([meters, np.zeros(len(meters))]))


def ground_homography(camera: Camera = CAMERA) -> np.ndarray:
    """(3, 3) from pixels to meters on the ground; exact when k1 is 0."""
    s, c = math.sin(math.radians(camera.pitch)), math.cos(math.radians(camera.pitch))
    # pixel ~ K [x, h c - y s, y c + h s] for a ground point (x, y, 0)
    to_image = np.array([[1.0, 0, 0], [0, -s, camera.height_m * c], [0, c, camera.height_m * s]])
    focal = camera.focal
    intrinsic = np.array([[focal, 0, camera.width / 2], [0, focal, camera.height / 2], [0, 0, 1]])
    return np.linalg.inv(intrinsic @ to_image)


def calibration(scale: float = 1.0, turn: float = 0.0) -> CameraCalibration:
    """The exact calibration of the synthetic camera, its meters scaled and turned on request."""
    c, s = np.cos(turn), np.sin(turn)
    meters = scale * METERS @ np.array([[c, s], [-s, c]]) + 100 * turn
    return make_calibration(pixels_of(METERS), meters, SIZE, region=shapely.box(0, 150, 1920, 1080))


def lattice(noise: float = 0.0) -> CameraCalibration:
    """15 points with `noise` pixels of error."""
    random = np.random.default_rng(3)
    return make_calibration(pixels_of(LATTICE) + random.normal(0, noise, (15, 2)), LATTICE, SIZE)
