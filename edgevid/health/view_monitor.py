"""ViewMonitor: whether the image still lies where it lay when the camera was calibrated. References for several
lights are learned automatically, each with its motion relative to the first one. ImageQuality: whether an image shows
enough to recognize anything in it, measured once a second. Sharpness, blockiness and noise come from 24 tiles in full
resolution, exposure and contrast from every n-th pixel of the luma."""

from collections import deque
from dataclasses import dataclass, field, replace
from enum import Enum

import numpy as np

from edgevid.errors import InputError
from edgevid.health.registration import MIN_TILES, TILE, GradientImage, Motion, Reference, Registration, thumbnail
from edgevid.types import U8, Array, Frame, Reason

LIMIT_SHARE = 0.0016  # Displacement that counts as moved, as a share of the image's width: 3 pixels of 1920
LEARN = 5  # Thumbnails whose median is a reference: traffic is gone from it
CONFIRM = 3  # Checks in a row beyond the limit before motion is suspected, and within it before it is dismissed
MAX_REFERENCES = 12
FRESH_RATIO = 0.5  # Below this inlier ratio the light has changed enough to learn another reference
NO_REFERENCE = "no reference yet"


class State(Enum):
    """What is known of the camera now."""

    LEARNING = "learning the view"
    ALIGNED = "aligned"
    UNKNOWN = "unknown"
    SHAKING = "shaking"
    SUSPECT = "suspected to have moved"
    MOVED = "moved"
    LOST = "shows another view"


@dataclass(slots=True)
class LearnedReference:
    """A reference and the motion of its image relative to the first reference."""

    reference: Reference
    offset: Motion
    learned_at: float  # Stream seconds; negative for one that was read from a file


