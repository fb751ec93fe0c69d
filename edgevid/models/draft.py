"""Draft recipes: what a model file states of itself, what was guessed, and what is to be filled in."""

from __future__ import annotations

import logging
from pathlib import Path
from types import MappingProxyType
from typing import Any, get_args

import numpy as np

from edgevid.errors import EdgevidError, ModelError
from edgevid.models.identify import identify
from edgevid.models.metadata import DecoderGuess
from edgevid.models.signature import ModelSignature, read_signature
from edgevid.runtime.engine import TensorSpec
from edgevid.runtime.letterbox import InputDtype, InputSpec
from edgevid.runtime.log import log_once
from edgevid.runtime.onnxruntime.engine import OrtEngine
from edgevid.runtime.recipe import COCO, LocalRecipe, Source, Task

UNKNOWN_CLASSES = 80
"""Classes that a draft numbers where the model does not tell how many it has."""
_COCO_GAPS = (0, 12, 26, 29, 30, 45, 66, 68, 69, 71, 83)
FEATURES = (128, 192, 256, 320, 384, 512, 576, 640, 768, 960, 1024, 1280, 1536, 1664, 2048)
"""Lengths that are features and not classes where a model has one vector and no class names."""


def coco_categories() -> tuple[str, ...]:
    """COCO's classes by their category ids, 0 to 90, which leave gaps.

    >>> coco_categories()[1], coco_categories()[90]
    ('person', 'toothbrush')
    """
    names = iter(COCO)
    return tuple(f"unused {k}" if k in _COCO_GAPS else next(names) for k in range(91))


def draft(model: ModelSignature, guess: DecoderGuess, path: Path) -> tuple[LocalRecipe, tuple[str, ...]]:
    """The draft recipe of a detector, and notes on what was guessed."""
    names, note = _class_names(model, guess.classes)
    spec = input_spec(model, guess.preprocessing)
    recipe = _recipe(model, path, "detect", spec, guess.family)
    notes = [*guess.notes, *note, *_input_notes(model)]
    made = LocalRecipe(**{**recipe, "outputs": guess.outputs, "decode": guess.decode, "names": names})
    return made, tuple(notes)


