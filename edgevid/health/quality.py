"""ImageQuality: whether an image shows enough to recognize anything in it, measured once a second. Sharpness,
blockiness and noise come from 24 tiles in full resolution, exposure and contrast from every n-th pixel of the luma."""

from collections import deque
from dataclasses import dataclass, field

import numpy as np

from edgevid.errors import InputError
from edgevid.types import Array, Frame, Reason

TILE, ROWS, COLUMNS = 64, 4, 6  # Tiles of a frame; their sides are blocks of 8, as of JPEG and H.264
FAR = 8  # Pixels over which the change of luma is that of the scene, blurred or not
LEARN, REMEMBER = 60, 1800  # Sound checks from which on a camera's own history counts, and that are remembered


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
    side, step = min(TILE, height // 8 * 8, width // 8 * 8), max(1, min(height, width) // 60)
    if side < 2 * FAR:
        raise InputError(f"image quality: expected at least 16x16 pixels, got {width}x{height}")
    small = frame.luma(slice(None, None, step), slice(None, None, step))
    if frame.planes is not None and not frame.full_range:  # luma of video: 16 to 235
        small = (small - 16) * (255 / 219)
    low, bright = np.percentile(small, (2, 98)).tolist()
    tops, lefts = (
        np.unique(np.linspace(0, length - side, count).astype(int) // 8 * 8)
        for length, count in ((height, ROWS), (width, COLUMNS))
    )
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
    """Checks a frame every second; `state` is OK, or why the image cannot be used. Once `LEARN` images were
    sound, half of the camera's usual sharpness, or one and a half times its usual blockiness, is too little, or
    too much, as well. What is learned is kept until the program ends. The default limits were chosen on the photos of
    COCO and on clips of actions."""

    limits: Quality = field(default_factory=Quality)
    every_s: float = 1.0
    state: Reason = Reason.OK
    quality: Quality | None = None
    """Of the last check."""
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
        found = self.judge(self.quality)
        if found is Reason.OK:
            self._sound.append((self.quality.sharpness, self.quality.blockiness))
        self.state, self._found = found if self._found in (None, found) else self.state, found
        return self.state

    def judge(self, found: Quality) -> Reason:
        """OK, or why an image of this quality cannot be used."""
        limits, sharp, blocky = self.limits, self.limits.sharpness, self.limits.blockiness
        if len(self._sound) >= LEARN:
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
