"""Trackers: objects with ids that last, from the detections of one frame after another.

ByteTrack (Zhang 2022, arXiv 2110.06864) matches detections of high score first and of low score second.
OC-SORT (Cao 2023, arXiv 2203.14360) adds the observations themselves: the direction of travel between them,
a filter run along the straight path over a gap, and a second try against the last observation.
Both run in native code over real elapsed seconds, so that uneven and dropped frames do no harm.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from edgevid import kernels
from edgevid.errors import InputError, check_type, did_you_mean
from edgevid.types import Detections, Tracks

FLAGS = ("re_update", "recover", "height_overlap", "observed_boxes")
TUNING = (
    "match_thresh", "second_match_thresh", "new_match_thresh", "position_noise", "velocity_noise",
    "measure_noise", "momentum", *FLAGS,
)  # fmt: skip
"""Settings of the method itself (kernels/reference/tracker.py); users seldom need them."""


class ByteTracker:
    """Two-stage association on overlap and score, with a Kalman filter over center and size.

    ByteTrack: Zhang 2022, arXiv 2110.06864.
    """

    _method: Mapping[str, float] = {}
    """Settings of TUNING that make the subclass."""

    def __init__(
        self,
        *,
        track_high_thresh: float = 0.5,
        track_low_thresh: float = 0.1,
        new_track_thresh: float = 0.6,
        lost_after_s: float = 1.0,
        coast_s: float = 0.3,
        confirm_after_s: float = 0.0,
        class_aware: bool = False,
        **tuning: float,
    ) -> None:
        """`track_high_thresh` and `track_low_thresh` split the detections by score into the
        first stage, the second stage and ignored ones.

        A score of `new_track_thresh` starts a new object, which is reported once it is detected again
        `confirm_after_s` or more later. Without detections an object is reported for `coast_s` seconds and
        removed after `lost_after_s`. Its label has the largest sum of scores over its last seconds.
        `class_aware` keeps an object from matching detections of another class; it is off because
        detectors waver between car and truck, and an id should not break when they do.
        `tuning` sets the method itself: see TUNING. The `*match_thresh` are least similarities (overlap,
        times score in the first stage), where ByteTrack's own are largest costs: 1 - similarity.
        """
        scores = {
            "track_high_thresh": track_high_thresh,
            "track_low_thresh": track_low_thresh,
            "new_track_thresh": new_track_thresh,
        }
        seconds = {"lost_after_s": lost_after_s, "coast_s": coast_s, "confirm_after_s": confirm_after_s}
        for name, value in scores.items():
            if not 0 <= value <= 1:
                raise InputError(f"{name}: expected 0 to 1, got {value}")
        for name, value in seconds.items():
            if not value >= 0:
                raise InputError(f"{name}: expected seconds of at least 0, got {value}")
        for name, value in tuning.items():
            if name not in TUNING:
                raise InputError(
                    f"tracker setting: expected one of {', '.join(TUNING)}, "
                    f"got {name!r}{did_you_mean(name, TUNING)}"
                )
            if not 0 <= value < np.inf:
                raise InputError(f"{name}: expected a number of at least 0, got {value}")
        self._coast_s = float(seconds.pop("coast_s"))
        settings = {**self._method, **scores, **seconds, **tuning}
        numbers = {name: bool(n) if name in FLAGS else float(n) for name, n in settings.items()}
        self._core = kernels.TrackerCore({**numbers, "class_aware": bool(class_aware)})
        self._time = -np.inf

    def update(self, detections: Detections, time: float) -> Tracks:
        """The objects at `time` (seconds on the stream's clock), ordered by id.

        InputError when time is not finite or does not advance: call `reset` when the source starts again.
        """
        check_type(detections, Detections, "tracker", "Detections, such as Detections.of(...)")
        if not self._time < time < np.inf:
            raise InputError(
                f"tracker time: expected more than the last {self._time:g} s, got {time:g} s. "
                "Call reset() when the source starts again"
            )
        self._time = float(time)
        columns = self._core.update(
            detections.boxes, detections.scores, detections.labels, self._time, self._coast_s
        )
        return Tracks.trusted(*columns)

    @property
    def rejected(self) -> int:
        """Detections dropped so far because a number in them was not finite or the box was empty."""
        return self._core.rejected

    def reset(self) -> None:
        """Removes every object; ids start at 1 again."""
        self._core.reset()
        self._time = -np.inf

    def resize(self, size: tuple[int, int]) -> None:
        """The stream continues with frames of another (width, height): removes every object, ids go on."""
        self._core.forget()


class OCSortTracker(ByteTracker):
    """ByteTrack's stages with OC-SORT's use of observations: Cao 2023, arXiv 2203.14360."""

    _method = {"momentum": 0.2, "re_update": True, "recover": True}  # noqa: RUF012


class Tracker(ByteTracker):
    """The default: ByteTrack's stages, OC-SORT's re-update after a gap, and boxes reported as detected.

    A speed estimator behind it so filters raw measurements once, and the re-update keeps the velocity right
    after an object was hidden. For crowds of people whose paths cross closely,
    `height_overlap=True, match_thresh=0.1, new_match_thresh=0.2` weighs the overlap by how well the heights
    agree (Hybrid-SORT, Yang 2024, arXiv 2308.00783): better on DanceTrack, worse on MOT17-11.
    benchmarks/tracking_quality.py compares trackers with their peers.
    """

    _method = {"re_update": True, "observed_boxes": True}  # noqa: RUF012
