"""Watches whether the image still lies where it lay when the camera was calibrated.

References for several lights are learned by themselves, each with its place relative to the first one.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace
from enum import Enum

import numpy as np

from edgevid.errors import InputError
from edgevid.health.registration import LEAST_TILES, TILE, Look, Motion, Reference, Seen, thumbnail
from edgevid.types import Array, Frame

LIMIT_SHARE = 0.0016
"""Displacement that counts as moved, as a share of the image's width: 3 pixels of 1920."""
LEARN = 5
"""Thumbnails whose median is a reference: what drives through is gone from it."""
CONFIRM = 3
"""Checks in a row beyond the limit before speeds are doubted, and before they are trusted again."""
MOST_REFERENCES = 12
FRESH = 0.5
"""Below this share of agreeing tiles the light has changed enough to learn another reference."""


class State(Enum):
    """What is known of the camera now."""

    LEARNING = "learning the view"
    OK = "in place"
    UNSURE = "cannot tell"
    SHAKING = "shaking"
    SUSPECT = "seems to have moved"
    MOVED = "moved"
    LOST = "shows another view"


@dataclass(slots=True)
class Known:
    """A reference and the place of its image relative to the first reference."""

    reference: Reference
    offset: Motion
    learned: float
    """Stream seconds; negative for one that was read from a file."""


