"""Which decoder reads a model's outputs: by metadata, else guessed from names, shapes and a trial run.

Shapes do not determine everything (the color order, the mean): `DecoderGuess.notes` states what was assumed, and the
draft recipe holds it as a comment, to be checked on frames (`edgevid inspect --data`). What would give wrong boxes
without a word is a ModelError instead."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from edgevid.errors import ModelError
from edgevid.models.signature import ModelSignature, corrected, either, looks_end_to_end
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
    classes: int  # Number of classes; 0 where the model does not tell
    family: str  # The models that export this way
    preprocessing: Mapping[str, Any] = field(default_factory=lambda: LETTERBOX)  # Of InputSpec, other than the size
    notes: tuple[str, ...] = (ASSUMED,)
    names: tuple[str, ...] = ()  # Of the classes, where the family has always the same


def by_metadata(model: ModelSignature) -> DecoderGuess | None:
    """The decoder that the metadata states; None for a model without such metadata. ModelError where metadata and
    outputs contradict each other, and where they leave two readings."""
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
    return DecoderGuess(replace(decode, **extra, nms_iou=nms_iou), names, len(model.names),
                        f"{family}, task {model.task!r}", STRETCH if decode.normalized else LETTERBOX)  # fmt: skip


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
    return ModelError(f"the metadata states task {model.task!r} with {len(model.names)} classes: expected {expected}, "
                      f"got {given}. Write a recipe by docs/recipes.md, or export the model again")  # fmt: skip


_IMAGENET = {"mean": (123.675, 116.28, 103.53), "std": (58.395, 57.12, 57.375)}
_PICODET = {"color": "RGB", "resize": "stretch", **_IMAGENET}
_NANODET = {"color": "BGR", "resize": "stretch", **{key: rgb[::-1] for key, rgb in _IMAGENET.items()}}
_YOLOX = {"color": "BGR", "resize": "letterbox", "anchor": "top-left", "std": (1.0, 1.0, 1.0)}


def identify(model: ModelSignature) -> DecoderGuess | None:
    """The decoder that fits the model's outputs, or None. ModelError, without the file's name, where metadata and
    outputs contradict each other, where two decoders fit, and where a trial run shows that the only one would read
    nonsense."""
    # Some exports give the maps of each stride next to one output of boxes: those are left out.
    cells = [model.cells(stride) for stride in (8, 16, 32, 64)]
    raw = [o for o in model.outputs if len(o.shape) in (4, 5) and int(np.prod(o.shape[2:4])) in cells]
    rest = tuple(o for o in model.outputs if o not in raw)
    if len(raw) > 2 and sum(len(o.shape) == 3 for o in rest) == 1:
        model = replace(model, outputs=rest)
    stated = by_metadata(model)
    guess = stated or next(filter(None, (matcher(model) for matcher in _MATCHERS)), None)
    if guess is None or (model.ultralytics and model.task == "classify"):
        return None
    decode, note = corrected(model, guess.decode, guess.outputs, stated=stated is not None)
    detr = decode.kind == "end-to-end" and decode.normalized and not decode.xyxy
    notes = [ULTRALYTICS if n == ASSUMED and model.ultralytics else n for n in guess.notes]
    return replace(guess, decode=decode, preprocessing=STRETCH if detr else guess.preprocessing,
                   notes=(*notes, note) if note else tuple(notes))  # fmt: skip


def _named_outputs(model: ModelSignature) -> DecoderGuess | None:
    """Boxes, scores and labels after the exporter's own post-processing, recognized by their names."""
    found = []
    for rank, words in ((3, ("box",)), (2, ("score", "conf")), (2, ("label", "class", "cls"))):
        named = [o for o in model.outputs if len(o.shape) == rank and any(w in o.name.lower() for w in words)]
        found += named if len(named) == 1 else []
    names = tuple(o.name for o in found)
    sizes = {o.shape[:2] for o in found}
    if len(set(names)) != 3 or len(sizes) != 1 or "detection_boxes" in names:  # TensorFlow's y is first
        return None
    nms, guess = "num" in " ".join(o.name for o in model.outputs), (Decode("boxes-scores-labels"), names)
    if nms:
        return DecoderGuess(*guess, len(model.names), "an export with TensorRT's EfficientNMS")
    return DecoderGuess(*guess, len(model.names), "RT-DETR, D-FINE or DEIM, official export", STRETCH)


