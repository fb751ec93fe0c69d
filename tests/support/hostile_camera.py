"""A camera that breaks every rule: one server per kind of fault, which serves until it is closed."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import repeat

import numpy as np

NOISE = np.random.default_rng(0).integers(0, 256, 1 << 16, dtype=np.uint8).tobytes()
HTTP = b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\n\r\n"
SDP = (b"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=camera\r\nt=0 0\r\n"
       b"m=audio 0 RTP/AVP 0\r\na=control:sound\r\n")  # fmt: skip
PICTURE = b"m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:picture\r\n"
Part = bytes | float  # What is sent, or the seconds until the next one


def header_by_byte() -> Iterator[Part]:
    """An HTTP header of one byte a second."""
    for byte in repeat(b"H"):
        yield from (byte, 1.0)


def endless_header() -> Iterator[Part]:
    """An HTTP header that does not end."""
    yield b"HTTP/1.1 200 OK\r\n"
    for _ in repeat(None):
        yield from (b"X-More: 1\r\n", 0.05)


def body_by_byte(kind: bytes) -> Iterator[Part]:
    """An HTTP body of one byte a second."""
    yield HTTP % kind
    for byte in repeat(b"\0"):
        yield from (byte, 1.0)


def endless(first: bytes, kind: bytes, rest: bytes = NOISE) -> Iterator[Part]:
    """An HTTP body that begins with `first` and goes on with `rest`."""
    yield HTTP % kind + first
    yield from repeat(rest)


def sound() -> Iterator[Part]:
    """MP2 sound without a picture: silent frames of 32 kbit/s at 48 kHz, a second in half a second."""
    yield HTTP % b"application/octet-stream"
    for _ in repeat(None):
        yield from (b"\xff\xfd\x14\xc4" + bytes(92), 0.012)


def rtsp_garbage() -> Iterator[Part]:
    """Noise in the place of RTSP."""
    yield from repeat(NOISE)


def rtsp_answer(number: int, text: bytes = b"", more: bytes = b"") -> bytes:
    """One answer of an RTSP server."""
    length = b"Content-Length: %d\r\n" % len(text) if text else b""
    return b"RTSP/1.0 200 OK\r\nCSeq: %d\r\n%s%s\r\n%s" % (number, more, length, text)


class HostileCamera:
    """Serves on a free port of this machine: `parts` to everyone, or what `rtsp` makes of each request."""

    def __init__(self, parts: Callable[[], Iterator[Part]] | None = None, rtsp: str = "") -> None:
        """`rtsp`: "" of none, "silent", "sound" (no picture), "sound-only" (a picture that is announced and does not
        come), "sdp" (endless), "length" (an SDP of 2 GB)."""
        self._parts, self._rtsp = parts, rtsp
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        self._over, self._open = threading.Event(), list[socket.socket]()
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def uri(self, path: str = "/live") -> str:
        """Its address."""
        return f"{'http' if self._parts else 'rtsp'}://127.0.0.1:{self.port}{path}"

    def __enter__(self) -> HostileCamera:
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for one in (self._server, *self._open):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        self._thread.join()

    def _accept(self) -> None:
        with suppress(OSError):
            while not self._over.is_set():
                client, _ = self._server.accept()
                self._open.append(client)
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with suppress(OSError):
            if self._parts is not None and self._parts is not rtsp_garbage:
                client.recv(4096)
            if self._parts is not None:
                self._send(client, self._parts())
            else:
                self._serve_rtsp(client)

    def _send(self, client: socket.socket, parts: Iterator[Part]) -> None:
        for part in parts:
            if self._over.is_set():
                return
            if isinstance(part, float):
                self._over.wait(part)
            else:
                client.sendall(part)

    def _serve_rtsp(self, client: socket.socket) -> None:
        number = 0
        while not self._over.is_set():
            request = client.recv(4096)
            if not request or self._rtsp == "silent":
                self._over.wait(60)
                return
            for one in request.split(b"\r\n\r\n")[:-1]:
                number += 1
                text = SDP + (PICTURE if self._rtsp == "sound-only" else b"")
                if one.startswith(b"DESCRIBE") and self._rtsp == "sdp":
                    client.sendall(rtsp_answer(number, more=b"Content-Type: application/sdp\r\nContent-Length: "
                                                            b"2000000000\r\n") + SDP)  # fmt: skip
                    self._send(client, repeat(b"a=more:" + b"x" * 1000 + b"\r\n"))
                elif one.startswith(b"DESCRIBE"):
                    client.sendall(rtsp_answer(number, text, b"Content-Type: application/sdp\r\n"))
                elif one.startswith(b"SETUP"):
                    channel = 0 if b"sound" in one else 2
                    more = b"Session: 1\r\nTransport: RTP/AVP/TCP;unicast;interleaved=%d-%d\r\n"
                    client.sendall(rtsp_answer(number, more=more % (channel, channel + 1)))
                elif one.startswith(b"PLAY"):
                    client.sendall(rtsp_answer(number, more=b"Session: 1\r\n"))
                    threading.Thread(target=self._talk, args=(client,), daemon=True).start()
                else:
                    client.sendall(rtsp_answer(number, more=b"Public: DESCRIBE, SETUP, PLAY\r\n"))

    def _talk(self, client: socket.socket) -> None:
        """RTP packets of silent G.711, in time."""
        for n in range(10**6):
            packet = bytes([0x80, 0]) + n.to_bytes(2, "big") + (160 * n).to_bytes(4, "big") + b"abcd" + b"\xff" * 160
            with suppress(OSError):
                client.sendall(b"$\0" + len(packet).to_bytes(2, "big") + packet)
            if self._over.wait(0.02):
                return


JPEG = b"\xff\xd8\xff\xe0"
KINDS: dict[str, tuple[Callable[[], Iterator[Part]] | None, str]] = {
    "header by byte": (header_by_byte, ""),
    "endless header": (endless_header, ""),
    "body by byte": (lambda: body_by_byte(b"application/octet-stream"), ""),
    "image by byte": (lambda: body_by_byte(b"image/jpeg"), ""),
    "noise": (lambda: endless(b"", b"application/octet-stream"), ""),
    "noise as MP4": (lambda: endless(b"\0\0\0\x18ftypisom\0\0\0\0isomisom", b"video/mp4"), ""),
    "noise as an MP4 with one endless box": (
        lambda: endless(b"\0\0\0\x18ftypisom\0\0\0\0isomisom\x7f\xff\xff\xffmoov", b"video/mp4"), ""),
    "noise as MPEG-TS": (lambda: endless(b"", b"video/mp2t", b"\x47" + NOISE[:187]), ""),
    "noise as JPEG": (lambda: endless(JPEG, b"application/octet-stream"), ""),
    "noise as a multipart": (lambda: endless(b"--b\r\nContent-Type: image/jpeg\r\n\r\n" + JPEG,
                                             b"multipart/x-mixed-replace;boundary=b"), ""),
    "noise as an image": (lambda: endless(JPEG, b"image/jpeg"), ""),
    "endless playlist": (lambda: endless(b"#EXTM3U\n", b"application/vnd.apple.mpegurl",
                                         b"#EXTINF:1,\na.ts\n" * 1000), ""),
    "endless part header": (lambda: endless(b"--b\r\n", b"multipart/x-mixed-replace;boundary=b",
                                            b"X-A: 1\r\n" * 999), ""),
    "noise as H.264": (lambda: endless(b"\0\0\0\1\x67\x42\0\x1e", b"video/h264"), ""),
    "sound": (sound, ""),
    "nothing": (lambda: iter([HTTP % b"application/octet-stream", 60.0]), ""),
    "RTSP noise": (rtsp_garbage, ""),
    "RTSP silent": (None, "silent"),
    "RTSP endless SDP": (None, "sdp"),
    "RTSP sound": (None, "sound"),
    "RTSP announced picture": (None, "sound-only"),
}  # fmt: skip
"""What is wrong with a camera: the parts it sends, or its manner of RTSP."""
