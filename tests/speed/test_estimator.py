"""SpeedEstimator on simulated roads, with both kernels."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest
from road_camera import CAMERA, calibration
from supervision_samples import theirs

from edgevid import kernels
from edgevid.errors import InputError
from edgevid.kernels import BACKEND, reference
from edgevid.speed.abstain import contact_points
from edgevid.speed.calibration import make_calibration
from edgevid.speed.estimator import SpeedEstimator
from edgevid.synthetic.scene import Mover, Noise, Scene, drive, street
from edgevid.types import Reason, SpeedReport, Tracks

FPS = 30


@pytest.fixture(params=["numpy", "native"])
def twin(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    if request.param == "native" and BACKEND != "native":
        pytest.skip("the native kernels are not built")
    chosen = reference if request.param == "numpy" else importlib.import_module("edgevid.kernels._native")
    monkeypatch.setattr(kernels, "PlaneCore", chosen.PlaneCore)
    return chosen


def tracks_of(boxes: np.ndarray, ids: list[int], seen: list[bool] | None = None) -> Tracks:
    n = len(ids)
    seen = seen or [True] * n
    zero = np.zeros(n)
    return Tracks.of(
        ids=ids, boxes=boxes, scores=zero + 1, labels=zero, match=np.where(seen, 0, -1), age=zero, unseen=zero
    )


def measure(
    mover: Mover, speed_estimator: SpeedEstimator, seconds: float, noise: Noise, seed: int = 0, fps: float = FPS
) -> list[SpeedReport]:
    """The reports of one object watched by a detector that errs as `noise` says, and of its end."""
    scene, reports, last = Scene([mover], CAMERA, noise, seed), [], None
    for truth, found, ids in scene.simulate([n / fps for n in range(round(seconds * fps))]):
        boxes = found.boxes[ids >= 0]
        if len(boxes):
            last = boxes
        if last is not None:
            reports.append(speed_estimator.update(tracks_of(last, [mover.id], [bool(len(boxes))]), truth.time))
    return [*reports, speed_estimator.update(Tracks.empty(), seconds + 1)]


def kmh(reports: list[SpeedReport], part: str) -> np.ndarray:
    """All emitted speeds of one part in km/h."""
    rows = [getattr(r, part) for r in reports]
    return 3.6 * np.concatenate([r.mps[r.reason == Reason.OK] for r in rows])


@pytest.mark.parametrize(("towards", "speed"), [(True, 50), (False, 50), (True, 130), (False, 15)])
def test_without_noise_the_speed_is_the_true_one(twin: Any, towards: bool, speed: float) -> None:
    mover = drive(1, speed, towards=towards, lane=-1.75, near=15, far=60)
    reports = measure(mover, SpeedEstimator(calibration(), noise_px=1), min(3.0, mover.end), Noise())
    smoothed, track_speed = kmh(reports, "smoothed"), kmh(reports, "track_speeds")
    assert np.abs(smoothed - speed).mean() < 0.1 * max(1, speed / 50)
    assert track_speed == pytest.approx([speed], abs=0.1)


def test_scaling_and_turning_the_meters_scales_and_keeps_the_speed(twin: Any) -> None:
    mover = drive(1, 60, towards=True, lane=1.75, near=15, far=60)
    plain = kmh(measure(mover, SpeedEstimator(calibration(), noise_px=1), 2.5, Noise()), "track_speeds")
    turned = kmh(measure(mover, SpeedEstimator(calibration(turn=0.7), noise_px=1), 2.5, Noise()), "track_speeds")
    double = kmh(measure(mover, SpeedEstimator(calibration(2.0), noise_px=1), 2.5, Noise()), "track_speeds")
    assert turned == pytest.approx(plain, rel=1e-3)
    assert double == pytest.approx(2 * plain, rel=1e-3)


def test_the_frame_rate_does_not_matter(twin: Any) -> None:
    mover = drive(1, 60, towards=True, lane=1.75, near=15, far=60)
    speeds = [
        kmh(measure(mover, SpeedEstimator(calibration(), noise_px=1), 2.5, Noise(), fps=f), "track_speeds")[0]
        for f in (10, 15, 30, 60)
    ]
    assert speeds == pytest.approx([60] * 4, abs=0.1)


def test_jittery_boxes_give_small_errors_and_correct_intervals() -> None:
    """The study's setting: 2 px correlated jitter, 10 % misses."""
    errors, inside, track_speeds = [], [], []
    for speed in (15, 30, 50, 90, 130):
        for seed in range(3):
            mover = drive(1, speed, towards=seed % 2 == 0, lane=-1.75, near=15, far=60)
            reports = measure(
                mover, SpeedEstimator(calibration(), noise_px=2), min(mover.end, 8.0), Noise(2, 0.15, 0.1), seed
            )
            for report in reports:
                reported = report.smoothed[report.smoothed.reason == Reason.OK]
                off = np.abs(reported.mps * 3.6 - speed)
                errors += off.tolist()
                inside += (off < 1.96 * 3.6 * reported.sigma).tolist()
            track_speeds += np.abs(kmh(reports, "track_speeds") - speed).tolist()
    assert np.mean(errors) < 1.15
    assert 0.90 < np.mean(inside) <= 1.0
    assert np.mean(track_speeds) < 0.6


