"""What a trial run shows of a decoder: boxes as fractions or pixels, corners or centers, scores or not."""

from dataclasses import replace

import numpy as np

from edgevid.errors import ModelError
from edgevid.models.signature import ModelSignature
from edgevid.runtime.engine import TensorSpec
from edgevid.runtime.recipe import Decode
from edgevid.types import Array

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
    return (
        f"output {output}: with 2 classes this is either x1, y1, x2, y2, score, label (YOLOv10, YOLO26) or a "
        f"box and two scores (RT-DETR of 2024), and {owner} does not state which. Write a recipe with kind = "
        "'end-to-end', or kind = 'yolo' with layout = 'rows' and normalized = true: docs/models.md"
    )


def corrected(model: ModelSignature, decode: Decode, outputs: tuple[str, ...], *, stated: bool) -> tuple[Decode, str]:
    """The decoder with what the trial shows of boxes and scores, and a note where that is something else.

    `stated`: by metadata, so that only the unit of boxes is open. ModelError, without the file's name, where
    the trial's values are no scores.
    """
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
        raise ModelError(
            f"output {outputs[0]}: read as {values.shape[1]} classes, scores go from {values.min():.3g} to "
            f"{values.max():.3g} in a trial run, so some of them are key points, angles or logits. "
            f"{_WAY_OUT}"
        )
    if stated or decode.kind in ("end-to-end", "boxes-scores-labels") or decode.objectness:
        return
    scores = 1 / (1 + np.exp(-values.astype(np.float64))) if decode.logits else values
    mean = scores.mean(axis=0)
    where = int(mean.argmax())
    others = np.delete(mean, where)
    if len(scores) < _ENOUGH or not len(others) or not values.any():
        return
    if decode.kind == "boxes-scores" and where in (0, len(others)) and mean[where] > 0.8:
        raise ModelError(
            f"output {outputs[1]}: the {'last' if where else 'first'} class wins everywhere on noise, so it "
            "means no object (background), which no decoder here leaves out"
            f"{_SOFTMAX if decode.logits else ''}. Export scores without that class, or give a function as "
            "the detector: docs/models.md"
        )
    if mean[where] > 0.3 and others.max() < 0.05:
        raise ModelError(
            f"output {outputs[0]}: its value {where} after the box is {mean[where]:.2g} in the mean of all "
            "boxes on noise, and the others are near 0, so it is an angle or an objectness and no class. " + _WAY_OUT
        )
