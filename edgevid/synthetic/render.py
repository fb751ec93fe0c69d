"""A rendered street: images of a synthetic scene, for trying edgevid without a camera. Every image states that
it is rendered. NumPy alone draws it."""

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from edgevid.synthetic.background import background
from edgevid.synthetic.scene import CLASSES, Noise, Scene, demo_street
from edgevid.synthetic.shapes import Layer, person_faces, rgba, shadows, vehicle_faces
from edgevid.types import Array, Detections, Frame
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
