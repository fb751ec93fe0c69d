"""Metrics: the counters of a run for Prometheus, at http://ADDRESS/metrics."""

import re
import threading
from collections.abc import Callable, Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

from edgevid.errors import InputError, SourceError, require, visible
from edgevid.files.toml import read_toml
from edgevid.output.listener import Listener
from edgevid.types import Closing, Frame, Header, Reason, Result

MOST = 32  # Connections, each with a thread
BUCKETS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)


class Metrics(Closing):
    """A sink that serves the counts of a run, its source and its sinks (docs/events.md)."""

    def __init__(self, address: str, source: Any = None, summary: Any = None, page: "Metrics | None" = None) -> None:
        """`address` is "127.0.0.1:9109" or a port; many cameras share the `page` of one that has none itself.
        InputError for another text, SourceError where the port is taken, MissingExtraError without
        prometheus_client."""
        self._source, self._summary, self._camera = source, summary, ""
        self._server: Any = None
        self._class_name: Callable[[int], str] = str
        self._cameras: dict[str, Metrics] = {} if page is None else page._cameras
        self._seconds: Any = page and page._seconds
        if page is not None:
            return
        self._client = require("prometheus_client", extra="metrics", purpose="Metrics")
        self._core = require("prometheus_client.core", extra="metrics", purpose="Metrics")
        host, port = address_of(address, "metrics: expected an address such as 127.0.0.1:9109")
        registry = self._client.CollectorRegistry()
        self._seconds = self._client.Histogram(
            "edgevid_stage_seconds", "Seconds per frame in each stage; total: in all of them.",
            ["camera", "stage"], buckets=BUCKETS_S, registry=registry)  # fmt: skip
        registry.register(self)
        try:
            self._server = _Server(Listener(host, port, MOST), self._client.MetricsHandler.factory(registry))
        except OSError as error:
            raise SourceError(f"metrics: {address} cannot be served: {error.strerror}; choose another port") from None
        self.port: int = self._server.server_port
        threading.Thread(target=self._server.serve_forever, name="edgevid-metrics", daemon=True).start()

    def open(self, header: Header) -> None:
        """The camera's name is a label of each metric."""
        self._camera = header.camera
        self._cameras[self._camera] = self

    def write(self, frame: Frame, result: Result) -> None:
        """Adds the times of one frame."""
        self._class_name = result.class_name
        for stage, seconds in (*result.timings.items(), ("total", sum(result.timings.values()))):
            self._seconds.labels(self._camera, stage).observe(seconds)

    def close(self) -> None:
        """Stops serving; a page of many cameras goes on."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()

    def collect(self) -> Iterator[Any]:
        """What Prometheus reads, from counts that are kept anyway."""
        cameras = {camera: one._values() for camera, one in list(self._cameras.items())}
        for name, (what, *labels) in read_toml(Path(__file__).with_suffix(".toml")).items():
            kind = self._core.GaugeMetricFamily if name == "sink_backlog" else self._core.CounterMetricFamily
            made = kind(f"edgevid_{name}", what, labels=["camera", *labels])
            for camera, values in cameras.items():
                for key, value in values[name].items():
                    made.add_metric([camera, *map(visible, key)], value)
            yield made

    def _values(self) -> dict[str, dict[Any, float]]:
        """By metric, then by its labels."""
        summary, reasons = self._summary, dict(self._summary.reasons)
        sinks = [(_label(n, one.name), one) for n, one in enumerate(summary.workers, 1)]
        return {"frames": {(): summary.frames}, "gated": {(): summary.gated},
                **{name: {(): getattr(self._source, name, 0)}
                   for name in ("dropped", "damaged", "corrupted", "reconnections")},
                "tracks": {(self._class_name(label),): n for label, n in summary.objects().items()},
                "events": dict(summary.class_events),
                "abstentions": {(task, why.name): n for (task, why), n in reasons.items() if why is not Reason.OK},
                "emitted": {(task,): n for (task, why), n in reasons.items() if why is Reason.OK},
                **{f"sink_{name}": {(label,): getattr(one, name) for label, one in sinks}
                   for name in ("delivered", "rejected", "dropped", "backlog")}}  # fmt: skip


def _label(number: int, name: str) -> str:
    """A sink's name without its host or folder, which no reader needs.

    >>> _label(1, "mqtt broker:1883"), _label(2, "sqlite /data/a.db")
    ('mqtt 1', 'sqlite a.db')
    """
    kind, _, where = name.partition(" ")
    return f"{kind} {number}" if re.search(r":\d", where) else f"{kind} {Path(where).name}"


class _Server(ThreadingHTTPServer):
    """The limits of a Listener, and a few seconds for each answer."""

    def __init__(self, listener: Listener, handler: type) -> None:
        super().__init__(listener.getsockname()[:2], handler, bind_and_activate=False)
        self.socket.close()
        self.socket = self._listener = listener
        self.server_port = listener.getsockname()[1]
        listener.listen()

    def service_actions(self) -> None:
        """Between two requests."""
        self._listener.end_waiting()

    def handle_error(self, *_: Any) -> None:
        """A client that goes in the middle of an answer is no line in the log."""


def address_of(text: str, expected: str) -> tuple[str, int]:
    """Host and port of an address such as 127.0.0.1:8080, [::1]:8080 or 8080; InputError for others."""
    host, colon, port = text.rpartition(":")
    if not port.isdecimal() or int(port) > 65535 or (colon and not host):
        raise InputError(f"{expected}, got {text!r}")
    return host.strip("[]") or "127.0.0.1", int(port)