def test_a_parked_car_stands_still_in_every_value() -> None:
    for seed in range(12):
        mover = drive(1, 0, towards=True, lane=1.75, far=20 + 3 * seed)
        reports = measure(mover, SpeedEstimator(calibration(), noise_px=2), 10, Noise(2, 0.15, 0.1), seed)
        assert kmh(reports, "smoothed").max(initial=0) == 0
        assert kmh(reports, "track_speeds").max(initial=0) == 0
        late = [r for r in reports if len(r.live) and r.live.time[0] > 1]
        assert kmh(late, "live").max(initial=0) == 0


def test_braking_is_followed_and_reversing_has_a_direction() -> None:
    braking = Mover(1, "car", (1.75, 20.0), np.pi / 2, 50 / 3.6, ((50 / 3.6 / 4, -4.0, 0.0),))
    reports = measure(braking, SpeedEstimator(calibration(), noise_px=1), 3.2, Noise())
    for report in reports[30:-1]:
        for row in report.smoothed[report.smoothed.reason == Reason.OK]:
            true = 3.6 * max(0.0, 50 / 3.6 - 4.0 * row.time)
            assert abs(3.6 * row.mps - true) < 2.0
    backwards = Mover(1, "car", (1.75, 30.0), np.pi / 2, -3.0)
    report = measure(backwards, SpeedEstimator(calibration(), noise_px=1), 3.0, Noise())[-1].track_speeds
    assert report.mps[0] == pytest.approx(3.0, abs=0.05)
    assert report.heading[0] == pytest.approx(-90, abs=1)  # towards the camera although it points away


def test_a_car_unseen_for_a_while_becomes_stale_and_recovers() -> None:
    mover = drive(1, 50, towards=True, lane=-1.75, near=15, far=60)
    speed_estimator = SpeedEstimator(calibration(), noise_px=1, sigma_limit_mps=5)
    scene, reasons = Scene([mover], CAMERA), {}
    for n in range(80):
        hidden = 20 <= n < 55
        boxes = scene.at(n / FPS).boxes
        live = speed_estimator.update(tracks_of(boxes, [1], [not hidden]), n / FPS).live
        reasons[n] = Reason(live.reason[0])
    assert reasons[19] is Reason.OK
    assert reasons[54] is Reason.STALE
    assert reasons[79] is Reason.OK


@pytest.mark.parametrize(
    ("box", "reason"),
    [
        ([0, 400, 200, 600], Reason.TRUNCATED),
        ([900, 700, 1100, 1079], Reason.TRUNCATED),
        ([900, 90, 930, 120], Reason.OFF_PLANE),
        ([900, 500, 1000, 600], Reason.TOO_SHORT),
    ],
)
def test_each_abstention_has_its_reason(box: list[float], reason: Reason) -> None:
    speed_estimator = SpeedEstimator(calibration())
    live = speed_estimator.update(tracks_of(np.array([box]), [1]), 0.0).live
    assert Reason(live.reason[0]) is reason
    assert np.isnan(live.mps[0])


def test_an_object_that_jumps_starts_again_without_wild_speeds() -> None:
    speed_estimator, scene = (
        SpeedEstimator(calibration(), noise_px=1),
        Scene([drive(1, 40, towards=True, lane=-1.75)], CAMERA),
    )
    other = Scene([drive(1, 40, towards=True, lane=5.25, far=35)], CAMERA)
    reported = []
    for n in range(60):
        boxes = (scene if n < 30 else other).at(n / FPS if n < 30 else (n - 30) / FPS).boxes
        report = speed_estimator.update(tracks_of(boxes, [1]), n / FPS)
        reported += (3.6 * report.live.mps[report.live.reason == Reason.OK]).tolist()
    assert max(reported) < 60


def test_a_moved_camera_invalidates_every_speed() -> None:
    speed_estimator = SpeedEstimator(calibration())
    speed_estimator.camera_moved = True
    live = speed_estimator.update(tracks_of(np.array([[900, 500, 1000, 600]]), [1]), 0.0).live
    assert Reason(live.reason[0]) is Reason.CAMERA_MOVED


