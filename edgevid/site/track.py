"""The table [track] of a site file, and the tracker that it describes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

from annotated_types import Ge

from edgevid.errors import InputError, did_you_mean
from edgevid.files.fields import Share
from edgevid.files.schema import vars_of
from edgevid.track import ByteTracker, OCSortTracker, Tracker

Kind = Literal["default", "bytetrack", "oc-sort"]
Number = Annotated[float, Ge(0)]
TRACKERS: dict[str, type[ByteTracker]] = {
    "default": Tracker, "bytetrack": ByteTracker, "oc-sort": OCSortTracker,
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackTable:
    """The tracker and its settings (docs/tracking.md); None leaves a setting as the tracker has it."""

    tracker: Kind = "default"
    """Which tracker: the default one, ByteTrack or OC-SORT."""
    track_high_thresh: Share | None = None
    """Scores from here on are matched first; None: the site's score."""
    track_low_thresh: Share | None = None
    """Scores from here on continue an object."""
    new_track_thresh: Share | None = None
    """Scores from here on start an object; None: 0.1 above the site's score."""
    lost_after_s: Number | None = None
    """Seconds without a detection until an object is removed."""
    coast_s: Number | None = None
    """Seconds without a detection for which an object is still reported."""
    confirm_after_s: Number | None = None
    """Seconds that a new object must last until it is reported."""
    class_aware: bool | None = None
    """Whether an object only matches detections of its class."""
    match_thresh: Share | None = None
    """Largest cost of a match in the first stage."""
    second_match_thresh: Share | None = None
    """Largest cost of a match of a low score."""
    new_match_thresh: Share | None = None
    """Largest cost of the second match of a new object."""
    position_noise: Number | None = None
    """How irregularly objects move; more follows the detections closer."""
    reach: Number | None = None
    """By how many sizes per second between two frames boxes are grown."""
    score_weight: Number | None = None
    """What a difference of scores costs."""
    momentum: Number | None = None
    """Weight of the direction of travel (OC-SORT)."""
    observation_centric: bool | None = None
    """OC-SORT's re-update and recovery."""
    common_shift: bool | None = None
    """Whether what most objects do at once is the camera's motion."""
    height_overlap: bool | None = None
    """Whether the overlap of heights weighs that of boxes."""
    observed_boxes: bool | None = None
    """Whether boxes are reported as detected, or filtered."""

    def build(self, score: float) -> ByteTracker:
        """The tracker, for a site whose detections count from `score` on."""
        own: dict[str, Any] = {"track_high_thresh": score, "new_track_thresh": min(1.0, score + 0.1)}
        own |= {key: value for key, value in vars_of(self).items() if value is not None and key != "tracker"}
        return TRACKERS[self.tracker](**own)

    def replaced(self, tracker: str | None, given: Iterable[str]) -> TrackTable:
        """The table with the options --tracker and --track KEY=VALUE in the place of its own keys."""
        if tracker is not None and tracker not in TRACKERS:
            raise InputError(f"--tracker: expected {', '.join(TRACKERS)}, got {tracker!r}")
        changed = parse_settings(given) | ({"tracker": tracker} if tracker else {})
        return replace(self, **changed)


def parse_settings(given: Iterable[str]) -> dict[str, Any]:
    """The settings of KEY=VALUE texts; InputError names a mistake."""
    known = [name for name in TrackTable.__dataclass_fields__ if name != "tracker"]
    settings: dict[str, Any] = {}
    for text in given:
        name, _, value = text.partition("=")
        if name not in known:
            raise InputError(
                f"--track: expected KEY=VALUE with a key of {', '.join(known)}, got {text!r}{did_you_mean(name, known)}"
            )
        words = {"true": True, "false": False} if "bool" in str(TrackTable.__annotations__[name]) else {}
        try:
            settings[name] = words[value] if words else float(value)
        except (KeyError, ValueError):
            expected = "true or false" if words else "a number"
            raise InputError(f"--track {name}: expected {expected}, got {value!r}") from None
    return settings
