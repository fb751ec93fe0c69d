"""Live sources: a real RTSP server killed and frozen, clocks that drift, certificates."""

from __future__ import annotations

import shutil
import signal
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numbered_clips import clip, number_in, with_sound
from rtsp_server import PACKAGES, Camera, gstreamer_python, number_of, numbered
from video_clips import transport_stream
from web_server import serving

from edgevid.errors import SourceError, masked
from edgevid.types import Frame
from edgevid.video import live
from edgevid.video.connect import Connector
from edgevid.video.live import LiveSource
from edgevid.video.packets import DamageDetector


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
    frames = list[tuple[Frame, int]]()

    def take(source: LiveSource) -> None:
        frames.extend((frame, number_of(frame, frame.width / 160)) for frame in source)

    with Camera(tmp_path, (160, 120)) as camera, LiveSource(camera.uri, min_backoff_s=0.1) as source:
        threading.Thread(target=take, args=(source,), daemon=True).start()
        assert until(lambda: len(frames) > 5)
        for size in ((320, 240), (160, 120), (320, 240)):
            camera.kill()
            camera.start(size)
            had = len(frames)
            assert until(lambda: len(frames) > had + 5 and frames[-1][0].size == size)  # noqa: B023
        camera.send(signal.SIGSTOP)
        assert until(lambda: source.events[-1].kind == "stalled", 10)
        assert source.events[-1].time - source.newest_at < 5.0
        camera.send(signal.SIGCONT)
        had = len(frames)
        assert until(lambda: len(frames) > had + 5)
        assert source.reconnections == 4
        reported = repr(source.events) + source.uri
    assert all(a.time < b.time for (a, _), (b, _) in pairwise(frames))
    # Between two neighbors of one connection, the source's count and the images' own numbers agree.
    apart = [((n - m) % count, b.index - a.index) for (a, m), (b, n) in pairwise(frames)]
    assert sum(by_number == by_count for by_number, by_count in apart) >= len(apart) - source.reconnections
    assert "hunter2" not in reported


def test_whatever_breaks_the_reading_the_reconnecting_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: Connector) -> Any:
        raise IndexError("list index out of range")  # what PyAV makes of some damaged streams

    monkeypatch.setattr(Connector, "connect", broken)
    with LiveSource("http://nowhere/x.ts", min_backoff_s=0.01, max_backoff_s=0.02) as source:
        assert until(lambda: len(source.events) > 3, 5)
    assert {event.kind for event in source.events} == {"lost"}