@dataclass(slots=True)
class ViewMonitor:
    """Compares a frame every few seconds with what was learned; `update` says whether it did."""

    every_s: float = 5.0
    limit_px: float | None = None
    """None: LIMIT_SHARE of the width, at least 1."""
    confirm_s: float = 10.0
    lost_s: float = 60.0
    known: list[Known] = field(default_factory=list)
    state: State = State.LEARNING
    why: str = "no reference yet"
    motion: Motion | None = None
    """Of the last check that could tell, relative to the first reference."""
    last: Look | None = None
    checks: int = 0
    _next: float = -np.inf
    _before: float = -np.inf
    _gray: deque[Array] = field(default_factory=lambda: deque(maxlen=LEARN))
    _beyond: list[tuple[float, Motion]] = field(default_factory=list)
    _within: int = 0
    _lost_since: float | None = None

    def __post_init__(self) -> None:
        if not (self.every_s > 0 and self.confirm_s > 0 and self.lost_s > 0):
            raise InputError(
                "camera health: expected every_s, confirm_s and lost_s above 0, "
                f"got {self.every_s}, {self.confirm_s}, {self.lost_s}"
            )
        if self.limit_px is not None and not self.limit_px > 0:
            raise InputError(f"camera health: expected limit_px above 0, got {self.limit_px}")

    def limit(self, width: int) -> float:
        """Pixels of displacement that count as moved."""
        return self.limit_px if self.limit_px is not None else max(1.0, LIMIT_SHARE * width)

    def update(self, frame: Frame) -> bool:
        """Looks at the frame where it is time to; whether it did."""
        if frame.time < self._before:  # the stream began again: its clock too
            self.reset()
        self._before = frame.time
        if frame.time < self._next:
            return False
        gray = thumbnail(frame)
        self.checks += 1
        if min(gray.shape) < TILE + 2:
            self.state, self.why = State.UNSURE, f"{frame.width}x{frame.height} pixels are too few"
            self._next = frame.time + self.every_s
            return True
        if self.known and self.known[0].reference.gray.shape != gray.shape:
            self._other_aspect(frame)
            return True
        self._resize(frame.size)
        self._gray.append(gray)
        if not self.known:
            self._learn(frame)
        else:
            self._check(frame, gray)
        hasty = self.state in (State.LEARNING, State.SUSPECT, State.SHAKING) or bool(self._beyond)
        self._next = frame.time + (self.every_s / 5 if hasty else self.every_s)
        return True

    def _other_aspect(self, frame: Frame) -> None:
        """Another aspect is another view, and no comparison can be made."""
        wide, high = self.known[0].reference.size
        self.state = State.LOST
        self.why = f"the image is {frame.width}x{frame.height}, learned on {wide}x{high}"
        self._next = frame.time + self.every_s

    def _resize(self, size: tuple[int, int]) -> None:
        """The same view in another resolution: pixels are those of the stream."""
        if not self.known or self.known[0].reference.size == size:
            return
        grow = size[0] / self.known[0].reference.size[0]
        for known in self.known:
            known.reference.size = size
            known.offset = replace(
                known.offset, dx=grow * known.offset.dx, dy=grow * known.offset.dy, size=size
            )

    def reset(self) -> None:
        """The stream starts again; what was learned stays."""
        self._next, self._before, self._lost_since = -np.inf, -np.inf, None
        self._beyond.clear()
        self._gray.clear()

    def forget(self) -> None:
        """Learns the view anew: the camera was calibrated again."""
        self.known.clear()
        self.state, self.why, self.motion, self.last = State.LEARNING, "no reference yet", None, None
        self.reset()

    def accept(self) -> None:
        """The view of now is the calibrated one: another reference where it matched none, no alarm."""
        if self.known and self.state in (State.LOST, State.UNSURE) and self._gray:
            still = Motion(0.0, 0.0, 0.0, 1.0, self.known[0].reference.size)
            self._add(self._gray[-1], still, self._before)
        self.state, self.why = State.OK, "accepted"
        self._beyond.clear()
        self._lost_since = None

    def _learn(self, frame: Frame) -> None:
        if len(self._gray) < LEARN:
            return
        still = Motion(0.0, 0.0, 0.0, 1.0, frame.size)
        if self._add(_middle(self._gray), still, frame.time, size=frame.size):
            self.state, self.why = State.OK, "first reference learned"
        else:
            self.why = "too little to hold on to: too dark, too plain or covered"

    def _add(self, gray: Array, offset: Motion, time: float, size: tuple[int, int] | None = None) -> bool:
        reference = Reference(gray, size or self.known[0].reference.size)
        if reference.tiles < LEAST_TILES:
            return False
        if len(self.known) >= MOST_REFERENCES:
            del self.known[1]  # the first is the one the calibration belongs to
        self.known.append(Known(reference, offset, time))
        return True

    def _check(self, frame: Frame, gray: Array) -> None:
        look, known = self._best(gray)
        self.last = look
        if look.motion is None:
            self._unseen(frame.time, look)
            return
        self._lost_since = None
        self.motion = look.motion.after(known.offset)
        if self.motion.most() > self.limit(frame.width):
            self._beyond.append((frame.time, self.motion))
            self._within = 0
            self._judge(frame)
            return
        self._within += 1
        doubted = self.state in (State.SUSPECT, State.SHAKING)
        if not doubted or self._within >= CONFIRM:
            self._beyond.clear()
            self.state, self.why = State.OK, f"{look.agreed} of {look.usable} tiles agree"
            self._refresh(look, frame)

    def _best(self, gray: Array) -> tuple[Look, Known]:
        """The comparison with the reference of the most similar light; the last good one is asked first."""
        best: tuple[Look, Known] | None = None
        seen = Seen(gray)
        for known in reversed(self.known):
            look = known.reference.look(seen)
            if best is None or (look.motion is not None, look.quality) > (
                best[0].motion is not None,
                best[0].quality,
            ):
                best = (look, known)
            if look.motion is not None and look.quality >= FRESH:
                break
        assert best is not None
        if best[1] is not self.known[-1] and best[1] is not self.known[0]:
            self.known.remove(best[1])
            self.known.append(best[1])
        return best

    def _unseen(self, time: float, look: Look) -> None:
        """Nothing matched: dark and fog cannot tell, another view with structure can."""
        if look.structured < LEAST_TILES:
            self._lost_since = None
            if self.state is not State.LOST:
                self.state, self.why = State.UNSURE, "too dark, too foggy or covered"
            return
        self._lost_since = time if self._lost_since is None else self._lost_since
        if time - self._lost_since >= self.lost_s:
            self.state = State.LOST
            self.why = f"no reference has matched for {time - self._lost_since:.0f} s"
        elif self.state is not State.LOST:
            self.state, self.why = State.UNSURE, "no reference matches the image"

    def _judge(self, frame: Frame) -> None:
        """Beyond the limit: once is nothing, several in one place is moved, here and there is shaking."""
        assert self.motion is not None
        if len(self._beyond) < CONFIRM:
            return
        recent = np.array([(m.dx, m.dy) for _, m in self._beyond[-3 * LEARN :]])
        spread = float(np.hypot(*(recent - np.median(recent, 0)).T).max())
        most = self.motion.most()
        if spread > max(0.7 * self.limit(frame.width), 0.2 * most):
            self.state, self.why = State.SHAKING, f"by about {spread:.0f} px"
            return
        lasting = frame.time - self._beyond[0][0] >= self.confirm_s and len(self._beyond) >= LEARN
        self.state = State.MOVED if lasting else State.SUSPECT
        self.why = describe(self.motion)

    def _refresh(self, look: Look, frame: Frame) -> None:
        """Learns the light of now while the camera is surely in place."""
        assert self.motion is not None
        steady = self._within >= LEARN and self.motion.most() < 0.5 * self.limit(frame.width)
        if look.quality < FRESH and steady and len(self._gray) == LEARN:
            if frame.time - self.known[-1].learned < 6 * self.every_s:
                return
            self._add(_middle(self._gray), self.motion, frame.time)


def _middle(grays: deque[Array]) -> Array:
    return np.asarray(np.median(np.stack(grays), axis=0).astype(np.uint8))


def describe(motion: Motion) -> str:
    """Shift, rotation and scale in words.

    >>> describe(Motion(3.04, -4.0, 0.0, 1.0, (640, 360)))
    'shifted by 5.0 px (3.0 right, 4.0 up)'
    """
    across = f"{abs(motion.dx):.1f} {'right' if motion.dx >= 0 else 'left'}"
    along = f"{abs(motion.dy):.1f} {'down' if motion.dy >= 0 else 'up'}"
    parts = [f"shifted by {np.hypot(motion.dx, motion.dy):.1f} px ({across}, {along})"]
    if abs(motion.rotation_deg) >= 0.05:
        parts.append(f"turned by {motion.rotation_deg:+.2f} degrees")
    if abs(motion.scale - 1) >= 0.001:
        parts.append(f"zoomed by {100 * (motion.scale - 1):+.1f} %")
    return ", ".join(parts)
