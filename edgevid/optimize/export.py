"""From Ultralytics weights to an ONNX file with a recipe, compared with the PyTorch model on real frames.

Ultralytics' own exporter does the work: this calls it as its users do, writes down what the model says
of itself, and proves that what comes out is what went in. Loading `.pt` weights runs code that they hold:
export only weights that you trust.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgevid.detect.preprocess import Preprocessor
from edgevid.errors import InputError, ModelError, ParityError, require
from edgevid.models.identify import draft_recipe
from edgevid.runtime.onnxruntime.engine import OrtEngine
from edgevid.runtime.recipe import Recipe, Source
from edgevid.runtime.recipe_writer import write_recipe
from edgevid.types import Array, Frame

TOLERANCE = 1e-3
"""Greatest accepted difference of a score, and of a box as a part of the image's side: float32 in another
order of additions stays a hundred times below it, a wrong graph far above."""
PICTURE_TOLERANCE = 1.0
"""Greatest accepted mean difference of the prepared images, in gray levels of 255."""


@dataclass(frozen=True, slots=True)
class Exported:
    """What was made, and how near it is to the PyTorch model."""

    model: Path
    recipe_file: Path
    recipe: Recipe
    frames: int
    worst: float
    """Greatest difference of a score, or of a box as a part of the image's longer side."""
    cosine: float
    """Least cosine between the two outputs of a frame."""
    picture_levels: float
    """Greatest mean difference between edgevid's and Ultralytics' prepared images, of 255 levels."""


def export(
    weights: str | Path,
    frames: Sequence[Frame],
    *,
    size: int | tuple[int, int] = 640,
    out: str | Path | None = None,
    opset: int = 17,
    open_batch: bool = False,
) -> Exported:
    """Exports detector weights to `<name>.onnx` with `<name>.toml` beside it.

    `size` is the input's side, or (height, width), in pixels; `out` the ONNX file, beside the weights if
    left out. `frames` are real images, on which ONNX Runtime and PyTorch must agree: ParityError
    otherwise, and nothing is written. InputError for weights of another task, MissingExtraError
    without `ultralytics`.
    """
    weights = Path(weights)
    if not frames:
        raise InputError("export: expected at least one real frame to compare on, got none (--frames)")
    if weights.suffix not in (".pt", ".yaml"):
        raise InputError(f"export: expected Ultralytics weights (.pt) or a model's .yaml, got {weights}")
    if weights.suffix == ".pt" and not weights.is_file():
        raise InputError(f"export: there is no file {weights}")
    target = Path(out) if out else Path(weights.stem + ".onnx") if weights.suffix == ".yaml" else None
    target = target or weights.with_suffix(".onnx")
    with _quiet_ultralytics(), tempfile.TemporaryDirectory() as folder:
        model = _load(weights, Path(folder))
        made = _export(model, size, opset, open_batch, Path(folder) / (target.stem + ".onnx"))
        recipe = _recipe(made)
        result = _compare(model, made, recipe, frames)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(made, target)
    recipe = dataclasses.replace(recipe, file=target.name, path=target.parent, local=target)
    recipe_file = target.with_suffix(".toml")
    write_recipe(recipe, recipe_file, comment=_comment(weights, result, len(frames)))
    return Exported(target, recipe_file, recipe, len(frames), *result)


@contextmanager
def _quiet_ultralytics() -> Iterator[None]:
    """Its messages only from warnings up, and no package installed behind the user's back."""
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
    """The model, from a copy of its weights: Ultralytics writes beside what it loads."""
    from ultralytics import YOLO

    path = weights
    if weights.is_file():
        path = folder / weights.name
        shutil.copyfile(weights, path)
    try:
        model = YOLO(str(path))
    except Exception as error:  # unpickling, parsing and torch raise unrelated kinds
        raise ModelError(f"{weights}: Ultralytics cannot load it ({error})") from error
    if model.task != "detect":
        raise InputError(
            f"{weights}: its task is {model.task!r}; `edgevid export` takes detectors. Export others with "
            "Ultralytics and write their recipe by docs/recipes.md"
        )
    return model


def _export(model: Any, size: int | tuple[int, int], opset: int, open_batch: bool, target: Path) -> Path:
    here = Path.cwd()
    os.chdir(target.parent)  # a model made from .yaml is exported into the working folder
    try:
        made = model.export(
            format="onnx",
            imgsz=size if isinstance(size, int) else list(size),
            opset=opset,
            dynamic=open_batch,
            simplify=False,
            device="cpu",
            verbose=False,
        )
        return Path(shutil.move(Path(str(made)).resolve(), target))
    except Exception as error:
        raise ModelError(f"Ultralytics' exporter failed: {error}") from error
    finally:
        os.chdir(here)


