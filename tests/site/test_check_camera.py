"""The look at a camera: address, network, login, frame rate and clock, secrets hidden."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from rtsp_server import PACKAGES, Camera, free_port, gstreamer_python, numbered

from edgevid import cli
from edgevid.site.check_camera import (
    Finding,
    _check_first_frame,
    _check_frame_rate,
    _check_timestamps,
    _no_frame,
    check_camera,
    check_machine_clock,
)
from edgevid.video.connect import StreamEvent
from edgevid.video.live import LiveSource


def by_subject(report: list[Finding]) -> dict[str, Finding]:
    return {finding.subject: finding for finding in report}


def test_a_camera_is_looked_at(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if gstreamer_python() is None:
        pytest.skip(f"needs GStreamer's RTSP server: {PACKAGES}")
    random = np.random.default_rng(0)
    numbered((random.integers(0, 255, (120, 160, 3), np.uint8) for _ in range(60)), tmp_path)
    with Camera(tmp_path, (160, 120)) as camera:
        checked = check_camera(camera.uri, watch_s=1.0)
        found = by_subject(checked.findings)
        assert checked.frame is not None
        assert checked.frame.size == (160, 120)
        assert checked.fps == pytest.approx(25, rel=0.3)
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
    assert "sends no frame" in _no_frame(source).remedy


def test_a_file_is_no_camera(tmp_path: Path) -> None:
    (finding,), frame, fps = check_camera(str(tmp_path))
    assert finding.ok is False
    assert finding.state.endswith("is a file or folder, no camera")
    assert "edgevid run" in finding.remedy
    assert (frame, fps) == (None, None)


def test_a_closed_port_is_reported_and_nothing_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LiveSource, "__init__", None)  # opening it would be another error
    port = free_port()
    host, network = check_camera(f"rtsp://admin:hunter2@127.0.0.1:{port}/1").findings
    assert (host.subject, host.state, host.ok) == ("host", "127.0.0.1", True)
    assert (network.subject, network.state, network.ok) == ("network", f"port {port}: connection refused", False)
    assert "RTSP enabled" in network.remedy


def no_frame(detail: str, monkeypatch: pytest.MonkeyPatch) -> Finding:
    monkeypatch.setattr(LiveSource, "_work", lambda self: None)
    source = LiveSource("rtsp://nowhere")
    source.events.append(StreamEvent(0.0, "lost", detail))
    return _no_frame(source)


@pytest.mark.parametrize(
    ("detail", "remedy"),
    [
        ("Server returned 401 Unauthorized", "the password"),
        ("Server returned 403 Forbidden", "no permission for the stream"),
        ("Server returned 404 Not Found", "the path after the host"),
        ("Connection refused", "the port right"),
        ("certificate verify failed", "not trusted"),
        ("No such file or directory", "/dev/video"),
        ("something new", "another player"),
    ],
)
def test_each_answer_of_a_camera_has_its_remedy(monkeypatch: pytest.MonkeyPatch, detail: str, remedy: str) -> None:
    finding = no_frame(detail, monkeypatch)
    assert (finding.ok, finding.state) == (False, f"none came: {detail}")
    assert remedy in finding.remedy


def test_rare_key_frames_are_noted_and_no_fault() -> None:
    assert _check_first_frame(4.9).ok is True
    late = _check_first_frame(5.0)
    assert (late.ok, late.state) == (None, "after 5.0 s")
    assert "key-frame" in late.remedy


def test_the_frame_rate_is_that_of_decoded_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LiveSource, "_work", lambda self: None)
    source = LiveSource("rtsp://nowhere")
    source.fps = 25.0
    finding = _check_frame_rate(source, [0.0, 0.5, 2.0], 50)  # 50 decoded in 2 s, three of them taken
    assert finding.state == "25.0 fps, announced 25; longest gap 1500 ms"
    assert finding.ok is False
    assert _check_frame_rate(source, [0.0, 0.9, 1.9], 2).ok is True  # a slow camera is even, too


@pytest.mark.parametrize(
    ("stream_s", "machine_s", "ok"),
    [(10.49, 10.0, True), (10.51, 10.0, None), (20.9, 20.0, True), (18.9, 20.0, None), (0.0, 1.99, None)],
)
def test_a_clock_may_be_half_a_second_or_5_percent_off(stream_s: float, machine_s: float, ok: bool | None) -> None:
    finding = _check_timestamps(stream_s, machine_s)
    assert finding.ok is ok
    assert ("arrival" in finding.remedy) is (ok is None and machine_s > 2)


def test_the_clock_of_this_machine_is_no_fault() -> None:
    finding = check_machine_clock()
    assert finding.subject == "machine clock"
    assert finding.ok in (True, None)
    assert finding.ok is None or finding.state == "synchronized"
