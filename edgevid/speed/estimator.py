"""SpeedEstimator: m/s over the ground for every track, with a standard error, or a reason."""

import math
from collections.abc import Callable
from typing import Any, Literal, get_args, overload

import numpy as np

from edgevid import kernels
from edgevid.errors import InputError, check_choice, check_type, log
from edgevid.speed.abstain import Contact, SpeedPolicy, SpeedRules, contact_points, contact_reasons, footprint_centers
from edgevid.speed.calibration import CameraCalibration, ScaleErrorGrid
from edgevid.speed.displacement import Displacement, DisplacementCore
from edgevid.speed.track_speed import track_speed
from edgevid.speed.window import CORRELATION_S, MIN_SECONDS, Rows, WindowCore
from edgevid.types import F64, KMH, U8, FrameClock, Hinted, Reason, SpeedReport, Speeds, Tracks, with_speeds

Method = Literal["filter", "displacement", "window"]
METHODS: tuple[Method, ...] = get_args(Method)
CONTACTS: tuple[Contact, ...] = get_args(Contact)
LOOKAHEAD = 0.6  # A smoothed value needs sightings up to this share of `lag_s` after its moment
STEADY_SHARE, ACCELERATION_MPS2 = 0.005, 2.5  # Live models where `process_noise` is 1: its share, accelerations
SLOW_CORRELATION_S = 0.1  # Errors of boxes correlate for so much longer where an object hardly moves in the image
NOISE_TRACKS, KEPT_TRACKS = 10, 200
"""Tracks that the given noise counts for next to what ended tracks show, and how many of those count."""


