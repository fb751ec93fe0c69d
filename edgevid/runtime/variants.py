"""Where the other precisions of a model lie: FP16 and INT8 files made of its ONNX file.

`<folder of the model>/build/<model>.<variant>.onnx`, each with a JSON of the same name that states how it
was made, first of all from which file (SHA-256): a variant of another file is never taken.
"""

import json
import os
import shlex
from pathlib import Path
from typing import Any, Literal, get_args

from edgevid.errors import InputError, ModelError
from edgevid.files.folders import cache_folder, engines_folder
from edgevid.runtime.onnxruntime.weight_inputs import model_digest
from edgevid.runtime.recipe import LocalRecipe, Recipe

Variant = Literal["fp16", "int8-cpu", "int8-trt", "int8-trt-fp16"]
VARIANTS: tuple[Variant, ...] = get_args(Variant)
"""fp16: half precision inside, float32 at its inputs and outputs. int8-cpu: U8S8, for ONNX Runtime on
the CPU. int8-trt: S8S8 symmetric Q/DQ, for TensorRT. int8-trt-fp16: the same with FP16 between."""

FOR_TENSORRT = ("int8-trt", "int8-trt-fp16")
"""Variants that ONNX Runtime runs as a reference only, without its optimizations."""


def variant_of(path: str | Path) -> str:
    """Which variant a file is, by its name; empty for any other file.

    >>> variant_of("build/yolo.int8-trt.onnx"), variant_of("yolo.onnx")
    ('int8-trt', '')
    """
    kind = Path(path).stem.rpartition(".")[2]
    return kind if kind in VARIANTS else ""


def model_file(model: Recipe | str | Path) -> Path:
    """The ONNX file of a recipe that has one on this machine, or the path itself."""
    if not isinstance(model, Recipe):
        return Path(model)
    if not isinstance(model, LocalRecipe):
        raise ModelError(f"{model.name}: its file is not here; `edgevid models get {model.name}` fetches it")
    return model.local


def model_argument(model: Recipe | str | Path) -> str:
    """What names this model in a command: the name of a recipe that comes with edgevid, else its path."""
    if not isinstance(model, Recipe):
        return str(model)
    if model.path.parent.parent == engines_folder():
        return model.name
    return str(model.local if isinstance(model, LocalRecipe) and model.path.is_dir() else model.path)


def build_folder(model: Recipe | str | Path) -> Path:
    """The folder for what is made of a model: `build/` next to its file.

    A file in a `build` folder already shares it; where its folder cannot be written (an installed package),
    it is a folder in the user's cache.
    """
    folder = model_file(model).resolve().parent
    if folder.name == "build":
        return folder
    made = folder / "build"
    if os.access(made if made.is_dir() else folder, os.W_OK):
        return made
    return cache_folder() / "build" / folder.name


def variant_path(model: Recipe | str | Path, variant: str, *, folder: str | Path | None = None) -> Path:
    """The place of one variant of a model, whether or not it is there.

    `folder` stands in for `build_folder`.

    >>> variant_path("models/yolo.onnx", "int8-cpu", folder="out").as_posix()
    'out/yolo.int8-cpu.onnx'
    """
    if variant not in VARIANTS:
        raise InputError(f"variant: expected one of {', '.join(VARIANTS)}, got {variant!r}")
    place = build_folder(model) if folder is None else Path(folder)
    return place / f"{model_file(model).stem}.{variant}.onnx"


def record_path(variant: Path) -> Path:
    """The JSON that states how a variant was made."""
    return variant.with_suffix(".json")


def read_record(variant: Path) -> dict[str, Any]:
    """How a variant was made; ModelError where its record is missing or damaged."""
    path = record_path(variant)
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(
            f"{path}: expected the record of how {variant.name} was made, got {error}; make both again"
        ) from error
    if not isinstance(record, dict):
        raise ModelError(f"{path}: expected a JSON object, got {type(record).__name__}; make it again")
    return record


def find_variant(model: Recipe | str | Path, variant: str, *, folder: str | Path | None = None) -> Path:
    """The variant's file, made of this very model file.

    Raises ModelError with the command that makes it where there is none, where the model has changed
    since, and where the variant is not the file that its record describes.
    """
    source, path = model_file(model), variant_path(model, variant, folder=folder)
    name = model.name if isinstance(model, Recipe) else source
    precision = "fp16" if variant == "fp16" else "int8"
    command = f"edgevid quantize {shlex.quote(model_argument(model))}" + (
        " --precision fp16" if precision == "fp16" else " --data VIDEO|FOLDER"
    )
    if not path.is_file():
        raise ModelError(f"{name}: has no {variant} file yet (expected {path}); make it with: {command}")
    record = read_record(path)
    if record.get("source_sha256") != model_digest(source):
        raise ModelError(
            f"{path}: was made of another file than {source} is now (SHA-256 {record.get('source_sha256')}); "
            f"make it again with: {command}"
        )
    if record.get("sha256") != model_digest(path):
        raise ModelError(f"{path}: differs from {record_path(path).name}; make it again with: {command}")
    return path
