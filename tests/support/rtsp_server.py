"""A real RTSP server on loopback for tests and benchmarks of live sources, and a proxy that damages packets.

The server is GStreamer's, run by the system's Python: as a program, this file is that server. It shows
numbered images: the number is drawn in black and white squares in the upper left corner, so that a reader
can tell which image of the camera it received, and when that image was captured.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

BITS, SIDE = 12, 8
"""A number has this many squares, each of this many pixels."""
USER, PASSWORD = "admin", "hunter2"
PACKAGES = "apt install python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-good gstreamer1.0-plugins-ugly"
_PYTHON: list[str | None] = []


def serve(port: str, folder: str, width: str, height: str, fps: str, clock_file: str) -> None:
    """Serves folder/%05d.jpg as rtsp://admin:hunter2@127.0.0.1:port/cam until it is killed."""
    import gi

    gi.require_version("Gst", "1.0")
    gi.require_version("GstRtspServer", "1.0")
    from gi.repository import GLib, Gst, GstRtspServer

    Gst.init(None)
    needed = ("multifilesrc", "jpegdec", "x264enc", "rtph264pay")
    missing = [name for name in needed if not Gst.ElementFactory.find(name)]
    if missing or not int(port):
        raise SystemExit(f"missing: {missing}" if missing else 0)
    launch = (
        f'( multifilesrc location="{folder}/%05d.jpg" loop=true caps="image/jpeg,framerate={fps}/1" '
        f"! jpegdec ! videoconvert ! videoscale ! video/x-raw,format=I420,width={width},height={height} "
        "! identity name=shutter sync=true ! x264enc tune=zerolatency speed-preset=ultrafast "
        f"bitrate=2500 key-int-max={fps} threads=1 ! rtph264pay name=pay0 config-interval=-1 )"
    )
    server = GstRtspServer.RTSPServer(service=port, address="127.0.0.1")
    media = GstRtspServer.RTSPMediaFactory(launch=launch, shared=True)
    auth, token, allowed = (GstRtspServer.RTSPAuth(), GstRtspServer.RTSPToken(), GstRtspServer.RTSPPermissions())
    token.set_string("media.factory.role", "user")
    auth.add_basic(GstRtspServer.RTSPAuth.make_basic(USER, PASSWORD), token)
    for right in ("access", "construct"):
        allowed.add_permission_for_role("user", f"media.factory.{right}", True)
    media.set_permissions(allowed)
    server.set_auth(auth)

    def configure(_: Any, made: Any) -> None:
        with open(clock_file, "a") as file:
            file.write("start\n")
        pad = made.get_element().get_by_name("shutter").get_static_pad("src")
        pad.add_probe(Gst.PadProbeType.BUFFER, taken)

    def taken(*_: Any) -> Any:
        with open(clock_file, "a") as file:
            file.write(f"{time.monotonic():.6f}\n")
        return Gst.PadProbeReturn.OK

    if clock_file:
        media.connect("media-configure", configure)
    server.get_mount_points().add_factory("/cam", media)
    server.attach(None)
    print("up", flush=True)
    GLib.MainLoop().run()


def gstreamer_python() -> str | None:
    """A Python with GStreamer's RTSP server: the system's, as a virtual environment hides the package."""
    if not _PYTHON:
        _PYTHON.append(None)
        for python in ("/usr/bin/python3", sys.executable):
            call = [python, __file__, "0", "", "0", "0", "0", ""]
            if Path(python).exists() and not subprocess.run(call, capture_output=True).returncode:
                _PYTHON[0] = python
                break
    return _PYTHON[0]


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


