"""Which reason a speed carries, and when: worked by hand, from straight above."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import shapely

from edgevid.speed.calibration import make_calibration, rectangle
from edgevid.speed.estimator import METHODS, SpeedEstimator
from edgevid.types import Reason, SpeedReport, Tracks

CORNERS = np.array([[100, 900], [900, 900], [900, 100], [100, 100]], float)
"""80 m by 80 m, 10 pixels a meter, in an image of 1000 x 1000."""
CALIBRATION = make_calibration(CORNERS, rectangle(80, 80), (1000, 1000), region=shapely.box(50, 50, 950, 950))


def estimator(**options: Any) -> SpeedEstimator:
    return SpeedEstimator(CALIBRATION, **{"noise_px": 1.0, "click_px": 0.0, **options})


def step(
    speeds: SpeedEstimator, time: float, *boxes: tuple[float, float], seen: bool = True, size: float = 40
) -> SpeedReport:
    """One update with boxes whose contact points are given, ids 1, 2, ..."""
    n = len(boxes)
    zero = np.zeros(n)
    return speeds.update(
        Tracks.of(
            ids=np.arange(1, n + 1), boxes=[[x - size / 2, y - size, x + size / 2, y] for x, y in boxes],
            scores=zero + 0.9, labels=zero, match=zero if seen else zero - 1, age=zero, unseen=zero,
        ),
        time,
    )  # fmt: skip


def driven(speeds: SpeedEstimator, seconds: float = 2.0) -> SpeedReport:
    """After driving 10 m/s along +x at 20 fps."""
    for n in range(round(20 * seconds) + 1):
        report = step(speeds, n / 20, (300 + 5 * n, 500))
    return report


def reason(report: SpeedReport) -> Reason:
    return Reason(int(report.live.reason[0]))


@pytest.mark.parametrize("method", METHODS)
def test_a_track_without_sightings_is_stale_after_stale_s(method: str) -> None:
    speeds = estimator(method=method, stale_s=0.7)
    assert reason(driven(speeds)) is Reason.OK
    for n in range(1, 30):
        report = step(speeds, 2 + n / 20, (500, 500), seen=False)
        live = report.live
        if n / 20 > 0.7 + 1e-9:
            assert reason(report) is Reason.STALE
            assert np.isnan([live.mps[0], live.heading[0]]).all()
        elif n / 20 < 0.7 - 1e-9:
            assert reason(report) is not Reason.STALE
    # Seen again: no longer stale.
    assert reason(step(speeds, 3.5, (650, 500))) is not Reason.STALE


@pytest.mark.parametrize(
    ("box", "expected"), [((960, 500), Reason.OFF_PLANE), ((985, 500), Reason.TRUNCATED), ((500, 500), Reason.OCCLUDED)]
)
def test_a_stale_track_says_what_its_box_shows(box: tuple[float, float], expected: Reason) -> None:
    # The box is there, but off the plane, cut, or hidden by a nearer one, for a second: once the speed is
    # stale it carries that reason and not STALE. Until then the filter bridges, and the speed is emitted.
    speeds = estimator(stale_s=0.72, sigma_limit_share=9.0)
    driven(speeds)
    nearer = [(box[0], box[1] + 15)] if expected is Reason.OCCLUDED else []
    for n in range(1, 20):
        report = step(speeds, 2 + n / 20, box, *nearer)
        assert reason(report) is (expected if n / 20 > 0.72 else Reason.OK)


def test_an_unusable_box_of_a_new_track_says_why() -> None:
    speeds = estimator()
    assert reason(step(speeds, 0.0, (960, 500))) is Reason.OFF_PLANE
    assert reason(step(speeds, 0.1, (500, 1000))) is Reason.TRUNCATED
    assert reason(step(speeds, 0.2, (500, 500))) is Reason.TOO_SHORT


def test_five_sightings_and_a_first_time_are_needed() -> None:
    speeds = estimator(first_after_s=0.13)
    reasons = [reason(step(speeds, n / 20, (300 + 5 * n, 500))) for n in range(7)]
    assert reasons[:4] == [Reason.TOO_SHORT] * 4
    assert Reason.TOO_SHORT not in reasons[4:]
    fast = estimator(first_after_s=0.13)
    reasons = [reason(step(fast, n / 100, (300 + n, 500))) for n in range(20)]
    assert reasons[12] is Reason.TOO_SHORT
    assert reasons[14] is not Reason.TOO_SHORT


@pytest.mark.parametrize("method", METHODS)
def test_a_standard_error_above_both_limits_is_uncertain(method: str) -> None:
    report = driven(estimator(method=method, sigma_limit_mps=0.0, sigma_limit_share=1.0))
    sigma = float(report.live.sigma[0])
    assert reason(report) is Reason.OK
    for share, expected in ((0.99, Reason.UNCERTAIN), (1.01, Reason.OK)):
        limits = ((share * sigma, 0.0), (0.0, share * sigma / 10))
        for mps, part in limits:
            made = driven(estimator(method=method, sigma_limit_mps=mps, sigma_limit_share=part))
            assert reason(made) is expected
            assert made.live.sigma[0] == pytest.approx(sigma)
            assert np.isnan(made.live.mps[0]) == (expected is Reason.UNCERTAIN)


def test_smoothed_values_are_half_a_second_old_by_default() -> None:
    speeds = estimator()
    for n in range(33):
        report = step(speeds, n / 16, (300 + 5 * n, 500))
    assert report.smoothed.time.tolist() == [24 / 16]


def test_track_speeds_have_the_same_limits() -> None:
    def ended(**limits: float) -> Any:
        speeds = estimator(**limits)
        driven(speeds)
        return step(speeds, 3.0).track_speeds

    found = ended(sigma_limit_mps=0.0, sigma_limit_share=1.0)
    sigma = float(found.sigma[0])
    assert found.mps[0] == pytest.approx(10)
    assert found.heading[0] == pytest.approx(0, abs=1e-6)
    for share, expected in ((0.99, Reason.UNCERTAIN), (1.01, Reason.OK)):
        for limits in ((share * sigma, 0.0), (0.0, share * sigma / 10)):
            table = ended(sigma_limit_mps=limits[0], sigma_limit_share=limits[1])
            assert Reason(int(table.reason[0])) is expected
            assert np.isnan(table.mps[0]) == np.isnan(table.heading[0]) == (expected is Reason.UNCERTAIN)
    speeds = estimator()
    step(speeds, 0.0, (500, 500))
    assert step(speeds, 1.0).track_speeds.reason.tolist() == [Reason.TOO_SHORT]
    speeds = estimator()
    driven(speeds)
    speeds.camera_moved = True
    report = step(speeds, 3.0)
    assert report.track_speeds.reason.tolist() == [Reason.CAMERA_MOVED]
    assert set(report.smoothed.reason.tolist()) == {Reason.CAMERA_MOVED}


def test_a_smoothed_value_needs_sightings_after_its_moment() -> None:
    # With a lag of 1 s it is emitted with 0.6 s or more of sightings after it, and when the track ends
    # those within 0.6 s of the last sighting are TOO_SHORT.
    speeds = estimator(lag_s=1.0)
    driven(speeds)
    smoothed = step(speeds, 2.05).smoothed
    late = 2.0 - smoothed.time < 0.6 - 1e-9
    assert 5 < late.sum() < len(late)
    assert (smoothed.reason[late] == Reason.TOO_SHORT).all()
    assert (smoothed.reason[~late] == Reason.OK).all()
    assert smoothed.mps[~late] == pytest.approx(10, abs=1e-3)


@pytest.mark.parametrize("method", METHODS)
def test_an_object_that_stands_for_half_a_second_has_the_speed_0(method: str) -> None:
    speeds = estimator(method=method)
    values = []
    for n in range(60):
        live = step(speeds, n / 20, (500, 500)).live
        values.append((Reason(int(live.reason[0])), float(live.mps[0])))
    assert values[-1] == (Reason.OK, 0.0)
    assert np.isnan(live.heading[0])
    assert all(r is not Reason.OK for r, _ in values[:9])
    exact = estimator(method=method)
    values = []
    for n in range(14):
        live = step(exact, n / 16, (500, 500)).live
        values.append((Reason(int(live.reason[0])), float(live.mps[0])))
    assert values[7][0] is not Reason.OK
    if method == "filter":  # from its first sighting on; the others know of a velocity later
        assert values[8] == (Reason.OK, 0.0)


def test_another_size_of_the_stream_is_rescaled_and_another_aspect_ratio_is_another_view() -> None:
    speeds = estimator()
    driven(speeds)
    speeds.resize((500, 500))
    assert not speeds.camera_moved
    for n in range(20):  # 10 m/s are half the pixels now
        report = step(speeds, 3 + n / 20, (150 + 2.5 * n, 250), size=20)
    assert report.live.mps[0] == pytest.approx(10, abs=0.01)
    speeds.resize((500, 400))
    assert speeds.camera_moved
    assert reason(step(speeds, 5.0, (150, 250))) is Reason.CAMERA_MOVED
    speeds.resize((1000, 1000))
    assert not speeds.camera_moved
    assert driven(speeds).live.mps[0] == pytest.approx(10, abs=0.01)


def test_the_noise_of_a_box_is_two_pixels_or_a_share_of_its_height() -> None:
    def sigma(size: float, noise: float | None) -> float:
        speeds = estimator(noise_px=noise, sigma_limit_share=9.0)
        for n in range(20):
            live = step(speeds, n / 20, (400 + 5 * n, 700), size=size).live
        return float(live.sigma[0])

    assert sigma(40, None) == pytest.approx(sigma(40, 2.0))
    assert sigma(133, None) == pytest.approx(sigma(133, 2.0))
    assert sigma(200, None) == pytest.approx(sigma(200, 3.0))
    assert sigma(40, 3.0) > sigma(40, 2.0)


def test_an_inexact_calibration_widens_the_standard_error_by_its_scale() -> None:
    exact, clicked = (driven(estimator(click_px=c, sigma_limit_share=9.0)).live for c in (0.0, 4.0))
    point = np.array([[500.0, 500.0]])
    scale = 2 * float(CALIBRATION.scale_error(point)[0])  # an error of 4 px, twice CLICK_PX
    extra = np.sqrt(clicked.sigma[0] ** 2 - exact.sigma[0] ** 2)
    assert extra == pytest.approx(10 * scale, rel=0.4)  # of the nearest cell of the grid
