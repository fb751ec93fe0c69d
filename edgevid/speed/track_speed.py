"""One speed for a whole track: the mean over its path, and what the path was like."""

import math
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from edgevid.kernels.plane_columns import MIN_SIGHTINGS
from edgevid.speed import homography
from edgevid.speed.window import CORRELATION_S, MIN_SECONDS
from edgevid.types import F64, I64, Array

DENSE_SIGHTINGS, DENSE_SECONDS = 6, 0.1
"""So many sightings over so long are enough, too: at 50 fps a car passes the near end of a road in it."""
STATIONARY_M = 0.5  # An object that went less far than this in all its time was stationary
STOPPED_MPS = 0.5  # A slower part of a path is a stop
MOVING_GATE = 5.99  # Chi-square of 2, 95 %: a velocity below it is noise
TURNING_GATE, TURNING_SHARE = 50.0, 0.2  # A velocity has a direction above this chi-square and share of the highest
STEADY_ODDS = 50.0  # Before any sighting, a constant speed is so many times as likely as a changing one
TURN_SHARE = 0.02  # Standard error per radian of a turn: the bottom of a box moves along a vehicle that turns
STRAIGHT_RAD = 0.3  # A path that turned less is as long as the distance between its ends
DRIFT = 1.0  # Standard errors of a box edge that boxes drift by at either end: too slow for the residuals to show
STEP = 5  # Frames of a step: of the steps' median a jump is a small share
AROUND = 13  # Steps whose median is the velocity at one moment
BREAK_SIGMAS, BREAK_PX = 7.0, 1.0
"""A step from one sighting to the next breaks the track where it is so many of its usual errors, and so many
standard errors of a box edge, from what the steps around it say."""
JOIN_SIGMAS, JOINED_MPS2 = 3.0, 4.0
"""Two parts are of one object where they meet within so many standard errors and this acceleration."""
AGILE_MPS2 = 2.0  # Accelerations are drawn towards 0 as if of this standard deviation
KNOT_S, MOST_KNOTS = 0.6, 24  # Accelerations are constant for so long, or longer in long tracks
DEGREES = 10.0  # Degrees of freedom of Student's t, of the residuals: outliers count for less (Lange et al. 1989).
PRIOR_SIGHTINGS = 20  # That the usual correlation, and half of the given noise, count for next to the residuals


class Motion(NamedTuple):
    """A fitted motion: position is `basis` @ `state`."""

    state: F64  # (m, 2): position and velocity at 0, then an acceleration for each span between knots
    information: F64  # (2m, 2m) of independent errors of the given size, without the prior
    error: F64  # (n, 2) weighted residuals over their standard errors


