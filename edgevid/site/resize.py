"""Streams whose image changes its size while they run: a camera set anew, another one put in its place."""

from __future__ import annotations

import logging

import numpy as np

from edgevid.errors import InputError
from edgevid.pipeline import Pipeline
from edgevid.site.build import build_calibration, build_speed_estimator
from edgevid.site.file import Site
from edgevid.speed.calibration import scale_between
from edgevid.speed.estimator import SpeedEstimator
from edgevid.types import Frame, Reason, SpeedReport, Speeds, Tracks
from edgevid.zones import ZoneMonitorLike

log = logging.getLogger("edgevid")


class UncalibratedView:
    """Stands for the speed estimator while the camera shows a view that was not calibrated: all is silence."""

    def update(self, tracks: Tracks, time: float) -> SpeedReport:
        """One silent row a track, for CAMERA_MOVED."""
        count = len(tracks)
        nothing = np.full(count, np.nan)
        live = Speeds(
            ids=tracks.ids, mps=nothing, sigma=nothing, heading=nothing, time=np.full(count, time),
            reason=np.full(count, Reason.CAMERA_MOVED, np.uint8),
        )  # fmt: skip
        return SpeedReport(live)

    def reset(self) -> None:
        """Nothing is remembered."""


class ResolutionChange:
    """Keeps a site's pipeline and zones right when the stream changes its size: call it with each frame.

    Objects end and ids go on. In the same aspect the calibration is rescaled and zones go on as they were
    drawn; in another aspect the view is another one, so speeds are silent and nothing is counted until the
    old aspect is back.
    """

    def __init__(
        self, site: Site, pipeline: Pipeline, zones: ZoneMonitorLike | None, size: tuple[int, int]
    ) -> None:
        """`size` is the (width, height) that pipeline and zones were built for."""
        self._site, self._pipeline, self._zones = site, pipeline, zones
        self.size, self._drawn = size, site.size or size
        self.changes = 0
        """How often the size has changed."""

    def __call__(self, frame: Frame) -> None:
        """Heeds the frame's size, before the pipeline is given the frame."""
        if frame.size == self.size:
            return
        log.warning(
            "the image changed from %dx%d to %dx%d: objects begin anew, ids go on", *self.size, *frame.size
        )
        self.size, self.changes = frame.size, self.changes + 1
        _forget(self._pipeline)
        if self._pipeline.speed_estimator is not None:
            self._pipeline.speed_estimator = self._meter()
        if self._zones is not None:
            self._zones.scale = scale_between(frame.size, self._drawn)
            if self._zones.scale is None:
                log.warning("zones and lines: drawn on another view (aspect); nothing is counted")

    def _meter(self) -> SpeedEstimator | UncalibratedView:
        try:
            calibration = build_calibration(self._site, self.size)
        except InputError as error:
            log.warning("speeds are silent: %s", error)
            return UncalibratedView()
        assert calibration is not None  # there was a meter, so there is a calibration
        return build_speed_estimator(self._site, calibration)


def _forget(pipeline: Pipeline) -> None:
    """Ends every object; the tracker's ids go on where it can do that."""
    tracker = pipeline.tracker
    forget = getattr(tracker, "forget", None)
    if forget is None:
        pipeline.reset()
        return
    forget()
    for part in pipeline.recognitions.values():
        part.clips.reset()
        part.recognizer.reset()
        part.policy.reset()
    if pipeline.class_policy is not None:
        pipeline.class_policy.reset()