def _two_outputs(model: ModelSignature) -> DecoderGuess | None:
    """Boxes (1, Q, 4) and class values (1, Q, C)."""
    three = [o for o in model.outputs if len(o.shape) == 3]
    boxes = [o for o in three if o.shape[2] == 4]
    if len(boxes) == 2:  # four classes
        boxes = [o for o in boxes if "box" in o.name or o.name == "dets"]
    scores = [o for o in three if o not in boxes]
    if len(boxes) != 1 or len(scores) != 1 or boxes[0].shape[1] != scores[0].shape[1]:
        return None
    names, classes = (boxes[0].name, scores[0].name), scores[0].shape[2]
    if boxes[0].shape[1] <= FEW_ROWS:
        decode = Decode("boxes-scores", normalized=True, logits=True)
        if set(names) == {"dets", "labels"}:
            note = "classes are numbered as in the training data's categories, the first may stand for none"
            return DecoderGuess(decode, names, classes, "RF-DETR", {**STRETCH, **_IMAGENET}, (ASSUMED, note))
        return DecoderGuess(decode, names, classes, "a DETR-like transformer", STRETCH)
    decode = Decode("boxes-scores", box="xyxy", nms_iou=0.7)
    note = "boxes are taken as corners in input pixels: check them on an image"
    return DecoderGuess(decode, names, classes, "YOLO-NAS", LETTERBOX, (ASSUMED, note))


