"""Watching a run in the field: a line a minute on the log, and signs of life for systemd's watchdog."""

from __future__ import annotations

import logging
import os
import resource
import socket
import threading
import time as clock
from typing import Any

from edgevid.run.loop import Summary

log = logging.getLogger("edgevid")


def notify(state: str) -> bool:
    """Tells systemd about this service (sd_notify(3)); False where nobody wants to know."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return False
    path = "\0" + address[1:] if address.startswith("@") else address  # an abstract socket
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as s:
            s.sendto(state.encode(), path)
    except OSError as error:
        log.debug("systemd cannot be told: %s", error)
        return False
    return True


class Watch:
    """A thread that watches a run from beside; use it as a context manager around the run.

    The run is alive while it waits for its camera, which may be away for days, and while its count of
    frames grows. A run that does neither hangs: then systemd hears nothing more and, where the unit has
    WatchdogSec, starts the service again. Until the first frame is done, models may load as long as it takes.
    """

    def __init__(self, source: Any, summary: Summary, *, every_s: float = 60.0) -> None:
        """`source` is the run's; `every_s` is the time between two lines on the log, 0 for none."""
        self._source, self._summary, self.every_s = source, summary, every_s
        given = int(os.environ.get("WATCHDOG_USEC", "0") or 0) / 1e6
        self.beat_s = given / 3 if given else 10.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._work, name="edgevid-watch", daemon=True)
        self._frames, self._told, self._then, self._dropped = 0, 0, clock.monotonic(), 0

    def __enter__(self) -> Watch:
        notify("READY=1\nSTATUS=waiting for the first image")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        notify("STOPPING=1")
        self._over.set()
        self._thread.join(timeout=5)

    def alive(self) -> bool:
        """Whether the run has moved since the last question, or waits for its camera."""
        frames, before = self._summary.frames, self._frames
        self._frames = frames
        return frames == 0 or frames > before or bool(getattr(self._source, "waiting", False))

    def line(self) -> str:
        """How the run goes, in one line; rates are those since the last one."""
        source, now, frames = self._source, clock.monotonic(), self._summary.frames
        rate = (frames - self._told) / max(now - self._then, 1e-9)
        lost = source.dropped - self._dropped
        self._told, self._then, self._dropped = frames, now, source.dropped
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        objects = sum(self._summary.objects().values())
        words = (
            f"{rate:.1f} frames/s, {frames} in all; dropped {lost} since the last line, "
            f"{source.dropped} in all; damaged {source.corrupted}; objects {objects}; "
            f"memory up to {memory:.0f} MB"
        )
        if source.live:
            silent = max(0.0, source.now() - source.newest_at)
            away = f"; no image for {silent:.0f} s" if silent > 2 else ""
            words += f"; lag {1000 * source.lag_s:.0f} ms; reconnected {source.reconnections}{away}"
        return words

    def _work(self) -> None:
        next_line = clock.monotonic() + self.every_s
        while not self._over.wait(self.beat_s if not self.every_s else min(self.beat_s, self.every_s)):
            if self.alive():
                notify("WATCHDOG=1")
            if self.every_s and clock.monotonic() >= next_line:
                next_line += self.every_s
                said = self.line()
                log.info("%s", said)
                notify(f"STATUS={said}")
