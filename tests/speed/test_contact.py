"""The contact point by hand: occlusion, truncation, and the footprint of a box in space."""

from __future__ import annotations

import numpy as np
import pytest

from edgevid.speed.abstain import contact_points, footprint_centers, is_occluded, is_truncated

CAMERA = np.array([[1000.0, 500.0, 0.0, 0.0], [0.0, 300.0, -1000.0, 6000.0], [0.0, 1.0, 0.0, 0.0]])
"""At (0, 0, 6 m), level, along +y: focal length 1000, principal point (500, 300); v grows downwards."""
TO_GROUND = np.linalg.inv(CAMERA[:, [0, 1, 3]])
TO_GROUND = TO_GROUND / (TO_GROUND[2] @ [500, 600, 1])


def test_the_contact_is_the_middle_of_the_bottom_edge() -> None:
    assert contact_points(np.array([[10.0, 20, 40, 90], [0, 0, 4, 8]])).tolist() == [[25, 90], [2, 8]]


def test_a_rotated_box_stands_at_its_center() -> None:
    """The edges of the box around a turning vehicle move, its center does not."""
    assert contact_points(np.array([[10.0, 20, 40, 90]]), rotated=True).tolist() == [[25, 55]]


def occluded(other: list[float]) -> bool:
    """Whether `other` hides a box of 100 x 100 at the origin."""
    found = is_occluded(np.array([[0, 0, 100, 100], other], float))
    return bool(found[0])


def test_a_nearer_box_over_a_fifth_of_the_bottom_edge_hides_it() -> None:
    assert occluded([79, 50, 300, 150])
    assert not occluded([80, 50, 300, 150])
    assert occluded([-200, 50, 21, 150])
    assert not occluded([-200, 50, 20, 150])
    # Its own bottom must be over 2 pixels lower, and its top above the bottom edge.
    assert occluded([0, 50, 100, 102.5])
    assert not occluded([0, 50, 100, 102])
    assert occluded([0, 99, 100, 150])
    assert not occluded([0, 100, 100, 150])
    assert not is_occluded(np.array([[0, 0, 100, 100], [0, 50, 100, 150]], float))[1]  # the nearer one is not


@pytest.mark.parametrize(("noise", "margin"), [(0.5, 2.0), (1.0, 3.0), (4.0, 12.0)])
def test_a_box_is_truncated_within_three_standard_errors_of_the_border(noise: float, margin: float) -> None:
    size = (1000, 800)
    for box in ([margin, 100, 200, 300], [100, 100, 1000 - margin, 300], [100, 100, 200, 800 - margin]):
        inside = np.array([box], float)
        assert is_truncated(inside, size, np.array([noise])).tolist() == [True]
        outside = inside + 0.01 * (np.array(box) == margin) - 0.01 * (np.array(box) > 700)
        assert is_truncated(outside, size, np.array([noise])).tolist() == [False]
    assert is_truncated(np.array([[100.0, 0, 200, 300]]), size, np.array([noise])).tolist() == [False]  # the top


def box_of(x: float, y: float, width: float, height: float, deg: float, ratio: float = 2.5) -> np.ndarray:
    """The image's bounding box of a vehicle in space, corner by corner."""
    turn = np.radians(deg)
    along, across = np.array([np.cos(turn), np.sin(turn)]), np.array([-np.sin(turn), np.cos(turn)])
    corners = [
        [*(np.array([x, y]) + a * ratio * width / 2 * along + b * width / 2 * across), z, 1]
        for a in (-1, 1) for b in (-1, 1) for z in (0, height)
    ]  # fmt: skip
    lifted = np.array(corners) @ CAMERA.T
    pixels = lifted[:, :2] / lifted[:, 2:]
    return np.concatenate([pixels.min(0), pixels.max(0)])


@pytest.mark.parametrize("deg", [0, 35, 90, 120, 200])
@pytest.mark.parametrize(("width", "height"), [(1.8, 1.5), (2.5, 3.2)])
def test_the_footprint_is_found_whatever_the_heading(deg: float, width: float, height: float) -> None:
    places = [(-4.0, 25.0), (0.5, 18.0), (6.0, 40.0)]
    boxes = np.array([box_of(x, y, width, height, deg) for x, y in places])
    found = footprint_centers(boxes, TO_GROUND, CAMERA, road_deg=deg)
    expected = np.array([[1000 * x / y + 500, 6000 / y + 300] for x, y in places])
    np.testing.assert_allclose(found, expected, atol=0.05)


def test_another_ratio_of_length_to_width() -> None:
    box = box_of(2.0, 22.0, 1.0, 1.7, 60, ratio=1.0)[None]
    found = footprint_centers(box, TO_GROUND, CAMERA, road_deg=60, ratio=1.0)
    np.testing.assert_allclose(found, [[1000 * 2 / 22 + 500, 6000 / 22 + 300]], atol=0.05)


def test_a_box_that_no_vehicle_makes_keeps_its_bottom_edge() -> None:
    flat = np.array([[400.0, 560.0, 600.0, 561.0], [400.0, 100.0, 600.0, 200.0]])  # too flat; above the horizon
    found = footprint_centers(flat, TO_GROUND, CAMERA, road_deg=90)
    np.testing.assert_array_equal(found, contact_points(flat))
    assert footprint_centers(flat[:0], TO_GROUND, CAMERA, road_deg=90).shape == (0, 2)
