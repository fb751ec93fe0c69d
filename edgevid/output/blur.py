"""Blur: persons, faces, plates or any class are pixelated before a frame is written, shown or sent. Few large blocks
stay of each object, whatever its size, so that nothing can be restored from them."""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from edgevid.detect.detector import Detector
from edgevid.errors import InputError, did_you_mean
from edgevid.models.hub import resolve_model
from edgevid.runtime import LocalRecipe, load_engine
from edgevid.types import U8, Array, Closing, Frame, Result

BLOCKS = 3  # Blocks along the longer side of an object
LARGER = 0.15  # A box is enlarged by this share of its size on each side
HOLD_S = 0.5  # Places stay pixelated for this long after the last detection there
FACE_SCORE = 0.3
VEHICLES = ("car", "truck", "bus", "motorcycle", "van", "vehicle")


class Blur(Closing):
    """The first sink of a run: those after it get pixelated frames, and so does a viewer."""

    def __init__(self, words: Sequence[str], names: Sequence[str], *, found: Sequence[str] = (),
                 face_model: str | Path | None = None) -> None:  # fmt: skip
        """`words` are of the detector's `names`, and "face" and "plate"; `found` are those it looks for. Faces are
        found by `face_model`, such as a YuNet; without one, the upper part of each person is pixelated. Of a detector
        without plates the lower part of each vehicle is. InputError where it finds nothing that a word needs."""
        found = found or names
        parts = dict.fromkeys(words, (0.0, 1.0))
        if "face" in parts and "face" not in found:
            del parts["face"]
            parts |= {} if face_model else {"person": parts.get("person", (0.0, 0.4))}
        if "plate" in parts and "plate" not in found:
            del parts["plate"]
            parts = {name: (0.4, 1.0) for name in VEHICLES if name in found} | parts
            if not set(VEHICLES) & set(found):
                raise InputError("--blur plate: expected a detector of vehicles: add car to its classes")
        for word in parts:
            if word not in found:
                known = ", ".join([*found[:10], "face", "plate"])
                raise InputError(f"--blur: expected names among {known}, got {word!r}, which the "
                                 f"detector does not find{did_you_mean(word, found)}")  # fmt: skip
        self._parts = {names.index(word): part for word, part in parts.items()}
        self._faces = _Faces(face_model) if face_model and "face" in words else None
        self._held: deque[tuple[float, Array]] = deque()

    def write(self, frame: Frame, result: Result) -> None:
        """Pixelates the frame itself."""
        found = [self._faces.find(frame)] if self._faces is not None else []
        for table in (result.tracks, result.detections):
            for label, (top, bottom) in self._parts.items():
                boxes = table.boxes[table.labels == label].astype(float)
                tall = boxes[:, 3] - boxes[:, 1]
                high, low = boxes[:, 1] + top * tall, boxes[:, 1] + bottom * tall
                found.append(np.stack([boxes[:, 0], high, boxes[:, 2], low], 1))
        while self._held and not 0 <= frame.time - self._held[0][0] <= HOLD_S:
            self._held.popleft()
        now = np.concatenate([*found, np.zeros((0, 4))])
        older = [_outside(boxes, now) for _, boxes in self._held]
        self._held.append((frame.time, now))
        pixelate(frame, np.concatenate([now, *older]))

    def close(self) -> None:
        """Releases the model of faces."""
        if self._faces is not None:
            self._faces.engine.close()


def _outside(boxes: Array, others: Array) -> Array:
    center = (boxes[:, None, :2] + boxes[:, None, 2:]) / 2
    covered = ((center > others[:, :2]) & (center < others[:, 2:])).all(axis=2)
    return np.asarray(boxes[~np.any(covered, axis=1)])


def pixelate(frame: Frame, boxes: Iterable[Array]) -> None:
    """Replaces what lies in boxes x1, y1, x2, y2 by a few blocks, enlarged; the decoder's memory stays."""
    if not (rows := [box for box in boxes if np.isfinite(box).all()]):
        return
    if frame.planes is not None:
        y, u, v = (plane.copy() for plane in frame.planes)
        frame.planes, frame._image = (y, u, v), None  # the image is made of them again
        planes = [(y, 1), (u, 2), (v, 2)]
    else:
        frame._image = frame.image.copy()
        planes = [(frame._image, 1)]
    for box in rows:
        for plane, scale in planes:
            _blocks(plane, np.asarray(box) / scale)


def _blocks(plane: U8, box: Array) -> None:
    grow = LARGER * np.array([box[2] - box[0], box[3] - box[1]])
    low, high = np.floor(box[:2] - grow), np.ceil(box[2:] + grow)
    x1, y1 = (max(0, int(v)) for v in low)
    x2, y2 = (min(int(v), n) for v, n in zip(high, plane.shape[1::-1], strict=True))
    if x2 <= x1 or y2 <= y1:
        return
    size = max(1, -(-max(x2 - x1, y2 - y1) // BLOCKS))
    part = plane[y1:y2, x1:x2]
    ys, xs = np.arange(0, y2 - y1, size), np.arange(0, x2 - x1, size)
    sums = np.add.reduceat(np.add.reduceat(part, ys, axis=0, dtype=np.uint32), xs, axis=1)
    tall, wide = np.diff([*ys, y2 - y1]), np.diff([*xs, x2 - x1])
    area = (tall[:, None] * wide)[(...,) + (None,) * (plane.ndim - 2)]
    means = (sums // area).astype(np.uint8)
    part[:] = np.repeat(np.repeat(means, tall, axis=0), wide, axis=1)


class _Faces:
    """A detector of faces. One whose input has an open size gets each frame at its own size, for small faces."""

    def __init__(self, model: str | Path) -> None:
        self._recipe = resolve_model(model)
        self.engine = load_engine(self._recipe)
        self._open = min(self.engine.inputs[0].shape[2:]) < 1
        self._detector = self._of(self._recipe)

    def _of(self, recipe: LocalRecipe) -> Detector:
        """A detector whose overlapping boxes are all there: what is pixelated is to cover each."""
        return Detector(self.engine, recipe, score_threshold=FACE_SCORE, nms_iou=1.0, same_object_iou=None)

    def find(self, frame: Frame) -> Array:
        """(N, 4) boxes in frame pixels."""
        width, height = (-(-side // 32) * 32 for side in frame.size)
        spec = replace(self._detector.recipe.input, width=width, height=height)
        if self._open and spec != self._detector.recipe.input:
            self._detector = self._of(replace(self._recipe, input=spec))
        return self._detector.detect([frame])[0].boxes.astype(float)
