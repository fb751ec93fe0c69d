"""A run in the field: a status line per minute on the log, keep-alive pings for systemd's watchdog, and signals: one
that is stopped finishes its outputs."""

from __future__ import annotations

import os
import resource
import signal
import socket
import threading
import time as clock
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from edgevid.errors import log


def notify(state: str) -> bool:
    """Sends `state` to systemd (sd_notify(3)); False where the process is not a systemd service."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return False
    path = "\0" + address[1:] if address.startswith("@") else address  # an abstract socket
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as s:
            s.sendto(state.encode(), path)
    except OSError as error:
        log.debug("systemd cannot be notified: %s", error)
        return False
    return True


def peak_memory_mb() -> float:
    """The most resident memory that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


class Watchdog:
    """A thread that watches a run; use it as a context manager around the run.

    The run is alive while it waits for its camera, which may be away for days, and while its count of
    frames grows. A run that does neither hangs: then the pings to systemd stop, and a unit with WatchdogSec
    restarts the service. Before the first frame the run is alive: models may take long to load."""

    def __init__(self, source: Any, summary: Any, *, every_s: float = 60.0) -> None:
        """`source` and `summary` are the run's, or both are a Fleet; `every_s` is the time between two status lines, 0
        for none."""
        self._source, self._summary, self.every_s = source, summary, every_s
        limit_s = int(os.environ.get("WATCHDOG_USEC", "0") or 0) / 1e6
        self.ping_s = limit_s / 3 if limit_s else 10.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._work, name="edgevid-watchdog", daemon=True)
        self._frames, self._reported, self._reported_at, self._dropped = 0, 0, clock.monotonic(), 0

    def __enter__(self) -> Watchdog:
        notify("READY=1\nSTATUS=waiting for the first frame")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        notify("STOPPING=1")
        self._over.set()
        self._thread.join(timeout=5)

    def alive(self) -> bool:
        """Whether the run has made progress since the last call, or waits for its camera."""
        frames, before = self._summary.frames, self._frames
        self._frames = frames
        return frames == 0 or frames != before or bool(getattr(self._source, "waiting", False))

    def line(self) -> str:
        """The status of the run in one line; rates are those since the last line. A fleet has its own."""
        if hasattr(self._source, "line"):
            return str(self._source.line())
        source, now, frames = self._source, clock.monotonic(), self._summary.frames
        fps = (frames - self._reported) / max(now - self._reported_at, 1e-9)
        lost = source.dropped - self._dropped
        self._reported, self._reported_at, self._dropped = frames, now, source.dropped
        objects = sum(self._summary.objects().values())
        damaged = source.corrupted + self._summary.damaged
        line = (f"{fps:.1f} fps, {frames} frames in all; dropped {lost} since the last line, {source.dropped} in all; "
                f"damaged {damaged}; objects {objects}; memory up to {peak_memory_mb():.0f} MB")  # fmt: skip
        if source.live:
            gap_s = max(0.0, source.now() - source.newest_at)
            away = f"; no frame for {gap_s:.0f} s" if gap_s > 2 else ""
            line += f"; lag {1000 * source.lag_s:.0f} ms; reconnected {source.reconnections}{away}"
        return line

    def _work(self) -> None:
        next_line = clock.monotonic() + self.every_s
        while not self._over.wait(self.ping_s if not self.every_s else min(self.ping_s, self.every_s)):
            if self.alive():
                notify("WATCHDOG=1")
            if self.every_s and clock.monotonic() >= next_line:
                next_line += self.every_s
                line = self.line()
                log.info("%s", line)
                notify(f"STATUS={line}")


@contextmanager
def handled(handler: Any, *numbers: int) -> Iterator[None]:
    """Handles signals in the main thread, where Python does; elsewhere nothing changes."""
    in_main = threading.current_thread() is threading.main_thread()
    before = [(number, signal.signal(number, handler)) for number in numbers if in_main]
    try:
        yield
    finally:
        for number, own in before:
            signal.signal(number, own)


def ended_by_sigterm() -> AbstractContextManager[None]:
    """Turns SIGTERM (a service or container is stopped) into KeyboardInterrupt, so that outputs are finished.
    In the main thread, and where the program has no handler of its own; elsewhere nothing changes."""
    plain = signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    return handled(signal.default_int_handler, *[signal.SIGTERM] * plain)


@contextmanager
def uninterrupted() -> Iterator[list[int]]:
    """Delays Ctrl-C and SIGTERM until the block has ended, so that its writes are whole; a second one is not
    delayed. Not outside the main thread. Gives the signals that wait, for a block that can end early."""
    pending: list[int] = []

    def later(number: int, _: object) -> None:
        if pending:
            raise KeyboardInterrupt
        pending.append(number)

    numbers = [n for n in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(n) is not None]
    with handled(later, *numbers):
        yield pending
    if pending:
        signal.raise_signal(pending[0])
