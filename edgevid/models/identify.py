"""Which decoder reads a model's outputs: guessed from names, shapes and the exporter's metadata.

Shapes do not determine everything (the color order, the mean): `DecoderGuess.notes` states what was
assumed, and the draft recipe holds it as a comment, to be checked on an image.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgevid.errors import ModelError
from edgevid.models.signature import ModelSignature, read_signature
from edgevid.runtime.engine import TensorSpec
from edgevid.runtime.letterbox import InputSpec
from edgevid.runtime.onnxruntime.engine import OrtEngine
from edgevid.runtime.recipe import COCO, Decode, LocalRecipe, Source

log = logging.getLogger("edgevid")

_ULTRALYTICS = "Ultralytics export: RGB divided by 255, letterboxed as by its own predictor"
_FEW_ROWS = 1000
"""More rows than this are anchors; a model that suppresses duplicates itself gives fewer."""


@dataclass(frozen=True, slots=True)
class DecoderGuess:
    """A decoder that fits, with the preprocessing that its family uses."""

    decode: Decode
    outputs: tuple[str, ...]
    classes: int
    family: str
    """The models that export this way."""
    preprocessing: Mapping[str, Any]
    """Fields of InputSpec other than the size."""
    notes: tuple[str, ...] = ()


_RGB_255 = {"color": "RGB", "resize": "letterbox"}
_IMAGENET = {"mean": (123.675, 116.28, 103.53), "std": (58.395, 57.12, 57.375)}
_PICODET = {"color": "RGB", "resize": "stretch", **_IMAGENET}
_NANODET = {"color": "BGR", "resize": "stretch", **{key: rgb[::-1] for key, rgb in _IMAGENET.items()}}
_YOLOX = {"color": "BGR", "resize": "letterbox", "anchor": "top-left", "std": (1.0, 1.0, 1.0)}
_DETR = {"color": "RGB", "resize": "stretch"}
_ASSUMED = "color order, mean and resize are those usual for this family: check them on an image"


def identify(model: ModelSignature) -> DecoderGuess | None:
    """The decoder that fits the model's outputs, or None."""
    return next(filter(None, (matcher(model) for matcher in _MATCHERS)), None)


def _three_outputs(model: ModelSignature) -> DecoderGuess | None:
    """labels, boxes, scores after the exporter's own post-processing (RT-DETR, D-FINE)."""
    by_name = {o.name: o for o in model.outputs}
    if not {"labels", "boxes", "scores"} <= set(by_name) or len(by_name["boxes"].shape) != 3:
        return None
    family, classes = "RT-DETR or D-FINE, official export", len(model.names) or 80
    outputs = ("boxes", "scores", "labels")
    return DecoderGuess(Decode("boxes-scores-labels"), outputs, classes, family, _DETR, (_ASSUMED,))


def _two_outputs(model: ModelSignature) -> DecoderGuess | None:
    """Boxes (1, Q, 4) and class values (1, Q, C)."""
    boxes = [o for o in model.outputs if len(o.shape) == 3 and o.shape[2] == 4]
    scores = [o for o in model.outputs if len(o.shape) == 3 and o.shape[2] != 4]
    if len(boxes) != 1 or len(scores) != 1 or boxes[0].shape[1] != scores[0].shape[1]:
        return None
    names, classes = (boxes[0].name, scores[0].name), scores[0].shape[2]
    if boxes[0].shape[1] <= _FEW_ROWS:
        decode = Decode("boxes-scores", normalized=True, logits=True)
        return DecoderGuess(decode, names, classes, "a DETR-like transformer", _DETR, (_ASSUMED,))
    decode = Decode("boxes-scores", box="xyxy", nms_iou=0.7)
    note = "boxes are taken as corners in input pixels: check them on an image"
    return DecoderGuess(decode, names, classes, "YOLO-NAS", _RGB_255, (_ASSUMED, note))


