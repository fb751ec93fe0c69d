"""SpeedMeter: metres a second over the ground for every track, with a standard error, or a reason."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from edgevid import kernels
from edgevid.errors import InputError
from edgevid.ground_passage import Passage, passage_speed
from edgevid.ground_survey import Survey
from edgevid.types import Array, Reason, Speeds, Tracks

KMH = 3.6


class SpeedReport(NamedTuple):
    """What is known of speeds at one moment."""

    live: Speeds
    """One row a track, now."""
    settled: Speeds
    """Smoothed values of about `lag_s` ago: what to store, report and alarm on."""
    passages: Speeds
    """One value for each track that ended now."""


class SpeedMeter:
    """Follows each track's contact point over the surveyed plane with a filter whose noise is in pixels.

    A track's point counts when its box was seen, is not cut by the image border, is not covered by a
    nearer box, and lies in the survey's region. The filter bridges the rest.
    """

    def __init__(
        self,
        survey: Survey,
        size: tuple[int, int] | None = None,
        *,
        noise_px: float | None = None,
        process_noise: float = 1.0,
        lag_s: float = 0.5,
        first_after_s: float = 0.13,
        stale_s: float = 0.7,
        sigma_limit_mps: float = 2.0 / KMH,
        sigma_limit_share: float = 0.05,
    ) -> None:
        """`size` is the stream's (width, height); another resolution of the surveyed view is rescaled.

        `noise_px` is the standard error of a box edge (None: 2 pixels, or 1.5 % of the box's height where
        that is more). `process_noise` in m2/s3 says how fast speeds change: 1 for vehicles, 0.3 for people.
        A value is kept silent (UNCERTAIN) while its standard error is above both `sigma_limit_mps` and
        `sigma_limit_share` of the speed.
        """
        if lag_s < 0 or not process_noise > 0:
            raise InputError(
                f"SpeedMeter: wanted lag_s >= 0 and process_noise > 0, given {lag_s}, {process_noise}"
            )
        self.survey = survey.scaled_to(size) if size is not None else survey
        self._noise, self._first, self._stale = noise_px, first_after_s, stale_s
        self._limits = sigma_limit_mps, sigma_limit_share
        settings = {"process_noise": float(process_noise), "lag_s": float(lag_s)}
        g, i = (np.ascontiguousarray(h, np.float64) for h in (self.survey.to_ground, self.survey.to_image))
        self._core = kernels.PlaneCore(settings, g, i)
        self._passages: dict[int, Passage] = {}
        self._scale = _ScaleError(self.survey)
        self.camera_moved = False
        """Set by camera health: every speed is CAMERA_MOVED until it is cleared."""

    def reset(self) -> None:
        """Forgets every object."""
        self._core.reset()
        self._passages.clear()

    def update(self, tracks: Tracks, time: float) -> SpeedReport:
        """The speeds at `time`; tracks that are not in `tracks` any more have ended."""
        contacts = contact_points(tracks.boxes)
        why = self._why_unseen(tracks, contacts)
        measured = (why == Reason.OK) & (tracks.match >= 0)
        noise = self._noise_of(tracks.boxes)
        pixels = self.survey.undistorted(contacts)
        live, settled = self._core.update(tracks.ids, pixels, noise, measured.astype(np.uint8), float(time))
        passages = self._ended(tracks, time)
        for i, contact, s, ok in zip(tracks.ids.tolist(), pixels, noise, measured, strict=True):
            if ok:
                self._passages.setdefault(i, Passage()).add(time, contact, s)
        return SpeedReport(self._speeds(live, why, contacts), self._speeds(settled, None, None), passages)

    def _noise_of(self, boxes: Array) -> Array:
        if self._noise is not None:
            return np.full(len(boxes), float(self._noise))
        return np.maximum(2.0, 0.015 * (boxes[:, 3] - boxes[:, 1])).astype(np.float64)

    def _why_unseen(self, tracks: Tracks, contacts: Array) -> Array:
        """(N,) Reason for which a contact point cannot be used, OK where it can."""
        width, height = self.survey.size
        why = np.full(len(tracks), Reason.OK, np.uint8)
        boxes = tracks.boxes
        why[~self.survey.holds(contacts)] = Reason.OFF_PLANE
        why[covered(boxes)] = Reason.OCCLUDED
        cut = (boxes[:, 0] <= 2) | (boxes[:, 2] >= width - 2) | (boxes[:, 3] >= height - 2)
        why[cut] = Reason.TRUNCATED
        return why

    def _speeds(self, rows: tuple[Array, Array], why: Array | None, contacts: Array | None) -> Speeds:
        ids, v = rows
        when, vx, vy, variance, still, age, unseen, seen = v.T if len(v) else np.zeros((8, 0))
        speed = np.hypot(vx, vy)
        sigma = np.sqrt(np.maximum(variance, 0))
        if contacts is not None:
            sigma = np.hypot(sigma, speed * self._scale(contacts))
        resting = (still >= 0.5) & (seen >= 5)
        speed = np.where(resting, 0.0, speed)
        reason = np.full(len(ids), Reason.OK, np.uint8)
        reason[sigma > np.maximum(self._limits[0], self._limits[1] * speed)] = Reason.UNCERTAIN
        reason[still == -2] = Reason.UNCERTAIN  # standing or creeping: the picture cannot tell
        reason[(seen < 5) | (age < self._first)] = Reason.TOO_SHORT
        reason[unseen > self._stale] = Reason.STALE
        if why is not None:  # never measured, or not for a while, for a reason that the box itself shows
            silent = (why != Reason.OK) & (
                (seen == 0) | (unseen > self._stale) | (reason == Reason.TOO_SHORT)
            )
            reason[silent] = why[silent]
        if self.camera_moved:
            reason[:] = Reason.CAMERA_MOVED
        said = reason == Reason.OK
        heading = np.degrees(np.arctan2(vy, vx))
        return Speeds(
            ids=ids,
            mps=np.where(said, speed, np.nan),
            sigma=np.where(variance >= 0, sigma, np.nan),
            heading=np.where(said & ~resting, heading, np.nan),
            time=np.ascontiguousarray(when),
            reason=reason,
        )

    def _ended(self, tracks: Tracks, time: float) -> Speeds:
        present = set(tracks.ids.tolist())
        rows: list[tuple[Any, ...]] = []
        for i in [i for i in self._passages if i not in present]:
            found = passage_speed(self._passages.pop(i), self.survey.to_ground, self.survey.to_image)
            if found is None:
                rows.append((i, math.nan, math.nan, math.nan, time, Reason.TOO_SHORT))
                continue
            mps, sigma, heading, when, middle = found
            sigma = math.hypot(sigma, mps * float(self._scale(middle[None])[0]))
            limit = max(self._limits[0], self._limits[1] * mps)
            reason = Reason.OK if sigma <= limit else Reason.UNCERTAIN
            reason = Reason.CAMERA_MOVED if self.camera_moved else reason
            said = reason is Reason.OK
            rows.append((i, mps if said else math.nan, sigma, heading if said else math.nan, when, reason))
        columns: Any = list(zip(*rows, strict=True)) if rows else [[] for _ in range(6)]
        names = ("ids", "mps", "sigma", "heading", "time", "reason")
        return Speeds.of(**dict(zip(names, columns, strict=True)))


def contact_points(boxes: Array) -> Array:
    """(N, 2) float64: the middle of each box's bottom edge, where the object stands on the ground."""
    return np.stack([(boxes[:, 0] + boxes[:, 2]) / 2, boxes[:, 3]], 1).astype(np.float64)


