"""Trackers: objects with ids that last, from the detections of one moment after another.

ByteTrack (Zhang 2022, arXiv 2110.06864) matches confident detections first and doubtful ones second.
OC-SORT (Cao 2023, arXiv 2203.14360) adds what was really observed: the direction of travel between
sightings, a filter driven along the straight path over a gap, and a second look at the last sighting.
Both run in native code over real elapsed seconds, so that uneven and dropped frames do no harm.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from edgevid import kernels
from edgevid.errors import InputError
from edgevid.types import Detections, Tracks

TUNING = (
    "first_likeness", "second_overlap", "fresh_likeness", "position_noise", "velocity_noise",
    "measure_noise", "momentum", "re_update", "recover", "height_overlap", "observed_boxes",
)  # fmt: skip
"""Settings of the method itself (kernels/reference/motion.py); who tracks seldom needs them."""


class ByteTracker:
    """Two-stage association on overlap and confidence, with a filter over center and size.

    ByteTrack: Zhang 2022, arXiv 2110.06864.
    """

    _fixed: dict[str, Any] = {}  # noqa: RUF012 (settings of a subclass, never changed)

    def __init__(
        self,
        *,
        high_score: float = 0.5,
        low_score: float = 0.1,
        new_score: float = 0.6,
        lost_after_s: float = 1.0,
        coast_s: float = 0.3,
        confirm_after_s: float = 0.0,
        class_aware: bool = False,
        **tuning: Any,
    ) -> None:
        """`high_score` and `low_score` split the detections into confident, doubtful and ignored ones.

        `new_score` starts a new object, which is shown once it is seen again `confirm_after_s` or more
        later. An unseen object is remembered for `lost_after_s` and, within that, shown for `coast_s`.
        An object's label is the one that most of the score of its last seconds speaks for.
        `class_aware` keeps an object from matching detections of another class; it is off because
        detectors waver between car and truck, and an id should not break when they do.
        `tuning` sets the method itself: see TUNING.
        """
        for name, value in (("high_score", high_score), ("low_score", low_score), ("new_score", new_score)):
            if not 0 <= value <= 1:
                raise InputError(f"{name}: expected 0 to 1, got {value}")
        for name, value in (
            ("lost_after_s", lost_after_s), ("coast_s", coast_s), ("confirm_after_s", confirm_after_s)
        ):  # fmt: skip
            if not value >= 0:
                raise InputError(f"{name}: expected seconds of at least 0, got {value}")
        unknown = sorted(set(tuning) - set(TUNING))
        if unknown:
            raise InputError(f"tracker setting: there is no {unknown[0]}; there are {', '.join(TUNING)}")
        for name, value in tuning.items():
            if not 0 <= value < np.inf:
                raise InputError(f"{name}: expected a number of at least 0, got {value}")
        self._coast_s = float(coast_s)
        self._core = kernels.TrackerCore(
            {
                **self._fixed,
                "high_score": float(high_score),
                "low_score": float(low_score),
                "new_score": float(new_score),
                "lost_after_s": float(lost_after_s),
                "confirm_after_s": float(confirm_after_s),
                "class_aware": bool(class_aware),
                **tuning,
            }
        )
        self._time = -np.inf

    def update(self, detections: Detections, time: float) -> Tracks:
        """The objects at `time` (seconds on the stream's clock), ordered by id.

        Raises InputError when time is not finite or goes backwards: call `reset` when the source starts anew.
        """
        if not self._time < time < np.inf:
            raise InputError(
                f"tracker time: expected more than the last {self._time:g} s, got {time:g} s. "
                "Call reset() when the source starts anew"
            )
        self._time = float(time)
        return Tracks.trusted(
            *self._core.update(
                detections.boxes, detections.scores, detections.labels, self._time, self._coast_s
            )
        )

    @property
    def rejected(self) -> int:
        """Detections left out so far because a number in them was not finite or the box was empty."""
        return int(self._core.rejected)

    def reset(self) -> None:
        """Forgets every object; ids start at 1 again."""
        self._core.reset()
        self._time = -np.inf

    def forget(self) -> None:
        """Forgets every object; time and ids go on (the image changed its size, the stream goes on)."""
        self._core.forget()


class OCSortTracker(ByteTracker):
    """ByteTrack's stages with OC-SORT's use of observations: Cao 2023, arXiv 2203.14360."""

    _fixed = {"momentum": 0.2, "re_update": True, "recover": True}  # noqa: RUF012


class Tracker(ByteTracker):
    """The default: ByteTrack's stages, driven along the straight path after a gap, reporting what was seen.

    Boxes that were seen are reported as seen, so that a speed estimator behind it filters raw measurements
    once; and OC-SORT's re-update keeps the velocity right after an object was hidden. For crowds of
    people whose paths cross closely, `height_overlap=True, first_likeness=0.1, fresh_likeness=0.2` weighs
    overlap by how well the heights agree (Hybrid-SORT, Yang 2024, arXiv 2308.00783): better on DanceTrack,
    worse on MOT17-11. benchmarks/tracking_quality.py compares trackers with their peers.
    """

    _fixed = {"re_update": True, "observed_boxes": True}  # noqa: RUF012