def knots(times: F64) -> F64:
    """(K + 1,) moments between which accelerations are constant."""
    length = float(times[-1] - times[0])
    count = min(max(round(length / KNOT_S), 1), MOST_KNOTS, max(len(times) // 4, 1))
    return np.linspace(times[0], times[-1], count + 1)


def basis(times: F64, at: F64) -> tuple[F64, F64]:
    """(n, 2 + K) of positions, and of velocities, for knots `at` (K + 1,)."""
    begin, span = at[:-1], np.diff(at)
    inside = np.clip(times[:, None] - begin, 0, span)
    beyond = np.maximum(times[:, None] - at[1:], 0)
    one, zero = np.ones((len(times), 1)), np.zeros((len(times), 1))
    place = np.concatenate([one, times[:, None], 0.5 * inside**2 + span * beyond], 1)
    return place, np.concatenate([zero, one, inside], 1)


def prior(terms: int) -> F64:
    """(2 terms,) information that accelerations have before a sighting."""
    return np.repeat([0.0, AGILE_MPS2**-2], [4, 2 * terms - 4])


def fit(pixels: F64, noise: F64, to_image: F64, rows: F64, start: F64) -> Motion | None:
    """The motion of most likelihood by Gauss-Newton on the pixels; None where it leaves the image. `rows` (n,
    m) is the basis at the sightings, `start` (2, 2) a position and a velocity."""
    terms = rows.shape[1]
    state = np.concatenate([start, np.zeros((terms - 2, 2))])
    scale, variance = np.stack([noise / math.sqrt(2), noise], 1), 1.0
    for step in range(8):
        at = rows @ state
        j = homography.jacobian(to_image, at) / scale[:, :, None]
        error = (pixels - homography.apply(to_image, at)) / scale
        if not np.isfinite(error).all():
            return None
        squared = (error**2).sum(1)
        if step < 4:  # chi-square of 2 has the median 1.386
            variance = max(float(np.median(squared)) / 1.386, 0.02)
        weight = (DEGREES + 2) / (DEGREES + squared / variance)
        design = (rows[:, None, :, None] * j[:, :, None, :]).reshape(2 * len(rows), -1)
        weighted = (design * np.repeat(weight, 2)[:, None]).T
        information, drawn = weighted @ design, prior(terms) * variance
        change = np.linalg.solve(information + np.diag(drawn), weighted @ error.ravel() - drawn * state.ravel())
        state = state + change.reshape(terms, 2)
        if step > 3 and np.abs(change).max() < 1e-4:
            break
    return Motion(state, information, error * np.sqrt(np.minimum(weight, 1.5))[:, None])


def noise_of(error: F64, times: F64, terms: float) -> tuple[float, float]:
    """The variance of the errors relative to the given one, and by how much correlation widens what is slow.

    That is (1 + r) / (1 - r) for the correlation r from one sighting to the next. Both are drawn towards what
    is usual while sightings are few. A fit of `terms` takes part of a slow error for motion: residuals
    are smaller and correlate less than errors do, and both are corrected for it."""
    gaps = np.diff(times)
    gap = max(float(np.median(gaps)), 1e-6)
    close = gaps < 1.5 * gap
    n, mean = float(close.sum()), max(float((error**2).mean()), 1e-12)
    found = float((error[1:] * error[:-1])[close].sum()) / max(2 * n, 1.0) / mean
    found = min(found + terms * (1 + found) / len(error), 0.95)
    r = (n * found + PRIOR_SIGHTINGS * math.exp(-gap / CORRELATION_S)) / (n + PRIOR_SIGHTINGS)
    r = min(max(r, 0.0), 0.95)
    inflation = (1 + r) / (1 - r)
    degrees = max(len(error) - terms * min(inflation, 9.0), len(error) / 3)
    return (mean * len(error) + PRIOR_SIGHTINGS * 0.5) / (degrees + PRIOR_SIGHTINGS), inflation


def steps(times: F64, places: F64) -> F64:
    """(m, 2) m/s over STEP frames each."""
    n = min(STEP, len(times) - 1)
    return np.asarray((places[n:] - places[:-n]) / (times[n:] - times[:-n])[:, None])


def local_velocity(times: F64, places: F64) -> F64:
    """(n, 2) m/s: the median of the steps around each sighting."""
    found = steps(times, places)
    half = AROUND // 2
    padded = np.concatenate([np.repeat(found[:1], half, 0), found, np.repeat(found[-1:], half, 0)])
    medians = np.median(sliding_window_view(padded, AROUND, axis=0), axis=-1)
    middle = np.arange(len(times)) - min(STEP, len(times) - 1) // 2
    return np.asarray(medians[np.clip(middle, 0, len(found) - 1)])


def same_object(times: F64, pixels: F64, noise: F64, places: F64, to_image: F64) -> Array:
    """(n,) which sightings are of the object that has the longest part of the track. The track is cut where a
    step is an outlier among its neighbors (a switch, a merged box, a jump, one bad box), and the parts that
    continue the longest one are joined to it again."""
    velocity, gaps = local_velocity(times, places), np.diff(times)
    ahead = homography.apply(to_image, places[:-1] + velocity[:-1] * gaps[:, None])
    error = (pixels[1:] - ahead) / noise[1:, None]
    usual = 1.4826 * float(np.median(np.abs(error)))
    limit = np.maximum(BREAK_SIGMAS * usual, BREAK_PX) * np.sqrt(np.maximum(1, gaps / np.median(gaps)))
    # The steps around may be from before a change of speed.
    scale = np.linalg.norm(homography.jacobian(to_image, places[1:]), 2, axis=(1, 2)) / noise[1:]
    limit = limit + scale * gaps * JOINED_MPS2 * float(np.median(gaps)) * AROUND
    breaks = np.flatnonzero(~(np.hypot(*error.T) < limit)) + 1
    keep = np.ones(len(times), bool)
    if not len(breaks):
        return keep
    parts = np.split(np.arange(len(times)), breaks)
    best = max(range(len(parts)), key=lambda k: len(parts[k]))
    keep[:] = False
    keep[parts[best]] = True

    def meet(early: I64, late: I64) -> bool:
        a, b = early[-3:], late[:3]
        gap = float(times[b[0]] - times[a[-1]])
        moved = (np.median(velocity[a], 0) + np.median(velocity[b], 0)) / 2 * (times[b].mean() - times[a].mean())
        j = homography.jacobian(to_image, places[b[:1]])[0]
        off = float(np.hypot(*(j @ (places[b].mean(0) - places[a].mean(0) - moved))))
        allowed = JOIN_SIGMAS * noise[b[0]] + np.linalg.norm(j, 2) * 0.5 * JOINED_MPS2 * gap * gap
        return bool(off < allowed)

    for part in [*parts[best + 1 :], *parts[best - 1 :: -1] * (best > 0)]:
        kept = np.flatnonzero(keep)
        if len(part) > 1:
            later = part[0] > kept[-1]
            keep[part] = meet(kept, part) if later else meet(part, kept)
    return keep


class TrackSpeed(NamedTuple):
    """The speed of a track over all its sightings."""

    mps: float  # Mean over the path in m/s: the length of the path over its time, stops included
    sigma: float  # Standard error in m/s, without the calibration's
    heading: float  # Degrees on the plane from the first place to the last; NaN at rest
    time: float  # The middle of the sightings in seconds
    pixel: F64  # (2,) undistorted contact pixel in the middle
    peak: float  # Highest speed on the path in m/s
    stopped_s: float  # Seconds without motion
    turned_deg: float  # Degrees turned, left and right together
    noise: float  # Variance of the errors of boxes relative to the given one


class _Speeds(NamedTuple):
    """What one motion says of a track."""

    mps: float
    sigma: float
    peak: float
    least: float
    stopped: float  # Share of the time
    turned: float  # Radians


def track_speed(sightings: F64, to_ground: F64, to_image: F64) -> TrackSpeed | None:
    """The mean speed over the path of `sightings`; None for too few of them.

    `sightings` (n, 4): time in s, undistorted contact pixel u, v, standard error of a box edge in pixels (0:
    detected, but not measured). `to_ground` and `to_image` (3, 3) are the plane's homographies. A straight
    constant motion and one of any acceleration are fitted to the sightings of one object, and count by their
    evidence. What they differ by, what a median of steps and the distance from first to last differ by, what
    was left out, and turns widen the standard error."""
    span = float(np.ptp(sightings[:, 0])) if len(sightings) else 0.0
    rows = sightings[sightings[:, 3] > 0]
    places = homography.apply(to_ground, rows[:, 1:3])
    if not _long_enough(rows) or not np.isfinite(places).all():
        return None
    keep = same_object(rows[:, 0], rows[:, 1:3], rows[:, 3], places, to_image)
    others, away, whole = rows[~keep], places[~keep], (rows[:, 0], places)
    rows, places = rows[keep], places[keep]
    if not _long_enough(rows):
        return None
    times, middle = rows[:, 0], float(rows[0, 0] + rows[-1, 0]) / 2
    fitted = _fits(times - middle, rows, places, to_image)
    if fitted is None:
        return None
    straight, free, share, noise = fitted
    mixed = _Speeds(*((1 - share) * np.array(straight) + share * np.array(free)).tolist())
    length = float(times[-1] - times[0])
    mps = mixed.mps * (mixed.mps * length >= STATIONARY_M)
    variance = (1 - share) * straight.sigma**2 + share * free.sigma**2
    variance += share * (1 - share) * (straight.mps - free.mps) ** 2
    # Where it was not measured, or another object was, the speed may have been any other one of this track.
    change = share * (free.peak - free.least)
    if len(others) > STEP + 1:
        change += abs(float(np.median(np.hypot(*steps(others[:, 0], away).T))) - mps)
    missing = (1 - length / max(span, length)) * change
    disagreement = _contradiction(times, places, mps, math.sqrt(variance), mixed.turned)
    if len(others) and mixed.turned < STRAIGHT_RAD:
        disagreement = max(disagreement, abs(_ends(*whole) - mps) - 2 * math.sqrt(variance))
    moved = places[-3:].mean(0) - places[:3].mean(0)
    ends = homography.jacobian(to_ground, rows[[0, -1], 1:3]) * rows[[0, -1], 3, None, None] / [math.sqrt(2), 1]
    drift = DRIFT * math.sqrt(noise) * float(np.linalg.norm(moved @ ends) / max(np.hypot(*moved), 1e-9)) / length
    sigma = math.hypot(math.sqrt(variance), drift, missing, disagreement, TURN_SHARE * mixed.turned * mps)
    mps *= mps >= 2 * math.sqrt(variance)
    return TrackSpeed(
        mps, sigma, math.degrees(math.atan2(moved[1], moved[0])) if mps > 0 else math.nan, middle,
        rows[len(rows) // 2, 1:3], mixed.peak, mixed.stopped * length, math.degrees(mixed.turned), noise,
    )  # fmt: skip


def _long_enough(rows: F64) -> bool:
    length = rows[-1, 0] - rows[0, 0] + 1e-6 if len(rows) else 0.0
    dense = len(rows) >= DENSE_SIGHTINGS and length >= DENSE_SECONDS
    return dense or (len(rows) >= MIN_SIGHTINGS and length >= MIN_SECONDS)


def _contradiction(times: F64, places: F64, mps: float, sigma: float, turned: float) -> float:
    """By how much more than errors allow a mean of local medians of steps, and on a straight path its ends,
    contradict the speed `mps`; steps tell their own error."""
    local, share = np.hypot(*local_velocity(times, places).T), np.gradient(times)
    step = np.hypot(*steps(times, places).T)
    off = step - local[min(STEP, len(times) - 1) // 2 :][: len(step)]
    usual, length = 1.4826 * float(np.median(np.abs(off))), float(times[-1] - times[0])
    found = abs(float(share @ local / share.sum()) - mps)
    excess = found - 2 * math.hypot(sigma, usual * math.sqrt(STEP / len(times)))
    if turned < STRAIGHT_RAD:
        step_s = STEP * length / (len(times) - 1)
        excess = max(excess, abs(_ends(times, places) - mps) - 2 * math.hypot(sigma, usual * step_s / length))
    return max(0.0, excess)


def _ends(times: F64, places: F64) -> float:
    """m/s from the first sightings to the last."""
    moved = places[-3:].mean(0) - places[:3].mean(0)
    return float(np.hypot(*moved)) / max(float(times[-3:].mean() - times[:3].mean()), 1e-6)


def _fits(t: F64, rows: F64, places: F64, to_image: F64) -> tuple[_Speeds, _Speeds, float, float] | None:
    """The speeds of the straight and of the free motion, the weight of the second, and the noise."""
    velocity = np.median(steps(t, places), 0)
    start = np.stack([np.median(places - velocity * t[:, None], 0), velocity])
    at = knots(t)
    place, _ = basis(t, at)
    pixels, noise = rows[:, 1:3], rows[:, 3]
    straight = fit(pixels, noise, to_image, place[:, :2], start)
    free = fit(pixels, noise, to_image, place, start)
    if straight is None or free is None:
        return None
    variance, inflation = noise_of(free.error, t, (place.shape[1] + 2) / 2)
    found = variance * inflation
    drawn = prior(place.shape[1])
    cov: F64 = np.asarray(np.linalg.inv(free.information / found + np.diag(drawn)), np.float64)
    # Of two nested linear models the evidence is that of the accelerations (Savage and Dickey).
    bends, own = free.state.ravel()[4:], cov[4:, 4:]
    evidence = bends @ np.linalg.solve(own, bends) / 2 + np.linalg.slogdet(own * drawn[4])[1] / 2
    share = 1 / (1 + STEADY_ODDS * math.exp(-min(max(float(evidence), -50.0), 50.0)))
    return _constant(straight, found, float(t[-1] - t[0])), _path(free, cov, at), share, variance


def _constant(motion: Motion, noise: float, length: float) -> _Speeds:
    cov = (np.linalg.inv(motion.information) * noise)[2:4, 2:4]
    v = motion.state[1]
    mps = float(np.hypot(*v))
    if mps * length < STATIONARY_M or float(v @ np.linalg.solve(cov, v)) < MOVING_GATE:
        return _Speeds(0.0, math.sqrt(max(cov[0, 0], cov[1, 1])), 0.0, 0.0, 1.0, 0.0)
    return _Speeds(mps, math.sqrt(float(v @ cov @ v)) / mps, mps, mps, 0.0, 0.0)


def _path(motion: Motion, cov: F64, at: F64) -> _Speeds:
    """The mean of the length of the velocity over the path, less what noise across it adds."""
    grid = np.linspace(at[0], at[-1], max(8, int(8 * (at[-1] - at[0])) + 1))
    rows = basis(grid, at)[1]
    v, wide = rows @ motion.state, np.einsum("gi,xy->gxiy", rows, np.eye(2)).reshape(len(grid), 2, -1)
    own = wide @ cov @ wide.transpose(0, 2, 1)
    size = np.hypot(*v.T)
    chi_square = (v * np.linalg.solve(own, v[:, :, None])[:, :, 0]).sum(1)
    moves = chi_square > MOVING_GATE
    u = v / np.maximum(size, 1e-9)[:, None]
    side = np.stack([-u[:, 1], u[:, 0]], 1)
    across = np.einsum("gx,gxy,gy->g", side, own, side)
    share = np.full(len(grid), 1.0)
    share[[0, -1]] = 0.5
    share /= share.sum()
    speed = np.sqrt(np.maximum(size**2 - across, 0)) * moves
    slope = np.einsum("g,gx,gxi->i", share * moves, u, wide)
    at_rest = float((share * ~moves) @ np.sqrt(across))
    going = u[(chi_square > TURNING_GATE) & (size > TURNING_SHARE * size.max())]
    stopped = ~moves | (size < STOPPED_MPS)
    turns = np.arctan2(going[1:, 1] * going[:-1, 0] - going[1:, 0] * going[:-1, 1], (going[1:] * going[:-1]).sum(1))
    return _Speeds(
        float(share @ speed), math.hypot(math.sqrt(max(float(slope @ cov @ slope), 0.0)), at_rest),
        float(speed.max()), float(speed.min()), float(share @ stopped), float(np.abs(turns).sum()),
    )  # fmt: skip
