"""Which decoder reads a model's outputs: told from names, shapes and what the exporter wrote.

Shapes cannot tell everything (the color order, the mean): `Guess.notes` says what was assumed, and
the draft recipe carries it as a comment, to be checked on an image.
"""

from __future__ import annotations

import ast
import dataclasses
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgevid.errors import EdgevidError, ModelError
from edgevid.runtime.class_names import COCO
from edgevid.runtime.engine import TensorSpec
from edgevid.runtime.onnxruntime.engine import OrtEngine
from edgevid.runtime.recipe import Decode, Recipe, Source
from edgevid.types import InputSpec

log = logging.getLogger("edgevid")

_ULTRALYTICS = "Ultralytics export: RGB divided by 255, fitted as its own predictor does"
_FEW_ROWS = 1000
"""More rows than this are anchors; a model that suppresses duplicates itself gives fewer."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What is known of a model without knowing what it is."""

    picture: TensorSpec
    outputs: tuple[TensorSpec, ...]
    width: int
    height: int
    layout: str
    producer: str
    names: tuple[str, ...]
    """Class names that the exporter wrote, or none."""
    ultralytics: bool
    head: str = ""
    """Name of the model's last layer, where the exporter wrote it."""

    def cells(self, *strides: int) -> int:
        """Cells of a grid of each stride together."""
        return sum(-(-self.width // s) * -(-self.height // s) for s in strides)


@dataclass(frozen=True, slots=True)
class Guess:
    """A decoder that fits, with the preprocessing that its family uses."""

    decode: Decode
    outputs: tuple[str, ...]
    classes: int
    family: str
    """Models that export this way, for people."""
    look: Mapping[str, object]
    """Fields of InputSpec besides the size."""
    notes: tuple[str, ...] = ()


_RGB_255 = {"color": "RGB", "resize": "letterbox"}
_NANODET = {
    "color": "BGR",
    "resize": "stretch",
    "mean": (103.53, 116.28, 123.675),
    "std": (57.375, 57.12, 58.395),
}
_PICODET = {
    "color": "RGB",
    "resize": "stretch",
    "mean": (123.675, 116.28, 103.53),
    "std": (58.395, 57.12, 57.375),
}
_YOLOX = {"color": "BGR", "resize": "letterbox", "anchor": "top-left", "std": (1.0, 1.0, 1.0)}
_DETR = {"color": "RGB", "resize": "stretch"}
_ASSUMED = "color order, mean and resize are those usual for this family: check them on an image"


def look_at(engine: OrtEngine) -> Seen:
    """What can be known of a loaded model; a blank image is run where it leaves its sizes open."""
    pictures = [spec for spec in engine.inputs if len(spec.shape) == 4]
    if not pictures:
        given = "; ".join(str(s) for s in engine.inputs)
        raise ModelError(
            f"{engine.path}: expected an input for images, of four axes; the model's are {given}"
        )
    picture, meta = pictures[0], engine.metadata
    layout = "NHWC" if picture.shape[3] in (1, 3) and picture.shape[1] not in (1, 3) else "NCHW"
    height, width = picture.shape[2:] if layout == "NCHW" else picture.shape[1:3]
    asked = _literal(meta.get("imgsz"), (640, 640))
    asked = asked if isinstance(asked, (tuple, list)) and len(asked) == 2 else (640, 640)
    height, width = (height if height > 0 else int(asked[0])), (width if width > 0 else int(asked[1]))
    names: Any = _literal(meta.get("names"), {})
    seen = Seen(
        picture=picture,
        outputs=engine.outputs,
        width=width,
        height=height,
        layout=layout,
        producer=str(meta.get("producer", "")),
        names=tuple(str(n) for n in (names.values() if isinstance(names, dict) else names or ())),
        head=str(meta.get("head", "")),
        ultralytics="ltralytics" in str(meta.get("author", "")) + str(meta.get("description", "")),
    )
    return seen if all(min(o.shape, default=1) > 0 for o in engine.outputs) else _measured(engine, seen)


def _literal(text: str | None, default: object) -> object:
    try:
        return ast.literal_eval(text) if text else default
    except (ValueError, SyntaxError):
        return default


def _measured(engine: OrtEngine, seen: Seen) -> Seen:
    """The same with the output shapes that a blank image gives; unchanged where it cannot be run."""
    known = {"orig_target_sizes": (seen.width, seen.height), "im_shape": (seen.height, seen.width)}
    feeds = {}
    for spec in engine.inputs:
        if spec.name == seen.picture.name:
            channels = spec.shape[1 if seen.layout == "NCHW" else 3]
            shape = (
                (1, channels, seen.height, seen.width)
                if seen.layout == "NCHW"
                else (1, seen.height, seen.width, channels)
            )
            feeds[spec.name] = np.zeros([abs(n) if n > 0 else 3 for n in shape], spec.dtype)
        else:
            feeds[spec.name] = np.array(
                [known.get(spec.name, (1,) * max(spec.shape[-1:], default=1))], spec.dtype
            )
    try:
        given = engine.run(feeds)
    except EdgevidError as error:
        log.debug("a blank image does not run: %s", error)
        return seen
    outputs = tuple(TensorSpec(o.name, given[o.name].shape, o.dtype) for o in engine.outputs)
    return dataclasses.replace(seen, outputs=outputs)


def identify(seen: Seen) -> Guess | None:
    """The decoder that fits the model's outputs, or None."""
    for matcher in _MATCHERS:
        if guess := matcher(seen):
            return guess
    return None


def _three_outputs(seen: Seen) -> Guess | None:
    """labels, boxes, scores after the exporter's own post-processing (RT-DETR, D-FINE)."""
    by_name = {o.name: o for o in seen.outputs}
    if not {"labels", "boxes", "scores"} <= set(by_name) or len(by_name["boxes"].shape) != 3:
        return None
    return Guess(
        Decode("boxes-scores-labels"),
        ("boxes", "scores", "labels"),
        len(seen.names) or 80,
        "RT-DETR or D-FINE, official export",
        _DETR,
        (_ASSUMED,),
    )


def _two_outputs(seen: Seen) -> Guess | None:
    """Boxes (1, Q, 4) beside class values (1, Q, C)."""
    boxes = [o for o in seen.outputs if len(o.shape) == 3 and o.shape[2] == 4]
    scores = [o for o in seen.outputs if len(o.shape) == 3 and o.shape[2] != 4]
    if len(boxes) != 1 or len(scores) != 1 or boxes[0].shape[1] != scores[0].shape[1]:
        return None
    names, classes = (boxes[0].name, scores[0].name), scores[0].shape[2]
    if boxes[0].shape[1] <= _FEW_ROWS:
        decode = Decode("boxes-scores", normalized=True, logits=True)
        return Guess(decode, names, classes, "a DETR-like transformer", _DETR, (_ASSUMED,))
    decode = Decode("boxes-scores", box="xyxy", nms_iou=0.7)
    note = "boxes are taken as corners in input pixels: check them on an image"
    return Guess(decode, names, classes, "YOLO-NAS", _RGB_255, (_ASSUMED, note))


def _distribution_levels(seen: Seen) -> Guess | None:
    """Class values and distance distributions for each stride (NanoDet, PicoDet)."""
    if len(seen.outputs) not in (6, 8) or any(len(o.shape) != 3 for o in seen.outputs):
        return None
    strides = (8, 16, 32, 64)[: len(seen.outputs) // 2]
    names: list[list[str]] = [[], []]
    classes = 0
    for stride in strides:
        level = [o for o in seen.outputs if o.shape[1] == seen.cells(stride)]
        distances = [o for o in level if o.shape[2] in (32, 64, 68, 28)]
        scores = [o for o in level if o not in distances]
        if len(distances) != 1 or len(scores) != 1:
            return None
        names[0].append(scores[0].name)
        names[1].append(distances[0].name)
        classes = scores[0].shape[2]
    paddle = "addle" in seen.producer
    family, look = ("PicoDet", _PICODET) if paddle else ("NanoDet", _NANODET)
    score, nms_iou = (0.4, 0.5) if paddle else (0.35, 0.6)
    decode = Decode("dfl", strides=strides, offset=0.5, score=score, nms_iou=nms_iou)
    return Guess(decode, (*names[0], *names[1]), classes, family, look, (_ASSUMED,))


def _one(seen: Seen, rank: int) -> TensorSpec | None:
    """The only output, where it has this rank."""
    return seen.outputs[0] if len(seen.outputs) == 1 and len(seen.outputs[0].shape) == rank else None


def _nanodet_plus(seen: Seen) -> Guess | None:
    """Classes and distributions of all levels in one tensor."""
    output = _one(seen, 3)
    strides = (8, 16, 32, 64)
    if output is None or output.shape[1] != seen.cells(*strides) or output.shape[2] <= 32:
        return None
    decode = Decode("dfl", strides=strides, offset=0.0, score=0.35, nms_iou=0.6)
    return Guess(decode, (output.name,), output.shape[2] - 32, "NanoDet-Plus", _NANODET, (_ASSUMED,))


def _grid_map(seen: Seen) -> Guess | None:
    """A feature map (1, 5 + C, h, w) of stride 16."""
    output = _one(seen, 4)
    if output is None or output.shape[2] * output.shape[3] != seen.cells(16) or output.shape[1] <= 5:
        return None
    look = {"color": "BGR", "resize": "stretch"}
    decode = Decode("fastestdet", score=0.5, nms_iou=0.45)
    return Guess(decode, (output.name,), output.shape[1] - 5, "FastestDet", look, (_ASSUMED,))


def _anchor_axis(seen: Seen, shape: tuple[int, ...]) -> int:
    """Which axis of (1, a, b) counts anchors, told by the grids' cells; 0 where neither does."""
    for strides in ((8, 16, 32), (8, 16, 32, 64), (4, 8, 16, 32)):
        cells = seen.cells(*strides)
        for axis in (1, 2):
            if shape[axis] in (cells, 3 * cells):
                return axis
    return 0


def _columns(seen: Seen) -> Guess | None:
    """(1, 4 + C, N) with more anchors than values."""
    output = _one(seen, 3)
    if output is None or output.shape[1] <= 4:
        return None
    square = output.shape[1] == output.shape[2]  # 80 classes at 64 pixels: the exporter's habit decides
    if _anchor_axis(seen, output.shape) == 1 and not (square and seen.ultralytics):
        return None
    if _anchor_axis(seen, output.shape) == 0 and output.shape[1] >= output.shape[2]:
        return None
    decode = Decode("yolo", layout="columns", nms_iou=0.7)
    notes = (_ULTRALYTICS if seen.ultralytics else _ASSUMED,)
    classes = output.shape[1] - 4
    return Guess(decode, (output.name,), classes, "YOLOv8, YOLO11 and their kin", _RGB_255, notes)


def _few_rows(seen: Seen) -> Guess | None:
    """(1, N, 6) of models without suppression, (1, N, 4 + C) of Ultralytics' RT-DETR."""
    output = _one(seen, 3)
    if output is None or output.shape[1] > _FEW_ROWS or output.shape[2] < 6:
        return None
    if _anchor_axis(seen, output.shape):
        return None
    notes = (_ULTRALYTICS if seen.ultralytics else _ASSUMED,)
    if output.shape[2] == 6 and "RTDETR" in seen.head:
        decode = Decode("end-to-end", box="cxcywh", normalized=True)
        return Guess(decode, (output.name,), len(seen.names), "RT-DETR, Ultralytics export", _DETR, notes)
    if output.shape[2] == 6 and len(seen.names) != 2:
        classes = len(seen.names) or 80
        family = "YOLOv10, YOLO26 or another end-to-end export"
        return Guess(Decode("end-to-end"), (output.name,), classes, family, _RGB_255, notes)
    decode = Decode("yolo", layout="rows", normalized=True)
    return Guess(decode, (output.name,), output.shape[2] - 4, "RT-DETR, Ultralytics export", _DETR, notes)


def _anchor_rows(seen: Seen) -> Guess | None:
    """(1, N, 4 + C) or (1, N, 5 + C): YOLOv5, YOLOX, or YOLOv8 transposed."""
    output = _one(seen, 3)
    if output is None or output.shape[2] < 5:
        return None
    _, anchors, values = output.shape
    cells = seen.cells(8, 16, 32)
    classes = len(seen.names)
    name, notes = (output.name,), (_ULTRALYTICS if seen.ultralytics else _ASSUMED,)
    if anchors in (3 * cells, 3 * seen.cells(8, 16, 32, 64)) and values > 5:
        decode = Decode("yolo", layout="rows", objectness=True, nms_iou=0.45)
        return Guess(decode, name, values - 5, "YOLOv5 or YOLOv7", _RGB_255, notes)
    if anchors == cells and (classes == values - 5 if classes else values != 84) and values > 5:
        note = (
            "if boxes come out wild, the export has decoded them already: "
            "take kind = 'yolo', layout = 'rows', objectness = true"
        )
        decode = Decode("yolox", strides=(8, 16, 32), nms_iou=0.65)
        return Guess(decode, name, values - 5, "YOLOX", _YOLOX, (_ASSUMED, note))
    decode = Decode("yolo", layout="rows", nms_iou=0.7)
    return Guess(decode, name, values - 4, "YOLOv8 or YOLO11, transposed", _RGB_255, notes)


_MATCHERS: Sequence[Callable[[Seen], Guess | None]] = (
    _three_outputs,
    _two_outputs,
    _distribution_levels,
    _grid_map,
    _nanodet_plus,
    _few_rows,
    _columns,
    _anchor_rows,
)


def draft(seen: Seen, guess: Guess, path: Path) -> Recipe:
    """The recipe that a guess amounts to."""
    spec = InputSpec(
        width=seen.width,
        height=seen.height,
        **{"layout": seen.layout, "dtype": str(seen.picture.dtype), **guess.look},  # type: ignore[arg-type]
    )
    numbered = tuple(f"class {k}" for k in range(guess.classes))
    names = seen.names or (COCO if guess.classes == len(COCO) else numbered)
    return Recipe(
        name="".join(c if c.isalnum() or c in ".-" else "-" for c in path.stem.lower()).strip(".-")
        or "model",
        task="detect",
        file=path.name,
        path=path.parent,
        summary=f"Draft made from {path.name}: {guess.family}",
        source=Source(),
        input=spec,
        input_name=seen.picture.name,
        outputs=guess.outputs,
        decode=guess.decode,
        names=names,
        local=path,
    )


def draft_recipe(path: Path) -> Recipe:
    """The recipe of an ONNX file that has none, as far as its shapes tell; the guess is logged.

    Raises ModelError where no decoder fits.
    """
    with OrtEngine(path, device="cpu") as engine:
        seen = look_at(engine)
    guess = identify(seen)
    if guess is None:
        given = "; ".join(str(o) for o in seen.outputs)
        raise ModelError(
            f"{path}: no decoder is known for outputs {given}. "
            "Write a recipe that names the outputs to read: docs/recipes.md"
        )
    log.warning("%s has no recipe; taken for %s. %s", path.name, guess.family, "; ".join(guess.notes))
    return draft(seen, guess, path)