def test_ten_thousand_objects_leave_nothing_behind() -> None:
    speed_estimator = SpeedEstimator(calibration())
    box = np.array([[900, 500, 1000, 600]])
    for n in range(2000):
        assert len(speed_estimator.update(tracks_of(box, [n + 1]), n / 100).live) == 1
        assert len(speed_estimator.update(Tracks.empty(), n / 100 + 0.001).track_speeds) == 1


@pytest.mark.skipif(BACKEND != "native", reason="the native kernels are not built")
def test_both_twins_give_the_same_numbers() -> None:
    native = importlib.import_module("edgevid.kernels._native")
    g = np.ascontiguousarray(calibration().homography)
    i = np.ascontiguousarray(calibration().inverse_homography)
    one, two = native.PlaneCore({}, g, i), reference.PlaneCore({}, g, i)
    scene = street(2, seconds=4, noise=Noise(2, 0.1, 0.2))
    for truth, found, ids in scene.simulate([n / 20 for n in range(80)]):
        real = ids >= 0
        contacts = contact_points(found.boxes[real])
        rows = (ids[real], contacts, np.full(real.sum(), 2.0), np.ones(real.sum(), np.uint8), truth.time)
        *mine_rows, gone = one.update(*rows)
        *other_rows, lost = two.update(*rows)
        assert [i for i, _ in gone] == [i for i, _ in lost]
        for (_, mine), (_, other) in zip(gone, lost, strict=True):
            np.testing.assert_array_equal(mine, other)
        for mine, other in zip(mine_rows, other_rows, strict=True):
            a, b = np.argsort(mine[0], kind="stable"), np.argsort(other[0], kind="stable")
            np.testing.assert_array_equal(mine[0][a], other[0][b])
            np.testing.assert_allclose(mine[1][a], other[1][b], atol=1e-6)


def test_no_calibration_is_rejected() -> None:
    with pytest.raises(InputError, match=r"expected a calibration: read_calibration\(path\), got None"):
        SpeedEstimator(None, (640, 480))  # type: ignore[arg-type]


def test_supervisions_detections_come_back_with_the_same_speeds() -> None:
    ours, other = (SpeedEstimator(calibration(), frame_rate=rate) for rate in (None, 25))
    for n in range(50):
        box = np.array([[900 + n, 500 + 4 * n, 1000 + n, 560 + 4 * n]], float)
        report = ours.update(tracks_of(box, [7]), n / 25)
        found = other.update(theirs(np.concatenate([box, box + 500]), tracker_id=np.array([7, -1])))
    assert report.live.reason.tolist() == [Reason.OK]
    assert found.data["speed_mps"][0] == pytest.approx(report.live.mps[0], abs=1e-3)
    assert found.data["speed_sigma_mps"][0] == pytest.approx(report.live.sigma[0], abs=1e-3)
    assert np.isnan(found.data["speed_mps"][1])
    other.reset()
    assert other.update(theirs(box, tracker_id=np.array([7]))).data["speed_reason"].tolist() == ["TOO_SHORT"]


def test_detections_without_ids_or_time_are_answered() -> None:
    estimator = SpeedEstimator(calibration())
    with pytest.raises(InputError, match=r"expected supervision\.Detections with a tracker_id, got none"):
        estimator.update(theirs([[0, 0, 9, 9]]), 0.0)
    with pytest.raises(InputError, match=r"speed estimator time: expected seconds, got None"):
        estimator.update(Tracks.empty())
    with pytest.raises(InputError, match=r"frame_rate: expected frames per second, got 0"):
        SpeedEstimator(calibration(), frame_rate=0)


def test_a_turning_rotated_box_is_measured_at_its_center() -> None:
    """5 m/s viewed straight from above, while the box around the turning vehicle gets higher."""
    edges = np.array([(0, 0), (200, 0), (200, 200), (0, 200)], float)
    estimator = SpeedEstimator(make_calibration(edges, edges / 2, (200, 200)), noise_px=1.0)
    for n in range(90):
        x, half = 40 + n / FPS * 10, 8 + 0.3 * n
        tracks = Tracks.of(
            ids=[1], boxes=[[x - 5, 100 - half, x + 5, 100 + half]], scores=[1], labels=[0], match=[0],
            age=[n / FPS], unseen=[0], rotated=[[x, 100, 10, 20, 0.01 * n]],
        )  # fmt: skip
        report = estimator.update(tracks, n / FPS)
    assert abs(report.smoothed.mps[0] - 5) < 0.01
