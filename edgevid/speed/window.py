"""The window method: a straight line through the places of the last second."""

from __future__ import annotations

from edgevid.speed.core import MIN_SECONDS, MIN_SIGHTINGS, PlaneUpdate
from edgevid.speed.track_history import TrackHistory, no_rows
from edgevid.types import F64, I64, Array


class WindowCore:
    """Least squares over the last `window_s` seconds, stamped at the middle of the sightings.

    Residuals contain neither the correlation of box errors nor changes of speed, so the standard error comes
    from the boxes' noise with its correlation in time, and from the process noise.
    """

    def __init__(self, window_s: float, process_noise: float, to_ground: F64) -> None:
        self._history = TrackHistory(window_s, process_noise, to_ground)

    def reset(self) -> None:
        """Forgets every track."""
        self._history.reset()

    def update(self, ids: I64, pixels: F64, noise: F64, measured: Array, time: float) -> PlaneUpdate:
        """One moment; see `SpeedCore.update`."""
        history = self._history
        slots = history.begin(time, ids)
        if not len(ids):
            return no_rows(), no_rows(), history.ended
        good = history.add(slots, ids, pixels, noise, measured.astype(bool), time)
        line = history.line(slots)
        known = (line.count >= MIN_SIGHTINGS) & (line.length >= MIN_SECONDS - 1e-6)
        rows = history.rows(slots, time, known, line.middle, line.velocity, line.variance, line.place)
        fresh = known & good
        return (ids, rows), (ids[fresh], rows[fresh]), history.ended
