"""What is emitted of the rows of a plane filter: speeds with standard errors, or the reasons for none."""

import numpy as np

from edgevid.kernels.plane_columns import MIN_SIGHTINGS, STANDS_S, UNDECIDED, PlaneColumn
from edgevid.types import F64, U8, Reason


def speed_rows(
    rows: F64, cells: F64, errors: F64, limits: F64, camera_moved: bool, unusable: U8 | None = None
) -> tuple[F64, F64, F64, F64, U8]:
    """m/s, standard errors, headings in degrees, times in seconds and Reasons (N,) of `rows` (N, len(PlaneColumn)).

    `unusable` (N,) is why each contact point cannot be used, OK where it can; None of smoothed rows. `errors` (C, C)
    are relative errors of lengths, in the cells that `cells` (3, 3) finds from meters. `limits` (5,): the standard
    error up to which a speed is emitted in m/s and as a share of the speed, and in seconds the age of a track, the
    time since its last sighting, and the sightings that a smoothed value needs after its moment (below 0: of objects
    at rest the error is that of a speed)."""
    vx, vy, variance = rows[:, PlaneColumn.VX], rows[:, PlaneColumn.VY], rows[:, PlaneColumn.VARIANCE]
    stationary, unseen = rows[:, PlaneColumn.STATIONARY_S], rows[:, PlaneColumn.UNSEEN_S]
    sightings, (sigma_mps, sigma_share, first_after_s, stale_s, lookahead_s) = rows[:, PlaneColumn.SIGHTINGS], limits
    x, y, w = cells[:, :2] @ rows[:, PlaneColumn.X : PlaneColumn.Y + 1].T + cells[:, 2:]
    at = np.array([y, x]) / np.where(np.abs(w) > 1e-9, w, 1e-9)
    row, column = np.minimum(np.fmax(at, 0.0), len(errors) - 0.5).astype(np.intp)
    speed = np.sqrt(vx * vx + vy * vy)
    moving = (sightings < MIN_SIGHTINGS) | (stationary < STANDS_S)
    # At rest, what it seems to move by.
    off = np.where(moving | (lookahead_s < 0), errors[row, column] * speed, speed)
    sigma = np.sqrt(variance + off * off, where=variance >= 0, out=np.full(len(rows), np.nan))
    speed = speed * moving
    reason = np.zeros(len(rows), np.uint8)
    # Neither moving beyond the noise nor stationary for long enough.
    undecided = (stationary == UNDECIDED) | ((stationary > 0) & moving)
    reason[~(sigma <= np.maximum(sigma_mps, sigma_share * speed)) | undecided] = Reason.UNCERTAIN
    reason[(sightings < MIN_SIGHTINGS) | (rows[:, PlaneColumn.AGE_S] < first_after_s)] = Reason.TOO_SHORT
    if unusable is None:  # A smoothed value close to the last sighting: no sighting would show a change of speed
        reason[(unseen > -lookahead_s) & moving & (reason == Reason.OK)] = Reason.TOO_SHORT
    stale = unseen > stale_s
    reason[stale] = Reason.STALE
    if unusable is not None:  # Never measured, or not for a while, for a reason that the box itself shows
        missing = ((sightings == 0) | stale | (reason == Reason.TOO_SHORT)) & (unusable != Reason.OK)
        reason[missing] = unusable[missing]
    reason = np.full_like(reason, Reason.CAMERA_MOVED) if camera_moved else reason
    shown = reason == Reason.OK
    heading = np.where(shown & moving, np.degrees(np.arctan2(vy, vx)), np.nan)
    return np.where(shown, speed, np.nan), sigma, heading, rows[:, PlaneColumn.TIME].copy(), reason