def _class_names(model: ModelSignature, classes: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names for so many classes (0: unknown), and a note where they do not come from the file."""
    if model.names and classes in (0, len(model.names)):
        return model.names, ()
    stated = f"names the wrong number of classes ({len(model.names)})" if model.names else "names no classes"
    if not classes:
        note = (
            f"names: the file {stated} and does not tell how many it has; they are numbered: write yours, or "
            'classes = "coco", under [names]'
        )
        return tuple(f"class {k}" for k in range(UNKNOWN_CLASSES)), (note,)
    known = {len(COCO): COCO, 91: coco_categories()}.get(classes)
    if known and not model.names:
        return known, (f"names: the file {stated}; its {classes} are taken for COCO's",)
    numbered = tuple(f"class {k}" for k in range(classes))
    return numbered, (f"names: the file {stated}; its {classes} are numbered: write yours under [names]",)


def input_spec(model: ModelSignature, preprocessing: Any) -> InputSpec:
    """The model's image, with the preprocessing that its family uses."""
    if model.channels not in (1, 3):
        raise ModelError(f"input {model.image}: expected images of 1 or 3 channels, got {model.channels}")
    if model.image.dtype not in (known := get_args(InputDtype)):
        raise ModelError(f"input {model.image}: expected one of {', '.join(known)}; export one of them")
    more = dict(preprocessing)
    if np.issubdtype(model.image.dtype, np.integer):
        more |= {"mean": (0.0,) * 3, "std": (1.0,) * 3}
    if model.channels == 1:
        more["color"] = "GRAY"
    more["dtype"] = str(model.image.dtype)
    return InputSpec(width=model.width, height=model.height, layout=model.layout, **more)


def _input_notes(model: ModelSignature) -> tuple[str, ...]:
    whole = np.issubdtype(model.image.dtype, np.integer)
    notes = ("its input takes whole numbers: gray levels from 0 to 255 go in as they are",) * bool(whole)
    if model.gives_nan:
        notes += ("a trial run on an image of noise gave NaN: the weights or half precision may be at fault",)
    if model.assumed_size:
        notes += (f"its size is open and not stated: {model.width}x{model.height} is assumed",)
    return notes


def _recipe(model: ModelSignature, path: Path, task: Task, spec: InputSpec, family: str) -> dict[str, Any]:
    """The fields of a draft that all tasks have."""
    stem = "".join(c if c.isalnum() or c in ".-" else "-" for c in path.stem.lower()).strip(".-")
    return {
        "name": stem or "model", "task": task, "file": path.name, "path": path.parent,
        "summary": f"Draft made from {path.name}: {family}", "source": Source(), "input": spec,
        "input_name": model.image.name, "local": path,
    }  # fmt: skip


def draft_other(model: ModelSignature, path: Path) -> tuple[LocalRecipe, tuple[str, ...]] | None:
    """The draft of a model that gives no boxes, and what is to be filled in."""
    (output, *others) = model.outputs
    sizes = tuple(n for n in output.shape[1:] if n != 1 or len(output.shape) == 2)
    assumed = "[input]: color, mean and std are unknown; RGB divided by 255 is assumed"
    values = model.values(output)
    if others or not sizes:
        return None
    if sizes in ((17, 3), (51,)):
        fields = _recipe(model, path, "pose", input_spec(model, {"resize": "letterbox"}), "17 key points")
        unknown = "[pose] order: whether a key point is y, x, score (MoveNet) or x, y, score"
        return LocalRecipe(**fields, outputs=(output.name,), tables=_table("pose", order="yxs")), (
            assumed,
            unknown,
        )
    spec = input_spec(model, {"resize": "stretch"})
    if len(output.shape) == 4 and output.shape[1] == 1:  # boxes of SSD, (1, 1, N, 7)
        return None
    if len(output.shape) == 4 or (len(sizes) == 1 and not model.names and sizes[0] in FEATURES):
        fields = _recipe(model, path, "features", spec, "features")
        return LocalRecipe(**fields, tables=_table("features", output=output.name)), (assumed,)
    if len(sizes) != 1:
        return None
    row = values.ravel()
    sums = bool(row.size and row.min() >= 0 and abs(float(row.sum()) - 1) < 1e-2)
    names, note = _class_names(model, sizes[0]) if sizes[0] != len(COCO) else (model.names, ())
    names = names or tuple(f"class {k}" for k in range(sizes[0]))
    activation = "none" if sums else "softmax"
    why = "its values sum to 1" if sums else "its values do not sum to 1, so they are taken for logits"
    fields = _recipe(model, path, "classify", spec, f"{sizes[0]} classes")
    table = _table("clip", activation=activation)
    notes = (assumed, *note, f"[clip] activation: {why}", "[clip] region and context: how crops were cut")
    return LocalRecipe(**fields, outputs=(output.name,), names=names, tables=table), notes


def _table(name: str, **values: Any) -> Any:
    return MappingProxyType({name: values})


def draft_clip(engine: OrtEngine, path: Path) -> tuple[LocalRecipe, tuple[str, ...]] | None:
    """The draft of a model that takes clips, (1, T, 3, h, w) or (1, 3, T, h, w); None for others."""
    (image, *more) = engine.inputs
    output = engine.outputs[0]
    if more or len(image.shape) != 5 or len(output.shape) != 2 or output.shape[1] < 1:
        return None
    frames_first = image.shape[2] == 3
    steps, (height, width) = image.shape[1 if frames_first else 2], image.shape[3:]
    if 3 not in image.shape[1:3] or min(steps, height, width) < 1:
        return None
    one = TensorSpec(image.name, (1, 3, height, width), image.dtype)
    model = ModelSignature(one, engine.outputs, width, height, "NCHW", "", (), ultralytics=False)
    spec = input_spec(model, {"resize": "stretch"})
    fields = _recipe(model, path, "clip", spec, f"clips of {steps} frames, {output.shape[1]} classes")
    layout = "NTCHW" if frames_first else "NCTHW"
    table = _table("clip", steps=steps, layout=layout, activation="softmax")
    names = tuple(f"class {k}" for k in range(output.shape[1]))
    notes = (
        "[input]: color, mean and std are unknown; RGB divided by 255 is assumed",
        "[names]: the classes are numbered: write yours",
        "[clip]: rate_hz, region and context of the training are unknown",
    )
    return LocalRecipe(**fields, outputs=(output.name,), names=names, tables=table), notes


def drafted(
    engine: OrtEngine, path: Path
) -> tuple[ModelSignature | None, DecoderGuess | None, LocalRecipe | None, tuple[str, ...]]:
    """The signature of a loaded model, the decoder that fits, the draft of its recipe, and notes on it.

    ModelError where metadata, shapes and a trial run contradict each other.
    """
    images = any(len(spec.shape) == 4 for spec in engine.inputs)
    model = read_signature(engine) if images or not any(len(s.shape) == 5 for s in engine.inputs) else None
    if model is None:
        return (None, None, *(draft_clip(engine, path) or (None, ())))
    try:
        guess = identify(model)
        found = draft(model, guess, path) if guess else draft_other(model, path)
    except EdgevidError as error:
        raise ModelError(f"{path}: {error}") from None
    return (model, guess, *(found or (None, ())))


def draft_recipe(path: Path) -> LocalRecipe:
    """The recipe of an ONNX file that has none, by its metadata or guessed; what was guessed is logged.

    Raises ModelError where no decoder fits, and where what fits would read nonsense.
    """
    with OrtEngine(path, device="cpu") as engine:
        _, guess, recipe, notes = drafted(engine, path)
        given = "; ".join(str(o) for o in engine.outputs)
    if recipe is None:
        raise ModelError(
            f"{path}: no decoder is known for outputs {given}. "
            "Write a recipe that names the outputs to read: docs/recipes.md"
        )
    family = guess.family if guess else f"a model of task {recipe.task!r}"
    log_once(f"{path.name} has no recipe; identified as {family}. {'; '.join(notes)}", logging.WARNING)
    return recipe
