"""ONNX files with recipes, made of other models.

Ultralytics weights to an ONNX file with a recipe, verified against the PyTorch model on real frames. Ultralytics'
own exporter makes the file; this writes the recipe from its metadata and compares both models. Loading `.pt` weights
runs code that they contain: export only weights that you trust.

A frozen feature extractor cut out of an ONNX image model, such as a detector's backbone. Needs the package onnx (extra
`train`). The cut model ends in a global average pooling, so every crop gives one row of features."""

import dataclasses
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgevid.detect.preprocess import Preprocessor
from edgevid.errors import InputError, ModelError, ParityError, log, require
from edgevid.files import cache_folder, check_file, make_folder, sha256_of
from edgevid.models.draft import inspect
from edgevid.models.identify import TASKS
from edgevid.optimize.agreement import cosine
from edgevid.runtime import DetectorRecipe, LocalRecipe, Recipe, Source, write_recipe
from edgevid.runtime.onnxruntime.engine import OrtEngine
from edgevid.types import Array, Frame

TOLERANCE = 1e-3
"""Largest accepted difference of a score, and of a box relative to the image's side: float32 with another
order of additions stays a hundred times below it, a wrong graph is far above."""
IMAGE_TOLERANCE = 1.0  # Largest accepted mean difference of the preprocessed images, in gray levels of 255


@dataclass(frozen=True, slots=True)
class Exported:
    """The exported files, and their difference from the PyTorch model."""

    model: Path
    recipe_file: Path
    recipe: DetectorRecipe
    frames: int
    worst: float  # Largest difference of a score, or of a box relative to the image's longer side
    cosine: float  # Minimum cosine between the two outputs of a frame
    image_levels: float  # Largest mean difference between edgevid's and Ultralytics' preprocessed images, of 255 levels


def export(weights: str | Path, frames: Sequence[Frame], *, size: int | tuple[int, int] | None = 640,
           out: str | Path | None = None, opset: int = 17, dynamic_batch: bool = False) -> Exported:  # fmt: skip
    """Exports weights that give boxes, also with masks, key points or angles, to `<name>.onnx`.

    `<name>.toml` is written next to it. `size` is the input's side, or (height, width), in pixels; None: that of the
    training. `out` is the ONNX file, next to the weights by default. `frames` are real images, on which ONNX Runtime
    and PyTorch must agree: ParityError otherwise, and nothing is written. InputError for weights of another task,
    MissingExtraError without `ultralytics`."""
    weights = Path(weights)
    if not frames:
        raise InputError("export: expected at least one real frame to compare on, got none; give --data")
    if weights.suffix not in (".pt", ".yaml"):
        raise InputError(f"export: expected Ultralytics weights (.pt) or a model's .yaml, got {weights}")
    if weights.suffix == ".pt" and not weights.is_file():
        raise InputError(f"export: there is no file {weights}")
    target = export_target(weights, out)
    check_file(target)
    with _quiet_ultralytics(), tempfile.TemporaryDirectory() as folder:
        model = _load(weights, Path(folder))
        size = size or model.overrides.get("imgsz", 640)
        made = _export(model, size, opset, dynamic_batch, Path(folder) / (target.stem + ".onnx"))
        recipe = _recipe(made)
        result = _compare(model, made, recipe, frames)
        make_folder(target.parent)
        shutil.move(made, target)
    recipe = dataclasses.replace(recipe, file=target.name, path=target.parent)
    recipe_file = target.with_suffix(".toml")
    comment = (
        f"Exported from {weights.name} by `edgevid export`. On {len(frames)} frames scores and boxes "
        f"(as parts of the image's\nside) differ from PyTorch's by at most {result[0]:.1e}, minimum cosine "
        f"{result[1]:.7f}; the preprocessed images differ\nfrom Ultralytics' own by {result[2]:.2f} of 255 "
        "levels."
    )
    write_recipe(recipe, recipe_file, comment=comment)
    return Exported(target, recipe_file, recipe, len(frames), *result)


def export_cached(weights: str | Path, frames: Callable[[], Sequence[Frame]]) -> Path:
    """The ONNX file of weights, with its recipe next to it, in the user's cache by the weights' SHA-256. It is exported
    and verified, on the frames that `frames` gives, where it is not there yet. Errors as in `export`."""
    weights = Path(weights)
    if not weights.is_file():
        raise InputError(f"model: there is no file {weights}; check the path, or see `edgevid models list`")
    target = cache_folder() / "exports" / sha256_of(weights)[:16] / f"{weights.stem}.onnx"
    if not (target.is_file() and target.with_suffix(".toml").is_file()):
        made = export(weights, frames(), size=None, out=target)
        text = "%s was exported to %s; on %d frames it differs from PyTorch by at most %.1e"
        log.warning(text, weights, target, made.frames, made.worst)
    return target


