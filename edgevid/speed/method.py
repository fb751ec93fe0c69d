"""`SpeedCore`: the protocol of every method of speed estimation, and the limits that the methods share."""

from typing import Protocol

from edgevid.types import F64, I64, Array

MIN_SIGHTINGS, MIN_SECONDS = 5, 0.3
"""A track with fewer sightings, or over a shorter time, has no window fit and no track speed (but see
`track_speed.DENSE_SECONDS`); with fewer sightings it has no live value either."""
CORRELATION_S = 0.15  # Correlation time of box errors in seconds: typical of detectors (0.8 per frame at 30 fps)
Rows = tuple[I64, F64]  # Track ids (N,) and their values (N, len(PlaneColumn))
PlaneUpdate = tuple[Rows, Rows, list[tuple[int, F64]]]
"""Live rows, smoothed rows, and (id, sightings (n, 4): time, u, v, noise) of each track that ended."""


class SpeedCore(Protocol):
    """Velocities on the plane of all tracks."""

    def update(
        self, ids: I64, pixels: F64, noise: F64, measured: Array, time: float, heights: F64 | None = None
    ) -> PlaneUpdate:
        """One moment of tracks `ids` (N,) at undistorted `pixels` (N, 2); tracks that are not named end.

        `measured` (N,) is 1, 2 where a track was detected and cannot be measured, or 0; `heights` (N,) are
        those of the boxes in pixels.
        """
        ...

    def reset(self) -> None:
        """Forgets every track."""
        ...
