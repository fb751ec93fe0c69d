"""Trackers: objects with ids that last, from the detections of one frame after another.

ByteTrack (Zhang 2022, arXiv 2110.06864) matches detections of high score first and of low score second.
OC-SORT (Cao 2023, arXiv 2203.14360) adds the observations themselves: the direction of travel between them,
a filter run along the straight path over a gap, and a second try against the last observation.
Both run in native code over real elapsed seconds, so that uneven and dropped frames do no harm."""

import copy
import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, overload

import numpy as np

from edgevid import kernels
from edgevid.errors import InputError, did_you_mean, shown
from edgevid.types import Array, Detections, FrameClock, Tracks, as_detections
from edgevid.types.peers import Hinted, habits

FLAGS = ("observation_centric", "common_shift", "height_overlap", "observed_boxes")
COSTS = ("match_thresh", "second_match_thresh", "new_match_thresh")
TUNING = (*COSTS, "position_noise", "reach", "score_weight", "momentum", *FLAGS)
"""Settings of the method itself (docs/tracking.md); users seldom need them."""
BLIND_S = 1.0  # Objects are predicted for so long while frames are damaged
AWAY, FIRST_STEP_S = 2.0, 0.5  # A step above `lost_after_s` and so many times the last (at first 0.5 s) is an outage
BUFFER_RATE = 30.0  # ByteTrack and the libraries after it count the frames of their buffers at this rate

_Translation = Callable[[float, float], dict[str, float]]
_HITS: _Translation = lambda n, rate: {"confirm_after_s": max(n - 1.5, 0.0) / rate}  # noqa: E731
LOST_AFTER_S = 1.0  # Seconds for which a lost object may be found again under its id
_IOU: _Translation = lambda v, _: {"match_thresh": 1 - v}  # noqa: E731
PEERS: Mapping[str, _Translation] = {
    "track_thresh": lambda v, _: {"track_high_thresh": v, "new_track_thresh": min(v + 0.1, 1.0)},
    "det_thresh": lambda v, _: {"track_high_thresh": v, "new_track_thresh": v},
    "track_activation_threshold": lambda v, _: {"new_track_thresh": v},
    "high_conf_det_threshold": lambda v, _: {"track_high_thresh": v},
    **dict.fromkeys(("lost_track_buffer", "track_buffer"), lambda n, _: {"lost_after_s": n / BUFFER_RATE}),
    "max_age": lambda n, rate: {"lost_after_s": n / rate},
    **dict.fromkeys(("minimum_consecutive_frames", "min_hits"), _HITS),
    "minimum_matching_threshold": lambda v, _: {"match_thresh": v},
    **dict.fromkeys(("minimum_iou_threshold", "iou_threshold", "minimum_iou_threshold_first_assoc"), _IOU),
    "minimum_iou_threshold_second_assoc": lambda v, _: {"second_match_thresh": 1 - v},
    "minimum_iou_threshold_unconfirmed_assoc": lambda v, _: {"new_match_thresh": 1 - v},
    **dict.fromkeys(("inertia", "direction_consistency_weight"), lambda v, _: {"momentum": v}),
}
"""Parameters of ByteTrack, SORT, OC-SORT, supervision and trackers: docs/coming_from.md."""
FIXED = {"tracker_type": "bytetrack", "fuse_score": True, "mot20": False, "instant_first_frame_activation": True}
"""Parameters of theirs that have one value here."""


