"""Ground speeds: geometry worked by hand, simulated roads, and every way a calibration can be wrong."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely

from edgevid import kernels
from edgevid.errors import FileFormatError, InputError
from edgevid.kernels import BACKEND, reference
from edgevid.speed import homography
from edgevid.speed.calibration import make_calibration, rectangle
from edgevid.speed.calibration_file import calibration_text, read_calibration
from edgevid.speed.contact import contact_points, is_occluded
from edgevid.speed.estimator import SpeedEstimator
from edgevid.synthetic.camera import Camera
from edgevid.synthetic.scene import Mover, Noise, Scene
from edgevid.synthetic.street import drive, street
from edgevid.types import Reason, SpeedReport, Tracks

CAMERA = Camera()
METERS = np.array([[-7, 15], [7, 15], [7, 60], [-7, 60]], float)
FPS = 30


def pixels_of(meters: np.ndarray, camera: Camera = CAMERA) -> np.ndarray:
    return camera.project(np.column_stack([meters, np.zeros(len(meters))]))


def calibration(scale: float = 1.0, turn: float = 0.0) -> Any:
    """The exact calibration of the synthetic camera, its meters scaled and turned on request."""
    c, s = np.cos(turn), np.sin(turn)
    meters = scale * METERS @ np.array([[c, s], [-s, c]]) + 100 * turn
    return make_calibration(pixels_of(METERS), meters, (1920, 1080), region=shapely.box(0, 150, 1920, 1080))


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
    mover: Mover,
    speed_estimator: SpeedEstimator,
    seconds: float,
    noise: Noise,
    seed: int = 0,
    fps: float = FPS,
) -> list[SpeedReport]:
    """The reports of one object watched by a detector that errs as `noise` says, and of its end."""
    scene, reports, last = Scene([mover], CAMERA, noise, seed), [], None
    for truth, found, ids in scene.simulate([n / fps for n in range(round(seconds * fps))]):
        boxes = found.boxes[ids >= 0]
        if len(boxes):
            last = boxes
        if last is not None:
            reports.append(
                speed_estimator.update(tracks_of(last, [mover.id], [bool(len(boxes))]), truth.time)
            )
    return [*reports, speed_estimator.update(Tracks.empty(), seconds + 1)]


def kmh(reports: list[SpeedReport], part: str) -> np.ndarray:
    """All said speeds of one part in km/h."""
    rows = [getattr(r, part) for r in reports]
    return 3.6 * np.concatenate([r.mps[r.reason == Reason.OK] for r in rows])


def test_homography_and_its_derivative() -> None:
    h = CAMERA.ground_homography()
    back = homography.normalized(np.linalg.inv(h), METERS)
    np.testing.assert_allclose(homography.apply(back, METERS), pixels_of(METERS), rtol=1e-9)
    at, step = np.array([[2.0, 30.0]]), 1e-4
    numeric = [
        (homography.apply(back, at + d) - homography.apply(back, at - d))[0] / (2 * step)
        for d in (np.array([step, 0]), np.array([0, step]))
    ]
    np.testing.assert_allclose(homography.jacobian(back, at)[0], np.array(numeric).T, rtol=1e-6)


def test_points_beyond_the_horizon_have_no_place() -> None:
    high = np.array([[960.0, 10.0]])
    assert np.isnan(calibration().to_ground(high)).all()


def test_a_four_point_fit_is_exact_and_more_points_average_their_errors() -> None:
    exact = calibration()
    assert exact.error_px().max() < 1e-6
    many = np.array([[x, y] for x in (-7, 0, 7) for y in (15, 25, 40, 60)], float)
    random = np.random.default_rng(1)
    noisy = make_calibration(pixels_of(many) + random.normal(0, 1, (12, 2)), many, (1920, 1080))
    assert 0.2 < noisy.error_px().mean() < 2.0
    middle = pixels_of(np.array([[0.0, 30.0]]))
    np.testing.assert_allclose(noisy.to_ground(middle), [[0, 30]], atol=0.3)
    assert noisy.scale_error(middle)[0] < exact.scale_error(middle)[0]


def test_lens_distortion_is_taken_out() -> None:
    lens = Camera(k1=-0.15)
    bent = make_calibration(pixels_of(METERS, lens), METERS, (1920, 1080), k1=-0.15, focal=1400.0)
    point = np.array([[3.0, 22.0]])
    np.testing.assert_allclose(bent.to_ground(pixels_of(point, lens)), point, atol=0.02)


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
    turned = kmh(
        measure(mover, SpeedEstimator(calibration(turn=0.7), noise_px=1), 2.5, Noise()), "track_speeds"
    )
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


def test_jittery_boxes_give_small_errors_and_honest_intervals() -> None:
    """The study's setting: 2 px correlated jitter, 10 % misses."""
    errors, inside, track_speeds = [], [], []
    for speed in (15, 30, 50, 90, 130):
        for seed in range(3):
            mover = drive(1, speed, towards=seed % 2 == 0, lane=-1.75, near=15, far=60)
            reports = measure(
                mover,
                SpeedEstimator(calibration(), noise_px=2),
                min(mover.end, 8.0),
                Noise(2, 0.15, 0.1),
                seed,
            )
            for report in reports:
                said = report.smoothed[report.smoothed.reason == Reason.OK]
                off = np.abs(said.mps * 3.6 - speed)
                errors += off.tolist()
                inside += (off < 1.96 * 3.6 * said.sigma).tolist()
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


