"""Draft recipes: what an ONNX file states of itself, what was guessed, and what is to be filled in."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np

from edgevid.errors import EdgevidError, InputError, ModelError, log_once
from edgevid.files.atomic import check_file
from edgevid.models.identify import LETTERBOX, STRETCH, DecoderGuess, identify
from edgevid.models.signature import ModelSignature, read_signature
from edgevid.runtime.engine import InputDtype, InputSpec, Layout, TensorSpec
from edgevid.runtime.onnxruntime.engine import OrtEngine
from edgevid.runtime.recipe import COCO, COCO_CATEGORIES, LocalRecipe, Task, write_recipe
from edgevid.runtime.variants import check_exported

Drafted = tuple[LocalRecipe, tuple[str, ...]]  # A recipe, and what is to be checked or filled in
UNKNOWN_CLASSES = 80  # Classes that a draft numbers where the model does not tell how many it has
OPEN_STEPS = 16  # Frames of a clip where the model takes any number
FEATURES = (128, 192, 256, 320, 384, 512, 576, 640, 768, 960, 1024, 1280, 1536, 1664, 2048)
"""Lengths that are features and not classes where a model has one vector and no class names."""


def draft(model: ModelSignature, guess: DecoderGuess, path: Path) -> Drafted:
    """The draft recipe of a detector, and notes on what was guessed."""
    names, note = (guess.names, ()) if guess.names else _class_names(model, guess.classes)
    recipe = _recipe(model, path, "detect", guess.preprocessing, guess.family, outputs=guess.outputs,
                     decode=guess.decode, names=names)  # fmt: skip
    return recipe, (*guess.notes, *note, *_input_notes(model))


def _class_names(model: ModelSignature, classes: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names for so many classes (0: unknown), and a note where they do not come from the file."""
    if model.names and classes in (0, len(model.names)):
        return model.names, ()
    stated = f"names the wrong number of classes ({len(model.names)})" if model.names else "names no classes"
    if known := {len(COCO): COCO, 91: COCO_CATEGORIES}.get(0 if model.names else classes):
        return known, (f"names: the file {stated}; its {classes} are taken for COCO's",)
    yours = "are numbered: write yours" + ("" if classes else ', or classes = "coco",') + " under [names]"
    many = f"; its {classes}" if classes else " and does not tell how many it has; they"
    return _numbered(classes or UNKNOWN_CLASSES), (f"names: the file {stated}{many} {yours}",)


def _numbered(count: int) -> tuple[str, ...]:
    return tuple(f"class {k}" for k in range(count))


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
    if any(np.isnan(array).any() for array in model.trial.values()):
        notes += ("a trial run on an image of noise gave NaN: the weights or half precision may be at fault",)
    if model.assumed_size:
        notes += (f"its size is open and not stated: {model.width}x{model.height} is assumed",)
    return notes


def _recipe(model: ModelSignature, path: Path, task: Task, preprocessing: Any, family: str, **more: Any) -> LocalRecipe:
    stem = "".join(c if c.isalnum() or c in ".-" else "-" for c in path.stem.lower()).strip(".-")
    return LocalRecipe(name=stem or "model", task=task, file=path.name, path=path.parent, local=path,
                       summary=f"Draft made from {path.name}: {family}", input=input_spec(model, preprocessing),
                       input_name=model.image.name, **more)  # fmt: skip


def _assumed(recipe: LocalRecipe) -> str:
    spec: Any = recipe.input
    unit = "divided by 255" if spec.std[0] == 255 else "from 0 to 255"
    return f"[input]: color, mean and std are unknown; {spec.color} {unit} is assumed"


