"""What the three methods of the speed estimator share, on a simulated road."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from road_camera import CAMERA, calibration

from edgevid.errors import InputError
from edgevid.speed.calibration import make_calibration
from edgevid.speed.estimator import METHODS, SpeedEstimator
from edgevid.synthetic.scene import Mover, Noise, Scene, drive
from edgevid.types import KMH, Reason, SpeedReport, Tracks

QUIET = {"noise_px": 1.0, "click_px": 0.0, "sigma_limit_mps": 3.0}


def tracks_of(box: np.ndarray, number: int = 1, seen: bool = True) -> Tracks:
    return Tracks.of(ids=[number], boxes=[box], scores=[1], labels=[2], match=[0 if seen else -1], age=[0], unseen=[0])


def simulate(
    mover: Mover, speed_estimator: SpeedEstimator, times: Any, noise: Noise | None = None, seed: int = 0
) -> list[SpeedReport]:
    reports, last = [], None
    for truth, found, ids in Scene([mover], CAMERA, noise or Noise(), seed).simulate(list(times)):
        real = ids >= 0
        last = found.boxes[real][0] if real.any() else last
        if last is not None:
            reports.append(speed_estimator.update(tracks_of(last, seen=bool(real.any())), truth.time))
    return [*reports, speed_estimator.update(Tracks.empty(), float(times[-1]) + 1)]


def emitted(reports: list[SpeedReport], part: str) -> np.ndarray:
    """(n, 3): time, km/h, sigma in km/h of every emitted value."""
    tables = [getattr(r, part) for r in reports]
    rows = [(t.time[k], 3.6 * t.mps[k], 3.6 * t.sigma[k]) for t in tables for k in np.flatnonzero(t.reason == 0)]
    return np.array(rows).reshape(-1, 3)


@pytest.mark.parametrize("method", METHODS)
def test_each_method_measures_the_speed_with_a_correct_error(method: str) -> None:
    off, inside = [], []
    for seed, kmh in enumerate((15, 50, 90, 120)):
        mover = drive(1, kmh, towards=seed % 2 == 0, lane=-1.75, near=15, far=60)
        speed_estimator = SpeedEstimator(calibration(), method=method, noise_px=2, click_px=0)
        times = np.arange(0, min(mover.end, 5), 1 / 30)
        rows = emitted(simulate(mover, speed_estimator, times, Noise(2, 0.15, 0.1), seed), "smoothed")
        off += np.abs(rows[:, 1] - kmh).tolist()
        inside += (np.abs(rows[:, 1] - kmh) < 1.96 * rows[:, 2]).tolist()
    assert np.mean(off) < 1.5
    assert np.mean(inside) > 0.9


@pytest.mark.parametrize("method", METHODS)
def test_a_parked_car_reads_0_with_every_method(method: str) -> None:
    for seed in range(3):
        mover = drive(1, 0, towards=True, lane=1.75, far=22 + 6 * seed)
        speed_estimator = SpeedEstimator(calibration(), method=method, noise_px=2, click_px=0)
        reports = simulate(mover, speed_estimator, np.arange(0, 6, 1 / 30), Noise(2, 0.15, 0.1), seed)
        for part in ("live", "smoothed", "track_speeds"):
            rows = emitted(reports, part)
            assert rows[rows[:, 0] > 1.5, 1].max(initial=0) == 0
        assert len(emitted(reports, "live")) > 58  # The rest may be a car that starts


@pytest.mark.parametrize("method", METHODS)
def test_reversing_and_changing_lanes(method: str) -> None:
    back = Mover(1, "car", (1.75, 30.0), np.pi / 2, -4.0)
    speed_estimator = SpeedEstimator(calibration(), method=method, **QUIET)
    reports = simulate(back, speed_estimator, np.arange(0, 3, 1 / 30))
    assert emitted(reports, "smoothed")[-1, 1] == pytest.approx(14.4, abs=0.3)
    late = reports[-2].live
    assert late.heading[0] == pytest.approx(-90, abs=2)  # towards the camera although it points away
    change = Mover(1, "car", (-1.75, 20.0), np.pi / 2, 15.0, ((0.7, 0, 0), (0.6, 0, -0.25), (0.6, 0, 0.25)))
    rows = emitted(
        simulate(change, SpeedEstimator(calibration(), method=method, **QUIET), np.arange(0, 2.4, 1 / 30)), "smoothed"
    )
    assert np.abs(rows[:, 1] - 54).max() < 2.0


@pytest.mark.parametrize("method", METHODS)
def test_uneven_times_and_lost_frames_do_no_harm(method: str) -> None:
    random = np.random.default_rng(5)
    times = np.cumsum(random.uniform(1 / 30, 1 / 12, 45))
    mover = drive(1, 60, towards=True, lane=1.75, near=15, far=60)
    rows = emitted(
        simulate(mover, SpeedEstimator(calibration(), method=method, **QUIET), times[times < 2.6]), "smoothed"
    )
    assert np.abs(rows[:, 1] - 60).max() < 1.0


@pytest.mark.parametrize("method", METHODS)
def test_a_box_that_jumps_in_size_for_some_frames_is_an_outlier(method: str) -> None:
    mover = drive(1, 50, towards=True, lane=-1.75, near=15, far=60)
    scene, speed_estimator, reports = (
        Scene([mover], CAMERA),
        SpeedEstimator(calibration(), method=method, **QUIET),
        [],
    )
    for n in range(80):
        box = scene.at(n / 30).boxes[0].copy()
        if n in (30, 31, 50):  # taken together with what drives behind
            box += [-30, -60, 30, 40]
        reports.append(speed_estimator.update(tracks_of(box), n / 30))
    rows = emitted(reports, "live")
    assert len(rows) > 40
    assert np.abs(rows[rows[:, 0] > 0.6, 1] - 50).max() < 3


@pytest.mark.parametrize("method", METHODS)
def test_an_id_that_goes_to_another_car_has_one_track_speed_that_is_not_emitted(method: str) -> None:
    one = Scene([drive(1, 40, towards=True, lane=-1.75, far=55)], CAMERA)
    two = Scene([drive(1, 70, towards=False, lane=5.25, near=20)], CAMERA)
    speed_estimator, reports = SpeedEstimator(calibration(), method=method, **QUIET), []
    for n in range(75):
        scene, start = (one, 0) if n < 40 else (two, 40)
        reports.append(speed_estimator.update(tracks_of(scene.at((n - start) / 30).boxes[0]), n / 30))
    reports.append(speed_estimator.update(Tracks.empty(), 3.0))
    assert emitted(reports, "live")[:, 1].max() < 80  # nothing wild at the change
    rows = [row for report in reports for row in report.track_speeds]
    assert [row.reason for row in rows] == [Reason.UNCERTAIN]
    assert KMH * rows[0].sigma > 10  # half of the track went 40 km/h, and half 70


@pytest.mark.parametrize("method", METHODS)
def test_coasting_abstains_and_recovers(method: str) -> None:
    mover = drive(1, 40, towards=True, lane=-1.75, near=15, far=60)
    scene, speed_estimator, reasons = (
        Scene([mover], CAMERA),
        SpeedEstimator(calibration(), method=method, **QUIET),
        [],
    )
    for n in range(110):
        hidden = 30 <= n < 60
        reasons.append(
            speed_estimator.update(tracks_of(scene.at(n / 30).boxes[0], seen=not hidden), n / 30).live.reason[0]
        )
    assert Reason(reasons[29]) is Reason.OK
    assert Reason(reasons[59]) in (Reason.STALE, Reason.TOO_SHORT)
    assert Reason(reasons[109]) is Reason.OK


def test_a_car_that_leaves_the_image_is_not_slowed_by_the_border() -> None:
    """Its box stays at the border and jitters there: what is cut must not be measured."""
    for seed in range(4):
        mover = Mover(1, "car", (-1.75, 45.0), -np.pi / 2, 14.0)
        speed_estimator = SpeedEstimator(calibration(), noise_px=2, click_px=0)
        times = np.arange(0, 2.9, 1 / 30)
        reports = simulate(mover, speed_estimator, times, Noise(2, 0.15, 0.1), seed)
        rows = emitted(reports, "smoothed")
        assert np.abs(rows[:, 1] - 50.4).max() < 6
        assert {Reason(r.live.reason[0]) for r in reports[-8:-1]} <= {Reason.TRUNCATED, Reason.OK, Reason.UNCERTAIN}


def test_the_last_moments_of_a_track_have_no_smoothed_value() -> None:
    mover = drive(1, 50, towards=True, lane=-1.75, near=15, far=60)
    reports = simulate(mover, SpeedEstimator(calibration(), **QUIET), np.arange(60) / 30)
    table = reports[-1].smoothed
    assert Reason(table.reason[-1]) is Reason.TOO_SHORT
    assert table.time[table.reason == 0].max(initial=0) <= 59 / 30 - 0.29


def test_a_video_played_backwards_gives_the_same_speeds() -> None:
    """With a lag longer than the track the smoothed series is the smoother over all of it."""
    mover, n = drive(1, 50, towards=True, lane=-1.75, near=15, far=60), 75
    found = Scene([mover], CAMERA, Noise(2, 0.0), 4).simulate([k / 30 for k in range(n)])
    boxes = [d.boxes[0] for _, d, _ in found]
    series = []
    for order in (boxes, boxes[::-1]):
        speed_estimator = SpeedEstimator(calibration(), lag_s=10.0, noise_px=2, click_px=0)
        speed_estimator._limits = replace(speed_estimator._rules, lookahead_s=-np.inf).columns()
        for k, box in enumerate(order):
            speed_estimator.update(tracks_of(box), k / 30)
        series.append(emitted([speed_estimator.update(Tracks.empty(), 9.0)], "smoothed"))
    assert len(series[0]) > 60
    there = dict(zip(np.round(series[0][:, 0] * 30), series[0][:, 1], strict=True))
    pairs = zip(n - 1 - np.round(series[1][:, 0] * 30), series[1][:, 1], strict=True)
    both = [(there[k], v) for k, v in pairs if k in there]
    assert np.abs(np.diff(np.array(both), axis=1)).max() < 0.5


@pytest.mark.parametrize("method", METHODS)
def test_boxes_off_the_ground_are_no_sightings(method: str) -> None:
    speed_estimator = SpeedEstimator(calibration(), method=method)
    for n in range(10):
        live = speed_estimator.update(tracks_of(np.array([np.nan] * 4)), n / 30).live
        assert np.isnan(live.mps[0])
        assert live.reason[0] != Reason.OK
    speed_estimator.reset()
    assert len(speed_estimator.update(Tracks.empty(), 1.0).live) == 0


def test_the_footprint_on_an_oblique_road() -> None:
    turn = np.radians(45)
    mover = Mover(1, "car", (-10.0, 22.0), turn, 10.0)
    speeds = {}
    for contact in ("bottom", "footprint"):
        speed_estimator = SpeedEstimator(calibration(), contact=contact, road_deg=45, **QUIET)
        speeds[contact] = emitted(simulate(mover, speed_estimator, np.arange(60) / 30), "track_speeds")[0, 1]
    assert speeds["footprint"] == pytest.approx(36, abs=0.2)
    assert speeds["bottom"] < 35.3


def test_a_view_from_above_has_no_footprint() -> None:
    flat = make_calibration(np.array([[0, 0], [100, 0], [100, 100], [0, 100]]) + 200,
                       np.array([[0, 0], [10, 0], [10, 10], [0, 10]]), (500, 500))  # fmt: skip
    with pytest.raises(InputError, match="contact"):
        SpeedEstimator(flat, contact="footprint")


@pytest.mark.parametrize(
    "wrong", [{"method": "guess"}, {"contact": "roof"}, {"window_s": 0.1}, {"lag_s": -1.0}, {"process_noise": 0.0}]
)
def test_wrong_settings_are_named(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(wrong))):
        SpeedEstimator(calibration(), **wrong)
