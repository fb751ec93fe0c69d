"""`edgevid health`: the report on a camera, and the answers to its alarm."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from health_views import VIEW, moved

from edgevid import cli
from edgevid.health.monitor import ACKNOWLEDGEMENT, CameraHealth
from edgevid.health.view_monitor import State
from edgevid.types import Frame, SpeedReport, Tracks


@pytest.fixture
def moved_camera(tmp_path: Path) -> CameraHealth:
    """A camera that was watched for half a minute, then moved."""
    health = CameraHealth(tmp_path / "gate")
    watch(health, VIEW, 0)
    watch(health, moved(6, 0), 30)
    return health


def watch(health: CameraHealth, image: np.ndarray, start: int) -> None:
    """Thirty frames, one per second."""
    for n in range(start, start + 30):
        health.update(Frame(image, float(n), n), Tracks.empty(), SpeedReport())


def ask(capsys: pytest.CaptureFixture[str], folder: Path, *options: str) -> tuple[int, str]:
    """Exit status and everything printed."""
    status = 0
    try:
        cli.main(["health", str(folder), *options])
    except SystemExit as stop:
        status = int(stop.code or 0)
    shown = capsys.readouterr()
    return status, " ".join((shown.out + shown.err).split())


def test_a_camera_without_an_alarm(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    health = CameraHealth(tmp_path)
    watch(health, VIEW, 0)
    health.save()
    status, printed = ask(capsys, tmp_path)
    assert status == 0
    assert "references: 1 of 640x360 pixels" in printed
    assert "speeds: 0 hours of the week with a baseline, 0 vehicles kept" in printed
    assert "alarm: none" in printed


def test_an_open_alarm_is_exit_status_1_until_it_is_answered(
    moved_camera: CameraHealth, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "gate"
    status, printed = ask(capsys, folder)
    assert status == 1
    assert "alarm: since" in printed
    assert "--relearn after calibrating it again" in printed
    assert ask(capsys, folder, "--relearn")[0] == 0
    assert (folder / ACKNOWLEDGEMENT).exists()
    watch(moved_camera, moved(6, 0), 60)  # the running program reads the answer and learns the new view
    assert not (folder / ACKNOWLEDGEMENT).exists()
    assert moved_camera.state is State.ALIGNED
    assert "alarm: none" in ask(capsys, folder)[1]


def test_an_alarm_that_is_acknowledged_comes_back_while_the_camera_stands_wrong(
    moved_camera: CameraHealth, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ask(capsys, tmp_path / "gate", "--acknowledge")[0] == 0
    watch(moved_camera, moved(6, 0), 60)
    assert ask(capsys, tmp_path / "gate")[0] == 1


def test_mistakes_are_one_sentence_and_exit_status_2(
    moved_camera: CameraHealth, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, printed = ask(capsys, tmp_path / "gate", "--acknowledge", "--relearn")
    assert (status, "expected one of --acknowledge and --relearn, got both" in printed) == (2, True)
    status, printed = ask(capsys, tmp_path)
    assert (status, "expected the folder of a monitored camera" in printed) == (2, True)
