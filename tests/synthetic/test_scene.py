"""The synthetic street: positions, speeds and boxes follow from geometry."""

from __future__ import annotations

import math

import numpy as np
import pytest
from road_camera import ground_homography

from edgevid.synthetic.scene import Camera, Mover, Noise, Scene, box_corners, drive, street


def test_a_point_straight_ahead_on_the_horizon_line_of_sight() -> None:
    level = Camera(width=200, height=100, focal=100.0, height_m=2.0, pitch=0.0)
    # 10 m away and 2 m below the eye: 100 * 2 / 10 = 20 pixels under the center.
    assert level.project(np.array([[0.0, 10.0, 0.0]])).tolist() == [[100.0, 70.0]]
    assert np.isnan(level.project(np.array([[0.0, -1.0, 0.0]]))).all()


def test_the_homography_inverts_the_projection() -> None:
    camera = Camera()
    pixels = camera.project(np.array([[3.0, 25.0, 0.0]]))[0]
    point = ground_homography(camera) @ [*pixels, 1.0]
    np.testing.assert_allclose(point[:2] / point[2], [3, 25])


def test_legs_of_acceleration_and_turning() -> None:
    braking = Mover(1, "car", (0, 0), 0.0, 10.0, ((2.0, -5.0, 0.0),))
    assert braking.state(2.0) == pytest.approx((10.0, 0.0, 0.0, 0.0))
    assert braking.state(5.0) == pytest.approx((10.0, 0.0, 0.0, 0.0))
    turning = Mover(1, "car", (0, 0), 0.0, 5.0, ((math.pi, 0.0, 1.0),))
    x, y, heading, _ = turning.state(math.pi)  # half a circle of radius 5
    assert (x, y, heading) == pytest.approx((0.0, 10.0, math.pi), abs=1e-3)


def test_corners_of_a_box() -> None:
    corners = box_corners(np.array([[10.0, 20.0]]), np.array([math.pi / 2]), np.array([[4.0, 2.0, 1.5]]))[0]
    assert corners[:, 0].min() == pytest.approx(9)
    assert corners[:, 1].max() == pytest.approx(22)
    assert sorted(set(corners[:, 2])) == [0, 1.5]


def test_the_same_seed_is_the_same_street_and_noise() -> None:
    times = [n / 10 for n in range(30)]
    one, two, other = (street(s, noise=Noise(2, 0.1, 0.1, 0.5)).simulate(times) for s in (3, 3, 4))
    assert all(np.array_equal(a[1].boxes, b[1].boxes) for a, b in zip(one, two, strict=True))
    assert any(len(a[1]) != len(b[1]) for a, b in zip(one, other, strict=True))


def test_jitter_has_the_size_and_the_correlation_that_were_requested() -> None:
    scene = Scene([drive(1, 0, towards=True, lane=0.0, far=30)], noise=Noise(2.0, 0.15), seed=1)
    simulated = scene.simulate([n / 30 for n in range(20_000)])
    errors = np.array([found.boxes[0] - truth.boxes[0] for truth, found, _ in simulated])
    assert errors.std() == pytest.approx(2.0, rel=0.1)
    kept = np.corrcoef(errors[1:, 0], errors[:-1, 0])[0, 1]
    assert kept == pytest.approx(math.exp(-1 / 30 / 0.15), abs=0.03)


def test_misses_and_false_positives_come_at_their_rates() -> None:
    scene = Scene([drive(1, 0, towards=True, lane=0.0, far=30)], noise=Noise(0, 0, 0.1, 0.5), seed=2)
    ids = [i for _, _, i in scene.simulate([n / 30 for n in range(6000)])]
    assert np.mean([1 not in i for i in ids]) == pytest.approx(0.1, abs=0.025)
    assert np.mean([(i < 0).sum() for i in ids]) == pytest.approx(0.5, abs=0.05)
