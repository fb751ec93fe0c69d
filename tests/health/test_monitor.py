"""CameraHealth: what invalidates speeds, what is only reported, and what a restart keeps."""

from __future__ import annotations

import json
import re
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from health_views import VIEW, moved

from edgevid.errors import InputError
from edgevid.health.monitor import ACKNOWLEDGEMENT, STATE, Alarm, CameraHealth, HealthFolder, invalidate, speed_error
from edgevid.health.registration import Motion
from edgevid.health.speed_drift import SpeedDriftDetector
from edgevid.health.view_monitor import State, ViewMonitor
from edgevid.pipeline import Pipeline
from edgevid.speed.calibration import make_calibration
from edgevid.synthetic.render import RenderedDetector, RenderedStreet
from edgevid.synthetic.scene import Camera
from edgevid.track import Tracker
from edgevid.types import Frame, Reason, SpeedReport, Speeds, Tracks

MONDAY = datetime(2026, 3, 2, 8, 0)


def speeds_of(mps: float) -> Speeds:
    return Speeds.of(ids=[1], mps=[mps], sigma=[0.1], heading=[90.0], time=[0.0], reason=[Reason.OK])


def live_speeds(health: CameraHealth, image: np.ndarray, start: int, seconds: int) -> Speeds:
    """The live speeds of the last frame."""
    report = SpeedReport()
    for n in range(start, start + seconds):
        report = SpeedReport(speeds_of(14.0), speeds_of(14.0))
        report = health.update(Frame(image, float(n), n), Tracks.empty(), report)
    return report.live


def test_an_alarm_invalidates_speeds_until_it_is_acknowledged(tmp_path: Path) -> None:
    alarms: list[Alarm] = []
    health = CameraHealth(tmp_path / "gate", on_alarm=alarms.append)
    assert live_speeds(health, VIEW, 0, 30).mps[0] == 14.0
    said = live_speeds(health, moved(6, 0), 30, 30)
    assert Reason(said.reason[0]) is Reason.CAMERA_MOVED
    assert np.isnan(said.mps[0])
    assert [alarm.kind for alarm in alarms] == ["moved"]
    assert health.alarm is not None
    assert re.search(r"shifted by (6\.|5\.9)", health.alarm.message)
    # put back by hand: the alarm stays until it is acknowledged
    assert np.isnan(live_speeds(health, VIEW, 60, 30).mps[0])
    health.acknowledge()
    assert live_speeds(health, VIEW, 90, 10).mps[0] == 14.0
    assert health.state is State.ALIGNED


def test_an_alarm_and_the_references_outlive_a_restart(tmp_path: Path) -> None:
    with CameraHealth(tmp_path) as first:
        live_speeds(first, VIEW, 0, 30)
        live_speeds(first, moved(6, 0), 30, 30)
    again = CameraHealth(tmp_path)
    assert again.alarm == first.alarm
    assert len(again.view.references) == 1
    again.acknowledge()
    # the camera is still where it should not be: found against the reference from before the restart
    assert np.isnan(live_speeds(again, moved(6, 0), 0, 40).mps[0])
    again.relearn()  # it was calibrated there
    assert live_speeds(again, moved(6, 0), 40, 40).mps[0] == 14.0
    again.close()
    third = CameraHealth(tmp_path)
    assert third.alarm is None


def test_a_running_monitor_applies_the_acknowledgement_of_another_program(tmp_path: Path) -> None:
    health = CameraHealth(tmp_path)
    live_speeds(health, VIEW, 0, 30)
    live_speeds(health, moved(6, 0), 30, 30)
    HealthFolder(tmp_path).put_acknowledgement("recalibrated")
    assert live_speeds(health, moved(6, 0), 60, 30).mps[0] == 14.0
    assert not (tmp_path / ACKNOWLEDGEMENT).exists()


def test_a_suspicion_invalidates_speeds_and_passes(tmp_path: Path) -> None:
    health = CameraHealth()
    live_speeds(health, VIEW, 0, 30)
    assert np.isnan(live_speeds(health, moved(6, 0), 30, 9).mps[0])
    assert health.alarm is None
    assert live_speeds(health, VIEW, 39, 10).mps[0] == 14.0


