"""Model files: where the other precisions of a model lie, and what the bytes of an ONNX file tell.

A variant is `<folder of the model>/build/<model>.<variant>.onnx`, with a JSON of its name that states how, and of
which file (SHA-256), it was made: one of another file is never taken. Bytes are read by the protocol buffer wire
format alone (onnx.proto: ModelProto.graph 7; GraphProto.initializer 5, .input 11; TensorProto.name 8, .external_data
13, .data_location 14; StringStringEntryProto.key 1, .value 2; ValueInfoProto.name 1): no onnx package is needed."""

import json
import os
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args

from edgevid.errors import InputError, ModelError
from edgevid.files.digest import sha256_of, sha256_of_all
from edgevid.files.folders import cache_folder, engines_folder
from edgevid.runtime.recipe import LocalRecipe, Recipe

Variant = Literal["fp16", "int8-cpu", "int8-trt", "int8-trt-fp16"]
VARIANTS: tuple[Variant, ...] = get_args(Variant)
"""fp16: half precision inside, float32 at its inputs and outputs. int8-cpu: U8S8, for ONNX Runtime on
the CPU. int8-trt: S8S8 symmetric Q/DQ, for TensorRT. int8-trt-fp16: the same with FP16 between."""

FOR_TENSORRT = ("int8-trt", "int8-trt-fp16")
"""Variants that ONNX Runtime runs as a reference only, without its optimizations."""

OTHER_FORMATS = (
    ".pth", ".ckpt", ".safetensors", ".torchscript", ".tflite", ".h5", ".keras", ".pb", ".mlpackage", ".xml",
)  # fmt: skip
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
    """The variant's file, made of this very model file. Raises ModelError with the command that makes it where there is
    none, where the model has changed since, and where the variant is not the file that its record describes."""
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


_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
HALF = b"\x0a"  # TensorProto.FLOAT16 as a data type


def without_weight_inputs(model: bytes) -> bytes:
    """The same model whose graph inputs are only those that a caller must give: ONNX before IR version 4 lists weights,
    too, which ONNX Runtime then takes for values that change, and folds no constants (PicoDet-S takes a third longer).

    The same object where there is nothing to take off, and where weights are in other files: such a model must be
    loaded by its path. ValueError for bytes that are no protocol buffer."""
    made: list[bytes] = []
    for number, start, value, end in _fields(model, 0, len(model)):
        if number == 7:
            graph = _graph(model, value, end)
            if graph is None:
                return model
            made += [model[start : start + 1], _varint_bytes(len(graph)), graph]
        else:
            made.append(model[start:end])
    return b"".join(made)


def _graph(model: bytes, start: int, stop: int) -> bytes | None:
    """The graph's bytes without its weight inputs; None for no such inputs, or weights in other files."""
    fields = list(_fields(model, start, stop))
    weights = set()
    for number, _, value, end in fields:
        if number == 5:
            inner = {n: (v, e) for n, _, v, e in _fields(model, value, end) if n in (8, 14)}
            if 14 in inner and model[inner[14][0] : inner[14][1]] != b"\x00":
                return None
            if 8 in inner:
                weights.add(model[slice(*inner[8])])
    surplus = set()
    for number, first, value, end in fields:
        names = [model[v:e] for n, _, v, e in _fields(model, value, end) if n == 1] if number == 11 else ()
        surplus |= {first for name in names if name in weights}
    if not surplus:
        return None
    return b"".join(model[first:end] for _, first, _, end in fields if first not in surplus)


def external_files(model: bytes) -> tuple[str, ...]:
    """The files, relative to the model's folder, that hold weights, sorted; ValueError as above."""
    found = set()
    for number, _, start, stop in _fields(model, 0, len(model)):
        if number != 7:
            continue
        for kind, _, value, end in _fields(model, start, stop):
            entries = [(v, e) for n, _, v, e in _fields(model, value, end) if n == 13] if kind == 5 else ()
            for entry in entries:
                pair = {n: model[v:e] for n, _, v, e in _fields(model, *entry)}
                if pair.get(1) == b"location":
                    found.add(pair.get(2, b"").decode("utf-8", "replace"))
    return tuple(sorted(found))


def stores_half(model: bytes) -> bool:
    """Whether a model has FP16 weights; False for bytes that are no protocol buffer."""
    weights = (
        (value, end)
        for number, _, start, stop in _fields(model, 0, len(model)) if number == 7
        for kind, _, value, end in _fields(model, start, stop) if kind == 5
    )  # fmt: skip
    try:
        return any(n == 2 and model[v:e] == HALF for one in weights for n, _, v, e in _fields(model, *one))
    except ValueError:
        return False


def model_digest(path: Path) -> str:
    """The SHA-256 of an ONNX file and of the files in which its weights lie; OSError where it is not read. The plain
    SHA-256 of the file where it holds its weights itself, or is no ONNX file."""
    content = path.read_bytes()
    try:
        others = [path.parent / name for name in external_files(content)]
    except ValueError:
        others = []
    return sha256_of_all([content, *(sha256_of(one) for one in others if one.is_file())])


def _fields(data: bytes, start: int, stop: int) -> Iterator[tuple[int, int, int, int]]:
    """(number, start, start of the value, end) of each field of a message; ValueError for other bytes."""
    at = start
    while at < stop:
        tag, value = _varint(data, at, stop)
        kind = tag & 7
        if kind == _BYTES:
            size, value = _varint(data, value, stop)
            end = value + size
        elif kind == _VARINT:
            end = _varint(data, value, stop)[1]
        elif kind in (_FIXED64, _FIXED32):
            end = value + (8 if kind == _FIXED64 else 4)
        else:
            raise ValueError(f"wire type {kind} at byte {at}")
        if end > stop:
            raise ValueError(f"a field that ends at byte {end} of {stop}")
        yield tag >> 3, at, value, end
        at = end


def _varint(data: bytes, at: int, stop: int) -> tuple[int, int]:
    """A variable-length integer and the position after it."""
    value = shift = 0
    while at < stop and shift < 64:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
    raise ValueError(f"an unfinished number at byte {at}")


def _varint_bytes(value: int) -> bytes:
    made = bytearray()
    while value >= 0x80:
        made.append(value & 0x7F | 0x80)
        value >>= 7
    made.append(value)
    return bytes(made)


def check_exported(path: Path) -> None:
    """InputError for a file of weights or of another format, with the way to ONNX."""
    suffix = path.suffix.lower()
    if suffix not in (".pt", *OTHER_FORMATS):
        return
    if suffix in OTHER_FORMATS:
        way = "export it to ONNX with the project that trained it: docs/models.md has the commands"
    else:
        way = (
            f"`{shlex.join(['edgevid', 'export', str(path), '--data'])} VIDEO` makes the ONNX and its recipe "
            'once (pip install "edgevid[export]"), and `edgevid run` and `edgevid-demo` take a .pt as it is'
        )
    kind = "a file of weights" if path.is_file() else "which does not exist"
    raise InputError(f"model: expected an ONNX file, a recipe or a name, got {path}, {kind}; {way}")
