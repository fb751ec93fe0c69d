"""A loopback HTTP server that resumes, breaks off, corrupts and refuses, as `mode` says."""

from __future__ import annotations

import hashlib
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

CONTENT = bytes(range(256)) * 4000
SHA = hashlib.sha256(CONTENT).hexdigest()


class Server:
    """Serves CONTENT at any path; `mode` says how it misbehaves; `ranges` remembers what was asked."""

    def __init__(self) -> None:
        self.mode, self.ranges, self.paths = "good", [], []  # type: ignore[var-annotated]
        self.stopped = False
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: Any) -> None:
                pass

            def do_GET(self) -> None:
                outer.answer(self)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def answer(self, handler: Any) -> None:
        self.paths.append(handler.path)
        asked = handler.headers.get("Range")
        self.ranges.append(asked)
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and self.mode != "no ranges" else 0
        if self.mode == "absent" or (self.mode == "by hash" and not handler.path.endswith(SHA)):
            handler.send_error(404)
            return
        if start >= len(CONTENT):
            handler.send_error(416)
            return
        if self.mode == "header drips":
            handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
            while not self.stopped:
                handler.wfile.write(b"x: y\r\n")
                time.sleep(0.1)
            return
        if self.mode.startswith("leads to "):
            handler.send_response(302)
            handler.send_header("Location", self.mode.removeprefix("leads to "))
            handler.end_headers()
            return
        body = CONTENT[start:]
        if self.mode == "corrupt":
            body = b"\xff" + body[1:]
        handler.send_response(206 if start else 200)
        if self.mode not in ("endless", "drips"):
            handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        if self.mode == "endless":
            while not self.stopped:
                handler.wfile.write(bytes(1 << 16))
            return
        if self.mode == "drips":
            while not self.stopped:
                handler.wfile.write(b"x")
                handler.wfile.flush()
                time.sleep(0.02)
            return
        if self.mode == "slow":
            for n in range(0, len(body), 100_000):
                handler.wfile.write(body[n : n + 100_000])
                time.sleep(0.03)
            return
        handler.wfile.write(body[: len(body) // 2] if self.mode == "breaks off" else body)

    def stop(self) -> None:
        self.stopped = True
        self._server.shutdown()
        self._server.server_close()
