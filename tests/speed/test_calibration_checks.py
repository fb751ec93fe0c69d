"""Each mistake of a calibration's points, lens and region, just below and just above its limit."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from road_camera import SIZE

from edgevid.errors import InputError
from edgevid.speed.calibration import (
    MAX_COORDINATE,
    check_lens,
    check_pairs,
    check_region,
    check_spread,
    make_calibration,
    rectangle,
)

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
        (QUAD, rectangle(7, 30), {"region": shapely.Polygon([(0, 0), (9, 9), (9, 0), (0, 9)])}, "cross itself"),
        (QUAD, rectangle(7, 30), {"region": shapely.Polygon()}, "at least 3 corners"),
    ],
)
def test_points_that_fix_no_plane_are_rejected(image, meters, options, words) -> None:
    options = dict(options)
    with pytest.raises(InputError, match=words):
        make_calibration(image, meters, options.pop("size", SIZE), **options)


def square(*more: tuple[float, float], side: float = 100.0) -> np.ndarray:
    """The corners of a square in order, and more points."""
    return np.array([(0, 0), (side, 0), (side, side), (0, side), *more], float)


def test_pairs_are_four_finite_points_on_each_side() -> None:
    check_pairs(square(), square(), (640, 360))
    check_pairs(square() + MAX_COORDINATE - 101, square(), (640, 360))
    for image, meters, size in (
        (square()[:3], square()[:3], (640, 360)),
        (square(), square((1, 1)), (640, 360)),
        (square() + MAX_COORDINATE, square(), (640, 360)),
        (square(), square() - MAX_COORDINATE, (640, 360)),
        (square(), square(), (640, -1)),
        (square(), square(), (640,)),
    ):
        with pytest.raises(InputError, match="calibration: expected"):
            check_pairs(image, meters, size)  # type: ignore[arg-type]


def test_a_region_is_one_area() -> None:
    region = shapely.box(0, 0, 10, 10)
    assert check_region(region) is region
    for wrong in (
        shapely.Polygon(),
        shapely.Polygon([(0, 0), (9, 0), (18, 0)]),
        shapely.Polygon([(0, 0), (9, 9), (9, 0), (0, 9)]),
        shapely.MultiPolygon([region, shapely.box(20, 20, 30, 30)]),
    ):
        with pytest.raises(InputError, match="does not cross itself and has an area"):
            check_region(wrong)


def test_a_lens_shows_nothing_beyond_where_it_folds() -> None:
    # r (1 + k1 r^2) is largest at r = 1 / sqrt(-3 k1): with k1 = -1/3 at 1, where it is 2/3.
    def at(radius: float) -> np.ndarray:
        return np.array([[100.0, 100.0], [100 + 150 * radius, 100]])

    check_lens(at(0.66), (200, 200), -1 / 3, 150)
    check_lens(at(1.32), (200, 200), -1 / 12, 150)  # at 2, where it is 4/3
    with pytest.raises(InputError, match=r"at most 1\.33"):
        check_lens(at(1.34), (200, 200), -1 / 12, 150)
    check_lens(at(9.0), (200, 200), 1.0, 150)  # pincushion distortion does not fold
    with pytest.raises(InputError, match=r"0\.67 focal lengths from the middle \(at most 0\.67\)"):
        check_lens(at(0.67), (200, 200), -1 / 3, 150)
    for k1, focal in ((1.01, 150), (-1.01, 150), (float("nan"), 150), (0.0, 0.0), (0.0, float("inf"))):
        with pytest.raises(InputError, match="k1 from -1 to 1 and a focal length above 0"):
            check_lens(at(0.1), (200, 200), k1, focal)


@pytest.mark.parametrize("image_side", [True, False])
def test_points_span_a_ten_thousandth_of_their_extent_squared(image_side: bool) -> None:
    def strip(height: float) -> tuple[np.ndarray, np.ndarray]:
        thin = square((50, 50)) * [1, height / 100]
        return (thin, square((50, 50))) if image_side else (square((50, 50)), thin)

    check_spread(*strip(0.0101))  # 100 x 0.01 is the limit
    with pytest.raises(InputError, match=f"the {'pixels' if image_side else 'meters'} lie on one line"):
        check_spread(*strip(0.0099))


def test_three_of_four_corners_are_half_a_percent_off_a_line() -> None:
    def bent(height: float) -> np.ndarray:
        return np.array([(0, 0), (50, -height), (100, 0), (50, 100)], float)

    check_spread(bent(0.51), bent(0.51))  # 0.5 % of 100.5
    with pytest.raises(InputError, match="three of the four meters lie on one line"):
        check_spread(bent(10), bent(0.49))


def test_four_points_that_turn_both_ways_on_both_sides_are_no_corners() -> None:
    arrow = np.array([(0, 0), (100, 0), (50, 100), (50, 30)], float)
    with pytest.raises(InputError, match="the corners turn both ways"):
        check_spread(arrow, arrow)
    with pytest.raises(InputError, match="a pixel was paired with the wrong meters"):
        check_spread(arrow, square())
    check_spread(square()[::-1], square())  # a mirrored plane is one, too


def test_duplicate_points_are_named_by_their_numbers() -> None:
    five = square((50, 20))
    with pytest.raises(InputError, match="points 2 and 5 are the same"):
        check_spread(five[[0, 1, 2, 3, 1]], five[[0, 1, 2, 3, 1]])
    with pytest.raises(InputError, match="points 2 and 5 are one pixel with two places in meters"):
        check_spread(five[[0, 1, 2, 3, 1]], five)
    check_spread(five, five[[0, 1, 2, 3, 1]])  # one place that was clicked twice is averaged
    with pytest.raises(InputError, match="points 3 and 4 are one place in meters with two pixels"):
        check_spread(square(), square()[[0, 1, 2, 2]])
