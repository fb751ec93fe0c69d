"""The decoder of a model whose metadata states it: Ultralytics writes task, head and names into exports."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from edgevid.errors import ModelError
from edgevid.models.evidence import either, looks_end_to_end
from edgevid.models.signature import ModelSignature
from edgevid.runtime.engine import TensorSpec
from edgevid.runtime.recipe import Decode

ASSUMED = "color order, mean and resize are those usual for this family: check them on an image"
ULTRALYTICS = "Ultralytics export: RGB divided by 255, letterboxed as by its own predictor"
STRIDES = ((8, 16, 32), (8, 16, 32, 64), (4, 8, 16, 32))
"""Strides of the heads of YOLO models: the usual one, with P6, with P2."""
FEW_ROWS = 1000  # More rows than this are anchors; a model that suppresses duplicates itself gives fewer
TASKS = ("detect", "segment", "pose", "obb")  # Ultralytics' tasks that give boxes
LETTERBOX: Mapping[str, Any] = {"color": "RGB", "resize": "letterbox"}
STRETCH: Mapping[str, Any] = {"color": "RGB", "resize": "stretch"}  # What transformers are trained with


@dataclass(frozen=True, slots=True)
class DecoderGuess:
    """A decoder that fits, with the preprocessing that its family uses."""

    decode: Decode
    outputs: tuple[str, ...]
    classes: int
    """Number of classes; 0 where the model does not tell."""
    family: str
    """The models that export this way."""
    preprocessing: Mapping[str, Any] = field(default_factory=lambda: LETTERBOX)
    """Fields of InputSpec other than the size."""
    notes: tuple[str, ...] = (ASSUMED,)


def by_metadata(model: ModelSignature) -> DecoderGuess | None:
    """The decoder that the metadata states; None for a model without such metadata.

    ModelError where metadata and outputs contradict each other, and where they leave two readings.
    """
    if not (model.ultralytics and model.task in TASKS and model.names):
        return None
    boxes = [o for o in model.outputs if len(o.shape) == 3]
    maps = [o for o in model.outputs if len(o.shape) == 4]  # prototypes of masks
    if len(boxes) != 1 or len(maps) != (model.task == "segment"):
        raise _contradiction(model, f"one output of boxes{' and one of prototypes' * (model.task == 'segment')}")
    extra: dict[str, Any] = {"rotated": True} if model.task == "obb" else {}  # what follows the classes
    if maps:
        extra = {"masks": maps[0].shape[1]}
    elif model.task == "pose":
        count, values = model.keypoints
        if count < 1 or values not in (2, 3):
            raise _contradiction(model, "kpt_shape, the number of key points and their values")
        extra = {"keypoints": count, "keypoint_values": values}
    names = tuple(o.name for o in (*boxes, *maps))
    decode, family = _decode(model, boxes[0], Decode("yolo", **extra).extra)
    nms_iou = 0.7 if decode.kind == "yolo" and not decode.normalized else None
    return DecoderGuess(
        dataclasses.replace(decode, **extra, nms_iou=nms_iou), names, len(model.names),
        f"{family}, task {model.task!r}", STRETCH if decode.normalized else LETTERBOX,
    )  # fmt: skip


def _decode(model: ModelSignature, boxes: TensorSpec, extra: int) -> tuple[Decode, str]:
    """The decoder by the shape, the class names and, where two of them fit, the flags of the exporter."""
    _, a, b = boxes.shape
    values, end_to_end = 4 + len(model.names) + extra, 6 + extra
    rows_fit, end_fits = b == values, b == end_to_end
    if rows_fit and end_fits:
        whole = looks_end_to_end(model.values(boxes))
        whole = (True if model.end_to_end or model.head else None) if whole is None else whole
        if whole is None:
            raise ModelError(either(boxes, "its metadata"))
        rows_fit, end_fits = not whole, whole
    if "RTDETR" in model.head and end_fits:
        return Decode("end-to-end", box="cxcywh", normalized=True), "RT-DETR"
    if "RTDETR" in model.head and rows_fit:
        return Decode("yolo", layout="rows", normalized=True), "RT-DETR"
    if end_fits and (model.end_to_end or a != values):
        return Decode("end-to-end"), "YOLOv10, YOLO26 or another end-to-end export"
    if a == values:
        return Decode("yolo", layout="columns"), "YOLOv8, YOLO11 or a relative"
    if rows_fit:
        detr = a <= FEW_ROWS and a not in [model.cells(*strides) for strides in STRIDES]
        return Decode("yolo", layout="rows", normalized=detr), "RT-DETR" if detr else "YOLOv8, transposed"
    expected = f"(batch, {values}, N), (batch, N, {values}) or (batch, N, {end_to_end})"
    raise _contradiction(model, f"{expected} of its {len(model.names)} classes")


def _contradiction(model: ModelSignature, expected: str) -> ModelError:
    given = "; ".join(str(o) for o in model.outputs)
    return ModelError(
        f"the metadata states task {model.task!r} with {len(model.names)} classes: expected {expected}, got "
        f"{given}. Write a recipe by docs/recipes.md, or export the model again"
    )
