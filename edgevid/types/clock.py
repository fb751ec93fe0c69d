"""The moments of frames that come without one: at a stated rate."""

import math
from numbers import Real

from edgevid.errors import InputError, shown


class FrameClock:
    """The time of each update: the one that is passed, else one frame after the last."""

    __slots__ = ("_gap", "_owner", "last")

    def __init__(self, owner: str, frame_rate: float | None) -> None:
        """`owner` for messages; `frame_rate` in frames per second, None where every time is passed."""
        if frame_rate is not None and not (isinstance(frame_rate, Real) and 0 < frame_rate < math.inf):
            raise InputError(f"{owner}: frame_rate: expected frames per second, got {shown(frame_rate)}")
        self._owner, self._gap = owner, 1.0 / frame_rate if frame_rate else 0.0
        self.last = -math.inf  # Seconds of the last update

    def next(self, timestamp: float | None) -> float:
        """The time in seconds of an update; InputError for one that is not later than the last."""
        if timestamp is None:
            if not self._gap:
                raise InputError(
                    f"{self._owner} time: expected seconds, got None; pass timestamp=..., or state the rate: "
                    "frame_rate=30"
                )
            timestamp = 0.0 if self.last == -math.inf else self.last + self._gap
        try:
            if self.last < timestamp < math.inf:
                self.last = float(timestamp)
                return self.last
        except (TypeError, ValueError):  # an array, or another type
            raise InputError(
                f"{self._owner} time: expected seconds as a number, got {shown(timestamp)}; "
                "write update(..., timestamp=frame.time)"
            ) from None
        raise InputError(
            f"{self._owner} time: expected more than the last {self.last:g} s, got {timestamp:g} s. "
            "Call reset() when the source starts again"
        )

    def reset(self) -> None:
        """The next time may be any."""
        self.last = -math.inf
