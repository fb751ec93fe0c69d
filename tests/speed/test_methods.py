"""The three methods of the speed estimator and the contact point: by hand, by geometry, in every mishap."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import shapely

from edgevid.errors import InputError
from edgevid.speed.calibration import CameraCalibration, make_calibration
from edgevid.speed.contact import contact_points, footprint_centers, is_truncated
from edgevid.speed.displacement import Displacement, DisplacementCore
from edgevid.speed.estimator import METHODS, SpeedEstimator
from edgevid.speed.window import WindowCore
from edgevid.synthetic.camera import Camera
from edgevid.synthetic.scene import Mover, Noise, Scene
from edgevid.synthetic.street import drive
from edgevid.types import Reason, SpeedReport, Tracks

CAMERA = Camera()
METERS = np.array([[-7, 15], [7, 15], [7, 60], [-7, 60]], float)
TENTH = np.diag([0.1, 0.1, 1.0])
"""A view from straight above: 10 pixels a meter."""
QUIET = {"noise_px": 1.0, "click_px": 0.0, "sigma_limit_mps": 3.0}


def calibration(camera: Camera = CAMERA) -> CameraCalibration:
    pixels = camera.project(np.column_stack([METERS, np.zeros(4)]))
    return make_calibration(pixels, METERS, (1920, 1080), region=shapely.box(0, 150, 1920, 1080))


def tracks_of(box: np.ndarray, number: int = 1, seen: bool = True) -> Tracks:
    return Tracks.of(
        ids=[number], boxes=[box], scores=[1], labels=[2], match=[0 if seen else -1], age=[0], unseen=[0]
    )


def watch(
    mover: Mover, speed_estimator: SpeedEstimator, times: Any, noise: Noise | None = None, seed: int = 0
) -> list[SpeedReport]:
    reports, last = [], None
    for truth, found, ids in Scene([mover], CAMERA, noise or Noise(), seed).simulate(list(times)):
        real = ids >= 0
        last = found.boxes[real][0] if real.any() else last
        if last is not None:
            reports.append(speed_estimator.update(tracks_of(last, seen=bool(real.any())), truth.time))
    return [*reports, speed_estimator.update(Tracks.empty(), float(times[-1]) + 1)]


def said(reports: list[SpeedReport], part: str) -> np.ndarray:
    """(n, 3): time, km/h, sigma in km/h of all that was said."""
    tables = [getattr(r, part) for r in reports]
    rows = [
        (t.time[k], 3.6 * t.mps[k], 3.6 * t.sigma[k]) for t in tables for k in np.flatnonzero(t.reason == 0)
    ]
    return np.array(rows).reshape(-1, 3)


def feed(
    core: Any, frame: int, places: dict[int, tuple[float, float] | None], fps: float = 30, px: float = 0.01
) -> Any:
    """One frame of objects at places in meters (None: followed, not seen)."""
    ids = np.array(sorted(places), np.int64)
    seen = np.array([places[int(i)] is not None for i in ids])
    pixels = np.array([[10 * v for v in places[int(i)] or (0, 0)] for i in ids], float).reshape(-1, 2)
    return core.update(ids, pixels, np.full(len(ids), px), seen.astype(np.uint8), frame / fps)


def test_displacement_by_hand_one_meter_in_ten_frames_is_10_8_kmh() -> None:
    core = DisplacementCore(Displacement(frames=10, average=3), 1.0, TENTH)
    first = {}
    for n in range(60):
        places: dict[int, Any] = {1: (0.0, 0.1 * n)}
        if n >= 7:  # a car that appears later has its own anchor
            places[2] = (5.0, 20 - 0.2 * (n - 7))
        (ids, live), (settled_ids, smoothed), _ = feed(core, n, places)
        for i, row in zip(ids.tolist(), live, strict=True):
            if row[3] >= 0 and i not in first:
                first[i] = n
        if n == 30:
            assert np.hypot(*live[0][1:3]) * 3.6 == pytest.approx(10.8)
            assert settled_ids.tolist() == [1]  # only the first car's frame is due
            # Three displacements, from frame 0 to 30: the value holds for their middle.
            assert smoothed[0][0] == pytest.approx(15 / 30)
            assert smoothed[0][9] == pytest.approx(1.5)
    assert first == {1: 10, 2: 17}
    assert np.hypot(*live[1][1:3]) * 3.6 == pytest.approx(21.6)
    assert live[1][2] < 0  # it comes nearer


def test_displacement_averages_the_last_k_only() -> None:
    core = DisplacementCore(Displacement(frames=10, average=2), 1.0, TENTH)
    at = 0.0
    for n in range(41):  # 10 frames each at 1, 2, 3, 4 m/s
        (_, live), _, _ = feed(core, n, {1: (at, 0.0)})
        at += (1 + n // 10) / 30
    assert live[0][1] == pytest.approx((3 + 4) / 2)


def test_displacement_in_seconds_at_another_frame_rate() -> None:
    core = DisplacementCore(Displacement(seconds=0.5, average_s=1.0), 1.0, TENTH)
    values = [feed(core, n, {1: (0.0, n / 12)}, fps=12)[0][1][0] for n in range(40)]
    counted = [n for n, row in enumerate(values) if row[3] >= 0]
    assert counted[0] == 6  # 0.5 s at 12 fps
    assert values[-1][2] == pytest.approx(1.0)


def test_displacement_takes_the_next_sighting_over_the_time_that_really_went_by() -> None:
    core = DisplacementCore(Displacement(frames=10, average=1), 1.0, TENTH)
    for n in range(14):
        (_, live), _, _ = feed(core, n, {1: None if n in (10, 11, 12) else (0.0, 0.1 * n)})
        assert (live[0][3] >= 0) == (n >= 13)
    assert live[0][2] == pytest.approx(3.0)  # 1.3 m in 13 frames


def test_lengths_are_biased_at_rest_and_vectors_are_not() -> None:
    speeds = {}
    for vector in (False, True):
        core = DisplacementCore(Displacement(frames=10, average=3, vector=vector), 1.0, TENTH)
        for n in range(31):  # to and fro by 1 m
            (_, live), _, _ = feed(core, n, {1: (0.0, float((n // 10) % 2))}, px=3)
        speeds[vector] = np.hypot(*live[0][1:3])
    assert speeds[False] == pytest.approx(3.0)
    assert speeds[True] == pytest.approx(1.0)  # 1, -1 and 1 m in 10 frames each


@pytest.mark.parametrize("drop", [0.0, 0.4])
def test_a_window_on_a_straight_line_is_exact_at_any_times(drop: float) -> None:
    core, random = WindowCore(1.0, 1.0, TENTH), np.random.default_rng(3)
    times = np.cumsum(random.uniform(0.01, 0.06, 80))
    for t in times:
        seen = random.random() >= drop
        place = (2 + 3 * t, 40 - 12 * t)
        (_, live), (_, smoothed), _ = feed(core, t, {1: place if seen else None}, fps=1)
    assert live[0][1:3] == pytest.approx([3, -12])
    when = live[0][0]
    assert live[0][8:10] == pytest.approx([2 + 3 * when, 40 - 12 * when])
    assert len(smoothed) in (0, 1)


def test_a_window_under_steady_acceleration_is_right_at_its_middle() -> None:
    core = WindowCore(1.0, 1.0, TENTH)
    for n in range(61):
        (_, live), _, _ = feed(core, n, {1: (0.0, 0.5 * 2.5 * (n / 30) ** 2)})
    assert live[0][0] == pytest.approx(1.5)
    assert live[0][2] == pytest.approx(2.5 * 1.5, abs=1e-6)


def test_more_tracks_than_slots_and_more_frames_than_columns() -> None:
    core = WindowCore(1.0, 1.0, TENTH)
    for n in range(200):
        places = {i: (float(i), 0.01 * i * n) for i in range(1 + n // 20, 40 + n // 20)}
        (ids, live), _, ended = feed(core, n, places, fps=100)
        assert [i for i, _ in ended] == ([n // 20] if n and n % 20 == 0 else [])
    old = live[:, 7] > 100
    np.testing.assert_allclose(live[old, 2], ids[old] * 1.0, atol=1e-9)


@pytest.mark.parametrize("method", METHODS)
def test_each_method_finds_the_speed_and_an_honest_error(method: str) -> None:
    off, inside = [], []
    for seed, kmh in enumerate((15, 50, 90, 120)):
        mover = drive(1, kmh, towards=seed % 2 == 0, lane=-1.75, near=15, far=60)
        speed_estimator = SpeedEstimator(calibration(), method=method, noise_px=2, click_px=0)
        times = np.arange(0, min(mover.end, 5), 1 / 30)
        rows = said(watch(mover, speed_estimator, times, Noise(2, 0.15, 0.1), seed), "smoothed")
        off += np.abs(rows[:, 1] - kmh).tolist()
        inside += (np.abs(rows[:, 1] - kmh) < 1.96 * rows[:, 2]).tolist()
    assert np.mean(off) < 1.5
    assert np.mean(inside) > 0.9


@pytest.mark.parametrize("method", METHODS)
def test_a_parked_car_reads_0_with_every_method(method: str) -> None:
    for seed in range(3):
        mover = drive(1, 0, towards=True, lane=1.75, far=22 + 6 * seed)
        speed_estimator = SpeedEstimator(calibration(), method=method, noise_px=2, click_px=0)
        reports = watch(mover, speed_estimator, np.arange(0, 6, 1 / 30), Noise(2, 0.15, 0.1), seed)
        for part in ("live", "smoothed", "track_speeds"):
            rows = said(reports, part)
            assert rows[rows[:, 0] > 1.5, 1].max(initial=0) == 0
        assert len(said(reports, "live")) > 60


@pytest.mark.parametrize("method", METHODS)
def test_reversing_and_changing_lanes(method: str) -> None:
    back = Mover(1, "car", (1.75, 30.0), np.pi / 2, -4.0)
    speed_estimator = SpeedEstimator(calibration(), method=method, **QUIET)
    reports = watch(back, speed_estimator, np.arange(0, 3, 1 / 30))
    assert said(reports, "smoothed")[-1, 1] == pytest.approx(14.4, abs=0.3)
    late = reports[-2].live
    assert late.heading[0] == pytest.approx(-90, abs=2)  # towards the camera although it points away
    change = Mover(1, "car", (-1.75, 20.0), np.pi / 2, 15.0, ((0.7, 0, 0), (0.6, 0, -0.25), (0.6, 0, 0.25)))
    rows = said(
        watch(change, SpeedEstimator(calibration(), method=method, **QUIET), np.arange(0, 2.4, 1 / 30)),
        "smoothed",
    )
    assert np.abs(rows[:, 1] - 54).max() < 2.0


@pytest.mark.parametrize("method", METHODS)
def test_uneven_times_and_lost_frames_do_no_harm(method: str) -> None:
    random = np.random.default_rng(5)
    times = np.cumsum(random.uniform(1 / 30, 1 / 12, 45))
    mover = drive(1, 60, towards=True, lane=1.75, near=15, far=60)
    rows = said(
        watch(mover, SpeedEstimator(calibration(), method=method, **QUIET), times[times < 2.6]), "smoothed"
    )
    assert np.abs(rows[:, 1] - 60).max() < 1.0


@pytest.mark.parametrize("method", METHODS)
def test_a_box_that_jumps_in_size_for_some_frames_is_passed_over(method: str) -> None:
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
    rows = said(reports, "live")
    assert len(rows) > 40
    assert np.abs(rows[rows[:, 0] > 0.6, 1] - 50).max() < 3


@pytest.mark.parametrize("method", METHODS)
def test_an_id_that_goes_to_another_car_makes_two_passages(method: str) -> None:
    one = Scene([drive(1, 40, towards=True, lane=-1.75, far=55)], CAMERA)
    two = Scene([drive(1, 70, towards=False, lane=5.25, near=20)], CAMERA)
    speed_estimator, reports = SpeedEstimator(calibration(), method=method, **QUIET), []
    for n in range(75):
        scene, start = (one, 0) if n < 40 else (two, 40)
        reports.append(speed_estimator.update(tracks_of(scene.at((n - start) / 30).boxes[0]), n / 30))
    reports.append(speed_estimator.update(Tracks.empty(), 3.0))
    assert said(reports, "live")[:, 1].max() < 80  # nothing wild at the change
    assert said(reports, "track_speeds")[:, 1] == pytest.approx([40, 70], abs=1.0)


@pytest.mark.parametrize("method", METHODS)
def test_coasting_ends_in_silence_and_begins_again(method: str) -> None:
    mover = drive(1, 40, towards=True, lane=-1.75, near=15, far=60)
    scene, speed_estimator, reasons = (
        Scene([mover], CAMERA),
        SpeedEstimator(calibration(), method=method, **QUIET),
        [],
    )
    for n in range(110):
        hidden = 30 <= n < 60
        reasons.append(
            speed_estimator.update(tracks_of(scene.at(n / 30).boxes[0], seen=not hidden), n / 30).live.reason[
                0
            ]
        )
    assert Reason(reasons[29]) is Reason.OK
    assert Reason(reasons[59]) in (Reason.STALE, Reason.TOO_SHORT)
    assert Reason(reasons[109]) is Reason.OK


def test_a_car_that_leaves_the_picture_is_not_slowed_by_the_border() -> None:
    """Its box stays at the border and jitters there: what is cut must not be measured."""
    for seed in range(4):
        mover = Mover(1, "car", (-1.75, 45.0), -np.pi / 2, 14.0)
        speed_estimator = SpeedEstimator(calibration(), noise_px=2, click_px=0)
        times = np.arange(0, 2.9, 1 / 30)
        reports = watch(mover, speed_estimator, times, Noise(2, 0.15, 0.1), seed)
        rows = said(reports, "smoothed")
        assert np.abs(rows[:, 1] - 50.4).max() < 6
        assert {Reason(r.live.reason[0]) for r in reports[-8:-1]} <= {
            Reason.TRUNCATED,
            Reason.OK,
            Reason.UNCERTAIN,
        }


def test_the_last_moments_of_a_track_have_no_settled_value() -> None:
    mover = drive(1, 50, towards=True, lane=-1.75, near=15, far=60)
    reports = watch(mover, SpeedEstimator(calibration(), **QUIET), np.arange(60) / 30)
    table = reports[-1].smoothed
    assert Reason(table.reason[-1]) is Reason.TOO_SHORT
    assert table.time[table.reason == 0].max(initial=0) <= 59 / 30 - 0.29


def test_a_film_played_backwards_gives_the_same_speeds() -> None:
    """With a lag longer than the track the smoothed series is the smoother over all of it."""
    mover, n = drive(1, 50, towards=True, lane=-1.75, near=15, far=60), 75
    found = Scene([mover], CAMERA, Noise(2, 0.0), 4).simulate([k / 30 for k in range(n)])
    boxes = [d.boxes[0] for _, d, _ in found]
    series = []
    for order in (boxes, boxes[::-1]):
        speed_estimator = SpeedEstimator(calibration(), lag_s=10.0, noise_px=2, click_px=0)
        speed_estimator._lookahead = -np.inf
        for k, box in enumerate(order):
            speed_estimator.update(tracks_of(box), k / 30)
        series.append(said([speed_estimator.update(Tracks.empty(), 9.0)], "smoothed"))
    assert len(series[0]) > 60
    there = dict(zip(np.round(series[0][:, 0] * 30), series[0][:, 1], strict=True))
    pairs = zip(n - 1 - np.round(series[1][:, 0] * 30), series[1][:, 1], strict=True)
    both = [(there[k], v) for k, v in pairs if k in there]
    assert np.abs(np.diff(np.array(both), axis=1)).max() < 0.25


@pytest.mark.parametrize("method", METHODS)
def test_boxes_without_a_place_are_no_sightings(method: str) -> None:
    speed_estimator = SpeedEstimator(calibration(), method=method)
    for n in range(10):
        live = speed_estimator.update(tracks_of(np.array([np.nan] * 4)), n / 30).live
        assert np.isnan(live.mps[0])
        assert live.reason[0] != Reason.OK
    speed_estimator.reset()
    assert len(speed_estimator.update(Tracks.empty(), 1.0).live) == 0


@pytest.mark.parametrize("deg", [90, 70, 45, 20, 0])
def test_the_center_of_the_footprint_is_exact_at_every_heading(deg: int) -> None:
    turn = np.radians(deg)
    mover = Mover(1, "car", (-8 * np.cos(turn), 30 - 8 * np.sin(turn)), turn, 10.0)
    times = np.arange(0, 1.6, 1 / 30)
    boxes = np.array([Scene([mover], CAMERA).at(t).boxes[0] for t in times])
    found = calibration()
    camera = found.camera()
    assert camera is not None
    speed = {}
    for kind, pixels in (
        ("bottom", contact_points(boxes)),
        ("footprint", footprint_centers(boxes, found.homography, camera.matrix, road_deg=deg)),
    ):
        speed[kind] = np.hypot(*np.polyfit(times, found.to_ground(pixels), 1)[0])
    assert speed["footprint"] == pytest.approx(10, rel=0.002)
    if deg in (45, 20):
        assert speed["bottom"] < 9.75  # what is corrected: 3 % low


def test_the_meter_with_the_footprint_on_an_oblique_road() -> None:
    turn = np.radians(45)
    mover = Mover(1, "car", (-10.0, 22.0), turn, 10.0)
    speeds = {}
    for contact in ("bottom", "footprint"):
        speed_estimator = SpeedEstimator(calibration(), contact=contact, road_deg=45, **QUIET)
        speeds[contact] = said(watch(mover, speed_estimator, np.arange(60) / 30), "track_speeds")[0, 1]
    assert speeds["footprint"] == pytest.approx(36, abs=0.2)
    assert speeds["bottom"] < 35.3


def test_a_view_from_above_has_no_camera_matrix() -> None:
    flat = make_calibration(np.array([[0, 0], [100, 0], [100, 100], [0, 100]]) + 200,
                       np.array([[0, 0], [10, 0], [10, 10], [0, 10]]), (500, 500))  # fmt: skip
    with pytest.raises(InputError, match="contact"):
        SpeedEstimator(flat, contact="footprint")


def test_the_border_is_as_wide_as_the_noise() -> None:
    boxes = np.array([[5, 50, 40, 90], [20, 50, 40, 90], [60, 50, 95, 90], [30, 50, 60, 96]], float)
    assert is_truncated(boxes, (100, 100), np.full(4, 2.0)).tolist() == [True, False, True, True]
    assert is_truncated(boxes, (100, 100), np.full(4, 0.5)).tolist() == [False] * 4


@pytest.mark.parametrize(
    "wrong",
    [{"method": "guess"}, {"contact": "roof"}, {"window_s": 0.1}, {"lag_s": -1.0}, {"process_noise": 0.0}],
)
def test_wrong_settings_are_named(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(wrong))):
        SpeedEstimator(calibration(), **wrong)


@pytest.mark.parametrize("wrong", [{"frames": 0}, {"seconds": 0.0}, {"average": 0}, {"average_s": -1.0}])
def test_wrong_displacements_are_named(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(wrong))):
        Displacement(**wrong)