class SpeedEstimator(Hinted):
    """Live, smoothed and track speeds of tracks over a calibrated plane. A track's contact point counts when
    its box was detected, is not truncated by the image border, is not occluded by a nearer box, and lies in the
    calibration's region. The method bridges the rest."""

    camera_moved: bool  # While set, every speed is CAMERA_MOVED

    def __init__(
        self, calibration: CameraCalibration, size: tuple[int, int] | None = None, *, method: Method = "filter",
        displacement: Displacement | None = None, window_s: float = 1.0, contact: Contact = "bottom",
        road_deg: float = 90.0, noise_px: float | None = None, process_noise: float = 1.0, lag_s: float = 0.5,
        first_after_s: float = 0.13, stale_s: float = 0.7, lost_after_s: float = 0.0,
        sigma_limit_mps: float = 2.0 / KMH, sigma_limit_share: float = 0.05, click_px: float | None = None,
        contact_m: float = 0.04, frame_rate: float | None = None,
    ) -> None:  # fmt: skip
        """`size` is the stream's (width, height); the calibration is rescaled to another resolution.

        `method`: "filter" (a Kalman filter with its noise in pixels), "displacement" (set by `displacement`)
        or "window" (least squares over the last `window_s`). The track speeds of all three are the same. The
        live values of the last two hold for the middle of what they measured: see their `time`.

        `contact`: "bottom", the middle of the box's bottom edge, or "footprint", the center of the footprint
        of a vehicle that drives along `road_deg` (degrees on the plane, 90: along +y), for oblique roads.

        `noise_px` is the standard error of a box edge (None: 2 pixels or 1.5 % of the box's height, then what
        this camera's tracks show), `click_px` of a calibrated pixel (None: from the residuals, 0: exact),
        `contact_m` of the height of contact points in meters. `process_noise` in m2/s3 is how fast speeds
        change: 1 for vehicles, 0.3 for people. A value is UNCERTAIN while its standard error is above both
        `sigma_limit_mps` and `sigma_limit_share` of the speed. A track ends where it is not in `tracks` for
        `lost_after_s`, a tracker's. `frame_rate` gives updates without a time theirs."""
        check_type(calibration, CameraCalibration, "SpeedEstimator", "a calibration: read_calibration(path)")
        _check(method, contact, window_s, lag_s, process_noise)
        self._noise, self._clock = noise_px, FrameClock("speed estimator", frame_rate)
        lookahead_s = LOOKAHEAD * lag_s if method == "filter" else -math.inf
        self._rules = SpeedRules(SpeedPolicy(sigma_limit_mps, sigma_limit_share), first_after_s, stale_s, lookahead_s)
        self._limits = self._rules.columns()
        self._footprint, self._road_deg = contact == "footprint", float(road_deg)
        self._errors, self._lost_after_s = (click_px, contact_m), max(lost_after_s, 1e-6)
        settings = {
            "process_noise": float(process_noise), "steady_noise": STEADY_SHARE * process_noise,
            "steady_correlation_s": CORRELATION_S, "acceleration": ACCELERATION_MPS2 * math.sqrt(process_noise),
            "slow_correlation_s": SLOW_CORRELATION_S, "lag_s": float(lag_s), "lost_after_s": float(lost_after_s),
        }  # fmt: skip
        cores: dict[Method, Callable[[F64, F64], kernels.PlaneCore | WindowCore]] = {
            "filter": lambda to_ground, to_image: kernels.PlaneCore(settings, to_ground, to_image),
            "window": lambda to_ground, _: WindowCore(window_s, process_noise, to_ground, lost_after_s),
            "displacement": lambda to_ground, _: DisplacementCore(
                displacement or Displacement(), process_noise, to_ground, lost_after_s
            ),
        }
        self._new_core, self._calibrated, self.camera_moved = cores[method], calibration, False
        self._start(calibration.scaled_to(size) if size is not None else calibration)

    def _start(self, calibration: CameraCalibration) -> None:
        """Starts without tracks on a calibration of the stream's size."""
        self.calibration = calibration
        self._to_ground = np.ascontiguousarray(calibration.homography, np.float64)
        self._to_image = np.ascontiguousarray(calibration.inverse_homography, np.float64)
        self._camera = _camera_matrix(calibration) if self._footprint else None
        self._core = self._new_core(self._to_ground, self._to_image)
        self._variances, self._last = [1.0] * NOISE_TRACKS, 0.0
        self._scale = ScaleErrorGrid(calibration, *self._errors)

    def resize(self, size: tuple[int, int]) -> None:
        """The stream continues with frames of another (width, height): every track ends. Another aspect ratio
        is another view: every speed is CAMERA_MOVED until the calibrated one is back."""
        self.reset()
        try:
            self._start(self._calibrated.scaled_to(size))
            self.camera_moved = False
        except InputError as error:
            self.camera_moved = True
            log.warning("no speeds: %s", error)

    def reset(self) -> None:
        """Forgets every track."""
        self._core.reset()
        self._clock.reset()

    @overload
    def update(self, tracks: Tracks, timestamp: float | None = None) -> SpeedReport: ...
    @overload
    def update(self, tracks: Any, timestamp: float | None = None) -> Any: ...
    def update(self, tracks: Any, timestamp: float | None = None) -> Any:
        """The speeds at `timestamp` in seconds; tracks that are not in `tracks` any more have ended.

        supervision.Detections with tracker_id give a copy with the displayed speeds in `data`: speed_mps,
        speed_sigma_mps (standard error), speed_heading_deg, speed_age_s, speed_kind and speed_reason. Without
        a `timestamp` it is one frame after the last, at `frame_rate`."""
        if not isinstance(tracks, Tracks):
            known, time = Tracks.from_supervision(tracks), self._clock.next(timestamp)
            return with_speeds(tracks, known, self._update(known, time), time)
        return self._update(tracks, self._clock.next(timestamp))

    def flush(self) -> SpeedReport:
        """What is left after the last frame: every track ends now, with its last smoothed values and its one
        track speed. `update` may go on, with tracks that begin."""
        report = self._update(Tracks.empty(), self._last + self._lost_after_s)
        self._core.reset()
        return report

    def _update(self, tracks: Tracks, time: float) -> SpeedReport:
        self._last = time
        boxes = tracks.boxes.astype(np.float64)
        noise = self._noise_of(boxes)
        rotated = tracks.rotated.shape[1] > 0
        contacts = contact_points(boxes, rotated=rotated)
        unusable = contact_reasons(self.calibration, boxes, contacts, noise)
        measured = _MEASURED[unusable] * (tracks.match >= 0)
        pixels = self.calibration.undistort(contacts) if rotated else self._pixels(boxes, contacts)
        live, smoothed, ended = self._core.update(
            tracks.ids, pixels, noise, measured, time, None if rotated else boxes[:, 3] - boxes[:, 1]
        )
        return SpeedReport(self._speeds(live, unusable), self._speeds(smoothed, None), self._track_speeds(ended, time))

    def _noise_of(self, boxes: F64) -> F64:
        if self._noise is not None:
            return np.full(len(boxes), float(self._noise))
        found = np.maximum(2.0, 0.015 * (boxes[:, 3] - boxes[:, 1]))
        return np.asarray(found * math.sqrt(sum(self._variances) / len(self._variances)))

    def _pixels(self, boxes: F64, contacts: F64) -> F64:
        """(N, 2) undistorted pixels of the contact points."""
        if self._camera is None:
            return self.calibration.undistort(contacts)
        straight = self.calibration.undistort(boxes.reshape(-1, 2)).reshape(-1, 4)
        return footprint_centers(straight, self._to_ground, self._camera, road_deg=self._road_deg)

    def _speeds(self, rows: Rows, unusable: U8 | None) -> Speeds:
        """The table of live rows, whose contact points are `unusable` for these reasons, or of smoothed ones."""
        grid = self._scale
        found = kernels.speed_rows(rows[1], grid.cells, grid.errors, self._limits, self.camera_moved, unusable)
        return Speeds.trusted(rows[0], *found)

    def _track_speeds(self, ended: list[tuple[int, F64]], time: float) -> Speeds:
        """One speed for each track that ended, or was another object from some moment on."""
        if not ended:
            return _NONE
        rows: list[tuple[Any, ...]] = []
        for i, sightings in ended:
            found = track_speed(sightings, self._to_ground, self._to_image)
            if found is None:
                rows.append((i, math.nan, math.nan, math.nan, time, Reason.TOO_SHORT, _NO_PATH))
                continue
            self._variances = [*self._variances[-KEPT_TRACKS:], found.noise]
            sigma = math.hypot(found.sigma, found.mps * float(self._scale.at_pixels(found.pixel[:, None])[0]))
            reason = Reason.OK if sigma <= self._rules.policy.limit(found.mps) else Reason.UNCERTAIN
            reason = Reason.CAMERA_MOVED if self.camera_moved else reason
            path = (found.peak, found.stopped_s, found.turned_deg)
            value = (found.mps, found.heading, path) if reason is Reason.OK else (math.nan, math.nan, _NO_PATH)
            rows.append((i, value[0], sigma, value[1], found.time, reason, value[2]))
        names = ("ids", "mps", "sigma", "heading", "time", "reason", "path")
        return Speeds.of(**dict(zip(names, zip(*rows, strict=True), strict=True)))


