"""Why a speed is not emitted: the reason of every row of live and smoothed speeds.

The one speed of a track that ended has its reason from `SpeedEstimator._track_speeds`, by the same limits;
CAMERA_MOVED comes from camera health.
"""

from dataclasses import dataclass

import numpy as np

from edgevid.kernels.plane_columns import UNDECIDED, PlaneColumn
from edgevid.speed.calibration import CameraCalibration
from edgevid.speed.contact import is_occluded, is_truncated
from edgevid.speed.method import MIN_SIGHTINGS
from edgevid.types import F64, KMH, U8, Array, Reason

LOOKAHEAD = 0.6  # A smoothed value needs sightings up to this share of `lag_s` after its moment
# Plain numbers: looking a member up in an enumeration costs a microsecond, and each frame does it often.
OK, TOO_SHORT, STALE = int(Reason.OK), int(Reason.TOO_SHORT), int(Reason.STALE)
OFF_PLANE, TRUNCATED, OCCLUDED = int(Reason.OFF_PLANE), int(Reason.TRUNCATED), int(Reason.OCCLUDED)
UNCERTAIN = int(Reason.UNCERTAIN)


@dataclass(frozen=True, slots=True)
class SpeedPolicy:
    """Limits of the standard error above which a speed is UNCERTAIN."""

    max_sigma_mps: float = 2 / KMH
    """A standard error up to this is accepted at any speed, m/s."""
    max_share: float = 0.05
    """And up to this share of the speed."""

    def limit(self, mps: float) -> float:
        """The largest standard error with which a speed is emitted, both in m/s."""
        return max(self.max_sigma_mps, self.max_share * mps)


def contact_reasons(calibration: CameraCalibration, boxes: F64, contacts: F64, noise: F64) -> U8:
    """(N,) Reason for which the contact point of a box (N, 4) cannot be used, OK where it can."""
    reason = np.where(calibration.contains(contacts), OK, OFF_PLANE).astype(np.uint8)
    reason[is_occluded(boxes)] = OCCLUDED
    reason[is_truncated(boxes, calibration.size, noise)] = TRUNCATED
    return reason


@dataclass(frozen=True, slots=True)
class SpeedAbstainer:
    """The rules by which live and smoothed speeds are emitted."""

    policy: SpeedPolicy
    first_after_s: float
    """A track younger than this is TOO_SHORT."""
    stale_s: float
    """A track without a measurement for longer is STALE."""
    lookahead_s: float
    """Sightings that a smoothed value needs after its moment."""

    def reasons(self, rows: F64, speed: F64, sigma: F64, moving: Array, unusable: U8) -> U8:
        """(N,) Reason of each row; the first len(`unusable`) are live, of boxes with these reasons."""
        reason = np.zeros(len(speed), np.uint8)
        stationary, unseen = rows[PlaneColumn.STATIONARY_S], rows[PlaneColumn.UNSEEN_S]
        sightings, n = rows[PlaneColumn.SIGHTINGS], len(unusable)
        limit = np.maximum(self.policy.max_sigma_mps, self.policy.max_share * speed)
        # Neither moving beyond the noise nor stationary for long enough.
        undecided = (stationary == UNDECIDED) | ((stationary > 0) & moving)
        reason[~(sigma <= limit) | undecided] = UNCERTAIN
        reason[(sightings < MIN_SIGHTINGS) | (rows[PlaneColumn.AGE_S] < self.first_after_s)] = TOO_SHORT
        # A smoothed value close to the last sighting: no sighting would show a change of speed.
        late = (unseen > -self.lookahead_s) & moving & (reason == OK)
        late[:n] = False
        reason[late] = TOO_SHORT
        stale = unseen > self.stale_s
        reason[stale] = STALE
        # Never measured, or not for a while, for a reason that the box itself shows.
        missing = ((sightings == 0) | stale | (reason == TOO_SHORT))[:n] & (unusable != OK)
        reason[:n][missing] = unusable[missing]
        return reason
