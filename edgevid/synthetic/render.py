"""A rendered street: images of a synthetic scene, for trying edgevid without a camera.

Every image states that it is rendered.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence

import numpy as np

from edgevid._opencv import cv2, require_opencv
from edgevid.synthetic.scene import CLASSES, Camera, Noise, Scene, Truth
from edgevid.synthetic.street import street
from edgevid.types import Array, Detections, Frame
from edgevid.video.base import SourceBase

FACES = ((0, 1, 5, 4), (1, 2, 6, 5), (2, 3, 7, 6), (3, 0, 4, 7), (4, 5, 6, 7))
"""Corners of front, left, back, right and roof."""
SHADING = (0.80, 0.62, 0.72, 0.9, 1.08)
"""Brightness of each face."""
PAINTS = ((178, 42, 38), (36, 84, 160), (220, 220, 222), (52, 56, 62), (34, 112, 84), (206, 150, 48))
WATERMARK = "RENDERED - not a camera"


class RenderedStreet(SourceBase):
    """A source of rendered frames; iterate it inside `with`, as any other."""

    def __init__(self, scene: Scene | None = None, *, seconds: float = 20.0, fps: float = 25.0) -> None:
        super().__init__()
        require_opencv("The rendered street")
        self.scene = scene or street(1, seconds=seconds, camera=Camera(1280, 720, 930.0, 7.0, 16.0))
        self.times = [n / fps for n in range(round(seconds * fps))]
        self.fps, self.frame_count = fps, len(self.times)
        self.size = (self.scene.camera.width, self.scene.camera.height)
        self._ground = _ground(self.scene.camera)

    def __iter__(self) -> Iterator[Frame]:
        for index, time in enumerate(self.times):
            self.decoded += 1
            yield Frame(self.render(time), time, index)

    def render(self, time: float) -> Array:
        """(H, W, 3) uint8 RGB of one moment."""
        image = self._ground.copy()
        truth = self.scene.at(time)
        for row in np.argsort(-truth.positions[:, 1], kind="stable"):  # far ones first
            if CLASSES[truth.labels[row]] == "person":
                _person(image, self.scene.camera, truth, row)
            else:
                _vehicle(image, self.scene.camera, truth, row)
        cv2.putText(image, WATERMARK, (12, 26), cv2.FONT_HERSHEY_DUPLEX, 0.6, (255, 255, 255), 1, cv2.LINE_AA)
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


def _ground(camera: Camera) -> Array:
    """Sky, grass, sidewalks, road and its markings."""
    image = np.empty((camera.height, camera.width, 3), np.uint8)
    horizon = int(camera.height / 2 - camera.focal * math.tan(math.radians(camera.pitch)))
    rows = np.arange(camera.height)[:, None]
    share = np.clip(rows / max(1, horizon), 0, 1)
    image[:] = (np.array([136, 170, 208]) * (1 - share) + np.array([214, 222, 228]) * share)[:, None]
    image[max(0, horizon) :] = (104, 122, 84)
    _flat(image, camera, -11.5, 11.5, (148, 146, 140))
    _flat(image, camera, -7.4, 9.3, (70, 72, 76))
    for x, dashed in ((-7.1, False), (-3.5, True), (-0.1, False), (0.1, False), (3.5, True), (7.1, False)):
        for near, far in [(n, n + 3.0) for n in np.arange(4, 160, 9)] if dashed else [(4.0, 200.0)]:
            _flat(image, camera, x - 0.07, x + 0.07, (222, 222, 214), float(near), float(far))
    grain = np.random.default_rng(0).normal(0, 3, image.shape[:2])[..., None]
    return np.clip(image + grain, 0, 255).astype(np.uint8)


def _flat(
    image: Array, camera: Camera, left: float, right: float, color: Sequence[int], near: float = 2.0,
    far: float = 400.0,
) -> None:  # fmt: skip
    """Fills a strip of the ground."""
    near = max(near, 1.05 * _nearest(camera))
    corners = np.array([[left, near, 0], [right, near, 0], [right, far, 0], [left, far, 0]], float)
    if far > near:
        _fill(image, camera.project(corners), color)


def _nearest(camera: Camera) -> float:
    """Distance in meters of the nearest ground in front of the camera."""
    return 0.15 - camera.height_m * math.tan(math.radians(camera.pitch)) if camera.pitch < 0 else 0.5


def _fill(image: Array, corners: Array, color: Sequence[float] | Array) -> None:
    if np.isfinite(corners).all():
        points = np.clip(np.round(corners * 16), -(2**24), 2**24).astype(np.int32)
        cv2.fillPoly(image, [points], tuple(float(min(255, v)) for v in color), cv2.LINE_AA, 4)


def _vehicle(image: Array, camera: Camera, truth: Truth, row: int) -> None:
    corners = truth.corners[row]
    paint = np.array(PAINTS[int(truth.ids[row]) % len(PAINTS)], float)
    shadow = corners[:4].copy()
    shadow[:, :2] = shadow[:, :2].mean(0) + 1.12 * (shadow[:, :2] - shadow[:, :2].mean(0))
    _fill(image, camera.project(shadow), (46, 48, 50))
    eye = np.array([0, 0, camera.height_m])
    body = corners.copy()
    for n, face in enumerate(FACES):
        quad = body[list(face)]
        outward = quad.mean(0) - body.mean(0)
        if outward @ (eye - quad.mean(0)) <= 0:
            continue
        _fill(image, camera.project(quad), paint * SHADING[n])
        if n < 4:  # windows: the upper part of each side, a little inside its edges
            spots = ((0.1, 0.55), (0.9, 0.55), (0.9, 0.9), (0.1, 0.9))
            glass = np.array([_between(quad, along, up) for along, up in spots])
            _fill(image, camera.project(glass), np.array([60, 74, 90]) * SHADING[n])


def _between(quad: Array, along: float, up: float) -> Array:
    """A point of a side face, in fractions of its length and height."""
    low = quad[0] * (1 - along) + quad[1] * along
    high = quad[3] * (1 - along) + quad[2] * along
    return np.asarray(low * (1 - up) + high * up)


def _person(image: Array, camera: Camera, truth: Truth, row: int) -> None:
    x, y = truth.positions[row]
    feet, hip, head = camera.project(np.array([[x, y, 0.0], [x, y, 0.85], [x, y, 1.62]]))
    if not np.isfinite([feet, hip, head]).all():
        return
    tall = feet[1] - head[1]
    swing = 0.12 * tall * math.sin(truth.time * 7 + int(truth.ids[row]))
    coat = PAINTS[(int(truth.ids[row]) * 5 + 2) % len(PAINTS)]
    thick = max(1, round(tall * 0.11))
    for side in (-1, 1):
        end = (round(feet[0] + side * swing), round(feet[1]))
        cv2.line(image, (round(hip[0]), round(hip[1])), end, (40, 42, 52), thick, cv2.LINE_AA)
    neck = (round(head[0]), round(head[1] + 0.12 * tall))
    cv2.line(image, (round(hip[0]), round(hip[1])), neck, coat, max(2, round(tall * 0.26)), cv2.LINE_AA)
    cv2.circle(
        image, (round(head[0]), round(head[1])), max(1, round(tall * 0.085)), (202, 164, 138), -1, cv2.LINE_AA
    )