@dataclass(slots=True)
class ViewMonitor:
    """Compares a frame every few seconds with the learned references."""

    every_s: float = 5.0
    limit_px: float | None = None  # None: LIMIT_SHARE of the width, at least 1
    confirm_s: float = 10.0
    lost_s: float = 60.0
    references: list[LearnedReference] = field(default_factory=list)
    state: State = State.LEARNING
    detail: str = NO_REFERENCE  # Why the state is what it is
    motion: Motion | None = None  # Of the last check that found one, relative to the first reference
    checks: int = 0
    _next: float = -np.inf
    _before: float = -np.inf
    _recent: deque[U8] = field(default_factory=lambda: deque(maxlen=LEARN))
    _displaced: list[tuple[float, Motion]] = field(default_factory=list)
    _aligned_checks: int = 0
    _lost_since: float | None = None

    def __post_init__(self) -> None:
        for name in ("every_s", "confirm_s", "lost_s", "limit_px"):
            if (value := getattr(self, name)) is not None and not value > 0:
                raise InputError(f"camera health: expected {name} above 0, got {value}")

    def limit(self, width: int) -> float:
        """Pixels of displacement that count as moved."""
        return self.limit_px if self.limit_px is not None else max(1.0, LIMIT_SHARE * width)

    def update(self, frame: Frame) -> bool:
        """Checks the frame if a check is due; whether it did."""
        if frame.time < self._before:  # the stream began again: its clock too
            self.reset()
        self._before = frame.time
        if frame.time < self._next:
            return False
        gray = thumbnail(frame)
        self.checks += 1
        self._next = frame.time + self.every_s
        if min(gray.shape) < TILE + 2:
            self.state, self.detail = State.UNKNOWN, f"{frame.width}x{frame.height} pixels are too few"
            return True
        if self.references and self.references[0].reference.gray.shape != gray.shape:
            width, height = self.references[0].reference.size
            self.state = State.LOST
            self.detail = f"the image is {frame.width}x{frame.height}, learned on {width}x{height}"
            return True
        if self.references and self.references[0].reference.size != frame.size:
            # The same view in another resolution: pixels are those of the stream.
            factor = frame.width / self.references[0].reference.size[0]
            for known in self.references:
                dx, dy = factor * known.offset.dx, factor * known.offset.dy
                known.reference.size = frame.size
                known.offset = replace(known.offset, dx=dx, dy=dy, size=frame.size)
        self._recent.append(gray)
        if self.references:
            self._check(frame, gray)
        elif len(self._recent) == LEARN:
            if self._add(_median(self._recent), Motion.none(frame.size), frame.time, frame.size):
                self.state, self.detail = State.ALIGNED, "first reference learned"
            else:
                self.detail = "too little structure: too dark, too plain or covered"
        if self.state in (State.LEARNING, State.SUSPECT, State.SHAKING) or self._displaced:
            self._next = frame.time + self.every_s / 5
        return True

    def reset(self) -> None:
        """The stream starts again; the references stay."""
        self._next, self._before, self._lost_since = -np.inf, -np.inf, None
        self._displaced.clear()
        self._recent.clear()

    def forget(self) -> None:
        """Learns the view again: the camera was recalibrated."""
        self.references.clear()
        self.state, self.detail, self.motion = State.LEARNING, NO_REFERENCE, None
        self.reset()

    def accept(self) -> None:
        """The current view is the calibrated one: clears the alarm, adds a reference where none matched."""
        if self.references and self.state in (State.LOST, State.UNKNOWN) and self._recent:
            size = self.references[0].reference.size
            self._add(self._recent[-1], Motion.none(size), self._before, size)
        self.state, self.detail = State.ALIGNED, "accepted"
        self._displaced.clear()
        self._lost_since = None

    def _add(self, gray: U8, offset: Motion, time: float, size: tuple[int, int]) -> bool:
        if (reference := Reference(gray, size)).tiles < MIN_TILES:
            return False
        if len(self.references) >= MAX_REFERENCES:
            del self.references[1]  # the first is the one the calibration belongs to
        self.references.append(LearnedReference(reference, offset, time))
        return True

    def _check(self, frame: Frame, gray: U8) -> None:
        found, known = self._best(gray)
        if found.motion is None:
            self._unmatched(frame.time, found)
            return
        self._lost_since = None
        self.motion = found.motion.after(known.offset)
        if self.motion.max_displacement() > self.limit(frame.width):
            self._displaced.append((frame.time, self.motion))
            self._aligned_checks = 0
            self._classify(frame, self.motion)
            return
        self._aligned_checks += 1
        suspected = self.state in (State.SUSPECT, State.SHAKING)
        if not suspected or self._aligned_checks >= CONFIRM:
            self._displaced.clear()
            self.state = State.ALIGNED
            self.detail = f"{found.inliers} of {found.reference_tiles} tiles agree"
            # Learns the current light while the camera is clearly aligned.
            steady = self._aligned_checks >= LEARN and len(self._recent) == LEARN
            steady &= self.motion.max_displacement() < 0.5 * self.limit(frame.width)
            old = frame.time - self.references[-1].learned_at >= 6 * self.every_s
            if found.inlier_ratio < FRESH_RATIO and steady and old:
                self._add(_median(self._recent), self.motion, frame.time, frame.size)

    def _best(self, gray: U8) -> tuple[Registration, LearnedReference]:
        """The registration to the reference of the most similar light; the last good one comes first."""
        image, tried = GradientImage(gray), []
        for known in reversed(self.references):
            tried.append((known.reference.register(image), known))
            if tried[-1][0].motion is not None and tried[-1][0].inlier_ratio >= FRESH_RATIO:
                break
        best = max(tried, key=lambda one: (one[0].motion is not None, one[0].inlier_ratio))
        if best[1] is not self.references[-1] and best[1] is not self.references[0]:
            self.references.remove(best[1])
            self.references.append(best[1])
        return best

    def _unmatched(self, time: float, found: Registration) -> None:
        """No reference matched: darkness and fog are unknown, an image with structure is another view."""
        if found.image_tiles < MIN_TILES:
            self._lost_since = None
            if self.state is not State.LOST:
                self.state, self.detail = State.UNKNOWN, "too dark, too foggy or covered"
            return
        self._lost_since = time if self._lost_since is None else self._lost_since
        if time - self._lost_since >= self.lost_s:
            self.state = State.LOST
            self.detail = f"no reference has matched for {time - self._lost_since:.0f} s"
        elif self.state is not State.LOST:
            self.state, self.detail = State.UNKNOWN, "no reference matches the image"

    def _classify(self, frame: Frame, motion: Motion) -> None:
        """Beyond the limit: one check is nothing, several at one place are motion, scattered ones shaking."""
        if len(self._displaced) < CONFIRM:
            return
        recent = np.array([(m.dx, m.dy) for _, m in self._displaced[-3 * LEARN :]])
        spread = float(np.hypot(*(recent - np.median(recent, 0)).T).max())
        if spread > max(0.7 * self.limit(frame.width), 0.2 * motion.max_displacement()):
            self.state, self.detail = State.SHAKING, f"by about {spread:.0f} px"
            return
        lasting = frame.time - self._displaced[0][0] >= self.confirm_s and len(self._displaced) >= LEARN
        self.state = State.MOVED if lasting else State.SUSPECT
        self.detail = motion.describe()


def _median(grays: deque[U8]) -> U8:
    return np.asarray(np.median(np.stack(grays), axis=0).astype(np.uint8))


QUALITY_TILE, ROWS, COLUMNS = 64, 4, 6  # Tiles of a frame; their sides are blocks of 8, as of JPEG and H.264
FAR = 8  # Pixels over which the change of luma is that of the scene, blurred or not
SOUND, REMEMBER = 60, 1800  # Sound checks from which on a camera's own history counts, and that are remembered