def export_target(weights: Path, out: str | Path | None = None) -> Path:
    """The ONNX file that an export writes: next to the weights, in this folder for a .yaml of Ultralytics."""
    if out:
        return Path(out)
    return Path(weights.stem + ".onnx") if weights.suffix == ".yaml" else weights.with_suffix(".onnx")


@contextmanager
def _quiet_ultralytics() -> Iterator[None]:
    """Only its warnings and errors, and no package installed without asking."""
    os.environ.setdefault("YOLO_AUTOINSTALL", "false")
    require("ultralytics", extra="export", purpose="exporting weights")
    logger = logging.getLogger("ultralytics")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)


def _load(weights: Path, folder: Path) -> Any:
    """The model, from a copy of its weights: Ultralytics writes next to what it loads."""
    from ultralytics import YOLO

    path = weights
    if weights.is_file():
        path = folder / weights.name
        shutil.copyfile(weights, path)
    try:
        model = YOLO(str(path))
    except Exception as error:  # unpickling, parsing and torch raise unrelated kinds
        why = (str(error).splitlines() or [type(error).__name__])[0].replace(str(path), str(weights))
        raise ModelError(f"{weights}: Ultralytics cannot load it ({why})") from error
    if model.task not in TASKS:
        remedy = "Export others with Ultralytics and draft their recipe: edgevid inspect MODEL.onnx --write"
        what = f"{weights}: its task is {model.task!r}; `edgevid export` takes {', '.join(TASKS)}"
        raise InputError(f"{what}. {remedy}")
    return model


def _export(model: Any, size: int | tuple[int, int], opset: int, dynamic_batch: bool, target: Path) -> Path:
    here = Path.cwd()
    os.chdir(target.parent)  # a model made from .yaml is exported into the working folder
    try:
        made = model.export(format="onnx", imgsz=size if isinstance(size, int) else list(size), opset=opset,
                            dynamic=dynamic_batch, simplify=False, device="cpu", verbose=False)  # fmt: skip
        return Path(shutil.move(Path(str(made)).resolve(), target))
    except Exception as error:
        raise ModelError(f"Ultralytics' exporter failed: {error}") from error
    finally:
        os.chdir(here)


def _recipe(made: Path) -> DetectorRecipe:
    """The recipe from the file's metadata: size, names, decoder, license."""
    report = inspect(made)
    if report.recipe is None:
        raise ModelError(report.problem or f"{made}: no decoder fits its outputs")
    notes = report.metadata
    license = notes.get("license", "").split(" ")[0]
    source = Source(license=license, note=f"Exported by Ultralytics {notes.get('version', '')}".strip())
    summary = f"{notes.get('description', 'Ultralytics model').strip()}, {len(report.recipe.names)} classes"
    return DetectorRecipe.of(dataclasses.replace(report.recipe, source=source, summary=summary))


def _compare(model: Any, made: Path, recipe: DetectorRecipe, frames: Sequence[Frame]) -> tuple[float, float, float]:
    """Worst relative difference, minimum cosine, worst image difference; ParityError above tolerance."""
    prepare = Preprocessor(recipe.input, 1)
    worst, similarity, levels = 0.0, 1.0, 0.0
    with OrtEngine(made, device="cpu") as engine:
        for frame in frames:
            prepare([frame])
            image = prepare.buffer[:1]
            levels = max(levels, float(np.abs(image - _ultralytics_image(frame, recipe)).mean() * 255))
            expected = _torch_output(model, image)
            given = engine.run({recipe.input_name: image})[recipe.outputs[0]]
            worst = max(worst, *_differences(given, expected, recipe))
            similarity = min(similarity, cosine(*(x.ravel().astype(np.float64) for x in (expected, given))))
    if worst > TOLERANCE:
        of = f"(scores, or boxes as a part of the image's side) on {len(frames)} frames; accepted: {TOLERANCE:g}"
        what = f"export: the ONNX file and the PyTorch model differ by {worst:.2g} {of}"
        raise ParityError(f"{what}. Nothing was written; try another --opset, or report it to Ultralytics")
    if levels > IMAGE_TOLERANCE:
        found = f"{levels:.1f} of 255 levels on average (accepted: {IMAGE_TOLERANCE})"
        what = f"export: edgevid's preprocessed images differ from Ultralytics' by {found}"
        raise ParityError(f"{what}. Nothing was written; please report it")
    return worst, similarity, levels


