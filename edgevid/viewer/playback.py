"""Pause, step and pacing: when the next frame of a file may enter the pipeline."""

from __future__ import annotations

import threading
import time as clock
from collections.abc import Iterable, Iterator

from edgevid.types import Frame

MAX_DELAY_S = 0.3
"""A pipeline slower than the file does not catch up: beyond this delay its clock is aligned again."""


class Playback:
    """Hands frames on: all of them, one at a time, or at the pace of the stream's own clock."""

    def __init__(self, *, paced: bool = False) -> None:
        """`paced`: no frame before its time. A live source brings its own pace."""
        self._paced = paced
        self._changed = threading.Condition()
        self._steps = 0
        self._closed = False
        self._offset: float | None = None
        self.paused = False

    def pause(self, paused: bool) -> None:
        """Stops before the next frame, or continues."""
        with self._changed:
            self.paused, self._steps, self._offset = paused, 0, None
            self._changed.notify_all()

    def step(self) -> None:
        """Pauses, and hands on one frame."""
        with self._changed:
            self.paused, self._steps = True, self._steps + 1
            self._changed.notify_all()

    def close(self) -> None:
        """Hands on no further frame."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def play(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """The frames, each when it is due."""
        for frame in frames:
            if not self._wait_for(frame.time):
                return
            yield frame

    def _wait_for(self, time: float) -> bool:
        """Waits until the frame of that time is due; False once closed."""
        while not self._closed:
            with self._changed:
                if self.paused:
                    if self._steps:
                        self._steps -= 1
                        return True
                    self._changed.wait(0.5)
                    continue
                early = self._early(time)
                if early <= 0:
                    return True
                self._changed.wait(min(early, 0.5))
        return False

    def _early(self, time: float) -> float:
        """Seconds until the frame of that time is due."""
        if not self._paced:
            return 0.0
        now = clock.monotonic()
        if self._offset is None or time + self._offset < now - MAX_DELAY_S:
            self._offset = now - time
        return time + self._offset - now
