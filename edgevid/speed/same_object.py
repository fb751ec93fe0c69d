"""The sightings of a track that belong to one object: identity switches, merged boxes and jumps left out."""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from edgevid.speed import homography
from edgevid.types import F64, I64, Array

STEP = 5  # Frames of a step: of the steps' median a jump is a small share
AROUND = 13  # Steps whose median is the velocity at one moment
BREAK_SIGMAS, BREAK_PX = 7.0, 1.0
"""A step from one sighting to the next breaks the track where it is so many of its usual errors, and so many
standard errors of a box edge, from what the steps around it say."""
JOIN_SIGMAS, AGILE_MPS2 = 3.0, 4.0
"""Two parts are of one object where they meet within so many standard errors and this acceleration."""


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
    """(n,) which sightings are of the object that has the longest part of the track.

    The track is cut where a step is an outlier among its neighbors (a switch, a merged box, a jump, one bad
    box), and the parts that continue the longest one are joined to it again.
    """
    velocity, gaps = local_velocity(times, places), np.diff(times)
    ahead = homography.apply(to_image, places[:-1] + velocity[:-1] * gaps[:, None])
    error = (pixels[1:] - ahead) / noise[1:, None]
    usual = 1.4826 * float(np.median(np.abs(error)))
    limit = np.maximum(BREAK_SIGMAS * usual, BREAK_PX) * np.sqrt(np.maximum(1, gaps / np.median(gaps)))
    # The steps around may be from before a change of speed.
    scale = np.linalg.norm(homography.jacobian(to_image, places[1:]), 2, axis=(1, 2)) / noise[1:]
    limit = limit + scale * gaps * AGILE_MPS2 * float(np.median(gaps)) * AROUND
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
        allowed = JOIN_SIGMAS * noise[b[0]] + np.linalg.norm(j, 2) * 0.5 * AGILE_MPS2 * gap * gap
        return bool(off < allowed)

    for part in [*parts[best + 1 :], *parts[best - 1 :: -1] * (best > 0)]:
        kept = np.flatnonzero(keep)
        if len(part) > 1:
            later = part[0] > kept[-1]
            keep[part] = meet(kept, part) if later else meet(part, kept)
    return keep
