"""The times of a live stream: its own stamps, laid onto this machine's clock; and its stale backlog."""

from __future__ import annotations

import math
import time as clock
from typing import Any

from edgevid.video.frames import seconds_of

SLEW = 0.002
"""Seconds per second by which times are corrected: too little to bias a speed, enough against drift."""
SLACK_S = 0.5
"""How far times may be from this machine's clock before they are corrected."""
JUMP_S = 5.0
"""From this difference on, a camera has set its clock: its stamps are aligned again."""
BACKLOG_S = 3.0
"""How long after connecting a backlog of frames is looked for."""


class StreamClock:
    """One connection's stamps on this machine's clock, aligned at its first frame."""

    def __init__(self) -> None:
        self._offset: float | None = None

    def time(self, stamp: float | None, *, now: float, last: float) -> float:
        """Seconds on the source's clock of the frame with `stamp` that arrived at `now`.

        `last` is the time of the frame before. A frame without a stamp has the time of its arrival.
        """
        if stamp is None:
            return now
        if self._offset is None:
            self._offset = max(now, last + 0.001) - stamp
        ahead = stamp + self._offset - now
        if abs(ahead) > JUMP_S:
            self._offset = now - stamp
        elif abs(ahead) > SLACK_S:  # two clocks never run at the same rate
            step = SLEW * min(max(stamp + self._offset - last, 0.0), 1.0)
            self._offset -= math.copysign(step, ahead)
        return stamp + self._offset


class Backlog:
    """Holds back what a server had buffered, or what was read to learn the format, when a connection begins.

    Such frames come faster than they were captured. Handed on, they would be shown as current, and what
    moves in them would seem to race. Each frame waits for the next one, until they come at the camera's pace.
    """

    def __init__(self) -> None:
        self._waiting: tuple[Any, float, float] | None = None
        self._until = clock.monotonic() + BACKLOG_S
        self._over = False
        self.held_back = False
        """Whether the last call found a frame to be stale."""

    def passed(self, av_frame: Any, arrived: float) -> list[Any]:
        """The frames to be handed on now that `av_frame` came at `arrived` (monotonic seconds)."""
        self.held_back = False
        if self._over:
            return [av_frame]
        # RTSP's first frame has no stamp yet; where no frame has one, staleness cannot be known.
        stamp = seconds_of(av_frame)
        current = math.nan if stamp is None else stamp
        before, self._waiting = self._waiting, (av_frame, current, arrived)
        if before is None:
            return []
        unknown = math.isnan(current) and math.isnan(before[1])
        paced = arrived - before[2] > 0.5 * (current - before[1])
        self._over = unknown or arrived > self._until or paced
        self.held_back = not self._over
        return [before[0], av_frame] if self._over else []
