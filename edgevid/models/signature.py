"""What a model file states of itself, and what a trial run on an image of noise shows of its outputs."""

import ast
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from edgevid.errors import EdgevidError, ModelError, log, visible
from edgevid.runtime.engine import Layout, TensorSpec
from edgevid.runtime.onnxruntime.engine import OrtEngine
from edgevid.runtime.recipe import Decode
from edgevid.types import Array


@dataclass(frozen=True, slots=True)
class ModelSignature:
    """What a model file states of itself: inputs, outputs, the exporter's metadata."""

    image: TensorSpec
    outputs: tuple[TensorSpec, ...]
    width: int
    height: int
    layout: Layout
    producer: str
    names: tuple[str, ...]  # Class names of the exporter's metadata, in the order of their keys; empty: it wrote none
    ultralytics: bool
    head: str = ""  # Name of the model's last layer, from the exporter's metadata
    channels: int = 3  # Channels of the image: 1 or 3
    task: str = ""  # Ultralytics' word for what the model does, from the exporter's metadata
    end_to_end: bool = False  # Whether the exporter states that the model suppresses duplicates itself
    keypoints: tuple[int, int] = (0, 0)  # Number of key points and values of each, from the exporter's metadata
    assumed_size: bool = False  # Whether neither the input nor the metadata states the image's size
    trial: Mapping[str, Array] = field(default_factory=dict)
    """The outputs for an image of noise, by name; empty where that run failed."""

    def cells(self, *strides: int) -> int:
        """Cells of the grids of these strides in total."""
        return sum(-(-self.width // s) * -(-self.height // s) for s in strides)

    def values(self, output: TensorSpec) -> Array:
        """The trial's (rows, values) of a first image, as float32; without rows where it tells nothing."""
        found = self.trial.get(output.name)
        if found is None or not len(found) or np.isnan(found[0]).any():
            return np.zeros((0, max(output.shape[-1], 0)), np.float32)
        return np.asarray(found[0], np.float32)


def read_signature(engine: OrtEngine) -> ModelSignature:
    """The signature of a loaded model, which is run once on an image of noise."""
    images = [spec for spec in engine.inputs if len(spec.shape) == 4]
    if not images:
        given = "; ".join(str(s) for s in engine.inputs)
        raise ModelError(f"{engine.path}: expected an input for images, of four axes, got {given}")
    image, meta = images[0], engine.metadata
    layout: Layout = "NHWC" if image.shape[3] in (1, 3) and image.shape[1] not in (1, 3) else "NCHW"
    height, width = image.shape[2:] if layout == "NCHW" else image.shape[1:3]
    stated = _pair(meta.get("imgsz"), (0, 0))
    side = stated if min(stated) > 0 else (640, 640)
    named, arguments = image.shape[1 if layout == "NCHW" else 3], _literal(meta.get("args"), {})
    arguments = arguments if isinstance(arguments, dict) else {}
    found = ModelSignature(
        image=image, outputs=engine.outputs, layout=layout, names=_names(_literal(meta.get("names"), {})),
        width=width if width > 0 else side[1], height=height if height > 0 else side[0],
        producer=str(meta.get("producer", "")), head=str(meta.get("head", "")), task=str(meta.get("task", "")),
        ultralytics="ltralytics" in str(meta.get("author", "")) + str(meta.get("description", "")),
        channels=named if named > 0 else 1 if meta.get("channels") == "1" else 3,
        end_to_end=meta.get("end2end") == "True" or arguments.get("nms") is True,  # or it is in the graph
        keypoints=_pair(meta.get("kpt_shape"), (0, 0)), assumed_size=min(height, width) < 1 and min(stated) < 1,
    )  # fmt: skip
    return _with_trial(engine, found)


def _names(found: Any) -> tuple[str, ...]:
    """The names of a list, or of a table in the order of its numbers; a second one of a name gets its number.

    >>> _names({"car": 1, "van": 0}), _names(["a", "a", None])
    (('van', 'car'), ('a', 'a 1', 'class 2'))
    """
    if isinstance(found, dict):
        if all(str(key).isdecimal() for key in found):
            found = [found[key] for key in sorted(found, key=int)]
        else:  # torchvision's class_to_idx, or in the order of the file
            numbered = all(isinstance(n, int) for n in found.values())
            found = sorted(found, key=found.__getitem__) if numbered else list(found.values())
    names: list[str] = []
    for k, one in enumerate(found if isinstance(found, (list, tuple)) else ()):
        name = visible(" ".join(str("" if one is None else one).split())) or f"class {k}"
        names.append(f"{name} {k}" if name in names else name)
    return tuple(names)


def _pair(text: str | None, default: tuple[int, int]) -> tuple[int, int]:
    """The two whole numbers of a list, or one number twice; `default` where the text is anything else."""
    found = _literal(text, ())
    found = (found, found) if isinstance(found, int) else found
    pair = isinstance(found, (list, tuple)) and len(found) == 2 and all(isinstance(n, int) for n in found)
    return (int(found[0]), int(found[1])) if pair else default


def _literal(text: str | None, default: Any) -> Any:
    for read in (ast.literal_eval, json.loads):
        with suppress(ValueError, SyntaxError, MemoryError, RecursionError):  # the latter two of deep nesting
            return read(text) if text else default
    return default


def size_inputs(width: int, height: int) -> dict[str, tuple[int, int]]:
    """One row of each input by which exporters ask for sizes, so that boxes come in pixels of the input."""
    paddle = {"im_shape": (height, width), "scale_factor": (1, 1)}
    return {"orig_target_sizes": (width, height), **paddle}  # RT-DETR and D-FINE; PaddleDetection


def _with_trial(engine: OrtEngine, found: ModelSignature) -> ModelSignature:
    """The signature with the outputs for an image of noise; unchanged where that run fails."""
    height, width, noise = found.height, found.width, np.random.default_rng(0)
    known = size_inputs(width, height)
    feeds = {}
    for spec in engine.inputs:
        batch = max(spec.shape[0], 1) if spec.shape else 1
        if spec.name == found.image.name:
            size = (found.channels, height, width)
            shape = size if found.layout == "NCHW" else (*size[1:], found.channels)
            scale = 255 if np.issubdtype(spec.dtype, np.integer) else 1
            feeds[spec.name] = (noise.random((batch, *shape)) * scale).astype(spec.dtype)
        else:
            row = known.get(spec.name, (1,) * max(spec.shape[-1:], default=1))
            feeds[spec.name] = np.array([row] * batch, spec.dtype)
    try:
        given = engine.run(feeds)
    except EdgevidError as error:
        log.debug("the run on an image of noise failed: %s", error)
        return found
    outputs = tuple(TensorSpec(o.name, given[o.name].shape, o.dtype) for o in engine.outputs)
    fixed = all(min(o.shape, default=1) > 0 for o in engine.outputs)
    trial = {name: np.array(value) for name, value in given.items()}
    return replace(found, outputs=engine.outputs if fixed else outputs, trial=trial)


_ENOUGH = 20  # Boxes from which on their order of corners is no chance
_FRACTION = 1.5  # Boxes up to this value are fractions of the input: they may pass its edges
_WAY_OUT = "Export it with its metadata, or write a recipe (keypoints, rotated, logits): docs/models.md"
_SOFTMAX = ", and the values need a softmax, as in the first DETR"


def looks_end_to_end(rows: Array) -> bool | None:
    """Whether rows (N, 6 or more) of a trial are box, score, label; None where that run does not tell."""
    if not len(rows) or not rows[:, 4:6].any():
        return None
    whole = bool((rows[:, 5] == rows[:, 5].round()).all() and rows[:, 5].min() >= -1)
    return whole and bool(rows[:, 4].min() >= 0 and rows[:, 4].max() <= 1)


def either(output: TensorSpec, owner: str) -> str:
    """The message for six values that neither `owner` nor the trial tells apart."""
    return (f"output {output}: with 2 classes this is either x1, y1, x2, y2, score, label (YOLOv10, YOLO26) or a box "
            f"and two scores (RT-DETR of 2024), and {owner} does not state which. Write a recipe with kind = "
            "'end-to-end', or kind = 'yolo' with layout = 'rows' and normalized = true: docs/models.md")  # fmt: skip


def corrected(model: ModelSignature, decode: Decode, outputs: tuple[str, ...], *, stated: bool) -> tuple[Decode, str]:
    """The decoder with what the trial shows of boxes and scores, and a note where that is something else. `stated`: by
    metadata, so that only the unit of boxes is open. ModelError, without the file's name, where the trial's values are
    no scores."""
    if decode.kind not in ("yolo", "end-to-end", "boxes-scores", "boxes-scores-labels"):
        return decode, ""
    first, *more = (model.values(next(o for o in model.outputs if o.name == name)) for name in outputs)
    rows = first.T if decode.kind == "yolo" and decode.layout == "columns" else first
    if not rows.size:
        return decode, ""
    made, boxes = decode, rows[rows[:, :4].any(axis=1), :4]
    if decode.kind == "end-to-end":
        scores = rows[:, 4:5]
    elif decode.kind == "yolo":
        scores = rows[:, 4 : rows.shape[1] - decode.extra]
    else:
        scores = more[0].reshape(len(rows), -1)
    if decode.kind == "boxes-scores" and scores.any():
        made = replace(made, logits=not _are_scores(scores))
    _check_scores(made, scores, outputs, stated=stated)
    if len(boxes) and not decode.rotated:
        made = replace(made, normalized=bool(np.abs(boxes).max() <= _FRACTION))
    if len(boxes) >= _ENOUGH and not (stated or decode.rotated):
        made = _with_corners(made, boxes, outputs[0])
    if made == decode:
        return decode, ""
    shape = "" if decode.kind == "boxes-scores-labels" else "corners, " if made.xyxy else "center and size, "
    unit = "fractions of the input" if made.normalized else "pixels of the input"
    values = "; scores are probabilities" if decode.logits and not made.logits else ""
    return made, f"a trial run shows boxes as {shape}{unit}{values}"


def _with_corners(decode: Decode, boxes: Array, output: str) -> Decode:
    """The decoder with boxes as corners or centers, where the trial's boxes tell which."""
    corners = float((boxes[:, 2:] >= boxes[:, :2]).all(axis=1).mean())
    # Centers of boxes of the whole frame could be corners, too; but corners lie all over the frame.
    spread = bool((boxes[:, 2:] < boxes[:, 2:].max(axis=0) / 2).any(axis=0).all())
    if decode.kind == "boxes-scores-labels":
        if corners < 0.5:
            raise ModelError(f"output {output}: expected corners, got x2 below x1; export corners")
    elif not decode.xyxy and corners > 0.9 and spread:
        return replace(decode, box="xyxy")
    elif decode.xyxy and corners < 0.5 and (decode.kind != "end-to-end" or decode.normalized):
        return replace(decode, box="cxcywh")
    return decode


def _are_scores(values: Array) -> bool:
    """Whether class values, if there are any, are from 0 to 1."""
    return not values.size or bool(values.min() >= -1e-3 and values.max() <= 1.001)


def _check_scores(decode: Decode, values: Array, outputs: tuple[str, ...], *, stated: bool) -> None:
    """ModelError where these values (N, C) for noise are no scores."""
    if not decode.logits and not _are_scores(values):
        raise ModelError(f"output {outputs[0]}: read as {values.shape[1]} classes, scores go from {values.min():.3g} "
                         f"to {values.max():.3g} in a trial run, so some of them are key points, angles or logits. "
                         f"{_WAY_OUT}")  # fmt: skip
    if stated or decode.kind in ("end-to-end", "boxes-scores-labels") or decode.objectness:
        return
    scores = 1 / (1 + np.exp(-values.astype(np.float64))) if decode.logits else values
    mean = scores.mean(axis=0)
    where = int(mean.argmax())
    others = np.delete(mean, where)
    if len(scores) < _ENOUGH or not len(others) or not values.any():
        return
    if decode.kind == "boxes-scores" and where in (0, len(others)) and mean[where] > 0.8:
        raise ModelError(f"output {outputs[1]}: the {'last' if where else 'first'} class wins everywhere on noise, so "
                         "it means no object (background), which no decoder here leaves out"
                         f"{_SOFTMAX if decode.logits else ''}. Export scores without that class, or give a function "
                         "as the detector: docs/models.md")  # fmt: skip
    if mean[where] > 0.3 and others.max() < 0.05:
        raise ModelError(f"output {outputs[0]}: its value {where} after the box is {mean[where]:.2g} in the mean of "
                         "all boxes on noise, and the others are near 0, so it is an angle or an objectness and no "
                         "class. " + _WAY_OUT)  # fmt: skip
