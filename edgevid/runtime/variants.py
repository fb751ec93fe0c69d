"""Model files: where the other precisions of a model lie, and what the bytes of an ONNX file tell.

A variant is `<folder of the model>/build/<model>.<variant>.onnx`, with a JSON of its name that states how, and of
which file (SHA-256), it was made: one of another file is never taken. Bytes are read by the protocol buffers that ONNX
Runtime needs, too (model.textproto has the fields of onnx.proto that are read): no onnx package is needed."""

import json
import math
import os
import shlex
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args

from edgevid.errors import InputError, ModelError, check_choice
from edgevid.files import cache_folder, engines_folder, sha256_of, sha256_of_all
from edgevid.runtime.recipe import LocalRecipe, Recipe

Variant = Literal["fp16", "int8-cpu", "int8-trt", "int8-trt-fp16"]
VARIANTS: tuple[Variant, ...] = get_args(Variant)
"""fp16: half precision inside, float32 at its inputs and outputs. int8-cpu: U8S8, for ONNX Runtime on
the CPU. int8-trt: S8S8 symmetric Q/DQ, for TensorRT. int8-trt-fp16: the same with FP16 between."""

FOR_TENSORRT = ("int8-trt", "int8-trt-fp16")
"""Variants that ONNX Runtime runs as a reference only, without its optimizations."""

OTHER_FORMATS = (".pth", ".ckpt", ".safetensors", ".torchscript", ".tflite", ".h5", ".keras", ".pb", ".mlpackage",
                 ".xml")  # fmt: skip
"""Endings of weights and models that are to be exported by another project."""


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
    """The folder for what is made of a model: `build/` next to its file. A file in a `build` folder already shares it;
    where its folder cannot be written (an installed package), it is a folder in the user's cache."""
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
    check_choice(variant, VARIANTS, "variant")
    place = build_folder(model) if folder is None else Path(folder)
    return place / f"{model_file(model).stem}.{variant}.onnx"


def record_path(variant: Path) -> Path:
    """The JSON that states how a variant was made."""
    return variant.with_suffix(".json")


def read_record(variant: Path) -> dict[str, Any]:
    """How a variant was made; ModelError where its record is missing or damaged."""
    path = record_path(variant)
    try:
        return {**json.loads(path.read_text(encoding="utf-8"))}
    except (OSError, ValueError, TypeError) as error:  # TypeError: another value than an object
        what = f"{path}: expected the record of how {variant.name} was made, got {error}"
        raise ModelError(f"{what}; make both again") from error


def find_variant(model: Recipe | str | Path, variant: str, *, folder: str | Path | None = None) -> Path:
    """The variant's file, made of this very model file. Raises ModelError with the command that makes it where there is
    none, where the model has changed since, and where the variant is not the file that its record describes."""
    source, path = model_file(model), variant_path(model, variant, folder=folder)
    name = model.name if isinstance(model, Recipe) else source
    how = "--precision fp16" if variant == "fp16" else "--data VIDEO|FOLDER"
    command = f"edgevid quantize {shlex.quote(model_argument(model))} {how}"
    if not path.is_file():
        raise ModelError(f"{name}: has no {variant} file yet (expected {path}); make it with: {command}")
    record = read_record(path)
    if record.get("source_sha256") != model_digest(source):
        what = f"{path}: was made of another file than {source} is now (SHA-256 {record.get('source_sha256')})"
        raise ModelError(f"{what}; make it again with: {command}")
    if record.get("sha256") != model_digest(path):
        raise ModelError(f"{path}: differs from {record_path(path).name}; make it again with: {command}")
    return path


HALF = 10  # TensorProto.FLOAT16
MOST_BYTES = (1 << 31) - 1  # Of an ONNX file: the limit of protocol buffers
MOST_WEIGHTS = 1 << 32
MOST_TENSOR_BYTES = 1 << 32  # Of an input or output


