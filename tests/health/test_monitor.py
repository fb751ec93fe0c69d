"""Camera health: what is found, what is not mistaken for it, what is said and what is kept."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgevid.errors import InputError
from edgevid.health.monitor import CameraHealth, invalidate, speed_error
from edgevid.health.registration import Motion, Reference, Seen, thumbnail
from edgevid.health.speed_drift import Baseline, Cusum, SpeedDriftDetector
from edgevid.health.store import ANSWER, STATE, Alarm, HealthFolder
from edgevid.health.view_monitor import State, ViewMonitor, describe
from edgevid.pipeline import Pipeline
from edgevid.speed.calibration import make_calibration
from edgevid.synthetic.render import RenderedDetector, RenderedStreet
from edgevid.synthetic.scene import Camera
from edgevid.track import Tracker
from edgevid.types import Frame, Reason, SpeedReport, Speeds, Tracks

SIZE = (640, 360)


def picture(seed: int = 0) -> np.ndarray:
    """A view with much to hold on to: rectangles of random places, sizes and grays."""
    random = np.random.default_rng(seed)
    image = np.full((360, 640, 3), 120, np.uint8)
    for _ in range(220):
        x, y, w, h = random.integers(0, [640, 360, 60, 40])
        cv2.rectangle(
            image, (int(x), int(y)), (int(x + w), int(y + h)), random.integers(20, 235, 3).tolist(), -1
        )
    return image


VIEW = picture()


def moved(dx: float, dy: float, turn: float = 0.0, zoom: float = 1.0, image: np.ndarray = VIEW) -> np.ndarray:
    """The image as a camera shows it that has moved by so much."""
    matrix = cv2.getRotationMatrix2D((320, 180), -turn, zoom)
    matrix[:, 2] += [dx, dy]
    return cv2.warpAffine(image, matrix, SIZE, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)


def watch_over(
    show: Callable[[float], np.ndarray], seconds: float, watch: ViewMonitor, start: float = 0.0
) -> None:
    """One frame a second."""
    for n in range(int(seconds)):
        watch.update(Frame(show(start + n), start + n, n))


@pytest.mark.parametrize(
    ("dx", "dy", "turn", "zoom"),
    [
        (0, 0, 0, 1),
        (0.6, 0, 0, 1),
        (-3, 2, 0, 1),
        (7, 11, 0.5, 1),
        (-40, 25, 0, 1),
        (0, 0, -1, 1.02),
        (90, 0, 0, 1),
    ],
)
def test_a_motion_is_measured(dx: float, dy: float, turn: float, zoom: float) -> None:
    reference = Reference(thumbnail(Frame(VIEW, 0, 0)), SIZE)
    look = reference.look(Seen(thumbnail(Frame(moved(dx, dy, turn, zoom), 0, 0))))
    assert look.motion is not None
    assert (look.motion.dx, look.motion.dy) == pytest.approx((dx, dy), abs=0.25)
    assert look.motion.rotation_deg == pytest.approx(turn, abs=0.05)
    assert look.motion.scale == pytest.approx(zoom, abs=0.001)
    assert look.sigma_px < 0.1


def test_light_and_noise_are_no_motion() -> None:
    reference = Reference(thumbnail(Frame(VIEW, 0, 0)), SIZE)
    noise = np.random.default_rng(1).normal(0, 8, VIEW.shape)
    ramp = np.linspace(0.4, 1.2, 640)[None, :, None]  # a low sun from one side
    for lit in (VIEW * 0.35 + noise, VIEW * ramp + noise, 255 * (VIEW / 255.0) ** 0.5 + noise):
        look = reference.look(Seen(thumbnail(Frame(np.clip(lit, 0, 255).astype(np.uint8), 0, 0))))
        assert look.motion is not None
        assert look.motion.most() < 0.3


def test_traffic_over_a_third_of_the_picture_is_no_motion() -> None:
    reference = Reference(thumbnail(Frame(VIEW, 0, 0)), SIZE)
    crowded = VIEW.copy()
    crowded[:, 200:410] = picture(7)[:, 200:410]
    look = reference.look(Seen(thumbnail(Frame(crowded, 0, 0))))
    assert look.motion is not None
    assert look.motion.most() < 0.3


def test_motions_follow_each_other_as_their_matrices_do() -> None:
    one, two = Motion(3.0, -2.0, 1.5, 1.01, SIZE), Motion(-8.0, 5.0, -0.7, 0.99, SIZE)
    points = np.array([[10.0, 20.0], [600.0, 300.0]])
    np.testing.assert_allclose(two.after(one).apply(points), two.apply(one.apply(points)), atol=1e-9)
    assert Motion(3.0, 4.0, 0.0, 1.0, SIZE).most() == pytest.approx(5.0)
    assert describe(Motion(-3.0, 4.0, 0.5, 1.01, SIZE)) == (
        "shifted by 5.0 px (3.0 left, 4.0 down), turned by +0.50 degrees, zoomed by +1.0 %"
    )


def test_dark_and_plain_pictures_cannot_tell() -> None:
    reference = Reference(thumbnail(Frame(VIEW, 0, 0)), SIZE)
    look = reference.look(Seen(np.full((288, 512), 9, np.uint8)))
    assert look.motion is None
    assert look.structured == 0
    with pytest.raises(InputError, match="gray image"):
        Reference(np.zeros((20, 20), np.uint8), (20, 20))
    with pytest.raises(InputError, match="got \\(100, 100\\)"):
        reference.look(Seen(np.zeros((100, 100), np.uint8)))


# The watch


def test_a_moved_camera_is_suspected_within_checks_and_certain_after_seconds() -> None:
    watch, states = ViewMonitor(), {}
    for n in range(60):
        watch.update(Frame(VIEW if n < 30 else moved(4, 3), float(n), n))
        states[n] = watch.state
    assert states[3] is State.LEARNING
    assert states[29] is State.OK
    suspected = next(n for n in range(60) if states[n] is State.SUSPECT)
    certain = next(n for n in range(60) if states[n] is State.MOVED)
    assert 30 <= suspected <= 30 + 5 + 2  # at most one interval, then checks a second apart
    assert certain <= suspected + 9
    assert watch.motion is not None
    assert (watch.motion.dx, watch.motion.dy) == pytest.approx((4, 3), abs=0.2)
    assert "shifted by " in watch.why


def test_a_bump_that_passes_is_forgotten() -> None:
    watch = ViewMonitor()
    watch_over(lambda t: moved(9, 0) if 30 <= t < 36 else VIEW, 60, watch)
    assert watch.state is State.OK


@pytest.mark.parametrize("amplitude", [3, 10, 30])
def test_a_mast_in_the_wind_shakes_and_has_not_moved(amplitude: float) -> None:
    random = np.random.default_rng(4)
    watch, states = ViewMonitor(), set()
    for n in range(60):
        sway = amplitude * np.sin(random.uniform(0, 2 * np.pi)) if n > 10 else 0.0
        watch.update(Frame(moved(sway, 0.3 * sway), float(n), n))
        states.add(watch.state)
    assert State.MOVED not in states
    if amplitude > 3:
        assert State.SHAKING in states


def test_another_view_is_lost_and_darkness_is_not() -> None:
    watch = ViewMonitor(lost_s=20)
    watch_over(lambda t: VIEW if t < 20 else np.zeros_like(VIEW), 80, watch)
    assert watch.state is State.UNSURE
    assert "dark" in watch.why
    watch_over(lambda _: picture(5), 40, watch, start=80)
    assert watch.state is State.LOST
    assert "no reference has matched" in watch.why


def test_a_slow_change_of_light_becomes_another_reference() -> None:
    """The sun goes round: more and more of the tiles look different, none of them moves."""
    watch, other = ViewMonitor(), picture(9)
    share = lambda t: min(1.0, max(0.0, (t - 40) / 350))  # noqa: E731
    columns = np.random.default_rng(2).permutation(40)

    def show(t: float) -> np.ndarray:
        image = VIEW.copy()
        for column in columns[: round(40 * share(t))]:
            image[:, 16 * column : 16 * column + 16] = other[:, 16 * column : 16 * column + 16]
        return image

    watch_over(show, 450, watch)
    assert watch.state is State.OK
    assert len(watch.known) > 1
    assert watch.motion is not None
    assert watch.motion.most() < 1.0


def test_the_same_view_in_another_resolution_is_the_same() -> None:
    watch = ViewMonitor()
    watch_over(lambda _: VIEW, 20, watch)
    big = cv2.resize(VIEW, (1280, 720), interpolation=cv2.INTER_CUBIC)
    for n in range(20, 50):
        watch.update(Frame(big, float(n), n))
    assert watch.state is State.OK
    square = np.ascontiguousarray(VIEW[:, :400])
    for n in range(50, 70):
        watch.update(Frame(square, float(n), n))
    assert watch.state is State.LOST
    assert "400x360, learned on 1280x720" in watch.why


def test_a_tiny_picture_cannot_tell() -> None:
    watch = ViewMonitor()
    watch_over(lambda _: np.zeros((30, 40, 3), np.uint8), 20, watch)
    assert watch.state is State.UNSURE
    assert "40x30 pixels are too few" in watch.why


@pytest.mark.parametrize("options", [{"every_s": 0}, {"confirm_s": -1}, {"lost_s": 0}, {"limit_px": 0}])
def test_wrong_settings_of_the_watch_are_refused(options: dict) -> None:
    with pytest.raises(InputError, match="camera health: expected"):
        ViewMonitor(**options)


# The statistics

MONDAY = datetime(2026, 3, 2, 8, 0)


def drive_by(
    watch: SpeedDriftDetector, count: int, factor: float, start: datetime, seed: int, gap_s: float = 20
) -> int:
    """Vehicles of 50 km/h +- 12 %, `factor` faster; how many passed before an alarm, -1 without one."""
    random = np.random.default_rng(seed)
    for n in range(count):
        now = start + timedelta(seconds=gap_s * n)
        if watch.passed(factor * 50 / 3.6 * np.exp(random.normal(0, 0.12)), 90.0, now):
            return n + 1
        if now.timestamp() >= watch._settle_at:
            watch.update(Tracks.empty(), Speeds.empty(), Speeds.empty(), now)
    return -1


@pytest.mark.parametrize(("factor", "way"), [(1.10, "up"), (0.90, "down")])
def test_a_change_of_all_speeds_is_found_and_ordinary_days_are_not(factor: float, way: str) -> None:
    watch = SpeedDriftDetector()
    assert drive_by(watch, 6000, 1.0, MONDAY, 1) == -1
    found = drive_by(watch, 600, factor, MONDAY + timedelta(days=2), 2)
    assert 20 < found < 250
    assert watch.speeds.up == watch.speeds.down == 0.0  # begins anew after an alarm
    assert way in ("up", "down")


def test_each_hour_is_compared_with_itself() -> None:
    """Nights are 30 % faster than days: no alarm at either, an alarm for a night as slow as a day."""
    watch = SpeedDriftDetector()
    for day in range(14):
        for hour in range(24):
            factor = 1.3 if hour < 6 else 1.0
            start = MONDAY.replace(hour=0) + timedelta(days=day, hours=hour)
            assert drive_by(watch, 40, factor, start, 24 * day + hour, gap_s=90) == -1
    night = MONDAY.replace(hour=2) + timedelta(days=14)
    assert 0 < drive_by(watch, 100, 1.0, night, 999, gap_s=30) < 60


def test_far_against_near_finds_a_tilt_within_dozens_of_vehicles() -> None:
    watch, random = SpeedDriftDetector(), np.random.default_rng(3)
    watch.update(Tracks.empty(), Speeds.empty(), Speeds.empty(), MONDAY)
    for _ in range(100):
        assert not watch.far_near(14 * np.exp(random.normal(0, 0.03)), 14, 90)
    watch._settle()
    for _ in range(3000):
        assert not watch.far_near(14 * np.exp(random.normal(0, 0.03)), 14, 90)
    for count in range(200):  # noqa: B007
        if found := watch.far_near(1.04 * 14 * np.exp(random.normal(0, 0.03)), 14, 90):
            break
    assert found[0].kind == "ratio"
    assert found[0].way == "up"
    assert count < 60


def test_a_cusum_by_hand() -> None:
    """Change 10 %, spread 0.1: a vehicle one spread above the middle adds step (1 - slack - step / 2)."""
    cusum = Cusum(change=np.expm1(0.1), ordinary=0.0, vehicles=1e6)
    slack = 1.2533 / np.sqrt(10**6)
    assert cusum.add(0.1, 0.0, 0.1, 10**6) == ""
    assert cusum.up == pytest.approx(1.0 * (1 - slack - 0.5))
    assert cusum.down == 0.0
    for _ in range(40):
        fired = cusum.add(0.1, 0.0, 0.1, 10**6)
        if fired:
            break
    assert fired == "up"
    assert cusum.up > np.log(2e6)


def test_nothing_is_learned_from_an_hour_that_ended_in_doubt() -> None:
    base = Baseline()
    for value in np.linspace(2.0, 3.0, 40):
        base.add("0 8 away", float(value))
    assert base.of([["0 8 away"]], 0.03) is None
    base.debounce(False)
    assert base.slots == {}
    for value in np.linspace(2.0, 3.0, 41):
        base.add("0 8 away", float(value))
    base.debounce(True)
    middle, spread, count = base.of([["0 9 away"], ["0 8 away"]], 0.03) or (0, 0, 0)
    assert (middle, count) == (2.5, 41)
    assert spread == pytest.approx(1.4826 * 0.25)


@pytest.mark.parametrize(
    "options",
    [
        {"change": 0},
        {"ratio_change": -1},
        {"hour_s": 0},
        {"ordinary": -0.1},
        {"vehicles_between_false_alarms": 1},
    ],
)
def test_wrong_settings_of_the_statistics_are_refused(options: dict) -> None:
    with pytest.raises(InputError, match="camera health: expected"):
        SpeedDriftDetector(**options)


# Both, in a pipeline


def speeds_of(mps: float) -> Speeds:
    return Speeds.of(ids=[1], mps=[mps], sigma=[0.1], heading=[90.0], time=[0.0], reason=[Reason.OK])


def watched(health: CameraHealth, image: np.ndarray, start: int, seconds: int) -> Speeds:
    """The live speeds of the last frame."""
    report = SpeedReport()
    for n in range(start, start + seconds):
        report = SpeedReport(speeds_of(14.0), speeds_of(14.0))
        report = health.update(Frame(image, float(n), n), Tracks.empty(), report)
    return report.live


def test_an_alarm_silences_until_it_is_acknowledged(tmp_path: Path) -> None:
    told: list[Alarm] = []
    health = CameraHealth(tmp_path / "gate", on_alarm=told.append)
    assert watched(health, VIEW, 0, 30).mps[0] == 14.0
    said = watched(health, moved(6, 0), 30, 30)
    assert Reason(said.reason[0]) is Reason.CAMERA_MOVED
    assert np.isnan(said.mps[0])
    assert [alarm.kind for alarm in told] == ["moved"]
    assert "shifted by 6." in health.words or "shifted by 5.9" in health.words
    # put back by hand: the alarm stays until somebody says so
    assert np.isnan(watched(health, VIEW, 60, 30).mps[0])
    health.acknowledge()
    assert watched(health, VIEW, 90, 10).mps[0] == 14.0
    assert health.state is State.OK


def test_an_alarm_and_what_was_learned_outlive_a_restart(tmp_path: Path) -> None:
    with CameraHealth(tmp_path) as first:
        watched(first, VIEW, 0, 30)
        watched(first, moved(6, 0), 30, 30)
    again = CameraHealth(tmp_path)
    assert again.alarm == first.alarm
    assert len(again.view.known) == 1
    again.acknowledge()
    # the camera is still where it should not be: found against the reference from before the restart
    assert np.isnan(watched(again, moved(6, 0), 0, 40).mps[0])
    again.relearn()  # it was calibrated there
    assert watched(again, moved(6, 0), 40, 40).mps[0] == 14.0
    third = CameraHealth(tmp_path)
    assert third.alarm is None


def test_a_program_that_watches_takes_the_answer_of_another(tmp_path: Path) -> None:
    health = CameraHealth(tmp_path)
    watched(health, VIEW, 0, 30)
    watched(health, moved(6, 0), 30, 30)
    HealthFolder(tmp_path).answer("recalibrated")
    assert watched(health, moved(6, 0), 60, 30).mps[0] == 14.0
    assert not (tmp_path / ANSWER).exists()
    (tmp_path / ANSWER).write_text("{")
    assert HealthFolder(tmp_path).pop_acknowledgement() == ""


def test_a_suspicion_silences_and_passes(tmp_path: Path) -> None:
    health = CameraHealth()
    watched(health, VIEW, 0, 30)
    assert np.isnan(watched(health, moved(6, 0), 30, 9).mps[0])
    assert health.alarm is None
    assert watched(health, VIEW, 39, 10).mps[0] == 14.0


def test_kinds_that_are_not_asked_for_are_only_told() -> None:
    health = CameraHealth(alarms=("ratio",))
    watched(health, VIEW, 0, 30)
    assert watched(health, moved(6, 0), 30, 40).mps[0] == 14.0
    assert health.alarm is None
    assert sum("shifted" in words for words in health.events) == 1
    with pytest.raises(InputError, match="got 'everything'"):
        CameraHealth(alarms=("everything",))


def track_speeds(mps: float) -> Speeds:
    return speeds_of(mps)


def test_slow_traffic_before_a_camera_in_place_is_told_and_fast_traffic_is_an_alarm() -> None:
    health = CameraHealth(view=ViewMonitor(every_s=400), speeds=SpeedDriftDetector(hour_s=600), start=MONDAY)
    random = np.random.default_rng(0)

    def hour(start: int, seconds: int, factor: float) -> None:
        for n in range(start, start + seconds, 5):
            row = track_speeds(factor * 14 * np.exp(random.normal(0, 0.1)))
            health.update(Frame(VIEW, float(n), n), Tracks.empty(), SpeedReport(track_speeds=row))

    hour(0, 2000, 1.0)
    assert health.events == []
    hour(2000, 600, 0.7)
    assert health.alarm is None
    assert "traffic?" in health.events[-1]
    hour(2600, 600, 1.3)
    assert health.alarm is not None
    assert health.alarm.kind == "speeds"
    assert "something has happened" in health.words
    assert "check the camera" in health.words


@pytest.mark.parametrize(
    "damage",
    ["", "{", "[]", '{"format": 2}', '{"format": 1, "alarm": null, "size": null, "references": [{}]}'],
)
def test_a_damaged_file_is_set_aside_with_a_sentence(tmp_path: Path, damage: str) -> None:
    with CameraHealth(tmp_path) as health:
        watched(health, VIEW, 0, 20)
    (tmp_path / STATE).write_text(damage)
    again = CameraHealth(tmp_path)
    assert again.state is State.LEARNING
    assert "damaged" in again.events[0]
    assert "make sure that the camera stands as it was calibrated" in again.events[0]
    assert (tmp_path / f"{STATE}.bad").read_text() == damage
    assert watched(again, VIEW, 0, 20).mps[0] == 14.0


def test_damaged_statistics_and_pictures_are_named(tmp_path: Path) -> None:
    with CameraHealth(tmp_path) as health:
        watched(health, VIEW, 0, 20)
    state = json.loads((tmp_path / STATE).read_text())
    state["statistics"]["speeds"]["slots"] = {"0 8 away": [float("inf")]}
    (tmp_path / STATE).write_text(json.dumps(state))
    next(tmp_path.glob("reference-*.png")).write_bytes(b"no image")
    again = CameraHealth(tmp_path)
    assert any("not finite" in words for words in again.events)
    assert any("this reference is left out" in words for words in again.events)


def test_a_folder_that_cannot_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="expected a folder"):
        CameraHealth(tmp_path / "file" / "gate")


def test_voided_rows_keep_their_ids() -> None:
    row = invalidate(speeds_of(3.0))
    assert row.ids.tolist() == [1]
    assert np.isnan(row.mps[0])
    assert Reason(row.reason[0]) is Reason.CAMERA_MOVED


def test_a_pipeline_takes_health_by_one_argument() -> None:
    with RenderedStreet(seconds=1) as source:
        health = CameraHealth()
        pipeline = Pipeline(RenderedDetector(source), Tracker(), health=health)
        results = [result for _, result in pipeline.run(source)]
    assert health.view.checks >= 1
    assert "health" in results[0].timings
    pipeline.reset()
    pipeline.close()


def test_the_command_tells_and_answers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from edgevid import cli

    def said(*options: str) -> tuple[int, str]:
        status = 0
        try:
            cli.main(["health", str(tmp_path), *options])
        except SystemExit as stop:
            status = int(stop.code or 0)
        shown = capsys.readouterr()
        return status, shown.out + shown.err

    assert said()[0] == 2
    health = CameraHealth(tmp_path)
    watched(health, VIEW, 0, 30)
    health.save()
    assert said()[0] == 0
    watched(health, moved(6, 0), 30, 30)
    status, words = said()
    assert status == 1
    assert "alarm: since" in words
    assert "references: 1 of 640x360 pixels" in words
    assert said("--acknowledge", "--relearn")[0] == 2
    assert said("--relearn")[0] == 0
    assert watched(health, moved(6, 0), 60, 30).mps[0] == 14.0
    assert "alarm: none" in said()[1]


def test_a_site_names_its_health_folder(tmp_path: Path) -> None:
    from edgevid.site.file import read_site

    (tmp_path / "gate.toml").write_text('source = "gate.mp4"\n[camera]\nhealth = "health/gate"\n')
    assert read_site(tmp_path / "gate.toml").health == tmp_path / "health" / "gate"


def test_what_a_tilt_does_to_speeds_is_told() -> None:
    """A quarter of a degree moves the image by focal x tan; speeds then read about 4 % wrong."""
    camera, meters = Camera(), np.array([[-7, 15], [7, 15], [7, 60], [-7, 60]], float)
    calibration = make_calibration(
        camera.project(np.column_stack([meters, np.zeros(4)])), meters, (1920, 1080)
    )
    up = -1400 * np.tan(np.radians(0.25))  # pitched further down, the road rises in the image
    assert speed_error(calibration, Motion(0.0, 0.0, 0.0, 1.0, (1920, 1080))) == pytest.approx(0, abs=1e-9)
    assert 0.02 < speed_error(calibration, Motion(0.0, up, 0.0, 1.0, (1920, 1080))) < 0.08
    assert speed_error(calibration, Motion(0.0, -up, 0.0, 1.0, (1920, 1080))) < -0.02
    health = CameraHealth(calibration=calibration.scaled_to((640, 360)))
    watched(health, VIEW, 0, 30)
    watched(health, moved(0, -3), 30, 30)
    assert "(speeds would read +" in health.words