@dataclass(frozen=True, slots=True)
class Quality:
    """What was measured of an image, or the limits. `bright`: 98th percentile of luma, 0 to 255. `saturated`: share
    of white pixels. `contrast`: 98th less 2nd percentile. `sharpness`: change of luma over 1 pixel over that over 8,
    0.3 in focus, 0.15 without detail. `blockiness`: change across borders of blocks of 8 over that within, 1 where none
    are visible. `noise`: standard deviation in flat tiles (Immerkaer 1996)."""

    bright: float = 64.0
    saturated: float = 0.35
    contrast: float = 20.0
    sharpness: float = 0.18
    blockiness: float = 2.0
    noise: float = 15.0


def measure(frame: Frame) -> Quality:
    """The quality of a frame, from its Y plane where it has one; InputError below 16x16 pixels."""
    height, width = frame.height, frame.width
    side, step = min(QUALITY_TILE, height // 8 * 8, width // 8 * 8), max(1, min(height, width) // 60)
    if side < 2 * FAR:
        raise InputError(f"image quality: expected at least 16x16 pixels, got {width}x{height}")
    small = frame.luma(slice(None, None, step), slice(None, None, step))
    if frame.planes is not None and not frame.full_range:  # luma of video: 16 to 235
        small = (small - 16) * (255 / 219)
    low, bright = np.percentile(small, (2, 98)).tolist()
    tops, lefts = (np.unique(np.linspace(0, length - side, count).astype(int) // 8 * 8)
                   for length, count in ((height, ROWS), (width, COLUMNS)))  # fmt: skip
    tiles = np.stack([frame.luma(slice(y, y + side), slice(x, x + side)) for y in tops for x in lefts])
    turned = tiles.transpose(0, 2, 1)
    laplace = np.diff(np.diff(tiles, 2, axis=1), 2, axis=2)
    noise = float(np.percentile(np.abs(laplace).mean((1, 2)), 20)) * np.sqrt(np.pi / 2) / 6
    near, far = (sum(np.square(t[:, n:] - t[:, :-n]).mean() for t in (tiles, turned)) - 4 * noise**2 for n in (1, FAR))
    sharpness = float(np.sqrt(max(near, 0.0) / max(far, 1.0)))
    blocks = float(np.mean([_blockiness(t) for t in (tiles, turned)]))
    return Quality(bright, float((small >= 250).mean()), bright - low, sharpness, blocks, noise)


def _blockiness(tiles: Array) -> float:
    changes = np.abs(np.diff(tiles, axis=2))
    border = np.arange(changes.shape[2]) % 8 == 7
    return float(changes[:, :, border].mean() / max(changes[:, :, ~border].mean(), 0.05))


@dataclass(slots=True)
class ImageQuality:
    """Checks a frame every second; `state` is OK, or why the image cannot be used. Once `SOUND` images were
    sound, half of the camera's usual sharpness, or one and a half times its usual blockiness, is too little, or
    too much, as well. What is learned is kept until the program ends. The default limits were chosen on the photos of
    COCO and on clips of actions."""

    limits: Quality = field(default_factory=Quality)
    every_s: float = 1.0
    state: Reason = Reason.OK
    quality: Quality | None = None  # Of the last check
    _next: float = -np.inf
    _found: Reason | None = None
    _sound: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=REMEMBER))

    def update(self, frame: Frame) -> Reason:
        """The state after this frame; it changes once two checks in a row agree, and with the first one."""
        if frame.time < self._next - self.every_s:  # the stream began again
            self.reset()
        if frame.time < self._next or min(frame.size) < 2 * FAR:
            return self.state
        self._next = frame.time + self.every_s
        self.quality = measure(frame)
        if (found := self.judge(self.quality)) is Reason.OK:
            self._sound.append((self.quality.sharpness, self.quality.blockiness))
        self.state, self._found = found if self._found in (None, found) else self.state, found
        return self.state

    def judge(self, found: Quality) -> Reason:
        """OK, or why an image of this quality cannot be used."""
        limits, sharp, blocky = self.limits, self.limits.sharpness, self.limits.blockiness
        if len(self._sound) >= SOUND:
            usual = np.median(self._sound, axis=0)
            sharp, blocky = max(sharp, 0.5 * usual[0]), min(blocky, 1.5 * max(usual[1], 1.0))
        if found.bright < limits.bright:
            return Reason.DARK
        if found.saturated > limits.saturated:
            return Reason.OVEREXPOSED
        if found.noise > limits.noise or found.blockiness > blocky:
            return Reason.DAMAGED
        return Reason.BLURRED if found.sharpness < sharp or found.contrast < limits.contrast else Reason.OK

    def reset(self) -> None:
        """Another source: the next frame is checked at once; what was learned is forgotten."""
        self.state, self.quality, self._next, self._found = Reason.OK, None, -np.inf, None
        self._sound.clear()