def _differences(given: Array, expected: Array, recipe: DetectorRecipe) -> tuple[float, float]:
    """Largest difference of the boxes, relative to the image's longer side, and of the other values."""
    how, off = recipe.decode, np.abs(given - expected)
    if how.layout == "columns" and how.kind == "yolo":
        off, expected = off.swapaxes(1, 2), expected.swapaxes(1, 2)
    side = 1 if how.normalized else max(recipe.input.width, recipe.input.height)
    classes = off.shape[-1] - how.extra
    last = 5 if how.kind == "end-to-end" else classes  # the label follows its score
    extra = off[..., classes:] / np.maximum(1, np.abs(expected).max())
    return float(off[..., :4].max() / side), float(max(off[..., 4:last].max(), extra.max(initial=0)))


def _torch_output(model: Any, image: Array) -> Array:
    """The PyTorch model's output for a preprocessed image."""
    import torch

    with torch.inference_mode():
        answer = model.model.eval()(torch.from_numpy(np.ascontiguousarray(image)))
    while isinstance(answer, (tuple, list)):  # boxes come first, prototypes and raw heads after them
        answer = answer[0]
    return np.asarray(answer.numpy())


def _ultralytics_image(frame: Frame, recipe: DetectorRecipe) -> Array:
    """The frame as Ultralytics' own predictor prepares it, (1, 3, height, width), 0 to 1."""
    from ultralytics.data.augment import LetterBox

    shape = (recipe.input.height, recipe.input.width)
    boxed = LetterBox(shape, auto=False)(image=np.ascontiguousarray(frame.image[:, :, ::-1]))
    return np.ascontiguousarray(boxed[:, :, ::-1].transpose(2, 0, 1)[None], np.float32) / 255


OUTPUT = "edgevid_features"


def cut_backbone(recipe: Recipe, out: Path, *, tensor: str = "") -> tuple[Path, int]:
    """Writes `out`/recipe.toml and the model up to `tensor`; returns the recipe and its number of features.
    Without `tensor` the deepest map is used: the smallest area of more than one pixel, then the most channels.
    ModelError where the model has no such map."""
    onnx = require("onnx", extra="train", purpose="cutting a backbone")
    if not isinstance(recipe, LocalRecipe) or recipe.input is None:
        raise InputError(f"{recipe.name}: expected an image model whose file is on this machine")
    model = onnx.shape_inference.infer_shapes(onnx.load(str(recipe.local)))
    maps: dict[str, tuple[int, int, int]] = {}  # channels, height and width of every tensor of known axes
    for value in model.graph.value_info:
        axes = [d.dim_value for d in value.type.tensor_type.shape.dim]
        if len(axes) == 4 and min(axes[1:]) > 0:
            maps[value.name] = (axes[1], axes[2], axes[3])
    spread = {n: s for n, s in maps.items() if s[1] * s[2] > 1}
    if not (tensor or spread):
        raise ModelError(f"{recipe.name}: no feature map of known size was found; choose one with tensor=...")
    chosen = tensor or min(spread, key=lambda n: (spread[n][1] * spread[n][2], -spread[n][0]))
    if chosen not in maps:
        known = ", ".join(f"{n} {s}" for n, s in list(maps.items())[-8:])
        raise InputError(f"tensor: {recipe.name} has no feature map {tensor!r}; among its last are {known}")
    image_input = recipe.input_name or model.graph.input[0].name
    make_folder(out)
    file = out / f"{recipe.name}-features.onnx"
    _extract(onnx, recipe.local, image_input, chosen, maps[chosen][0], file)
    own: Any = {"url": "", "sha256": sha256_of(file), "bytes": file.stat().st_size, "verified": False, "note": ""}
    made = dataclasses.replace(recipe, name=f"{recipe.name}-features", task="features", file=file.name, decode=None,
                               names=(), outputs=(), summary=f"frozen features of {recipe.name}, cut at {chosen}",
                               precisions={}, input_name=image_input,
                               source=dataclasses.replace(recipe.source, **own))  # fmt: skip
    path = out / "recipe.toml"
    write_recipe(made, path, comment=f"Cut from {recipe.name} at tensor {chosen}.")
    return path, maps[chosen][0]


def _extract(onnx: Any, source: Path, image_input: str, tensor: str, width: int, out: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        part = Path(folder) / "part.onnx"
        onnx.utils.extract_model(str(source), str(part), [image_input], [tensor], check_model=False)
        model = onnx.load(str(part))
    graph, helper = model.graph, onnx.helper
    graph.node.append(helper.make_node("GlobalAveragePool", [tensor], [OUTPUT]))
    del graph.output[:]
    first = graph.input[0].type.tensor_type.shape.dim[0].dim_value or "n"
    graph.output.append(helper.make_tensor_value_info(OUTPUT, onnx.TensorProto.FLOAT, [first, width, 1, 1]))
    onnx.save(model, str(out))
