"""The weights of an ONNX file: taken off the list of a graph's inputs, and found in other files.

ONNX before IR version 4 demanded them on that list; ONNX Runtime then must treat weights as values that may
change and folds no constants (PicoDet-S 416 runs a third faster without it). The file's bytes are edited
by the protocol buffer wire format alone, so that no onnx package is needed at run time:
github.com/onnx/onnx, onnx.proto: ModelProto.graph 7; GraphProto.initializer 5, .input 11;
TensorProto.name 8, .external_data 13, .data_location 14; StringStringEntryProto.key 1, .value 2;
ValueInfoProto.name 1.
"""

from collections.abc import Iterator
from pathlib import Path

from edgevid.files.digest import sha256_of, sha256_of_all

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
HALF = b"\x0a"  # TensorProto.FLOAT16 as a data type


def without_weight_inputs(model: bytes) -> bytes:
    """The same model whose graph inputs are only those that a caller must give.

    The same object where there is nothing to take off, and where weights are in other files: such a
    model must be loaded by its path. ValueError for bytes that are no protocol buffer.
    """
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
    """The SHA-256 of an ONNX file and of the files in which its weights lie; OSError where it is not read.

    The plain SHA-256 of the file where it holds its weights itself, or is no ONNX file.
    """
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
