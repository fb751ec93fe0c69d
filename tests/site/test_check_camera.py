"""The look at a camera: address, network, login, frame rate and clock, secrets hidden."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from rtsp_server import PACKAGES, Camera, gstreamer_python, numbered

from edgevid import cli
from edgevid.site.check_camera import _check_frame_rate, _check_timestamps, _no_frame, check_camera
from edgevid.site.findings import Finding
from edgevid.video.live import LiveSource, StreamEvent


def by_subject(report: list[Finding]) -> dict[str, Finding]:
    return {finding.subject: finding for finding in report}


def test_a_camera_is_looked_at(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if gstreamer_python() is None:
        pytest.skip(f"needs GStreamer's RTSP server: {PACKAGES}")
    random = np.random.default_rng(0)
    numbered((random.integers(0, 255, (120, 160, 3), np.uint8) for _ in range(60)), tmp_path)
    with Camera(tmp_path, (160, 120)) as camera:
        found = by_subject(check_camera(camera.uri, watch_s=1.0).findings)
        assert found["frame"] == Finding("frame", "160x120, h264", True)
        assert "announced 25" in found["frame rate"].state
        wrong = by_subject(check_camera(camera.uri.replace("hunter2", "hunter3"), timeout_s=3.0).findings)
        assert "401" in wrong["frame"].state
        assert "check the user and the password" in wrong["frame"].remedy
        with pytest.raises(SystemExit):
            cli.main(["doctor", "--source", camera.uri.replace("/cam", "/no"), "--seconds", "1"])
    printed = "".join(capsys.readouterr())
    assert "404" in printed
    assert "hunter" not in printed


@pytest.mark.parametrize(
    ("uri", "what", "state"),
    [
        ("rtsp://u:secret@no-such-host.invalid/1", "host", "no-such-host.invalid: "),
        ("rtsp://u:secret@gate:99999/1", "address", "Port out of range"),
    ],
)
def test_an_address_that_leads_nowhere(uri: str, what: str, state: str) -> None:
    report, frame, _ = check_camera(uri)
    assert frame is None
    assert report[-1].subject == what
    assert report[-1].ok is False
    assert state in report[-1].state
    assert "secret" not in repr(report)


def test_what_a_camera_did_wrong_is_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LiveSource, "_work", lambda self: None)
    source = LiveSource("rtsp://nowhere")
    assert _check_frame_rate(source, [0.0], 0).ok is False
    assert _check_frame_rate(source, [0.0, 0.04, 0.08], 2).ok is True
    assert _check_frame_rate(source, [0.0, 0.04, 2.0, 2.04], 50).ok is False
    assert _check_timestamps(5.0, 5.1).ok is True
    assert _check_timestamps(5.0, 10.0).state == "runs 50 % slow"
    assert _check_timestamps(5.0, 1.0).ok is None
    source.events.append(StreamEvent(0.0, "stalled", "no frame for 4 s"))
    assert "no image" in _no_frame(source).remedy
