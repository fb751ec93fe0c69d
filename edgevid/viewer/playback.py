"""Pause, step and pace: when the next frame of a file may go through the pipeline."""

from __future__ import annotations

import threading
import time as clock
from collections.abc import Iterable, Iterator

from edgevid.types import Frame

BEHIND_S = 0.3
"""A pipeline slower than the file is not chased: from here on the file's clock is set anew."""


class Playback:
    """Lets frames through: all of them, one at a time, or at the speed of the stream's own clock."""

    def __init__(self, *, paced: bool = False) -> None:
        """`paced`: no frame before its time. A live source brings its own pace."""
        self._paced = paced
        self._news = threading.Condition()
        self._steps = 0
        self._closed = False
        self._offset: float | None = None
        self.paused = False

    def pause(self, paused: bool) -> None:
        """Stops before the next frame, or goes on."""
        with self._news:
            self.paused, self._steps, self._offset = paused, 0, None
            self._news.notify_all()

    def step(self) -> None:
        """Stops, and lets one frame through."""
        with self._news:
            self.paused, self._steps = True, self._steps + 1
            self._news.notify_all()

    def close(self) -> None:
        """Lets nothing through any more."""
        with self._news:
            self._closed = True
            self._news.notify_all()

    def through(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """The frames, each when it may go."""
        for frame in frames:
            if not self._admits(frame.time):
                return
            yield frame

    def _admits(self, time: float) -> bool:
        """Waits for the frame's turn; False once closed."""
        while not self._closed:
            with self._news:
                if self.paused:
                    if self._steps:
                        self._steps -= 1
                        return True
                    self._news.wait(0.5)
                    continue
                early = self._early(time)
                if early <= 0:
                    return True
                self._news.wait(min(early, 0.5))
        return False

    def _early(self, time: float) -> float:
        """Seconds until the frame's time has come."""
        if not self._paced:
            return 0.0
        now = clock.monotonic()
        if self._offset is None or time + self._offset < now - BEHIND_S:
            self._offset = now - time
        return time + self._offset - now