def test_a_car_unseen_for_a_while_becomes_stale_and_is_found_again() -> None:
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
def test_each_silence_has_its_reason(box: list[float], reason: Reason) -> None:
    speed_estimator = SpeedEstimator(calibration())
    live = speed_estimator.update(tracks_of(np.array([box]), [1]), 0.0).live
    assert Reason(live.reason[0]) is reason
    assert np.isnan(live.mps[0])


def test_a_covered_contact_point_is_not_measured() -> None:
    boxes = np.array([[100, 100, 200, 200], [150, 150, 260, 300], [400, 100, 500, 200]], np.float32)
    assert is_occluded(boxes).tolist() == [True, False, False]
    assert contact_points(boxes)[0].tolist() == [150.0, 200.0]


def test_an_object_that_jumps_elsewhere_starts_anew_and_says_nothing_wild() -> None:
    speed_estimator, scene = (
        SpeedEstimator(calibration(), noise_px=1),
        Scene([drive(1, 40, towards=True, lane=-1.75)], CAMERA),
    )
    other = Scene([drive(1, 40, towards=True, lane=5.25, far=35)], CAMERA)
    said = []
    for n in range(60):
        boxes = (scene if n < 30 else other).at(n / FPS if n < 30 else (n - 30) / FPS).boxes
        report = speed_estimator.update(tracks_of(boxes, [1]), n / FPS)
        said += (3.6 * report.live.mps[report.live.reason == Reason.OK]).tolist()
    assert max(said) < 60


def test_a_moved_camera_silences_every_speed() -> None:
    speed_estimator = SpeedEstimator(calibration())
    speed_estimator.camera_moved = True
    live = speed_estimator.update(tracks_of(np.array([[900, 500, 1000, 600]]), [1]), 0.0).live
    assert Reason(live.reason[0]) is Reason.CAMERA_MOVED


def test_another_resolution_is_rescaled_and_another_aspect_refused() -> None:
    half = calibration().scaled_to((960, 540))
    np.testing.assert_allclose(half.to_ground(pixels_of(METERS) / 2), METERS, atol=1e-6)
    with pytest.raises(InputError, match="aspect ratio"):
        SpeedEstimator(calibration(), (1024, 768))


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


GOOD = """\
image_size = [1920, 1080]

[rectangle]
pixels = [[400, 900], [1500, 900], [1100, 400], [800, 400]]
width_m = 7
length_m = 30
"""


def test_a_calibration_file_is_read_and_written_back(tmp_path: Path) -> None:
    path = tmp_path / "gate.toml"
    path.write_text(GOOD)
    read = read_calibration(path)
    np.testing.assert_allclose(read.to_ground(read.image), rectangle(7, 30), atol=1e-6)
    (tmp_path / "again.toml").write_text(calibration_text(read, "by hand"))
    np.testing.assert_allclose(
        read_calibration(tmp_path / "again.toml").homography, read.homography, rtol=1e-3
    )


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ("image_size = [1920, 1080]", "image_size = [1920]", "image_size"),
        ("[400, 900], [1500, 900], [1100, 400], [800, 400]", "[400, 900], [1500, 900]", "rectangle.pixels"),
        ("[1500, 900], [1100, 400]", "[1100, 400], [1500, 900]", "rectangle"),
        ("[1500, 900], [1100, 400], [800, 400]", "[500, 900], [600, 900], [700, 900]", "rectangle"),
        ("width_m = 7", "width_m = 0", "rectangle.width_m"),
        ("width_m = 7", 'width_m = "seven"', "rectangle.width_m"),
        ("length_m = 30", "lenght_m = 30", "rectangle.length_m"),
        ("[rectangle]", "[region]\npixels = [[0, 0], [1, 1], [1, 0], [0, 1]]\n[rectangle]", "region.pixels"),
        ("[rectangle]", "[region]\npixels = [[0, 0], [1900, 0], [900, 1000]]\n[rectangle]", "rectangle"),
        ("[rectangle]", "[wrong]", "points"),
    ],
)
def test_each_mistake_in_a_calibration_names_its_key(tmp_path: Path, old: str, new: str, key: str) -> None:
    assert old in GOOD
    path = tmp_path / "gate.toml"
    path.write_text(GOOD.replace(old, new))
    with pytest.raises(FileFormatError) as caught:
        read_calibration(path)
    assert caught.value.key == key


def test_the_calibrated_sample_road_fits_its_marks() -> None:
    path = Path(__file__).resolve().parents[2] / "calibration" / "camera" / "gantry_road.toml"
    read = read_calibration(path)
    assert read.error_px().mean() < 1.5
    assert read.error_m().max() < 0.8
