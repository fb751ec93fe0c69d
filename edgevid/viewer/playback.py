"""Pause, step, pacing and seeking: which frame of a file enters the pipeline next, and when."""

import threading
import time as clock
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from edgevid.types import Frame

MAX_DELAY_S = 0.3  # A pipeline slower than the file does not catch up: beyond this delay its clock is aligned again


class Playback:
    """Hands frames on: all of them, one at a time, or at the pace of the stream's own clock."""

    def __init__(self, *, paced: bool = False) -> None:
        """`paced`: no frame before its time. A live source brings its own pace."""
        self._paced = paced
        self._changed = threading.Condition()
        self._steps = 0
        self.closed = False  # Whether it hands on no further frame
        self._offset: float | None = None
        self.paused = False
        self.target: float | None = None  # Where in the file to go on, in seconds; None: with the next frame

    def seek(self, seconds: float) -> None:
        """Goes on from another moment of the file."""
        with self._changed:
            self.target, self._offset = seconds, None
            self._steps = int(self.paused)
            self._changed.notify_all()

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
            self.closed = True
            self._changed.notify_all()

    def play(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """The frames, each when it is due, up to a `target`."""
        for frame in frames:
            if not self._wait_for(frame.time):
                return
            yield frame

    def _wait_for(self, time: float) -> bool:
        """Waits until the frame of that time is due; False once closed."""
        while not self.closed and self.target is None:
            with self._changed:
                if self.paused:
                    if self._steps:
                        self._steps -= 1
                        return True
                    self._changed.wait(0.5)
                    continue
                now = clock.monotonic()
                if self._offset is None or time + self._offset < now - MAX_DELAY_S:
                    self._offset = now - time
                early = time + self._offset - now
                if early <= 0 or not self._paced:
                    return True
                self._changed.wait(min(early, 0.5))
        return False


class Rounds:
    """A source that is played again at its end, and from other moments of it: times go on all the while."""

    live: bool  # As of the source

    def __init__(self, source: Any, playback: Playback, reopen: Callable[[], Any] | None, tap: Any) -> None:
        """`reopen` opens the source again, None: it is played once; `tap` gets its packets, or is None."""
        self._source, self._playback, self._reopen, self._tap = source, playback, reopen, tap
        self.list: list[tuple[float, float]] = [(0.0, 0.0)]  # Of each round: its first time, and where in the file
        self.restart: Callable[[], None] = lambda: None  # Called between two rounds

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)

    def __iter__(self) -> Iterator[Frame]:
        start, later, index, last = 0.0, 0.0, 0, -1.0
        while True:
            with self._source:
                while True:
                    step = 1.0 / (self._source.fps or 25.0)
                    for frame in self._playback.play(self._from(start - step / 2, later)):
                        frame.index, index, last = index, index + 1, frame.time
                        yield frame
                    target, self._playback.target = self._playback.target, None
                    if target is None or not getattr(self._source, "seek", lambda _: False)(target):
                        break
                    start, later = target, self._next(last + step, target)
            if self._reopen is None or self._source.live or not index or self._playback.closed:
                return
            start, later = 0.0, self._next(last + step, 0.0)
            self._source = self._reopen()

    def _next(self, time: float, position: float) -> float:
        """Begins a round; what its times are later than those of the file."""
        self.list = [*self.list[-999:], (time, position)]
        if self._tap is not None:
            self._tap.later_s = time - position
        self.restart()
        return time - position

    def _from(self, position: float, later: float) -> Iterator[Frame]:
        """The frames from a position in the file on, with the times of the run."""
        for frame in self._source:
            if frame.time >= position or self._source.live:
                frame.time += later
                yield frame