def _recipe(made: Path) -> Recipe:
    """What the file says of itself: size, names, decoder, license."""
    with OrtEngine(made, device="cpu") as engine:
        notes = engine.metadata
    license = notes.get("license", "").split(" ")[0]
    source = Source(license=license, note=f"Exported by Ultralytics {notes.get('version', '')}".strip())
    told = logging.getLogger("edgevid")
    level = told.level
    told.setLevel(logging.ERROR)  # that it has no recipe yet is no news here
    try:
        drafted = draft_recipe(made)
    finally:
        told.setLevel(level)
    summary = f"{notes.get('description', 'Ultralytics model').strip()}, {len(drafted.names)} classes"
    return dataclasses.replace(drafted, source=source, summary=summary)


def _compare(model: Any, made: Path, recipe: Recipe, frames: Sequence[Frame]) -> tuple[float, float, float]:
    """Worst relative difference, least cosine, worst image difference; ParityError above tolerance."""
    assert recipe.input is not None
    prepare = Preprocessor(recipe.input, 1)
    worst, cosine, levels = 0.0, 1.0, 0.0
    with OrtEngine(made, device="cpu") as engine:
        for frame in frames:
            prepare([frame])
            picture = prepare.buffer[:1]
            levels = max(levels, float(np.abs(picture - _their_picture(frame, recipe)).mean() * 255))
            expected = _torch_output(model, picture)
            given = engine.run({recipe.input_name: picture})[recipe.outputs[0]]
            worst = max(worst, *_differences(given, expected, recipe))
            cosine = min(cosine, _cosine(expected, given))
    if worst > TOLERANCE:
        raise ParityError(
            f"export: the ONNX file and the PyTorch model differ by {worst:.2g} (scores, or boxes as a part "
            f"of the image's side) on {len(frames)} frames; accepted: {TOLERANCE:g}. Nothing was written; "
            "try another --opset, or report it to Ultralytics"
        )
    if levels > PICTURE_TOLERANCE:
        raise ParityError(
            f"export: edgevid's prepared images differ from Ultralytics' by {levels:.1f} of 255 levels on "
            f"average (accepted: {PICTURE_TOLERANCE}). Nothing was written; please report it"
        )
    return worst, cosine, levels


def _differences(given: Array, expected: Array, recipe: Recipe) -> tuple[float, float]:
    """Greatest difference of the boxes, as a part of the image's longer side, and of the other values."""
    assert recipe.decode is not None
    assert recipe.input is not None
    off = np.abs(given - expected)
    if recipe.decode.layout == "columns" and recipe.decode.kind == "yolo":
        off = off.swapaxes(1, 2)
    side = 1 if recipe.decode.normalized else max(recipe.input.width, recipe.input.height)
    scores = off[..., 4:5] if recipe.decode.kind == "end-to-end" else off[..., 4:]  # then comes the label
    return float(off[..., :4].max() / side), float(scores.max())


def _torch_output(model: Any, picture: Array) -> Array:
    """What the PyTorch model itself answers to a prepared image."""
    import torch

    with torch.inference_mode():
        answer = model.model.eval()(torch.from_numpy(np.ascontiguousarray(picture)))
    first = answer[0] if isinstance(answer, (tuple, list)) else answer
    return np.asarray(first.numpy())


def _their_picture(frame: Frame, recipe: Recipe) -> Array:
    """The frame as Ultralytics' own predictor prepares it, (1, 3, height, width), 0 to 1."""
    from ultralytics.data.augment import LetterBox

    assert recipe.input is not None
    shape = (recipe.input.height, recipe.input.width)
    boxed = LetterBox(shape, auto=False)(image=np.ascontiguousarray(frame.image[:, :, ::-1]))
    return np.ascontiguousarray(boxed[:, :, ::-1].transpose(2, 0, 1)[None], np.float32) / 255


def _cosine(one: Array, other: Array) -> float:
    a, b = one.ravel().astype(np.float64), other.ravel().astype(np.float64)
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


def _comment(weights: Path, result: tuple[float, float, float], frames: int) -> str:
    worst, cosine, levels = result
    return (
        f"Exported from {weights.name} by `edgevid export`. On {frames} frames scores and boxes (as parts of "
        f"the image's\nside) differ from PyTorch's by at most {worst:.1e}, least cosine {cosine:.7f}; "
        f"the prepared images differ\nfrom Ultralytics' own by {levels:.2f} of 255 levels."
    )