def _distribution_levels(model: ModelSignature) -> DecoderGuess | None:
    """Class values and distance distributions for each stride (NanoDet, PicoDet)."""
    if len(model.outputs) not in (6, 8) or any(len(o.shape) != 3 for o in model.outputs):
        return None
    strides = (8, 16, 32, 64)[: len(model.outputs) // 2]
    names: list[list[str]] = [[], []]
    classes = 0
    for stride in strides:
        level = [o for o in model.outputs if o.shape[1] == model.cells(stride)]
        distances = [o for o in level if o.shape[2] in (32, 64, 68, 28)]
        scores = [o for o in level if o not in distances]
        if len(distances) != 1 or len(scores) != 1:
            return None
        names[0].append(scores[0].name)
        names[1].append(distances[0].name)
        classes = scores[0].shape[2]
    paddle = "addle" in model.producer
    family, preprocessing = ("PicoDet", _PICODET) if paddle else ("NanoDet", _NANODET)
    score, nms_iou = (0.4, 0.5) if paddle else (0.35, 0.6)
    decode = Decode("dfl", strides=strides, offset=0.5, score_threshold=score, nms_iou=nms_iou)
    return DecoderGuess(decode, (*names[0], *names[1]), classes, family, preprocessing, (_ASSUMED,))


def _one(model: ModelSignature, rank: int) -> TensorSpec | None:
    """The only output, where it has this rank."""
    return model.outputs[0] if len(model.outputs) == 1 and len(model.outputs[0].shape) == rank else None


def _nanodet_plus(model: ModelSignature) -> DecoderGuess | None:
    """Classes and distributions of all levels in one tensor."""
    output = _one(model, 3)
    strides = (8, 16, 32, 64)
    if output is None or output.shape[1] != model.cells(*strides) or output.shape[2] <= 32:
        return None
    decode = Decode("dfl", strides=strides, offset=0.0, score_threshold=0.35, nms_iou=0.6)
    return DecoderGuess(decode, (output.name,), output.shape[2] - 32, "NanoDet-Plus", _NANODET, (_ASSUMED,))


def _grid_map(model: ModelSignature) -> DecoderGuess | None:
    """A feature map (1, 5 + C, h, w) of stride 16."""
    output = _one(model, 4)
    if output is None or output.shape[2] * output.shape[3] != model.cells(16) or output.shape[1] <= 5:
        return None
    preprocessing = {"color": "BGR", "resize": "stretch"}
    decode = Decode("fastestdet", score_threshold=0.5, nms_iou=0.45)
    return DecoderGuess(decode, (output.name,), output.shape[1] - 5, "FastestDet", preprocessing, (_ASSUMED,))


def _anchor_axis(model: ModelSignature, shape: tuple[int, ...]) -> int:
    """Which axis of (1, a, b) counts anchors, by the grids' cells; 0 where neither does."""
    for strides in ((8, 16, 32), (8, 16, 32, 64), (4, 8, 16, 32)):
        cells = model.cells(*strides)
        for axis in (1, 2):
            if shape[axis] in (cells, 3 * cells):
                return axis
    return 0


def _columns(model: ModelSignature) -> DecoderGuess | None:
    """(1, 4 + C, N) with more anchors than values."""
    output = _one(model, 3)
    if output is None or output.shape[1] <= 4:
        return None
    square = output.shape[1] == output.shape[2]  # 80 classes at 64 pixels: the exporter decides
    if _anchor_axis(model, output.shape) == 1 and not (square and model.ultralytics):
        return None
    if _anchor_axis(model, output.shape) == 0 and output.shape[1] >= output.shape[2]:
        return None
    decode = Decode("yolo", layout="columns", nms_iou=0.7)
    notes = (_ULTRALYTICS if model.ultralytics else _ASSUMED,)
    classes = output.shape[1] - 4
    return DecoderGuess(decode, (output.name,), classes, "YOLOv8, YOLO11 or a relative", _RGB_255, notes)


def _few_rows(model: ModelSignature) -> DecoderGuess | None:
    """(1, N, 6) of models without suppression, (1, N, 4 + C) of Ultralytics' RT-DETR."""
    output = _one(model, 3)
    if output is None or output.shape[1] > _FEW_ROWS or output.shape[2] < 6:
        return None
    if _anchor_axis(model, output.shape):
        return None
    notes = (_ULTRALYTICS if model.ultralytics else _ASSUMED,)
    name, values, classes = (output.name,), output.shape[2], len(model.names)
    family = "RT-DETR, Ultralytics export"
    if values == 6 and "RTDETR" in model.head:
        decode = Decode("end-to-end", box="cxcywh", normalized=True)
        return DecoderGuess(decode, name, classes, family, _DETR, notes)
    if values == 6 and classes != 2:
        family = "YOLOv10, YOLO26 or another end-to-end export"
        return DecoderGuess(Decode("end-to-end"), name, classes or 80, family, _RGB_255, notes)
    decode = Decode("yolo", layout="rows", normalized=True)
    return DecoderGuess(decode, name, values - 4, family, _DETR, notes)


def _anchor_rows(model: ModelSignature) -> DecoderGuess | None:
    """(1, N, 4 + C) or (1, N, 5 + C): YOLOv5, YOLOX, or YOLOv8 transposed."""
    output = _one(model, 3)
    if output is None or output.shape[2] < 5:
        return None
    _, anchors, values = output.shape
    cells = model.cells(8, 16, 32)
    classes = len(model.names)
    name, notes = (output.name,), (_ULTRALYTICS if model.ultralytics else _ASSUMED,)
    if anchors in (3 * cells, 3 * model.cells(8, 16, 32, 64)) and values > 5:
        decode = Decode("yolo", layout="rows", objectness=True, nms_iou=0.45)
        return DecoderGuess(decode, name, values - 5, "YOLOv5 or YOLOv7", _RGB_255, notes)
    if anchors == cells and (classes == values - 5 if classes else values != 84) and values > 5:
        note = (
            "if boxes are wrong, the export has decoded them already: "
            "take kind = 'yolo', layout = 'rows', objectness = true"
        )
        decode = Decode("yolox", strides=(8, 16, 32), nms_iou=0.65)
        return DecoderGuess(decode, name, values - 5, "YOLOX", _YOLOX, (_ASSUMED, note))
    decode = Decode("yolo", layout="rows", nms_iou=0.7)
    return DecoderGuess(decode, name, values - 4, "YOLOv8 or YOLO11, transposed", _RGB_255, notes)


_MATCHERS: Sequence[Callable[[ModelSignature], DecoderGuess | None]] = (
    _three_outputs,
    _two_outputs,
    _distribution_levels,
    _grid_map,
    _nanodet_plus,
    _few_rows,
    _columns,
    _anchor_rows,
)


def draft(model: ModelSignature, guess: DecoderGuess, path: Path) -> LocalRecipe:
    """The draft recipe of a guess."""
    spec = InputSpec(
        width=model.width,
        height=model.height,
        **{"layout": model.layout, "dtype": str(model.image.dtype), **guess.preprocessing},
    )
    numbered = tuple(f"class {k}" for k in range(guess.classes))
    names = model.names or (COCO if guess.classes == len(COCO) else numbered)
    return LocalRecipe(
        name="".join(c if c.isalnum() or c in ".-" else "-" for c in path.stem.lower()).strip(".-")
        or "model",
        task="detect",
        file=path.name,
        path=path.parent,
        summary=f"Draft made from {path.name}: {guess.family}",
        source=Source(),
        input=spec,
        input_name=model.image.name,
        outputs=guess.outputs,
        decode=guess.decode,
        names=names,
        local=path,
    )


def draft_recipe(path: Path) -> LocalRecipe:
    """The recipe of an ONNX file that has none, guessed from its shapes; the guess is logged.

    Raises ModelError where no decoder fits.
    """
    with OrtEngine(path, device="cpu") as engine:
        model = read_signature(engine)
    guess = identify(model)
    if guess is None:
        given = "; ".join(str(o) for o in model.outputs)
        raise ModelError(
            f"{path}: no decoder is known for outputs {given}. "
            "Write a recipe that names the outputs to read: docs/recipes.md"
        )
    log.warning("%s has no recipe; identified as %s. %s", path.name, guess.family, "; ".join(guess.notes))
    return draft(model, guess, path)