class ByteTracker(Hinted):
    """Two-stage association on overlap and score, with a Kalman filter over center and size. ByteTrack: Zhang
    2022, arXiv 2110.06864."""

    _method: Mapping[str, float] = {}  # Settings of TUNING that make the subclass

    def __init__(
        self, *, track_high_thresh: float = 0.5, track_low_thresh: float = 0.1, new_track_thresh: float = 0.6,
        lost_after_s: float = LOST_AFTER_S, coast_s: float = 0.3, confirm_after_s: float = 0.0,
        class_aware: bool = False, frame_rate: float | None = None, **tuning: Any,
    ) -> None:  # fmt: skip
        """`track_high_thresh` and `track_low_thresh` split the detections by score into the first stage, the second
        stage and ignored ones.

        A score of `new_track_thresh` starts a new object, which is reported once it is detected again
        `confirm_after_s` or more later. Without detections an object is reported for `coast_s` seconds and removed
        after `lost_after_s`, as all are where the stream was away for longer. Its label has the largest sum of
        scores over its last seconds. `class_aware` keeps an object from matching detections of another class; it is
        off because detectors waver between car and truck, and an id should not break when they do. `frame_rate`
        gives updates without a time theirs: one frame after the last. `tuning` sets the method itself: see TUNING.
        The `*match_thresh` are ByteTrack's largest costs, 0 to 1: 1 - similarity (overlap, times score in the first
        stage). Parameter names of ByteTrack, OC-SORT, supervision, trackers and Ultralytics are taken with their
        meaning: docs/coming_from.md."""
        own = {
            "track_high_thresh": track_high_thresh, "track_low_thresh": track_low_thresh,
            "new_track_thresh": new_track_thresh, "lost_after_s": lost_after_s, "coast_s": coast_s,
            "confirm_after_s": confirm_after_s,
        }  # fmt: skip
        self._clock = FrameClock("tracker", frame_rate)
        settings = {**self._method, **_translated(own, tuning, frame_rate or BUFFER_RATE)}
        _check(settings)
        self._coast_s = float(settings.pop("coast_s"))
        numbers = {name: bool(n) if name in FLAGS else float(n) for name, n in settings.items()}
        numbers |= {name: 1 - numbers[name] for name in COSTS if name in numbers}
        self._blind_s = min(BLIND_S, numbers["lost_after_s"])
        self._lost_after_s, self._step = numbers["lost_after_s"], FIRST_STEP_S
        self.new_track_thresh = numbers["new_track_thresh"]
        self._observed_at = -np.inf
        self._held: tuple[float, Tracks] | None = None
        self._found = Detections.empty()  # The latest, which have key points or rotated boxes where the detector has
        """When objects were last looked for, and what `coast` reports since: its time and objects."""
        self._core = kernels.TrackerCore({**numbers, "class_aware": bool(class_aware)})

    @overload
    def update(self, detections: Detections, timestamp: float | None = None) -> Tracks: ...
    @overload
    def update(self, detections: Any, timestamp: float | None = None, *, frame: Any = None) -> Any: ...
    def update(self, detections: Any, timestamp: float | None = None, *, frame: Any = None) -> Any:
        """The objects at `timestamp` (seconds on the stream's clock), ordered by id.

        supervision.Detections give supervision.Detections, as in trackers: the same rows with `tracker_id`,
        -1 for those without an object. An (N, 6) array gives Tracks. `frame` is not used: trackers' is for
        camera motion.

        InputError when the time is not finite or does not advance: call `reset` when the source starts again.
        Without a `timestamp` it is one frame after the last, at the tracker's `frame_rate`."""
        found = detections if isinstance(detections, Detections) else as_detections(detections, "tracker")
        time = self._next(timestamp)
        columns = self._core.update(found.boxes, found.scores, found.labels, time, self._coast_s)
        self._observed_at, self._held, self._found = time, None, found
        tracks = with_instances(Tracks.trusted(*columns), found)
        return tracks if found is detections or not hasattr(detections, "xyxy") else _with_ids(detections, tracks)

    def update_with_detections(self, detections: Any, timestamp: float | None = None) -> Any:
        """`update` as in supervision.ByteTrack: supervision.Detections keep only rows that have an object."""
        found = self.update(detections, timestamp)
        return found if isinstance(found, Tracks) else found[found.tracker_id >= 0]

    def coast(self, timestamp: float | None = None) -> Tracks:
        """The objects at `timestamp`, in a frame that nothing is detected in: it is damaged or gated. They are
        predicted for up to a second (`BLIND_S`; no longer than `lost_after_s`), then stay where they were, so
        that their ids may continue when the frames are sound again."""
        time = self._next(timestamp)
        blind = time - self._observed_at > self._blind_s
        if self._held is None or not blind:
            none, until = self._found[:0], 0.0 if blind else self._blind_s
            columns = self._core.update(none.boxes, none.scores, none.labels, time, until)
            self._held = time, with_instances(Tracks.trusted(*columns), none)
        since, tracks = self._held
        longer = np.float32(time - since)
        return dataclasses.replace(tracks, age=tracks.age + longer, unseen=tracks.unseen + longer)

    def _next(self, timestamp: float | None) -> float:
        """The time of an update; a stream that was away for longer than `lost_after_s` ends every object."""
        before = self._clock.last
        time = self._clock.next(timestamp)
        if before > -np.inf:
            if time - before > max(self._lost_after_s, AWAY * self._step):
                self._core.forget()
                self._held = None
            self._step = time - before
        return time

    @property
    def rejected(self) -> int:
        """Detections dropped so far because a number in them was not finite or the box was empty."""
        return self._core.rejected

    def reset(self) -> None:
        """Removes every object; ids start at 1 again."""
        self._core.reset()
        self._clock.reset()
        self._held = None

    def resize(self, size: tuple[int, int]) -> None:
        """The stream continues with frames of another (width, height): removes every object, ids go on."""
        self._core.forget()
        self._held = None


