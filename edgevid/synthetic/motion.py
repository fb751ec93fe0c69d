"""What the people of the rendered street do, from how their pixels and boxes change: no network is needed.

The mean change of the lower and of the upper half of a person's crops (motion energy, Bobick and Davis 2001)
and the way of the box go into a softmax regression that `benchmarks/street_motion.py` fits on other rendered
streets. It is for the demo alone: it has not been tried on a camera."""

import numpy as np

from edgevid.synthetic.shapes import LOOKS
from edgevid.types import Array, Clips

WEIGHTS = np.array(LOOKS["motion"])
"""Of stand, walk, run and wave: one row for each of `features`, the last for a constant."""


def features(clips: Clips) -> Array:
    """(M, 6): motion energy below and above, way of the box, the strongest motion above, height, and 1."""
    gray = clips.pixels.mean(-1, dtype=np.float32)
    known = np.isfinite(clips.times)
    pairs = (known[:, 1:] & known[:, :-1])[..., None]
    scale = gray.std((2, 3)).mean(1)[:, None, None, None] + 4.0
    change = np.where(pairs[..., None], np.abs(np.diff(gray, axis=1)) / scale, 0.0)
    count, half = pairs.sum((1, 2)).clip(1), gray.shape[2] // 2
    below, above = (part.mean((2, 3)).sum(1) / count for part in (change[:, :, half:], change[:, :, :half]))
    boxes = np.where(known[..., None], clips.boxes, np.nan)
    seconds = np.nanmax(clips.times, 1) - np.nanmin(clips.times, 1)
    ends = known.argmax(1), -1 - known[:, ::-1].argmax(1)
    first, last = (boxes[np.arange(len(boxes)), at] for at in ends)
    tall = np.maximum((first[:, 3] - first[:, 1] + last[:, 3] - last[:, 1]) / 2, 1.0)
    way = np.hypot(last[:, 0] + last[:, 2] - first[:, 0] - first[:, 2], 2 * (last[:, 3] - first[:, 3])) / 2
    peak = np.percentile(change[:, :, :half].sum(1) / count[:, None, None], 96, axis=(1, 2))  # a hand
    return np.stack([below, above, np.log1p(8 * way / tall / np.maximum(seconds, 0.1)),
                     peak, np.log(tall / 80), np.ones(len(tall))], 1)  # fmt: skip


def motion_actions(clips: Clips) -> Array:
    """(M, 4) probabilities of ACTIONS."""
    logits = features(clips) @ WEIGHTS
    shares = np.exp(logits - logits.max(1, keepdims=True))
    return np.asarray(shares / shares.sum(1, keepdims=True), np.float32)
