"""A rendered street: images of a synthetic scene, for trying edgevid without a camera. Every image states that
it is rendered. NumPy alone draws it.

`motion_actions` tells what its people do from how their pixels and boxes change: no network is needed."""

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from edgevid.synthetic.background import background
from edgevid.synthetic.scene import CLASSES, Noise, Scene, demo_street
from edgevid.synthetic.shapes import LOOKS, Layer, person_faces, rgba, shadows, vehicle_faces
from edgevid.types import Array, Clips, Detections, Frame
from edgevid.video.frames import Source

SHADE = 0.42  # How dark a shadow is


class RenderedStreet(Source):
    """A source of rendered frames; iterate it inside `with`, as any other."""

    def __init__(self, scene: Scene | None = None, *, seconds: float = 20.0, fps: float = 25.0) -> None:
        super().__init__()
        self.scene = scene or demo_street(seconds)
        self.times = [n / fps for n in range(round(seconds * fps))]
        self.fps, self.frame_count = fps, len(self.times)
        self.size = (self.scene.camera.width, self.scene.camera.height)
        self._layer = Layer(*self.size)

    def __iter__(self) -> Iterator[Frame]:
        for index, time in enumerate(self.times):
            self.decoded += 1
            yield Frame(self.render(time), time, index)

    def render(self, time: float) -> Array:
        """(H, W, 3) uint8 RGB of one moment."""
        camera, truth = self.scene.camera, self.scene.at(time)
        plain, under, mark = background(camera)
        image = plain.copy()
        people = truth.labels == CLASSES.index("person")
        rows = [np.flatnonzero(~people), np.flatnonzero(people)]
        drawn = [vehicle_faces(camera, truth, rows[0]), person_faces(camera, truth, rows[1])]
        points, colors, owners = (np.concatenate([one[k] for one in drawn]) for k in range(3))
        dark = camera.project(shadows(truth))
        self._layer.paint(dark, rgba(np.zeros((len(dark), 3)), SHADE))
        order = np.lexsort((owners, -truth.positions[owners, 1]))  # far ones first
        self._layer.paint(points[order], rgba(colors[order]))
        self._layer.paint(*mark)
        self._layer.blend(image, under)
        return image


class RenderedDetector:
    """A detector without a model: true boxes with time-correlated jitter, misses and false positives."""

    names = CLASSES

    def __init__(self, source: RenderedStreet) -> None:
        noise = Noise(jitter_px=1.5, correlation_s=0.15, miss_rate=0.05, false_positives=0.05)
        scene = dataclasses.replace(source.scene, noise=noise)
        self._detections = [detections for _, detections, _ in scene.simulate(source.times)]

    def detect(self, frames: Sequence[Frame]) -> list[Detections]:
        """The detections of each frame, by its index."""
        return [self._detections[frame.index] for frame in frames]


WEIGHTS = np.array(LOOKS["motion"])  # Of stand, walk, run, wave: a row for each of `features`, the last a constant


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
    """(M, 4) probabilities of ACTIONS. The mean change of the lower and of the upper half of a person's crops (motion
    energy, Bobick and Davis 2001) and the way of the box go into a softmax regression that
    `benchmarks/street_motion.py` fits on other rendered streets. It has not been tried on a camera."""
    logits = features(clips) @ WEIGHTS
    shares = np.exp(logits - logits.max(1, keepdims=True))
    return np.asarray(shares / shares.sum(1, keepdims=True), np.float32)