def draft_other(model: ModelSignature, path: Path) -> Drafted | None:
    """The draft of a model that gives no boxes, and what is to be filled in."""
    (output, *others) = model.outputs
    rank = len(output.shape)
    sizes = tuple(n for n in output.shape[1:] if n != 1 or rank == 2)
    if others or not sizes:
        return None
    if sizes in ((17, 3), (51,)):
        recipe = _recipe(model, path, "pose", LETTERBOX, "17 key points", outputs=(output.name,),
                         tables={"pose": {"order": "yxs"}})  # fmt: skip
        return recipe, (_assumed(recipe), "[pose] order: whether a key point is y, x, score (MoveNet) or x, y, score")
    if (rank == 4 and output.shape[1] != 1) or (len(sizes) == 1 and not model.names and sizes[0] in FEATURES):
        recipe = _recipe(model, path, "features", STRETCH, "features", tables={"features": {"output": output.name}})
        return recipe, (_assumed(recipe),)
    if len(sizes) != 1 or rank == 4:  # boxes of SSD are (1, 1, N, 7)
        return None
    row = model.values(output).ravel()
    sums = bool(row.size and row.min() >= 0 and abs(float(row.sum()) - 1) < 1e-2)
    names, note = _class_names(model, sizes[0])
    if names is COCO:  # those are classes of boxes
        names, note = _numbered(len(COCO)), ()
    why = "its values sum to 1" if sums else "its values do not sum to 1, so they are taken for logits"
    recipe = _recipe(model, path, "classify", STRETCH, f"{sizes[0]} classes", outputs=(output.name,), names=names,
                     tables={"clip": {"activation": "none" if sums else "softmax"}})  # fmt: skip
    more = f"[clip] activation: {why}", "[clip] region and context: how crops were cut"
    return recipe, (_assumed(recipe), *note, *more)


def draft_clip(engine: OrtEngine, path: Path) -> Drafted | None:
    """The draft of a model that takes clips, (N, T, 3, h, w), (N, 3, T, h, w) or (N, T, h, w, 3), for their class or
    features, or with states one frame after another (MoViNet-Stream); None for others."""
    states, outputs = _paired(engine)
    images = [spec for spec in engine.inputs if spec.name not in states]
    if len(images) != 1 or len(images[0].shape) != 5 or not outputs:
        return None
    (image, output), sides = (images[0], outputs[0]), images[0].shape[1:]
    layouts = {"NTCHW": (1, 0, 2, 3), "NCTHW": (0, 1, 2, 3), "NTHWC": (3, 0, 1, 2)}  # places of C, T, h and w
    layout = next((name for name, places in layouts.items() if sides[places[0]] == 3), "")
    if not layout or len(output.shape) < 2 or output.shape[1] < 1:
        return None
    steps, height, width = (sides[place] for place in layouts[layout][1:])
    notes: tuple[str, ...] = ()
    if steps < 1 and not states:
        steps, notes = OPEN_STEPS, (f"[clip] steps: the length of clips is open: {OPEN_STEPS} is assumed",)
    if min(height, width) < 1:
        height, width, notes = 224, 224, (*notes, "[input]: the size is open: 224x224 is assumed")
    one = TensorSpec(image.name, (1, 3, height, width), image.dtype)
    order: Layout = "NHWC" if layout == "NTHWC" else "NCHW"
    model = ModelSignature(one, engine.outputs, width, height, order, "", (), ultralytics=False)
    tables: dict[str, Any] = {"clip": {"steps": steps, "layout": layout}}
    if not states and (len(output.shape) > 2 or output.shape[1] in FEATURES):
        tables["features"] = {"output": output.name}
        recipe = _recipe(model, path, "features", STRETCH, f"features of clips of {steps} frames", tables=tables)
        return recipe, (_assumed(recipe), *notes)
    task, kind = "clip", f"clips of {steps} frames"
    if states:
        task, kind = "stream", "one frame after another"
        tables = {"clip": {}, "stream": {"states": [*states], "next": [*states.values()]}}
    tables["clip"]["activation"] = "softmax"
    recipe = _recipe(model, path, task, STRETCH, f"{kind}, {output.shape[1]} classes",  # type: ignore[arg-type]
                     outputs=(output.name,), names=_numbered(output.shape[1]), tables=tables)  # fmt: skip
    unknown = "[clip]: rate_hz, region, context and activation of the training are unknown"
    return recipe, (_assumed(recipe), "[names]: the classes are numbered: write yours", unknown, *notes)


