"""HTTP servers on loopback for the tests of streams: each answers as a function says."""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = Callable[[Any], None]


@contextlib.contextmanager
def serving(answer: Answer) -> Iterator[str]:
    """The address of a server whose requests `answer(handler)` handles; it ends with the block."""

    class Handler(BaseHTTPRequestHandler):
        def handle_request(self) -> None:
            with contextlib.suppress(OSError):
                answer(self)

        do_GET = do_POST = do_PUT = handle_request

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def send(handler: Any, body: bytes, kind: str = "video/mp4", status: int = 200, **headers: str) -> None:
    """One whole answer."""
    handler.send_response(status)
    handler.send_header("Content-Type", kind)
    handler.send_header("Content-Length", str(len(body)))
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(body)


def file_server(data: bytes, *, ranges: bool = True, breaks: int = 0, kind: str = "video/mp4") -> Answer:
    """Serves `data`; the first `breaks` answers break off after two thirds of what was left."""
    left = [breaks]

    def answer(handler: Any) -> None:
        asked = re.match(r"bytes=(\d+)-(\d*)", handler.headers.get("Range", "")) if ranges else None
        begin = int(asked[1]) if asked else 0
        part = data[begin : int(asked[2]) + 1] if asked and asked[2] else data[begin:]
        handler.send_response(206 if asked else 200)
        handler.send_header("Content-Type", kind)
        if asked:
            handler.send_header("Content-Range", f"bytes {begin}-{begin + len(part) - 1}/{len(data)}")
        handler.send_header("Content-Length", str(len(part)))
        handler.end_headers()
        if left[0] and len(part) > 2000:
            left[0] -= 1
            part = part[: 2 * len(part) // 3]
        handler.wfile.write(part)

    return answer


def chunked(data: bytes, kind: str = "video/x-matroska") -> Answer:
    """Serves `data` in chunks, without its length."""

    def answer(handler: Any) -> None:
        handler.protocol_version = "HTTP/1.1"
        handler.send_response(200)
        handler.send_header("Content-Type", kind)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        for at in range(0, len(data), 5000):
            part = data[at : at + 5000]
            handler.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
        handler.wfile.write(b"0\r\n\r\n")
        handler.close_connection = True

    return answer
