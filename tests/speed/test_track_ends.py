"""Track speeds from the estimator: cars that stop, exactly one value a track, and the last frame."""

from __future__ import annotations

import numpy as np
import pytest

from edgevid.speed.calibration import CameraCalibration, make_calibration
from edgevid.speed.estimator import METHODS, SpeedEstimator
from edgevid.types import KMH, Reason, Speeds, Tracks

CORNERS = np.array([[402, 903], [1498, 899], [1102, 402], [801, 399]], float)
METERS = np.array([[0, 0], [7, 0], [7, 30], [0, 30]], float)


def calibration() -> CameraCalibration:
    return make_calibration(CORNERS, METERS, (1920, 1080))


def tracks_at(made: CameraCalibration, meters: tuple[float, float], noise: np.ndarray) -> Tracks:
    u, v = made.to_image(np.array([meters]))[0]
    box = np.array([[u - 40, v - 80, u + 40, v]]) + noise
    return Tracks.of(ids=[1], boxes=box, scores=[0.9], labels=[2], match=[0], age=[0], unseen=[0])


@pytest.mark.parametrize("stop_s", [0, 2, 4])
def test_a_car_that_stops_before_the_camera_has_its_true_mean(stop_s: int) -> None:
    made, random = calibration(), np.random.default_rng(0)
    there = [2 + 10 * k / 25 for k in range(30)]
    y = [*there, *[13.6] * (25 * stop_s), *[14 + 10 * k / 25 for k in range(30)]]
    estimator = SpeedEstimator(made, (1920, 1080))
    for k, place in enumerate(y):
        estimator.update(tracks_at(made, (3.5, place), random.normal(0, 1, 4)), k / 25)
    found = [row for k in range(60) for row in estimator.update(Tracks.empty(), (len(y) + k) / 25).track_speeds]
    assert len(found) == 1
    assert found[0].reason is Reason.OK
    assert abs(found[0].mps - (y[-1] - y[0]) / ((len(y) - 1) / 25)) < 3 * found[0].sigma
    assert KMH * found[0].sigma < 1.5
    assert found[0].path[1] == pytest.approx(stop_s, abs=1.5)


def driven(estimator: SpeedEstimator, frames: range, made: CameraCalibration) -> list[Speeds]:
    return [estimator.update(tracks_at(made, (3.5, 2 + 0.3 * k), np.zeros(4)), k / 25).track_speeds for k in frames]


@pytest.mark.parametrize("method", METHODS)
def test_flush_ends_every_track_once_and_new_ones_may_begin(method: str) -> None:
    made = calibration()
    estimator = SpeedEstimator(made, method=method)
    assert sum(map(len, driven(estimator, range(50), made))) == 0
    last = estimator.flush()
    assert KMH * last.track_speeds.mps == pytest.approx([KMH * 7.5], abs=0.3)
    assert len(last.live) == 0
    assert len(estimator.flush().track_speeds) == 0
    driven(estimator, range(60, 80), made)
    assert len(estimator.flush().track_speeds) == 1


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("lost_after_s", "values"), [(0.0, 2), (1.0, 1)])
def test_an_id_that_is_away_for_less_than_lost_after_s_goes_on(method: str, lost_after_s: float, values: int) -> None:
    made = calibration()
    estimator, found = SpeedEstimator(made, method=method, lost_after_s=lost_after_s), []
    found += driven(estimator, range(25), made)
    found += [estimator.update(Tracks.empty(), k / 25).track_speeds for k in range(25, 40)]
    found += driven(estimator, range(40, 70), made)
    found.append(estimator.flush().track_speeds)
    assert sum(map(len, found)) == values
    assert KMH * found[-1].mps[-1] == pytest.approx(KMH * 7.5, abs=0.3)


def test_what_is_common_to_all_speeds_widens_each() -> None:
    sigmas = []
    for error, contact_m in ((0.0, 0.0), (0.03, 0.0), (0.0, 0.2)):
        made = make_calibration(CORNERS, METERS, (1920, 1080), meters_error=error)
        estimator = SpeedEstimator(made, click_px=0, contact_m=contact_m)
        driven(estimator, range(50), made)
        sigmas.append(estimator.flush().track_speeds.sigma[0])
    camera = calibration().camera()
    assert camera is not None
    assert np.hypot(sigmas[0], 7.5 * 0.03) == pytest.approx(sigmas[1], rel=0.02)
    assert np.hypot(sigmas[0], 7.5 * 0.2 / camera.height_m) == pytest.approx(sigmas[2], rel=0.02)


def test_the_points_own_residuals_tell_how_well_they_were_clicked() -> None:
    grid = np.array([[x, y] for y in (0.0, 10, 20, 30) for x in (0.0, 3.5, 7)])
    exact, random = calibration().to_image(grid), np.random.default_rng(2)
    well, badly = (make_calibration(exact + random.normal(0, sd, exact.shape), grid, (1920, 1080)).click_px
                   for sd in (0.3, 6.0))  # fmt: skip
    assert calibration().click_px == pytest.approx(2)  # four points have no residuals
    assert well < 1.5
    assert 3.5 < badly < 7
