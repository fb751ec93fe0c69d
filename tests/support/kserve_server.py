"""A stand-in for a KServe v2 server: the documented JSON over HTTP, for one model that doubles its input."""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TENSORS = {
    "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}],
    "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 2]}],
}


class KServeServer:
    """Serves the model "double" until `stop`; `delay_s` holds back each inference."""

    def __init__(self, port: int = 0, *, delay_s: float = 0, tensors: dict[str, Any] | None = None) -> None:
        server, self.requests = self, 0
        self.delay_s, self.tensors = delay_s, TENSORS if tensors is None else tensors

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                known = {"/v2": {"name": "stand-in", "version": "1", "extensions": []}}
                known["/v2/models/double"] = {"name": "double", **server.tensors}
                found = known.get(self.path)
                self.answer(200 if found else 404, found or {"error": "unknown model"})

            def do_POST(self) -> None:
                server.requests += 1
                time.sleep(server.delay_s)
                request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                given = request["inputs"][0]
                data = [2 * value for value in given["data"]]
                output = {"name": "y", "datatype": "FP32", "shape": given["shape"], "data": data}
                self.answer(200, {"model_name": "double", "outputs": [output]})

            def answer(self, status: int, body: dict[str, Any]) -> None:
                data = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            def handle_error(self, *_: Any) -> None:
                """A client that does not wait is what some tests are about."""

        self._server = Server(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self.address = f"http://127.0.0.1:{self.port}/v2/models/double"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