def _distribution_levels(model: ModelSignature) -> DecoderGuess | None:
    """Class values and distance distributions for each stride (NanoDet, PicoDet)."""
    if len(model.outputs) not in (6, 8) or any(len(o.shape) != 3 for o in model.outputs):
        return None
    strides = (8, 16, 32, 64)[: len(model.outputs) // 2]
    found = []
    for stride in strides:  # scores, then distances
        level = [o for o in model.outputs if o.shape[1] == model.cells(stride)]
        found.append(sorted(level, key=lambda o: o.shape[2] in (32, 64, 68, 28)))
        if [o.shape[2] in (32, 64, 68, 28) for o in found[-1]] != [False, True]:
            return None
    names = tuple(level[side].name for side in (0, 1) for level in found)
    paddle = "addle" in model.producer
    family, preprocessing = ("PicoDet", _PICODET) if paddle else ("NanoDet", _NANODET)
    score, nms_iou = (0.4, 0.5) if paddle else (0.35, 0.6)
    decode = Decode("dfl", strides=strides, offset=0.5, score_threshold=score, nms_iou=nms_iou)
    return DecoderGuess(decode, names, found[0][0].shape[2], family, preprocessing)


def _yunet(model: ModelSignature) -> DecoderGuess | None:
    """Class, objectness, box and five key points of each stride, by their names."""
    names = tuple(f"{part}_{stride}" for part in ("cls", "obj", "bbox", "kps") for stride in (8, 16, 32))
    if {o.name for o in model.outputs} != {*names}:
        return None
    decode = Decode("yunet", strides=(8, 16, 32), keypoints=5, keypoint_values=2, score_threshold=0.5, nms_iou=0.3)
    return DecoderGuess(decode, names, 1, "YuNet, a detector of faces", _YOLOX, names=("face",))


def _one(model: ModelSignature, rank: int) -> TensorSpec | None:
    """The only output, where it has this rank."""
    return model.outputs[0] if len(model.outputs) == 1 and len(model.outputs[0].shape) == rank else None


def _with_masks(model: ModelSignature) -> tuple[TensorSpec, tuple[str, ...], int] | None:
    """The output of boxes (1, a, b), the names to read, and the number of mask prototypes."""
    boxes = [o for o in model.outputs if len(o.shape) == 3]
    maps = [o for o in model.outputs if len(o.shape) == 4]
    if len(boxes) != 1 or len(maps) > 1 or len(model.outputs) != 1 + len(maps):
        return None
    return boxes[0], tuple(o.name for o in (*boxes, *maps)), maps[0].shape[1] if maps else 0


def _nanodet_plus(model: ModelSignature) -> DecoderGuess | None:
    """Classes and distributions of all levels in one tensor."""
    output, strides = _one(model, 3), (8, 16, 32, 64)
    if output is None or output.shape[1] != model.cells(*strides) or output.shape[2] <= 32:
        return None
    decode = Decode("dfl", strides=strides, offset=0.0, score_threshold=0.35, nms_iou=0.6)
    return DecoderGuess(decode, (output.name,), output.shape[2] - 32, "NanoDet-Plus", _NANODET)


def _grid_map(model: ModelSignature) -> DecoderGuess | None:
    """A feature map (1, 5 + C, h, w) of stride 16."""
    output = _one(model, 4)
    if output is None or output.shape[2] * output.shape[3] != model.cells(16) or output.shape[1] <= 5:
        return None
    decode = Decode("fastestdet", score_threshold=0.5, nms_iou=0.45)
    return DecoderGuess(decode, (output.name,), output.shape[1] - 5, "FastestDet", {**STRETCH, "color": "BGR"})


def _batch_rows(model: ModelSignature) -> DecoderGuess | None:
    """(N, 7) image, box, label, score: YOLOv7 with its suppression in the graph."""
    output = _one(model, 2)
    if output is None or output.shape[1] != 7 or output.name not in model.trial:
        return None
    rows = model.trial[output.name]
    whole = rows[:, [0, 5]]
    if not ((rows[:, 3:5] > rows[:, 1:3]).all() and (whole == whole.round()).all() and (whole >= 0).all()):
        return None  # a classifier of seven classes
    return DecoderGuess(Decode("batch-rows"), (output.name,), len(model.names), "YOLOv7, end-to-end export")


def _anchor_axis(model: ModelSignature, shape: tuple[int, ...]) -> int:
    """Which axis of (1, a, b) counts anchors, by the grids' cells; 0 where neither does."""
    counts = [(model.cells(*strides), 3 * model.cells(*strides)) for strides in STRIDES]
    return next((axis for either_count in counts for axis in (1, 2) if shape[axis] in either_count), 0)


def _columns(model: ModelSignature) -> DecoderGuess | None:
    """(1, 4 + C, N) with more anchors than values, and mask coefficients after the classes."""
    found = _with_masks(model)
    if found is None or found[0].shape[1] <= 4 + found[2]:
        return None
    output, names, masks = found
    square = output.shape[1] == output.shape[2]  # 80 classes at 64 pixels: the exporter decides
    if _anchor_axis(model, output.shape) == 1 and not (square and model.ultralytics):
        return None
    if _anchor_axis(model, output.shape) == 0 and output.shape[1] >= output.shape[2]:
        return None
    classes, decode = output.shape[1] - 4 - masks, Decode("yolo", layout="columns", nms_iou=0.7, masks=masks)
    values = model.values(output)[4:]
    if classes == 1 + 17 * 3 and values.size and values.max() > 1.001 >= values[0].max():
        decode = replace(decode, keypoints=17)
        note = "its outputs exceed 1, so they are taken for 17 key points of a person and not for 52 classes"
        return DecoderGuess(decode, names, 1, "YOLOv8-pose or a relative", LETTERBOX, (ASSUMED, note))
    return DecoderGuess(decode, names, classes, "YOLOv8, YOLO11 or a relative")


def _few_rows(model: ModelSignature) -> DecoderGuess | None:
    """(1, N, 6) of models without suppression, (1, N, 4 + C) of Ultralytics' RT-DETR."""
    found = _with_masks(model)
    if found is None or found[0].shape[1] > FEW_ROWS or found[0].shape[2] < 5 + found[2]:
        return None
    output, name, masks = found
    if _anchor_axis(model, output.shape):
        return None
    values, classes = output.shape[2] - masks, len(model.names)
    rows = model.values(output)
    whole = looks_end_to_end(rows) if values > 5 else False
    if values == 6 and whole is None:
        if classes == 2 and not model.end_to_end:
            raise ModelError(either(output, "the file"))
        whole = True
    if values > 6 and whole:  # a class whose scores are all 0 looks like labels; then rows are in no order
        whole = bool((np.diff(rows[:, 4]) <= 0).all())
    if not whole:
        decode = Decode("yolo", layout="rows", normalized=True, masks=masks)
        return DecoderGuess(decode, name, values - 4, "RT-DETR, Ultralytics export", STRETCH)
    known: Mapping[int, dict[str, Any]] = {6: {"masks": masks}, 7: {"rotated": True}, 6 + 17 * 3: {"keypoints": 17}}
    extra = known.get(values)
    if extra is None:
        what = f"output {output}: box, score, label and {values - 6} more values, and the file does not state which"
        raise ModelError(f"{what}. Export it with its metadata, or write a recipe (masks, keypoints): docs/models.md")
    if "RTDETR" in model.head:
        extra = {"box": "cxcywh", "normalized": True}
    family = "YOLOv10, YOLO26, RT-DETR or another end-to-end export"
    return DecoderGuess(Decode("end-to-end", **extra), name, classes, family)


def _anchor_rows(model: ModelSignature) -> DecoderGuess | None:
    """(1, N, 4 + C) or (1, N, 5 + C): YOLOv5, YOLOX, or YOLOv8 transposed."""
    found = _with_masks(model)
    if found is None or found[0].shape[2] < 5 + found[2]:
        return None
    output, name, masks = found
    anchors, values, classes = output.shape[1], output.shape[2] - masks, len(model.names)
    if values > 5 and anchors in [3 * model.cells(*strides) for strides in STRIDES]:
        decode = Decode("yolo", layout="rows", objectness=True, nms_iou=0.45, masks=masks)
        return DecoderGuess(decode, name, values - 5, "YOLOv5 or YOLOv7")
    usual = values > 5 and anchors == model.cells(8, 16, 32)
    if usual and not masks and (classes == values - 5 if classes else values != 84):
        return _yolox(model, output)
    decode = Decode("yolo", layout="rows", nms_iou=0.7, masks=masks)
    return DecoderGuess(decode, name, values - 4, "YOLOv8 or YOLO11, transposed")


def _yolox(model: ModelSignature, output: TensorSpec) -> DecoderGuess:
    """YOLOX by its raw head or, where a trial run shows boxes all over the input, decoded by the graph."""
    strides = (8, 16, 32)
    columns = [-(-model.width // s) for s in strides]
    x = np.concatenate([np.arange(model.cells(s)) % n * s for s, n in zip(strides, columns, strict=True)])
    rows = model.values(output)
    decoded = len(rows) > 0 and np.median(np.abs(rows[:, 0] - x)) < np.median(np.abs(rows[:, 0]))
    classes = output.shape[2] - 5
    if not decoded or not rows[:, 0].any():
        note = ("if boxes are wrong, the export has decoded them already: take kind = 'yolo', layout = 'rows', "
                "objectness = true")  # fmt: skip
        notes = (ASSUMED,) if rows.any() else (ASSUMED, note)
        decode = Decode("yolox", strides=strides, nms_iou=0.65)
        return DecoderGuess(decode, (output.name,), classes, "YOLOX", _YOLOX, notes)
    decode = Decode("yolo", layout="rows", objectness=True, nms_iou=0.65)
    yolov6 = bool((rows[:, 4] == 1).all())  # it has no objectness and writes 1
    own, others = np.median(rows[:, 4]), np.median(rows[:, 5:].max(axis=1))
    if not (yolov6 or model.names or classes == 80 or others > max(0.02, 5 * own)):
        raise ModelError(f"output {output}: either objectness and {classes} classes (YOLOX) or {classes + 1} classes "
                         "(YOLOv8, transposed), and the file names none. "
                         "Write a recipe with kind = 'yolo', layout = 'rows' and, for YOLOX, objectness = true, "
                         "color = 'BGR', std = [1.0, 1.0, 1.0]: docs/recipes.md")  # fmt: skip
    family, preprocessing = ("YOLOv6", LETTERBOX) if yolov6 else ("YOLOX, decoded by its graph", _YOLOX)
    note = "a trial run shows boxes in input pixels: the graph decodes them"
    return DecoderGuess(decode, (output.name,), classes, family, preprocessing, (ASSUMED, note))


_MATCHERS: Sequence[Callable[[ModelSignature], DecoderGuess | None]] = (
    _yunet, _named_outputs, _two_outputs, _distribution_levels, _grid_map, _batch_rows, _nanodet_plus, _few_rows,
    _columns, _anchor_rows)  # fmt: skip
