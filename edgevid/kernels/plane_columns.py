"""The columns of a plane row: what PlaneCore and the other displacement methods give for one track."""

from enum import IntEnum


class PlaneColumn(IntEnum):
    """Column numbers of a (N, len(PlaneColumn)) float64 table of rows."""

    TIME = 0  # Seconds on the stream's clock that the row holds for
    VX = 1  # m/s along x of the ground
    VY = 2  # m/s along y of the ground
    VARIANCE = 3  # Variance along the motion in m2/s2, or UNMEASURED
    STATIONARY_S = 4  # Seconds that the track has been stationary for, or MOVING or UNDECIDED
    AGE_S = 5  # Seconds since the first sighting
    UNSEEN_S = 6  # Seconds since the last sighting
    SIGHTINGS = 7  # Sightings so far; 0 where there is no value yet
    X = 8  # Meters along x of the ground
    Y = 9  # Meters along y of the ground


UNMEASURED = -1.0  # VARIANCE of a track that was never measured
MOVING = -1.0  # STATIONARY_S of a smoothed row: it moved
UNDECIDED = -2.0  # STATIONARY_S where the velocity may be noise or motion: they cannot be distinguished
MIN_SIGHTINGS = 5  # With fewer, a track has no value
STANDS_S = 0.5  # An object that has been stationary for so long stands: its speed is 0
