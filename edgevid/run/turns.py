"""Who works next: the cameras of a fleet take turns."""

import threading
import time as clock
from collections.abc import Callable, Iterator
from contextlib import contextmanager

HUNG_S = 5.0  # A turn that takes longer no longer keeps others from theirs


class Turns:
    """At most `most` cameras work at once; of those that wait, the one whose last result is oldest goes first."""

    def __init__(self, most: int, *, now: Callable[[], float] = clock.monotonic) -> None:
        self.most, self._now, self._lock = most, now, threading.Lock()
        self._waiting: dict[str, tuple[float, threading.Event]] = {}
        self._working: dict[str, float] = {}  # Since when
        self._last: dict[str, float] = {}  # When a camera's last turn ended

    @contextmanager
    def turn(self, camera: str, weight: float = 1.0) -> Iterator[None]:
        """A turn of `camera`; the time since its last result counts `weight` times."""
        granted = threading.Event()
        with self._lock:
            self._waiting[camera] = weight, granted
            self._grant()
        try:
            while not granted.wait(1.0):  # one that hangs hands on no turn
                with self._lock:
                    self._grant()
            yield
        finally:
            with self._lock:
                del self._working[camera]
                self._last[camera] = self._now()
                self._grant()

    def working(self) -> int:
        """How many cameras work now, without those that hang."""
        since = self._now() - HUNG_S
        return sum(begun >= since for begun in list(self._working.values()))

    def _grant(self) -> None:
        """With the lock held."""
        now = self._now()

        def waited(camera: str) -> float:
            return (now - self._last.get(camera, -1e9)) * self._waiting[camera][0]

        while self._waiting and self.working() < self.most:
            chosen = max(self._waiting, key=waited)
            self._working[chosen] = now
            self._waiting.pop(chosen)[1].set()
