"""The report on a calibration by hand: each warning just below and just above its limit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import shapely

from edgevid.speed import calibration_report as report
from edgevid.speed.calibration import CameraCalibration, ScaleErrorGrid, make_calibration, rectangle
from edgevid.speed.calibration_report import Scale, examine, find_outliers, without
from edgevid.speed.homography import GroundCamera

GRID = np.array([(x, y) for y in (0, 10, 20) for x in (0, 10, 20)], float)


def above(errors: Any = 0.0, size: tuple[int, int] = (1000, 1000), **options: Any) -> CameraCalibration:
    """Nine points from straight above, 20 pixels a meter, with errors in pixels."""
    pixels = 300 + 20 * GRID + np.zeros((9, 2))
    return make_calibration(pixels + errors, GRID, size, **options)


def warnings(calibration: CameraCalibration, outliers: tuple[int, ...] = ()) -> list[str]:
    return list(report._point_warnings(calibration, outliers))


def scale(**values: float) -> Scale:
    return replace(Scale("far", (0, 0), (0, 0), along=0.1, across=0.1, error=0.01), **values)


def test_a_reprojection_error_of_over_3_pixels() -> None:
    random = np.random.default_rng(2).normal(0, 1, (9, 2))
    size = np.sqrt((above(random).error_px() ** 2).mean())
    for share, expected in ((0.9, False), (1.1, True)):
        made = above(random * 3 * share / size)
        rms = float(np.sqrt((made.error_px() ** 2).mean()))
        assert (rms > 3) is expected
        assert any("over 3 pixels" in w for w in warnings(made)) is expected
        assert not any("over 3 pixels" in w for w in warnings(made, (1,)))
    assert warnings(above(), (0, 4))[0].startswith("the other points contradict point 1, 5:")


def test_one_of_five_points() -> None:
    corners = np.array([[0, 0], [20, 0], [20, 20], [0, 20], [10, 10]], float)
    for off, expected in ((2.8, False), (3.2, True)):
        pixels = 300 + 20 * corners
        pixels[4, 0] += off
        made = make_calibration(pixels, corners, (1000, 1000))
        assert bool(made.error_px().max() > 2) is expected
        assert any("one of the five" in w for w in warnings(made)) is expected


def test_points_outside_the_image() -> None:
    for size, expected in ((699, False), (697, True)):  # the last point is at 700, 2 pixels are allowed
        made = above(size=(size, 1000))
        assert any("outside the image" in w for w in warnings(made)) is expected


def test_points_that_span_half_of_the_region() -> None:
    for top, expected in ((0, True), (150, False)):  # 400 x 400 in 400 wide; 1000 or 850 high less 50
        made = above(region=shapely.box(300, top, 700, 950 if top == 0 else 900))
        assert any("of the region" in w for w in warnings(made)) is expected


def test_a_small_patch() -> None:
    for size, expected in ((6600, False), (6700, True)):  # 400 of 6667 pixels are 6 %
        assert any("a small patch: the points span 400 x 400" in w for w in warnings(above(size=(size, 1000)))) is (
            expected
        )
        assert any("a small patch" in w for w in warnings(above(size=(1000, size)))) is expected


def test_scale_warnings() -> None:
    def of(*scales: Scale) -> list[str]:
        return list(report._scale_warnings(scales))

    assert of(scale(error=0.03), scale(along=0.5)) == []
    assert of(scale(error=0.031), scale()) == [
        "speeds far may be 3 % wrong from clicking alone (one standard error): more points or a longer "
        "stretch reduce it"
    ]
    assert "one pixel is 0.6 m" in of(scale(along=0.51), scale(along=0.6), scale())[0]


def test_camera_warnings() -> None:
    def of(calibration: CameraCalibration, width_deg: float | None) -> list[str]:
        camera = GroundCamera(np.zeros((3, 4)), 1.0, 1.0, 1.0, width_deg) if width_deg else None
        return [w.split()[0] for w in report._camera_warnings(calibration, camera)]

    turned = np.array([[300, 700], [700, 700], [700, 300], [300, 300]], float)  # y grows away from the camera
    upright = make_calibration(turned, rectangle(20, 20), (1000, 1000))
    mirrored = make_calibration(turned[[1, 0, 3, 2]], rectangle(20, 20), (1000, 1000))
    assert of(upright, 12.0) == of(upright, 130.0) == []
    assert of(upright, 11.9) == of(upright, 130.1) == ["only"]
    assert of(upright, None) == of(upright, None) == ["the"]
    assert of(mirrored, 60.0) == ["the"]


def test_scales_near_middle_and_far() -> None:
    made = above(region=shapely.box(200, 100, 600, 900))
    near, middle, far = examine(made).scales
    assert [s.place for s in (near, middle, far)] == ["near", "middle", "far"]
    assert near.pixel == pytest.approx((400, 100 + 0.97 * 800))
    assert middle.pixel == pytest.approx((400, 500))
    assert far.pixel == pytest.approx((400, 124))
    assert middle.meter == pytest.approx((5, 10))
    assert (middle.along, middle.across) == pytest.approx((0.05, 0.05))
    # What lies outside the image does not count.
    wide = above(region=shapely.box(-300, -900, 600, 900))
    assert examine(wide).scales[2].pixel == pytest.approx((300, 27))
    outside = above(region=shapely.box(1100, 100, 1500, 900))  # nothing of it is in the image: the whole region
    assert examine(outside).scales[1].pixel == pytest.approx((1300, 500))
    wide = above(region=shapely.box(200, 300, 1600, 1900))
    assert examine(wide).scales[0].pixel == pytest.approx((600, 300 + 0.97 * 700))


@pytest.mark.parametrize(("off", "found"), [(40.0, (4,)), (5.0, ())])
def test_an_outlier_is_over_six_pixels_off_the_fit_to_the_others(off: float, found: tuple[int, ...]) -> None:
    errors = np.zeros((9, 2))
    errors[4, 0] = off
    assert find_outliers(above(errors)) == found


def test_an_outlier_more_than_halves_the_error() -> None:
    errors = np.random.default_rng(4).normal(0, 12, (9, 2))  # all are bad: no single one explains it
    assert find_outliers(above(errors)) == ()


def test_scale_errors_are_looked_up_at_the_nearest_of_16_cells() -> None:
    made = above(region=shapely.box(200, 200, 800, 800))
    grid = ScaleErrorGrid(made, 2.0)
    pixels = np.stack(np.meshgrid(200 + 40 * np.arange(16.0), 200 + 40 * np.arange(16.0))).reshape(2, -1)
    exact = made.scale_error(pixels.T)
    np.testing.assert_allclose(grid.at_pixels(pixels), exact)
    np.testing.assert_allclose(grid.at_pixels(pixels + np.array([[19], [-19]])), exact)
    x, y, w = grid.cells @ [*((pixels - 300) / 20), np.ones(256)]
    np.testing.assert_allclose(grid.errors[(y / w).astype(int), (x / w).astype(int)], exact)
    np.testing.assert_allclose(ScaleErrorGrid(made, 5.0).at_pixels(pixels), 2.5 * exact)
    outside = grid.at_pixels(np.array([[-900.0, 9000.0], [-900.0, 9000.0]]))
    assert outside == pytest.approx([exact[0], exact[-1]])


def test_the_error_that_is_halved_is_that_of_each_degree_of_freedom() -> None:
    # Nine points leave 18 - 8 degrees of freedom, eight leave 16 - 8; the outlier is 6 pixels and more off.
    noise, decisions = np.random.default_rng(6).normal(0, 3, (9, 2)), set()
    for off in np.linspace(4, 40, 73):
        errors = noise.copy()
        errors[4] += [off, 0]
        made = above(errors)
        rest = without(made, (4,))
        before, after = ((c.error_px() ** 2).sum() for c in (made, rest))
        away = np.hypot(*(rest.to_image(GRID[4:5]) - made.image[4:5]).T)[0]
        expected = bool(np.sqrt(after / 8) < 0.5 * np.sqrt(before / 10) and away > 6)
        assert (4 in find_outliers(made)) is expected, off
        decisions.add(expected)
    assert decisions == {True, False}
