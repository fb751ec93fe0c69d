"""SpeedEstimator: m/s over the ground for every track, with a standard error, or a reason."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from edgevid import kernels
from edgevid.errors import InputError
from edgevid.speed.calibration import CLICK_PX, CameraCalibration
from edgevid.speed.contact import CONTACTS, base_points, camera_matrix, contact_points, covered, cut
from edgevid.speed.displacement import Interval, IntervalCore, WindowCore
from edgevid.speed.track_speed import track_speed
from edgevid.types import Array, Reason, SpeedReport, Speeds, Tracks

KMH = 3.6
METHODS = ("filter", "interval", "window")
HINDSIGHT = 0.6
"""A smoothed value needs sightings up to this share of `lag_s` after its moment."""
# Plain numbers: looking a member up in an enumeration costs a microsecond, and each frame asks often.
OK, TOO_SHORT, STALE = int(Reason.OK), int(Reason.TOO_SHORT), int(Reason.STALE)
OFF_PLANE, TRUNCATED, OCCLUDED = int(Reason.OFF_PLANE), int(Reason.TRUNCATED), int(Reason.OCCLUDED)
UNCERTAIN, CAMERA_MOVED = int(Reason.UNCERTAIN), int(Reason.CAMERA_MOVED)


_NONE = Speeds.empty()


class SpeedEstimator:
    """Follows each track's contact point over the calibrated plane with a filter whose noise is in pixels.

    A track's point counts when its box was seen, is not cut by the image border, is not covered by a
    nearer box, and lies in the calibration's region. The filter bridges the rest.
    """

    def __init__(
        self,
        calibration: CameraCalibration,
        size: tuple[int, int] | None = None,
        *,
        method: str = "filter",
        interval: Interval | None = None,
        window_s: float = 1.0,
        contact: str = "bottom",
        road_deg: float = 90.0,
        noise_px: float | None = None,
        process_noise: float = 1.0,
        lag_s: float = 0.5,
        first_after_s: float = 0.13,
        stale_s: float = 0.7,
        sigma_limit_mps: float = 2.0 / KMH,
        sigma_limit_share: float = 0.05,
        click_px: float = CLICK_PX,
    ) -> None:
        """`size` is the stream's (width, height); another resolution of the calibrated view is rescaled.

        `method`: "filter" (the default), "interval" (the classic; set by `interval`) or "window" (least
        squares over the last `window_s`). All three give live, smoothed and track speed values; the track speeds
        are the same. The live values of "interval" and "window" hold for the middle of what they measured:
        their `time` says so.

        `contact`: "bottom", the middle of the box's bottom edge, or "base", the center of the footprint of
        a vehicle that drives along `road_deg` (degrees on the plane, 90: along +y), for roads that run
        obliquely through the image.

        `noise_px` is the standard error of a box edge (None: 2 pixels, or 1.5 % of the box's height where
        that is more), `click_px` that of a calibrated pixel (0: an exact calibration). `process_noise` in m2/s3
        says how fast speeds change: 1 for vehicles, 0.3 for people. A value is kept silent (UNCERTAIN)
        while its standard error is above both `sigma_limit_mps` and `sigma_limit_share` of the speed.
        """
        if lag_s < 0 or not process_noise > 0:
            raise InputError(
                f"SpeedEstimator: expected lag_s >= 0 and process_noise > 0, got {lag_s}, {process_noise}"
            )
        if method not in METHODS or contact not in CONTACTS:
            raise InputError(
                f"SpeedEstimator: expected method one of {METHODS} and contact one of {CONTACTS}, "
                f"got {method!r}, {contact!r}"
            )
        if not window_s >= 0.3:
            raise InputError(f"SpeedEstimator: expected window_s of at least 0.3 s, got {window_s}")
        self.calibration = calibration.scaled_to(size) if size is not None else calibration
        self._noise, self._first, self._stale = noise_px, first_after_s, stale_s
        self._limits = sigma_limit_mps, sigma_limit_share
        self._contact, self._road_deg = contact, float(road_deg)
        self._hindsight = HINDSIGHT * lag_s if method == "filter" else -math.inf
        g, i = (
            np.ascontiguousarray(h, np.float64)
            for h in (self.calibration.homography, self.calibration.inverse_homography)
        )
        self._to_ground, self._to_image = g, i
        self._camera = np.zeros((3, 4))
        if contact == "base":
            found = camera_matrix(i, self.calibration.size, self.calibration.meters.mean(0))
            if found is None:
                raise InputError(
                    'SpeedEstimator: contact="base" needs a view in perspective, and this calibration shows none; '
                    'calibration more points, or take contact="bottom"'
                )
            self._camera = found
        self._core: Any
        if method == "filter":
            settings = {"process_noise": float(process_noise), "lag_s": float(lag_s)}
            self._core = kernels.PlaneCore(settings, g, i)
        elif method == "window":
            self._core = WindowCore(window_s, process_noise, g)
        else:
            self._core = IntervalCore(interval or Interval(), process_noise, g)
        self._scale = _ScaleError(self.calibration, i, click_px)
        self.camera_moved = False
        """Set by camera health: every speed is CAMERA_MOVED until it is cleared."""

    def reset(self) -> None:
        """Forgets every object."""
        self._core.reset()

    def update(self, tracks: Tracks, time: float) -> SpeedReport:
        """The speeds at `time`; tracks that are not in `tracks` any more have ended."""
        boxes = tracks.boxes.astype(np.float64)
        noise = self._noise_of(boxes)
        contacts = contact_points(boxes)
        why = self._why_unseen(boxes, contacts, noise)
        measured = (why == OK) & (tracks.match >= 0)
        pixels = self._pixels(boxes, contacts)
        live, smoothed, ended = self._core.update(tracks.ids, pixels, noise, measured.view(np.uint8), time)
        return SpeedReport(*self._speeds(live, smoothed, why), self._ended(ended, time))

    def _noise_of(self, boxes: Array) -> Array:
        if self._noise is not None:
            return np.full(len(boxes), float(self._noise))
        return np.maximum(2.0, 0.015 * (boxes[:, 3] - boxes[:, 1]))

    def _pixels(self, boxes: Array, contacts: Array) -> Array:
        """(N, 2) undistorted pixels of the points that are followed."""
        if self._contact == "bottom":
            return self.calibration.undistort(contacts)
        corners = boxes.reshape(-1, 2)
        straight = self.calibration.undistort(corners).reshape(-1, 4)
        return base_points(straight, self._to_ground, self._camera, road_deg=self._road_deg)

    def _why_unseen(self, boxes: Array, contacts: Array, noise: Array) -> Array:
        """(N,) Reason for which a contact point cannot be used, OK where it can."""
        why = np.where(self.calibration.contains(contacts), OK, OFF_PLANE).astype(np.uint8)
        why[covered(boxes)] = OCCLUDED
        why[cut(boxes, self.calibration.size, noise)] = TRUNCATED
        return why

    def _speeds(
        self, live: tuple[Array, Array], smoothed: tuple[Array, Array], why: Array
    ) -> tuple[Speeds, Speeds]:
        """The tables of both kinds of rows, worked out together: half the calls."""
        n = len(live[0])
        ids, v = np.concatenate([live[0], smoothed[0]]), np.concatenate([live[1], smoothed[1]])
        when, vx, vy, variance, still, age, unseen, seen, x, y = np.ascontiguousarray(v.T)
        speed = np.sqrt(vx * vx + vy * vy)
        scale = self._scale(x, y) * speed
        sigma = np.sqrt(variance + scale * scale, where=variance >= 0, out=np.full(len(v), np.nan))
        moving = (still < 0.5) | (seen < 5)
        speed *= moving
        reason = np.zeros(len(ids), np.uint8)
        limit = np.maximum(self._limits[0], self._limits[1] * speed)
        # Neither moving beyond the noise nor standing for long enough: standing or creeping, who can tell.
        doubtful = (still == -2) | ((still > 0) & moving)
        reason[(sigma > limit) | doubtful] = UNCERTAIN
        reason[(seen < 5) | (age < self._first)] = TOO_SHORT
        # A smoothed value close to the last sighting: a change of speed would not have been noticed.
        late = (unseen > -self._hindsight) & moving & (reason == OK)
        late[:n] = False
        reason[late] = TOO_SHORT
        stale = unseen > self._stale
        reason[stale] = STALE
        # Never measured, or not for a while, for a reason that the box itself shows.
        first, unsaid = reason[:n], (seen == 0) | stale | (reason == TOO_SHORT)
        silent = (why != OK) & unsaid[:n]
        first[silent] = why[silent]
        if self.camera_moved:
            reason[:] = CAMERA_MOVED
        hidden = reason != OK
        heading = np.degrees(np.arctan2(vy, vx))
        heading[hidden | ~moving] = np.nan
        speed[hidden] = np.nan
        columns = (ids, speed, sigma, heading, when, reason)
        return Speeds.trusted(*(c[:n] for c in columns)), Speeds.trusted(*(c[n:] for c in columns))

    def _ended(self, ended: list[tuple[int, Array]], time: float) -> Speeds:
        """One track speed for each track that ended, or was another object from some moment on."""
        if not ended:
            return _NONE
        rows: list[tuple[Any, ...]] = []
        for i, sightings in ended:
            found = track_speed(sightings, self._to_ground, self._to_image)
            if found is None:
                rows.append((i, math.nan, math.nan, math.nan, time, Reason.TOO_SHORT))
                continue
            mps, sigma, heading, when, middle = found
            sigma = math.hypot(sigma, mps * float(self._scale.at(middle[None])[0]))
            limit = max(self._limits[0], self._limits[1] * mps)
            reason = Reason.OK if sigma <= limit else Reason.UNCERTAIN
            reason = Reason.CAMERA_MOVED if self.camera_moved else reason
            said = reason is Reason.OK
            rows.append((i, mps if said else math.nan, sigma, heading if said else math.nan, when, reason))
        names = ("ids", "mps", "sigma", "heading", "time", "reason")
        return Speeds.of(**dict(zip(names, zip(*rows, strict=True), strict=True)))


class _ScaleError:
    """The calibration's relative error of lengths, looked up on a grid made once."""

    CELLS = 16

    def __init__(self, calibration: CameraCalibration, to_image: Array, click_px: float) -> None:
        x1, y1, x2, y2 = calibration.region.bounds
        self._low, self._to_image = np.array([x1, y1]), to_image
        self._step = np.maximum(np.array([x2 - x1, y2 - y1]) / (self.CELLS - 1), 1e-6)
        x, y = np.meshgrid(np.linspace(x1, x2, self.CELLS), np.linspace(y1, y2, self.CELLS))
        points = np.stack([x.ravel(), y.ravel()], 1)
        grid = np.nan_to_num(calibration.scale_error(points), nan=1.0, posinf=1.0) * (click_px / CLICK_PX)
        self._grid = grid.reshape(self.CELLS, -1)

    def __call__(self, x: Array, y: Array) -> Array:
        """(N,) relative standard error at meters x, y (N,)."""
        h = self._to_image
        w = h[2, 0] * x + h[2, 1] * y + h[2, 2]
        w = np.where(np.abs(w) > 1e-9, w, 1e-9)
        u, v = (h[0, 0] * x + h[0, 1] * y + h[0, 2]) / w, (h[1, 0] * x + h[1, 1] * y + h[1, 2]) / w
        return self._look(u, v)

    def at(self, pixels: Array) -> Array:
        """(N,) relative standard error at pixels (N, 2)."""
        return self._look(pixels[:, 0], pixels[:, 1])

    def _look(self, u: Array, v: Array) -> Array:
        most = self.CELLS - 1.0
        column = np.minimum(np.maximum((u - self._low[0]) / self._step[0], 0.0), most)
        row = np.minimum(np.maximum((v - self._low[1]) / self._step[1], 0.0), most)
        return np.asarray(self._grid[(row + 0.5).astype(np.intp), (column + 0.5).astype(np.intp)])