_NONE, _NO_PATH = Speeds.empty(), (math.nan,) * 3
_MEASURED = np.zeros(len(Reason), np.uint8)
"""By the reason of a contact point: 1 where it is measured, 2 where it is hidden in the region."""
_MEASURED[[Reason.OK, Reason.TRUNCATED, Reason.OCCLUDED]] = 1, 2, 2


def _check(method: str, contact: str, window_s: float, lag_s: float, process_noise: float) -> None:
    if lag_s < 0 or not process_noise > 0:
        raise InputError(f"SpeedEstimator: expected lag_s >= 0 and process_noise > 0, got {lag_s}, {process_noise}")
    check_choice(method, METHODS, "SpeedEstimator: method")
    check_choice(contact, CONTACTS, "SpeedEstimator: contact")
    if not window_s >= MIN_SECONDS:
        raise InputError(f"SpeedEstimator: expected window_s of at least {MIN_SECONDS} s, got {window_s}")


def _camera_matrix(calibration: CameraCalibration) -> F64:
    """(3, 4) the projection that the footprint needs."""
    camera = calibration.camera()
    if camera is None or not 0.2 < camera.focal_px / max(calibration.size) < 20:
        raise InputError(
            'SpeedEstimator: contact="footprint" needs a view in perspective, and this calibration has none; '
            'calibrate more points, or use contact="bottom"'
        )
    return camera.matrix