class Camera:
    """The server as a process that can be killed, frozen and started again with another size."""

    def __init__(self, folder: Path, size: tuple[int, int], *, fps: int = 25, clock: Path | None = None) -> None:
        self.port, self.folder, self.fps, self.clock = free_port(), folder, fps, clock
        self.uri = f"rtsp://{USER}:{PASSWORD}@127.0.0.1:{self.port}/cam"
        self._process: subprocess.Popen[bytes] | None = None
        self.start(size)

    def start(self, size: tuple[int, int]) -> None:
        """Starts it; returns once it answers."""
        python = gstreamer_python()
        assert python is not None, PACKAGES
        call = [python, __file__, str(self.port), str(self.folder), *map(str, size), str(self.fps)]
        self._process = subprocess.Popen(
            [*call, str(self.clock or "")], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"up\n"

    def send(self, number: int) -> None:
        """A signal: SIGSTOP freezes, SIGCONT resumes."""
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """Kills it at once; frozen or not."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def __enter__(self) -> Camera:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


def numbered(images: Iterable[Any], folder: Path) -> int:
    """Writes (H, W, 3) RGB images as folder/%05d.jpg, each with its number; returns how many."""
    import cv2

    count = 0
    for count, image in enumerate(images, 1):
        bgr = image[:, :, ::-1].copy()
        for bit in range(BITS):
            value = 255 * (count - 1 >> bit & 1)
            bgr[:SIDE, bit * SIDE : (bit + 1) * SIDE] = value
        quality = [cv2.IMWRITE_JPEG_QUALITY, 92]
        assert cv2.imwrite(str(folder / f"{count - 1:05d}.jpg"), bgr, quality)
    return count


def number_of(frame: Any, scale: float = 1.0) -> int:
    """The number in a frame's corner; `scale` is its width over the width of the images."""
    luma = frame.planes[0] if frame.planes is not None else frame.image[:, :, 1]
    row = luma[int(SIDE * scale / 2)]
    return sum(int(row[int((bit + 0.5) * SIDE * scale)] > 128) << bit for bit in range(BITS))


class Proxy:
    """Between a reader and the server: every `every`-th RTP packet is truncated or left out.

    `harm` is "" (nothing), "truncate" (half of a packet is cut off, its length says so) or "drop".
    """

    def __init__(self, to_port: int) -> None:
        self._to, self.harm, self.every, self.harmed = to_port, "", 50, 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._packets = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Takes no more readers."""
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                reader, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self._to))
            except OSError:
                reader.close()
                continue
            for call in ((self._up, reader, server), (self._down, server, reader)):
                threading.Thread(target=self._until_closed, args=call, daemon=True).start()

    @staticmethod
    def _until_closed(work: Any, a: socket.socket, b: socket.socket) -> None:
        with contextlib.suppress(OSError):
            work(a, b)
        for one in (a, b):
            one.close()

    @staticmethod
    def _up(reader: socket.socket, server: socket.socket) -> None:
        while data := reader.recv(65536):
            server.sendall(data)

    def _down(self, server: socket.socket, reader: socket.socket) -> None:
        for part in _parts(server):
            reader.sendall(self._harmed(part))

    def _harmed(self, part: bytes) -> bytes:
        if part[:1] != b"$" or part[1] != 0 or len(part) < 200:  # only images: RTP of the first channel
            return part
        self._packets += 1
        if not self.harm or self._packets % self.every:
            return part
        self.harmed += 1
        half = part[4 : 4 + (len(part) - 4) // 2]
        return b"" if self.harm == "drop" else b"$\0" + struct.pack(">H", len(half)) + half


def _parts(server: socket.socket) -> Iterator[bytes]:
    """RTSP answers and interleaved packets, one at a time."""
    held = b""
    while data := server.recv(65536):
        held += data
        while held:
            if held[:1] == b"$":
                size = 4 + struct.unpack(">H", held[2:4])[0] if len(held) >= 4 else 65536
            else:
                head, end, _ = held.partition(b"\r\n\r\n")
                lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
                size = len(head) + 4 + (int(lengths[0].split(b":")[1]) if lengths else 0) if end else 65536
            if len(held) < size:
                break
            yield held[:size]
            held = held[size:]


if __name__ == "__main__":
    serve(*sys.argv[1:])