def covered(boxes: Array, share: float = 0.2) -> Array:
    """(N,) whether a nearer box (its bottom is lower in the image) covers over `share` of the bottom edge."""
    low = np.maximum(boxes[:, None, 0], boxes[None, :, 0])
    high = np.minimum(boxes[:, None, 2], boxes[None, :, 2])
    width = np.maximum(boxes[:, 2] - boxes[:, 0], 1e-6)
    bottom = boxes[:, 3]
    nearer = (bottom[None] > bottom[:, None] + 2) & (boxes[None, :, 1] < bottom[:, None])
    return np.asarray((nearer & ((high - low) > share * width[:, None])).any(1))


class _ScaleError:
    """The survey's relative error of lengths, looked up on a grid made once."""

    CELLS = 16

    def __init__(self, survey: Survey) -> None:
        x1, y1, x2, y2 = survey.region.bounds
        self._low = np.array([x1, y1])
        self._step = np.maximum(np.array([x2 - x1, y2 - y1]) / (self.CELLS - 1), 1e-6)
        x, y = np.meshgrid(np.linspace(x1, x2, self.CELLS), np.linspace(y1, y2, self.CELLS))
        points = np.stack([x.ravel(), y.ravel()], 1)
        self._grid = np.nan_to_num(survey.scale_error(points), nan=1.0, posinf=1.0).reshape(self.CELLS, -1)

    def __call__(self, pixels: Array) -> Array:
        """(N,) relative standard error at pixels (N, 2)."""
        cell = np.clip(np.round((pixels - self._low) / self._step), 0, self.CELLS - 1).astype(int)
        return np.asarray(self._grid[cell[:, 1], cell[:, 0]])
