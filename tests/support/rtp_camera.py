"""A camera that sends MPEG-2 video by RTP over UDP; and an RTSP server for it that rejects TCP."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
import time
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import av
from numbered_clips import numbered_image

SDP = """v=0
o=- 0 0 IN IP4 127.0.0.1
s=camera
c=IN IP4 127.0.0.1
t=0 0
m=video {port} RTP/AVP 32
"""


@contextlib.contextmanager
def sending(port: int) -> Iterator[None]:
    """Sends numbered frames at 25 fps to a UDP port until the block ends."""
    over = threading.Event()

    def send() -> None:
        with av.open(f"rtp://127.0.0.1:{port}?pkt_size=1200", "w", format="rtp") as container:
            stream: Any = container.add_stream("mpeg2video", rate=25)
            stream.width, stream.height, stream.pix_fmt, stream.bit_rate = 96, 48, "yuv420p", 400_000
            stream.codec_context.gop_size = 5
            begun, n = time.monotonic(), 0
            while not over.wait(max(0.0, begun + n / 25 - time.monotonic())):
                frame = av.VideoFrame.from_ndarray(numbered_image(n), format="rgb24")
                frame.pts, frame.time_base = n, Fraction(1, 25)
                container.mux(stream.encode(frame))
                n += 1

    thread = threading.Thread(target=send, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(5)


@contextlib.contextmanager
def udp_only_server() -> Iterator[tuple[int, list[str]]]:
    """The port of an RTSP server that answers 461 to TCP, and the transports that were requested."""
    listener, transports, over = socket.create_server(("127.0.0.1", 0)), list[str](), threading.Event()

    def handle(client: socket.socket) -> None:
        held, port = b"", 0
        with client, contextlib.suppress(OSError), contextlib.ExitStack() as camera:
            while data := client.recv(4096):
                held += data
                while b"\r\n\r\n" in held:
                    request, _, held = held.partition(b"\r\n\r\n")
                    status, head, body = "200 OK", "Session: 1\r\n", ""
                    method, text = request.split()[0].decode(), request.decode()
                    if method == "DESCRIBE":
                        head, body = "Content-Type: application/sdp\r\n", SDP.format(port=0)
                    elif method == "SETUP":
                        wanted = re.search(r"Transport: (\S+)", text)
                        ports = re.search(r"client_port=(\d+)-(\d+)", text)
                        transports.append(wanted[1] if wanted else "")
                        if ports is None:
                            status = "461 Unsupported Transport"
                        else:
                            port = int(ports[1])
                            head += f"Transport: RTP/AVP/UDP;unicast;{ports[0]};server_port=9000-9001\r\n"
                    elif method == "PLAY":
                        camera.enter_context(sending(port))
                    number = re.search(r"CSeq: *(\d+)", text)
                    head += f"CSeq: {number[1] if number else 0}\r\nContent-Length: {len(body)}\r\n"
                    client.sendall(f"RTSP/1.0 {status}\r\n{head}\r\n{body}".encode())

    def accept() -> None:
        while not over.is_set():
            with contextlib.suppress(OSError):
                threading.Thread(target=handle, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield int(listener.getsockname()[1]), transports
    finally:
        over.set()
        listener.close()
