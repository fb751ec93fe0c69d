"""The report on a calibration: camera, scale, outliers and warnings."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from road_camera import LATTICE, SIZE, lattice, pixels_of

from edgevid.speed.calibration import make_calibration, rectangle
from edgevid.speed.calibration_report import examine, find_outliers, is_mirrored, without


def shifted(width: float, length: float, x: float = -3.5) -> np.ndarray:
    """A rectangle that begins 20 m before the camera."""
    return rectangle(width, length) + np.array([x, 20])


def test_the_camera_behind_a_calibration_is_found() -> None:
    seen = lattice().camera()
    assert seen is not None
    assert seen.focal_px == pytest.approx(1400, rel=1e-4)
    assert seen.height_m == pytest.approx(8.0, abs=1e-3)
    assert seen.pitch_deg == pytest.approx(18.0, abs=1e-3)
    assert seen.width_deg == pytest.approx(2 * np.degrees(np.arctan(960 / 1400)), abs=1e-2)


def test_a_view_straight_down_has_no_camera_and_a_warning() -> None:
    square = np.array([[100, 900], [1100, 900], [1100, 100], [100, 100]], float)
    report = examine(make_calibration(square, rectangle(10, 8), SIZE))
    assert report.camera is None
    assert any("no perspective" in words for words in report.warnings)
    # 10 m on 1000 pixels, the same everywhere
    assert all(s.along == pytest.approx(0.01) and s.across == pytest.approx(0.01) for s in report.scales)


def test_a_good_calibration_reports_its_scale_without_warnings() -> None:
    report = examine(lattice(0.5))
    assert report.warnings == ()
    assert report.outliers == ()
    assert [s.place for s in report.scales] == ["near", "middle", "far"]
    along = [s.along for s in report.scales]
    assert along == sorted(along)
    assert max(s.error for s in report.scales) < 0.03
    assert 0.1 < report.error_px.mean() < 1.5


def test_outliers_are_named_and_can_be_left_out() -> None:
    image = pixels_of(LATTICE) + np.random.default_rng(5).normal(0, 0.5, (15, 2))
    image[7] += [40, 0]
    image[2] += [0, -25]
    made = make_calibration(image, LATTICE, SIZE, meters_error=0.02)
    assert sorted(find_outliers(made)) == [2, 7]
    assert any("contradict point" in words for words in examine(made).warnings)
    better = without(made, find_outliers(made))
    assert len(better.image) == 13
    assert better.meters_error == 0.02
    assert better.error_px().max() < 2


def test_five_points_show_that_one_is_wrong_but_not_which() -> None:
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
def test_implausible_calibrations_have_warnings(change: dict, words: str | None) -> None:
    meters = change.get("meters", shifted(7, 30))
    image = pixels_of(meters)
    given = meters * [-1 if "mirror" in change else 1, change.get("stretch", 1)]
    made = make_calibration(image, given, SIZE, region=change.get("region"))
    warnings = examine(made).warnings
    assert is_mirrored(made) == ("mirror" in change)
    assert words is None or any(words in warning for warning in warnings), warnings