def test_an_untrusted_certificate_is_rejected_and_a_trusted_one_is_not(
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
                monkeypatch.setattr("edgevid.video.http.trusted_certificates", lambda: {"ca_file": str(cert)})
            before = len(hands)
            with LiveSource(uri, min_backoff_s=5.0):
                assert until(lambda: len(hands) > before, 10)  # noqa: B023
            assert hands[-1] is trusted
    finally:
        listener.close()


def test_secrets_are_never_shown() -> None:
    assert masked("rtsp://me:secret@cam/1") == "rtsp://***:***@cam/1"
    assert masked("rtsp://cam/1") == "rtsp://cam/1"
    assert masked("http://cam/v?user=bob&pwd=x1&size=3") == "http://cam/v?user=***&pwd=***&size=3"
    with LiveSource("rtsp://me:secret@127.0.0.1:9/1", give_up_s=0.2, min_backoff_s=0.1) as source:
        with pytest.raises(SourceError) as caught:
            next(iter(source))
        reported = str(caught.value) + repr(source.events) + source.uri
    assert "secret" not in reported
    assert "127.0.0.1" in reported


@contextmanager
def served(seconds: float, *widths: int) -> Iterator[str]:
    """The address of a camera that hangs up after `seconds` and comes back with the next width."""
    clips = [transport_stream(int(25 * seconds), width) for width in widths]
    waiting = iter(clips)

    class Camera(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            clip = next(waiting, None)
            self.send_response(200 if clip else 503)
            self.end_headers()
            step = len(clip or b"") // int(25 * seconds) + 1
            for at in range(0, len(clip or b""), step):
                try:
                    self.wfile.write((clip or b"")[at : at + step])
                except OSError:
                    return
                time.sleep(0.04)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Camera)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/live.ts"
    finally:
        server.shutdown()
        server.server_close()


def test_a_lost_stream_is_reconnected_with_another_size_and_times_go_on() -> None:
    frames: list[tuple[float, tuple[int, int]]] = []
    with (
        served(3, 64, 128) as address,
        LiveSource(address, stall_s=2, min_backoff_s=0.1, max_backoff_s=0.3, give_up_s=20) as source,
    ):
        for frame in source:
            frames.append((frame.time, frame.size))
            if frame.width == 128 and len(frames) > 20:
                break
    kinds = [event.kind for event in source.events]
    assert {size for _, size in frames} == {(64, 48), (128, 48)}
    assert all(a[0] < b[0] for a, b in pairwise(frames))
    assert kinds.count("connected") == 2
    assert "lost" in kinds
    assert "resized" in kinds
    assert source.reconnections == 1


def test_a_stream_whose_every_key_frame_is_damaged_is_shown_as_damaged(monkeypatch: pytest.MonkeyPatch) -> None:
    class Lossy(DamageDetector):  # a network that loses a packet of each key frame
        def decode(self, packet: Any) -> list[tuple[Any, bool]]:
            return [(frame, True) for frame, _ in super().decode(packet)]

    monkeypatch.setattr(live, "DamageDetector", Lossy)
    with served(6, 64) as address, LiveSource(address, stall_s=2, min_backoff_s=0.1, give_up_s=20) as source:
        frames = [frame for frame, _ in zip(source, range(5), strict=False)]
    assert [frame.damaged for frame in frames] == [True] * 5
    assert source.reconnections == 0


def test_a_slow_consumer_loses_frames_and_never_falls_behind() -> None:
    lags = []
    with served(6, 64) as address, LiveSource(address, stall_s=2, min_backoff_s=0.1, give_up_s=20) as source:
        for frame, _ in zip(source, range(6), strict=False):
            lags.append(source.now() - frame.time)
            time.sleep(0.3)
    assert source.dropped > 10
    assert max(lags[1:]) < lags[0] + 0.5


def test_motion_jpeg_has_the_times_of_its_arrival() -> None:
    """10 frames per second, which FFmpeg stamps at 25: Frame.time follows the clock from the start."""
    images = [clip(1, format="image2pipe", codec="mjpeg", first=n) for n in range(40)]

    def answer(handler: Any) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "multipart/x-mixed-replace; boundary=f")
        handler.end_headers()
        begun = time.monotonic()
        for n, image in enumerate(images):
            head = b"--f\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(image)
            handler.wfile.write(head + image + b"\r\n")
            time.sleep(max(0.0, begun + (n + 1) / 10 - time.monotonic()))

    taken: list[tuple[float, Frame]] = []
    with serving(answer) as address, LiveSource(f"{address}/stream", stall_s=2) as source:
        for frame in source:
            taken.append((source.now(), frame))
            if len(taken) == 25:
                break
    numbers = [number_in(frame.image) for _, frame in taken]
    passed_s = [(b - a) / 10 for a, b in pairwise(numbers)]
    steps = [b.time - a.time for (_, a), (_, b) in pairwise(taken)]
    ratios = [step / true for step, true in zip(steps, passed_s, strict=True)]
    assert np.median(ratios) == pytest.approx(1, abs=0.1)
    assert [event.kind for event in source.events] == ["retimed", "connected"]
    assert "no time stamps" in source.events[0].detail


def test_a_sound_track_that_goes_on_does_not_hide_that_the_picture_has_stopped() -> None:
    data = with_sound(video_s=1.0, sound_s=12.0)

    def answer(handler: Any) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "video/mp2t")
        handler.end_headers()
        for at in range(0, len(data), 2000):
            handler.wfile.write(data[at : at + 2000])
            time.sleep(0.04)

    with serving(answer) as address, LiveSource(f"{address}/cam.ts", stall_s=1.0) as source:
        assert source.wait(10)
        events = source.events
        assert until(lambda: [event.kind for event in events[-2:]] == ["connected", "stalled"], 10)
        connected, stalled = events[-2:]
    assert stalled.detail == "no frame for 1 s"
    assert stalled.time - connected.time < 8.0  # long before the sound ends


def test_closing_leaves_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    before = {thread.ident for thread in threading.enumerate()}
    silent = socket.create_server(("127.0.0.1", 0))  # accepts, and never answers
    with silent:
        port = silent.getsockname()[1]
        for uri in (f"rtsp://127.0.0.1:{port}/cam", f"http://127.0.0.1:{port}/cam", f"rtmp://127.0.0.1:{port}/cam"):
            with LiveSource(uri, stall_s=0.5):
                time.sleep(0.1)
    others = [thread for thread in threading.enumerate() if thread.ident not in before]
    for thread in others:  # closed is not yet ended on a busy machine
        thread.join(60)
    assert not [thread for thread in others if thread.is_alive()]
