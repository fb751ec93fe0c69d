"""Live sources: a real RTSP server killed and frozen, clocks that drift, certificates."""

from __future__ import annotations

import shutil
import signal
import socket
import ssl
import subprocess
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
from rtsp_server import PACKAGES, Camera, gstreamer_python, number_of, numbered

from edgevid.errors import SourceError
from edgevid.types import Frame
from edgevid.video.live import LiveSource, _Backlog
from edgevid.video.open import open_video


def until(true: Callable[[], bool], seconds: float = 30.0) -> bool:
    end = time.monotonic() + seconds
    while not true() and time.monotonic() < end:
        time.sleep(0.02)
    return true()


def test_a_real_rtsp_server_killed_resized_and_frozen(tmp_path: Path) -> None:
    if gstreamer_python() is None:
        pytest.skip(f"needs GStreamer's RTSP server: {PACKAGES}")
    random = np.random.default_rng(0)
    count = numbered((random.integers(0, 255, (120, 160, 3), np.uint8) for _ in range(60)), tmp_path)
    seen = list[tuple[Frame, int]]()

    def take(source: LiveSource) -> None:
        seen.extend((frame, number_of(frame, frame.width / 160)) for frame in source)

    with Camera(tmp_path, (160, 120)) as camera, LiveSource(camera.uri, first_wait_s=0.1) as source:
        threading.Thread(target=take, args=(source,), daemon=True).start()
        assert until(lambda: len(seen) > 5)
        for size in ((320, 240), (160, 120), (320, 240)):
            camera.kill()
            camera.start(size)
            had = len(seen)
            assert until(lambda: len(seen) > had + 5 and seen[-1][0].size == size)  # noqa: B023
        camera.send(signal.SIGSTOP)
        assert until(lambda: source.events[-1].kind == "stalled", 10)
        assert source.events[-1].time - source.newest_at < 5.0
        camera.send(signal.SIGCONT)
        had = len(seen)
        assert until(lambda: len(seen) > had + 5)
        assert source.reconnections == 4
        told = repr(source.events) + source.uri
    assert all(a.time < b.time for (a, _), (b, _) in pairwise(seen))
    # Between two neighbors of one connection, the source's count and the images' own numbers agree.
    apart = [((n - m) % count, b.index - a.index) for (a, m), (b, n) in pairwise(seen)]
    assert sum(by_number == by_count for by_number, by_count in apart) >= len(apart) - source.reconnections
    assert "hunter2" not in told


def picture(pts: int | None) -> Any:
    return SimpleNamespace(pts=pts, time_base=Fraction(1, 25))


def test_a_backlog_is_held_back_until_pictures_come_at_the_cameras_pace() -> None:
    backlog, now = _Backlog(), time.monotonic()
    came = [(None, 0.0), (1, 0.001), (2, 0.002), (3, 0.042), (4, 0.043), (9, 0.044)]
    passed = [[p.pts for p in backlog.passed(picture(pts), now + at)] for pts, at in came]
    assert passed == [[], [], [], [2, 3], [4], [9]]


def test_pictures_without_stamps_are_no_backlog() -> None:
    backlog, now = _Backlog(), time.monotonic()
    assert [len(backlog.passed(picture(None), now + n / 1000)) for n in range(4)] == [0, 2, 1, 1]


def test_a_stream_faster_than_its_stamps_is_handed_on_in_the_end() -> None:
    backlog, now = _Backlog(), time.monotonic()
    assert sum(len(backlog.passed(picture(n), now + n / 1000)) for n in range(3100)) in (100, 101)


@pytest.fixture
def still(monkeypatch: pytest.MonkeyPatch) -> LiveSource:
    """A source that reads nothing, so that images can be handed to it at any time."""
    monkeypatch.setattr(LiveSource, "_work", lambda self: None)
    monkeypatch.setattr(
        "edgevid.video.live.to_frame", lambda p, t, i: Frame(np.zeros((2, 2, 3), np.uint8), t, i)
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
        with pytest.raises(SourceError, match="99: no image"):
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
                monkeypatch.setattr("edgevid.video.live._trusted", lambda: {"ca_file": str(cert)})
            before = len(hands)
            with LiveSource(uri, first_wait_s=5.0):
                assert until(lambda: len(hands) > before, 10)  # noqa: B023
            assert hands[-1] is trusted
    finally:
        listener.close()