@cache
def _message() -> Any:
    """The message of a model, with the few fields that are read here; all others are kept as they are."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format

    text = Path(__file__).with_name("model.textproto").read_text(encoding="utf-8")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(text_format.Parse(text, descriptor_pb2.FileDescriptorProto()))
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("Model"))


def _parsed(model: bytes) -> Any:
    """The model of these bytes; ValueError where they are no protocol buffer."""
    try:
        return _message().FromString(model)
    except Exception as error:  # of the implementation: upb's, C++'s or Python's
        raise ValueError(str(error)) from None


def without_weight_inputs(model: bytes) -> bytes:
    """The same model whose graph inputs are only those that a caller must give: ONNX before IR version 4 lists weights,
    too, which ONNX Runtime then takes for values that change, and folds no constants (PicoDet-S takes a third longer).

    The same object where there is nothing to take off, and where weights are in other files: such a model must be
    loaded by its path. ValueError for bytes that are no protocol buffer."""
    parsed = _parsed(model)
    graph, weights = parsed.graph, {weight.name for weight in parsed.graph.initializer}
    given = [one for one in graph.input if one.name not in weights]
    if len(given) == len(graph.input) or any(weight.data_location for weight in graph.initializer):
        return model
    del graph.input[:]
    graph.input.extend(given)
    return bytes(parsed.SerializeToString())


def external_files(model: bytes) -> tuple[str, ...]:
    """The files, relative to the model's folder, that hold weights, sorted; ValueError as above."""
    entries = (entry for weight in _parsed(model).graph.initializer for entry in weight.external_data)
    return tuple(sorted({one.value.decode("utf-8", "replace") for one in entries if one.key == b"location"}))


def read_model(path: Path) -> bytes:
    """The bytes of a model file. ModelError for one that is too large, claims weights that are, or names files outside
    of its folder; OSError where it is not read. What is no protocol buffer is left to who loads it."""
    if (size := path.stat().st_size) > MOST_BYTES:
        raise ModelError(f"{path}: expected 2 GB at most (weights may lie in other files), got {size:,} bytes")
    content, folder = path.read_bytes(), path.parent.resolve()
    try:
        weights = _parsed(content).graph.initializer
        names = external_files(content)
    except ValueError:
        return content
    if (values := sum(abs(math.prod(weight.dims)) for weight in weights)) > MOST_WEIGHTS:
        raise ModelError(f"{path}: expected {MOST_WEIGHTS:,} weights at most, its tensors claim {values:,}")
    for name in names:
        if not (folder / name).resolve().is_relative_to(folder):
            raise ModelError(f"{path}: expected its weights in files of its folder, got {name}: copy them there")
    return content


def stores_half(model: bytes) -> bool:
    """Whether a model has FP16 weights; False for bytes that are no protocol buffer."""
    try:
        return any(weight.data_type == HALF for weight in _parsed(model).graph.initializer)
    except ValueError:
        return False


def model_digest(path: Path) -> str:
    """The SHA-256 of an ONNX file and of the files in which its weights lie; OSError where it is not read. The plain
    SHA-256 of the file where it holds its weights itself, or is no ONNX file."""
    content = read_model(path)
    try:
        others = [path.parent / name for name in external_files(content)]
    except ValueError:
        others = []
    return sha256_of_all([content, *(sha256_of(one) for one in others if one.is_file())])


def check_exported(path: Path) -> None:
    """InputError for a file of weights or of another format, with the way to ONNX."""
    if (suffix := path.suffix.lower()) not in (".pt", *OTHER_FORMATS):
        return
    way = "export it to ONNX with the project that trained it: docs/models.md has the commands"
    if suffix == ".pt":
        way = f"`{shlex.join(['edgevid', 'export', str(path), '--data'])} VIDEO` makes the ONNX and its recipe once"
        way += ' (pip install "edgevid[export]"), and `edgevid run` and `edgevid-demo` take a .pt as it is'
    kind = "a file of weights" if path.is_file() else "which does not exist"
    raise InputError(f"model: expected an ONNX file, a recipe or a name, got {path}, {kind}; {way}")