def test_kinds_without_an_alarm_are_only_reported() -> None:
    health = CameraHealth(alarms=("ratio",))
    live_speeds(health, VIEW, 0, 30)
    assert live_speeds(health, moved(6, 0), 30, 40).mps[0] == 14.0
    assert health.alarm is None
    assert sum("shifted" in words for words in health.events) == 1
    with pytest.raises(InputError, match="got 'everything'"):
        CameraHealth(alarms=("everything",))


def test_slow_traffic_before_an_aligned_camera_is_reported_and_fast_traffic_is_an_alarm() -> None:
    health = CameraHealth(view=ViewMonitor(every_s=400), speed_drift=SpeedDriftDetector(hour_s=600), start=MONDAY)
    random = np.random.default_rng(0)

    def hour(start: int, seconds: int, factor: float) -> None:
        for n in range(start, start + seconds, 5):
            row = speeds_of(factor * 14 * np.exp(random.normal(0, 0.1)))
            health.update(Frame(VIEW, float(n), n), Tracks.empty(), SpeedReport(track_speeds=row))

    hour(0, 2000, 1.0)
    assert health.events == []
    hour(2000, 600, 0.7)
    assert health.alarm is None
    assert "traffic?" in health.events[-1]
    hour(2600, 600, 1.3)
    assert health.alarm is not None
    assert health.alarm.kind == "speeds"
    assert "speeds are permanently" in health.events[-1]
    assert "check the camera" in health.events[-1]


def test_a_damaged_file_is_quarantined(tmp_path: Path) -> None:
    with CameraHealth(tmp_path) as health:
        live_speeds(health, VIEW, 0, 20)
    (tmp_path / STATE).write_text("{")
    again = CameraHealth(tmp_path)
    assert again.state is State.LEARNING
    assert "damaged" in again.events[0]
    assert "make sure that the camera stands as it was calibrated" in again.events[0]
    assert (tmp_path / f"{STATE}.bad").read_text() == "{"
    assert live_speeds(again, VIEW, 0, 20).mps[0] == 14.0


def test_damaged_statistics_are_named(tmp_path: Path) -> None:
    with CameraHealth(tmp_path) as health:
        live_speeds(health, VIEW, 0, 20)
    with np.load(tmp_path / STATE) as held:
        state, image = json.loads(str(held["state"])), held["0"]
    state["statistics"]["speeds"]["slots"] = {"0 8 away": [float("inf")]}
    np.savez_compressed(tmp_path / STATE, **{"state": json.dumps(state), "0": image})
    assert any("not finite" in words for words in CameraHealth(tmp_path).events)


def test_invalidated_rows_keep_their_ids() -> None:
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


def test_a_site_names_its_health_folder(tmp_path: Path) -> None:
    from edgevid.site.file import read_site

    (tmp_path / "gate.toml").write_text('source = "gate.mp4"\n[camera]\nhealth = "health/gate"\n')
    assert read_site(tmp_path / "gate.toml").health == tmp_path / "health" / "gate"


def test_the_speed_error_of_a_tilt_is_reported() -> None:
    """A quarter of a degree moves the image by focal x tan; speeds then read about 4 % wrong."""
    camera, meters = Camera(), np.array([[-7, 15], [7, 15], [7, 60], [-7, 60]], float)
    calibration = make_calibration(camera.project(np.column_stack([meters, np.zeros(4)])), meters, (1920, 1080))
    up = -1400 * np.tan(np.radians(0.25))  # pitched further down, the road rises in the image
    assert speed_error(calibration, Motion(0.0, 0.0, 0.0, 1.0, (1920, 1080))) == pytest.approx(0, abs=1e-9)
    assert 0.02 < speed_error(calibration, Motion(0.0, up, 0.0, 1.0, (1920, 1080))) < 0.08
    assert speed_error(calibration, Motion(0.0, -up, 0.0, 1.0, (1920, 1080))) < -0.02
    health = CameraHealth(calibration=calibration.scaled_to((640, 360)))
    live_speeds(health, VIEW, 0, 30)
    live_speeds(health, moved(0, -3), 30, 30)
    assert "(speeds would be wrong by +" in health.events[-1]