def _paired(engine: OrtEngine) -> tuple[dict[str, str], list[TensorSpec]]:
    """The output of each state's next value by the state's name, known by its name or else by its shape, in order; and
    the outputs that are left."""
    states, free = dict[str, str](), list(engine.outputs)
    for spec in engine.inputs if len(engine.inputs) > 1 else ():
        names = [form.format(spec.name) for form in ("{}_next", "next_{}", "{}_out", "new_{}")]
        named = [one for one in free if one.name in names]
        alike = named or [one for one in free if (one.shape, one.dtype) == (spec.shape, spec.dtype)]
        if alike:
            states[spec.name] = alike[0].name
            free.remove(alike[0])
    return states, free


def drafted(engine: OrtEngine, path: Path) -> tuple[DecoderGuess | None, LocalRecipe | None, tuple[str, ...]]:
    """The decoder that fits a loaded model, the draft of its recipe, and notes on it. ModelError where metadata, shapes
    and a trial run contradict each other."""
    ranks = [len(spec.shape) for spec in engine.inputs]
    if 5 in ranks and ((clip := draft_clip(engine, path)) or 4 not in ranks):
        return (None, *(clip or (None, ())))
    model = read_signature(engine)
    try:
        guess = identify(model)
        found = draft(model, guess, path) if guess else draft_other(model, path)
    except EdgevidError as error:
        raise ModelError(f"{path}: {error}") from None
    return (guess, *(found or (None, ())))


def draft_recipe(path: Path) -> LocalRecipe:
    """The recipe of an ONNX file that has none, by its metadata or guessed; what was guessed is logged. Raises
    ModelError where no decoder fits, and where what fits would read nonsense."""
    with OrtEngine(path, device="cpu") as engine:
        guess, recipe, notes = drafted(engine, path)
        given = "; ".join(str(o) for o in engine.outputs)
    if recipe is None:
        raise ModelError(f"{path}: no decoder is known for outputs {given}. "
                         "Write a recipe that names the outputs to read (docs/recipes.md), "
                         "or give a function that calls the model as the detector (docs/pipeline.md)")  # fmt: skip
    family = guess.family if guess else f"a model of task {recipe.task!r}"
    log_once(f"{path.name} has no recipe; identified as {family}. {'; '.join(notes)}", logging.WARNING)
    return recipe


@dataclass(frozen=True, slots=True)
class ModelReport:
    """What `edgevid inspect` prints."""

    path: Path
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]  # Shapes as the file states them; -1 for dynamic axes
    metadata: dict[str, str]  # What the exporter wrote into the file
    guess: DecoderGuess | None = None  # None where no decoder fits
    recipe: LocalRecipe | None = None  # The draft; None where nothing fits
    notes: tuple[str, ...] = ()  # What the draft assumes, and what is to be filled in
    problem: str = ""  # Why there is no draft


def inspect(path: str | Path) -> ModelReport:
    """The report of an ONNX file. InputError for a file of weights, ModelError for any other file."""
    path = Path(path)
    check_exported(path)
    with OrtEngine(path, device="cpu") as engine:
        stated = (path, engine.inputs, engine.outputs, {k: v for k, v in engine.metadata.items() if v})
        try:
            return ModelReport(*stated, *drafted(engine, path))
        except ModelError as error:
            return ModelReport(*stated, problem=str(error))


def write_draft(report: ModelReport, target: str | Path | None = None, *, replace: bool = False) -> Path:
    """Writes the draft recipe next to the model (or as `target`) and returns its path. `--model <model>.onnx` then
    reads `<model>.toml` next to it. InputError where a recipe is there already, which may have been edited, unless
    `replace`."""
    if report.recipe is None:
        why = report.problem or f"{report.path}: no decoder fits its outputs"
        raise ModelError(f"{why}; so there is no draft to write")
    path = Path(target) if target else report.path.with_suffix(".toml")
    check_file(path)
    if path.exists() and not replace:
        raise InputError(f"{path}: there is a recipe already; choose another name, or replace it (--force)")
    comment = "\n".join(["Draft by `edgevid inspect`. To be checked or filled in:", *report.notes])
    write_recipe(report.recipe, path, comment=comment)
    return path