class OCSortTracker(ByteTracker):
    """ByteTrack's stages with OC-SORT's use of observations: Cao 2023, arXiv 2203.14360."""

    _method = {"momentum": 0.2, "observation_centric": True, "observed_boxes": True}  # noqa: RUF012


class Tracker(ByteTracker):
    """The default: ByteTrack's stages on the overlap of boxes and of heights, reported as detected.

    Overlap is weighed by how well the heights agree and by how close the scores are (Hybrid-SORT, Yang 2024,
    arXiv 2308.00783); the nearer foot decides between similar overlaps. Boxes reach further the longer the time
    between two frames, and what most objects do at once is taken for the camera's motion: docs/tracking.md.
    benchmarks/tracking_choice.py chose the values, benchmarks/tracking_quality.py compares with peers."""

    _method = {  # noqa: RUF012
        "match_thresh": 0.9, "second_match_thresh": 0.4, "new_match_thresh": 0.9, "position_noise": 0.04,
        "reach": 1.2, "score_weight": 0.2, "height_overlap": True, "common_shift": True,
        "observed_boxes": True,
    }  # fmt: skip


def in_frame(tracks: Tracks, size: tuple[int, int]) -> Tracks:
    """The tracks without predicted boxes that have left the frame of `size` (width, height)."""
    left, top, right, bottom = tracks.boxes.T
    gone = (tracks.match < 0) & ((right <= 0) | (bottom <= 0) | (left >= size[0]) | (top >= size[1]))
    return tracks[~gone] if gone.any() else tracks


def with_instances(tracks: Tracks, detections: Detections) -> Tracks:
    """The tracks with the key points and rotated boxes of the detections that they match."""
    columns: dict[str, Array] = {}
    for name in ("keypoints", "rotated"):
        values = getattr(detections, name)
        if values.shape[1]:
            columns[name] = np.full((len(tracks), *values.shape[1:]), np.nan, np.float32)
            matched = tracks.match >= 0
            columns[name][matched] = values[tracks.match[matched]]
    return dataclasses.replace(tracks, **columns) if columns else tracks


def _with_ids(detections: Any, tracks: Tracks) -> Any:
    """A copy of supervision.Detections with the ids of the tracks that its rows matched."""
    ids = np.full(len(detections), -1)
    matched = tracks.match >= 0
    ids[tracks.match[matched]] = tracks.ids[matched]
    made = copy.copy(detections)
    made.tracker_id = ids
    return made


_DEFAULTS: Mapping[str, Any] = ByteTracker.__init__.__kwdefaults__ or {}


def _translated(own: dict[str, float], tuning: Mapping[str, Any], rate: float) -> dict[str, float]:
    """All settings under our names; `tuning` may use the names of PEERS, at `rate` frames per second."""
    settings, given = dict(own), {}
    for name, value in tuning.items():
        if name in FIXED:
            if value != FIXED[name]:
                raise InputError(f"{name}: expected {FIXED[name]!r}, the only one here, got {shown(value)}")
            continue
        ours = PEERS[name](_number(name, value), rate) if name in PEERS else {_known(name): value}
        for key, number in ours.items():
            if key in given or (key in own and own[key] != _DEFAULTS.get(key)):
                raise InputError(f"{name}: expected one setting of {key}, got another too: leave one out")
            given[key] = number
    settings.update(given)
    if "track_activation_threshold" in tuning and "track_high_thresh" not in given:
        # Only the first stage starts objects: it must reach down to that score.
        settings["track_high_thresh"] = min(own["track_high_thresh"], settings["new_track_thresh"])
    return settings


def _known(name: str) -> str:
    """`name` where it is one of TUNING, else InputError."""
    if what := habits()["tracker"].get(name):
        raise InputError(f"{name}: edgevid's trackers have no setting of {what}; leave it out")
    if name not in TUNING:
        raise InputError(
            f"tracker setting: expected one of {', '.join([*_DEFAULTS, *TUNING])}, got {name!r}"
            f"{did_you_mean(name, [*TUNING, *PEERS, *_DEFAULTS])}"
        )
    return name


def _number(name: str, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise InputError(f"{name}: expected a number, got {shown(value)}") from None


def _check(settings: Mapping[str, Any]) -> None:
    """InputError for a value out of range."""
    for name, value in settings.items():
        number = _number(name, value)
        if name.endswith("_thresh") and not 0 <= number <= 1:
            raise InputError(f"{name}: expected 0 to 1, got {value}")
        if name.endswith("_s") and not number >= 0:
            raise InputError(f"{name}: expected seconds of at least 0, got {value}")
        if not 0 <= number < np.inf and not name.endswith("_s"):
            raise InputError(f"{name}: expected a number of at least 0, got {value}")
