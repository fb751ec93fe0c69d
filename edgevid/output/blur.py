"""Blur: persons, faces, plates or any class are pixelated before a frame is written, shown or sent. Few large blocks
stay of each object, whatever its size, so that nothing can be restored from them."""

from collections import deque
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgevid.errors import InputError, did_you_mean
from edgevid.runtime import load_engine
from edgevid.types import U8, Array, Frame, Result
from edgevid.types.closing import Closing
from edgevid.video.images import resize_area

BLOCKS = 3  # Blocks along the longer side of an object
LARGER = 0.15  # A box is enlarged by this share of its size on each side
HOLD_S = 0.5  # Places stay pixelated for this long after the last detection there
FACE_SCORE = 0.3
STRIDES = (8, 16, 32)
VEHICLES = ("car", "truck", "bus", "motorcycle", "van", "vehicle")


class Blur(Closing):
    """The first sink of a run: those after it get pixelated frames, and so does a viewer."""

    def __init__(
        self, words: Sequence[str], names: Sequence[str], *, found: Sequence[str] = (),
        face_model: str | Path | None = None,
    ) -> None:  # fmt: skip
        """`words` are of the detector's `names`, and "face" and "plate"; `found` are those it looks for. Faces are
        found by `face_model`, a YuNet; without one, the upper part of each person is pixelated. Of a detector without
        plates the lower part of each vehicle is. InputError where the detector finds nothing that a word needs."""
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
                raise InputError(
                    f"--blur: expected names among {known}, got {word!r}, which the detector does not find"
                    f"{did_you_mean(word, found)}"
                )
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
    rows = [box for box in boxes if np.isfinite(box).all()]
    if not rows:
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
    """YuNet (Wu et al. 2023, "YuNet: a tiny millisecond-level face detector")."""

    def __init__(self, model: str | Path) -> None:
        self.engine: Any = load_engine(model)
        spec = self.engine.inputs[0]
        self._name = spec.name
        sides = [side if isinstance(side, int) and side > 0 else 0 for side in spec.shape[2:]]
        self._fixed = (sides[1], sides[0]) if all(sides) else None
        needed = {f"{head}_{stride}" for head in ("cls", "obj", "bbox") for stride in STRIDES}
        if not needed <= {spec.name for spec in self.engine.outputs}:
            raise InputError(f"{model}: expected a YuNet, whose outputs are cls_8, obj_8, bbox_8, ...")

    def find(self, frame: Frame) -> Array:
        """(N, 4) boxes in frame pixels; overlapping ones are all there."""
        width, height = self._fixed or tuple(-(-side // 32) * 32 for side in frame.size)
        scale = min(width / frame.width, height / frame.height, 1.0)
        image = frame.image
        if scale < 1.0:
            image = resize_area(image, (round(frame.width * scale), round(frame.height * scale)))
        batch = np.zeros((1, 3, height, width), np.float32)
        batch[0, :, : image.shape[0], : image.shape[1]] = image[:, :, ::-1].transpose(2, 0, 1)
        outputs, found = self.engine.run({self._name: batch}), []
        for stride in STRIDES:
            score = np.sqrt(np.clip(outputs[f"cls_{stride}"] * outputs[f"obj_{stride}"], 0, 1)).ravel()
            rows = np.flatnonzero(score > FACE_SCORE)
            x, y, w, h = outputs[f"bbox_{stride}"].reshape(-1, 4)[rows].T
            across = width // stride
            x, y = (rows % across + x) * stride, (rows // across + y) * stride
            half = np.exp(w) * stride / 2, np.exp(h) * stride / 2
            found.append(np.stack([x - half[0], y - half[1], x + half[0], y + half[1]], 1))
        return np.concatenate(found) / scale
