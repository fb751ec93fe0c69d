"""Live sources: a real RTSP server killed and frozen, clocks that drift, certificates."""

from __future__ import annotations

import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edgevid.errors import SourceError
from edgevid.types import Frame
from edgevid.video import open_video
from edgevid.video_live import LiveSource

SERVER = """
import sys, gi
gi.require_version("Gst", "1.0"); gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer
Gst.init(None)
assert Gst.ElementFactory.find("x264enc") and Gst.ElementFactory.find("rtph264pay")
if len(sys.argv) > 1:
    port, width, height = sys.argv[1:]
    server = GstRtspServer.RTSPServer(); server.set_service(port); server.set_address("127.0.0.1")
    media = GstRtspServer.RTSPMediaFactory(); media.set_shared(True)
    media.set_launch(f"( videotestsrc is-live=true ! video/x-raw,width={width},height={height},"
        "framerate=25/1,format=I420 ! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=12 "
        "! rtph264pay name=pay0 )")
    server.get_mount_points().add_factory("/cam", media); server.attach(None)
    print("up", flush=True)
    GLib.MainLoop().run()
"""


def gstreamer_python() -> str | None:
    """A Python with GStreamer's RTSP server: the system's, as a virtual environment hides the package."""
    for python in ("/usr/bin/python3", sys.executable):
        if (
            Path(python).exists()
            and not subprocess.run([python, "-c", SERVER], capture_output=True).returncode
        ):
            return python
    return None


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def until(true: Callable[[], bool], seconds: float = 30.0) -> bool:
    end = time.monotonic() + seconds
    while not true() and time.monotonic() < end:
        time.sleep(0.02)
    return true()


def test_a_real_rtsp_server_killed_resized_and_frozen() -> None:
    python = gstreamer_python()
    if python is None:
        pytest.skip(
            "needs GStreamer's RTSP server: apt install python3-gi gir1.2-gst-rtsp-server-1.0 "
            "gstreamer1.0-plugins-good gstreamer1.0-plugins-ugly"
        )
    port, seen = str(free_port()), list[Frame]()

    def up(*size: int) -> subprocess.Popen[bytes]:
        server = subprocess.Popen([python, "-c", SERVER, port, *map(str, size)], stdout=subprocess.PIPE)
        assert server.stdout is not None
        assert server.stdout.readline() == b"up\n"
        return server

    server = up(160, 120)
    uri = f"rtsp://admin:hunter2@127.0.0.1:{port}/cam"
    try:
        with LiveSource(uri, first_wait_s=0.1, longest_wait_s=0.5) as source:
            threading.Thread(target=lambda: seen.extend(source), daemon=True).start()
            assert until(lambda: len(seen) > 5)
            for size in ((320, 240), (160, 120), (320, 240)):
                server.kill()
                server.wait()
                server, had = up(*size), len(seen)
                assert until(lambda: len(seen) > had + 5 and seen[-1].size == size)  # noqa: B023
            server.send_signal(signal.SIGSTOP)
            assert until(lambda: source.events[-1].kind == "stalled", 10)
            assert source.events[-1].time - source.newest_at < 5.0
            server.send_signal(signal.SIGCONT)
            had = len(seen)
            assert until(lambda: len(seen) > had + 5)
            assert source.reconnections == 4
            told = repr(source.events) + source.uri
    finally:
        server.send_signal(signal.SIGCONT)
        server.kill()
        server.wait()
    assert all(a.time < b.time for a, b in pairwise(seen))
    assert "hunter2" not in told


@pytest.fixture
def still(monkeypatch: pytest.MonkeyPatch) -> LiveSource:
    """A source that reads nothing, so that pictures can be handed to it at any time."""
    monkeypatch.setattr(LiveSource, "_work", lambda self: None)
    monkeypatch.setattr(
        "edgevid.video_live.to_frame", lambda p, t, i: Frame(np.zeros((2, 2, 3), np.uint8), t, i)
    )
    return LiveSource("rtsp://nowhere")


@pytest.mark.parametrize("rate", [1.001, 0.999])
def test_a_camera_whose_clock_drifts_loses_no_frame(
    still: LiveSource, monkeypatch: pytest.MonkeyPatch, rate: float
) -> None:
    """Two hours of a clock 0.1 % off, which is 7.2 s: times stay near this machine's and always go on."""
    anchor, now = None, [0.0]
    monkeypatch.setattr(still, "now", lambda: now[0])
    for n in range(5 * 7200):
        now[0] = n / 5 / rate
        taken = SimpleNamespace(pts=n, time_base=Fraction(1, 5), width=2, height=2)
        anchor = still._arrive(taken, anchor)
        assert abs(still._last - now[0]) < 0.51
    assert still.decoded == 5 * 7200


def test_a_number_in_words_is_a_camera() -> None:
    with open_video("99", give_up_s=0.1, first_wait_s=0.05) as source:
        assert source.live
        with pytest.raises(SourceError, match="99: no picture"):
            next(iter(source))


def test_whatever_breaks_the_reading_the_search_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: LiveSource) -> Any:
        raise IndexError("list index out of range")  # what PyAV makes of some damaged streams

    monkeypatch.setattr(LiveSource, "_connect", broken)
    with LiveSource("http://nowhere/x.ts", first_wait_s=0.01, longest_wait_s=0.02) as source:
        assert until(lambda: len(source.events) > 3, 5)
    assert {event.kind for event in source.events} == {"lost"}


def test_a_certificate_that_nobody_vouches_for_is_refused_and_a_trusted_one_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("needs the openssl program to make a certificate")
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", cert],
        check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    listener = socket.create_server(("127.0.0.1", 0))
    hands: list[bool] = []

    def serve() -> None:
        while True:
            try:
                plain, _ = listener.accept()
            except OSError:
                return
            try:
                with context.wrap_socket(plain, server_side=True) as safe:
                    hands.append(bool(safe.recv(4096)))  # only a client that trusts us sends its request
            except OSError:
                hands.append(False)

    threading.Thread(target=serve, daemon=True).start()
    uri = f"https://localhost:{listener.getsockname()[1]}/x.ts"
    try:
        for trusted in (False, True):
            if trusted:
                monkeypatch.setattr("edgevid.video_live._trusted", lambda: {"ca_file": str(cert)})
            before = len(hands)
            with LiveSource(uri, first_wait_s=5.0):
                assert until(lambda: len(hands) > before, 10)  # noqa: B023
            assert hands[-1] is trusted
    finally:
        listener.close()
