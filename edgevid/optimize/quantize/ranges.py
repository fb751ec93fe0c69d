"""Activation ranges: measured by ONNX Runtime's own calibrators, kept as text that people can read and diff.

The file under calibration/int8/ says of which model, on which frames and how it was measured; from it alone
the quantized files are made again, byte for byte, without a frame (`edgevid quantize --ranges FILE`).
"""

from __future__ import annotations

import dataclasses
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from edgevid._version import __version__
from edgevid.errors import InputError
from edgevid.files.digest import sha256_of
from edgevid.files.toml import Section, read_toml
from edgevid.optimize.quantize.frames import Feed, frames_sha256
from edgevid.optimize.quantize.graph import PURPOSE, WEIGHTED, Graph, load_onnx, save_model
from edgevid.optimize.quantize.plan import INTEGER, SAME, Scale, Span
from edgevid.runtime import Recipe
from edgevid.runtime.onnxruntime.calibrate import Calibrator, activation_ranges
from edgevid.runtime.onnxruntime.engine import OrtEngine
from edgevid.runtime.onnxruntime.session import open_session, version
from edgevid.types import Array, Frame

MEASURED = (*WEIGHTED, *INTEGER, "Relu", "Clip", "MaxPool")
"""Operators whose inputs and outputs are measured; what only moves values has the range of its input."""
CALIBRATORS = ("min-max", "percentile", "entropy")
PERCENTILE = 99.999
"""Share of an activation's values, in percent, that the percentile calibrator's range holds."""
Progress = Callable[[str, int, int], None]
"""Told what is done, how much of it, and of how much."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """What was measured of one model on real frames, and which layers each file keeps in float."""

    model: str
    file: str
    sha256: str
    """Of the model's ONNX file."""
    calibrator: str
    frames: int
    frames_sha256: str
    """Of the images as the model saw them."""
    sources: tuple[str, ...]
    versions: Mapping[str, str]
    spans: Mapping[str, Span]
    """Lowest and highest value of each float activation."""
    means: Mapping[str, Mapping[str, Array]] = field(default_factory=dict)
    """"float", "int8-cpu", "int8-trt" -> input of a layer -> (C,) mean of each channel, rounded that way."""
    weight_bits: int = 8
    """Of the CPU file: 7 for x86 processors without VNNI."""
    keep: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Variant -> names of activations and layers that stay float, those that cost most first."""


def measure(
    recipe: Recipe,
    graph: Graph,
    frames: Sequence[Frame],
    sources: Sequence[str],
    calibrator: Calibrator = "percentile",
    progress: Progress | None = None,
) -> Calibration:
    """Ranges of all activations over `frames`, fed through the recipe's own preprocessing."""
    if calibrator not in CALIBRATORS:
        raise InputError(f"--calibrator: expected one of {', '.join(CALIBRATORS)}, got {calibrator!r}")
    assert recipe.local is not None
    with OrtEngine(recipe.local, device="cpu", threads=1) as engine:
        feed = Feed(recipe, engine)
        spans = spans_of(graph, feed, frames, calibrator, progress)
        digest = frames_sha256(feed, frames)
    versions = {
        "edgevid": __version__,
        "onnxruntime": version(),
        "onnx": load_onnx().__version__,
        "numpy": np.__version__,
    }
    how = f"percentile {PERCENTILE}" if calibrator == "percentile" else calibrator
    return Calibration(
        recipe.name,
        recipe.local.name,
        sha256_of(recipe.local),
        how,
        len(frames),
        digest,
        tuple(sources),
        versions,
        spans,
    )


def spans_of(
    graph: Graph,
    feed: Feed,
    frames: Sequence[Frame],
    calibrator: Calibrator,
    progress: Progress | None = None,
    *,
    only_planned: bool = True,
) -> dict[str, Span]:
    """Lowest and highest value of activations: of those that plans may ask for, or of all."""

    def shown() -> Iterator[dict[str, Array]]:
        for number, frame in enumerate(frames):
            yield feed.inputs(frame)
            if progress:
                progress("calibrating", number + 1, len(frames))

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        save_model(graph.model, path)
        found = activation_ranges(
            path,
            shown(),
            calibrator,
            operators=MEASURED if only_planned else None,
            percentile=PERCENTILE if calibrator == "percentile" else None,
            purpose=PURPOSE,
        )
    spans = {
        name: (_number(low), _number(high))
        for name, (low, high) in found.items()
        if name in graph.floats and np.isfinite([_number(low), _number(high)]).all()
    }
    for node in graph.nodes:
        if node.op_type in SAME and node.input[0] in spans:
            spans = {o: spans[node.input[0]] for o in node.output if o in graph.floats} | spans
    return dict(sorted(spans.items()))


def _number(value: Any) -> float:
    """A float32 as the shortest decimal that gives it back."""
    return float(str(np.float32(np.asarray(value).reshape(-1)[0])))


def measure_means(
    graph: Graph,
    feed: Feed,
    frames: Sequence[Frame],
    scales: Mapping[str, Mapping[str, Scale]],
    progress: Progress | None = None,
) -> dict[str, dict[str, Array]]:
    """Mean of each channel of the inputs of layers: as floats, and rounded with the scales of each variant.

    Four digits are kept. What rounding moves on average is then taken off again by the layer's bias
    (M. Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction", 2019).
    """
    model, names = _with_means(graph, scales)
    session = open_session(model.SerializeToString(), threads=1)
    total: dict[str, Array] = {}
    for number, frame in enumerate(frames):
        values = session.run([output for output, _, _ in names], feed.inputs(frame))
        for (output, _, _), value in zip(names, values, strict=True):
            total[output] = total.get(output, 0.0) + value.astype(np.float64)
        if progress:
            progress("means", number + 1, len(frames))
    found: dict[str, dict[str, Array]] = {"float": {}, **{v: {} for v in scales}}
    for output, variant, name in names:
        mean = total[output].reshape(-1) / len(frames)
        found[variant][name] = np.array([float(f"{v:.4g}") for v in mean])
    return found


def _with_means(
    graph: Graph, scales: Mapping[str, Mapping[str, Scale]]
) -> tuple[Any, list[tuple[str, str, str]]]:
    """The model with further outputs, and (output, variant, tensor) of each."""
    onnx = load_onnx()
    model = onnx.ModelProto()
    model.CopyFrom(graph.model)
    model.ir_version = max(model.ir_version, 8)
    make, put = onnx.helper.make_node, model.graph.initializer.append
    ranks = {v.name: len(v.type.tensor_type.shape.dim) for v in [*model.graph.value_info, *model.graph.input]}
    names: list[tuple[str, str, str]] = []
    for layer in graph.layers():
        name = layer.input[0]
        if any(n[2] == name for n in names) or name not in ranks:
            continue
        rank = ranks[name]
        channel = 1 if layer.op_type.startswith("Conv") else rank - 1
        axes = [a for a in range(rank) if a != channel]
        sources = {"float": name}
        for variant, given in scales.items():
            if name not in given:
                continue
            s, tag = given[name], f"{name} {variant}"
            put(onnx.numpy_helper.from_array(np.array(s.scale, np.float32), f"{tag} s"))
            put(onnx.numpy_helper.from_array(np.array(s.zero, np.int8 if s.signed else np.uint8), f"{tag} z"))
            model.graph.node.append(make("QuantizeLinear", [name, f"{tag} s", f"{tag} z"], [f"{tag} q"]))
            model.graph.node.append(
                make("DequantizeLinear", [f"{tag} q", f"{tag} s", f"{tag} z"], [f"{tag} d"])
            )
            sources[variant] = f"{tag} d"
        for variant, source in sources.items():
            output = f"{name} {variant} mean"
            model.graph.node.append(make("ReduceMean", [source], [output], axes=axes, keepdims=0))
            kind = onnx.TensorProto.FLOAT
            model.graph.output.append(onnx.helper.make_tensor_value_info(output, kind, None))
            names.append((output, variant, name))
    return model, names


def text_of(found: Calibration) -> str:
    """The calibration as TOML."""
    head = {k: getattr(found, k) for k in HEAD}
    lines = [
        f"# Activation ranges of {found.model}, written by `edgevid quantize` (docs/quantize.md).",
        "# The quantized files are made again of this alone: edgevid quantize MODEL --ranges THIS_FILE",
        "",
        "[measured]",
        *(f"{k} = {json.dumps(list(v) if isinstance(v, tuple) else v)}" for k, v in head.items()),
        "",
        "[versions]",
        *(f"{k} = {json.dumps(v)}" for k, v in found.versions.items()),
        "",
        "[keep]  # what stays float: activations and layers, those that cost most first",
        *(f"{k} = {json.dumps(list(v))}" for k, v in found.keep.items()),
        "",
        "[ranges]  # lowest and highest value of each activation",
        *(f"{json.dumps(k)} = [{low!r}, {high!r}]" for k, (low, high) in found.spans.items()),
    ]
    for variant, table in found.means.items():
        lines += ["", f"[means.{variant}]  # of each channel of the layers' inputs, rounded that way"]
        lines += [f"{json.dumps(k)} = [{', '.join(f'{float(x)!r}' for x in v)}]" for k, v in table.items()]
    return "\n".join(lines) + "\n"


HEAD = ("model", "file", "sha256", "calibrator", "frames", "frames_sha256", "sources", "weight_bits")


def write_ranges(found: Calibration, path: Path) -> None:
    """Writes the calibration as text."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text_of(found), encoding="utf-8")


def read_ranges(path: Path) -> Calibration:
    """The calibration of a file; FileFormatError names each mistake."""
    top = read_toml(path)
    head, kept, ranges = top.table("measured"), top.table("keep", optional=True), top.table("ranges")
    versions, means = top.table("versions", optional=True), top.table("means", optional=True)
    tables = {variant: means.table(variant) for variant in means.keys()}  # noqa: SIM118 (a Section is no dict)
    found = Calibration(
        head.text("model"),
        head.text("file"),
        head.text("sha256"),
        head.text("calibrator"),
        head.integer("frames", low=1),
        head.text("frames_sha256"),
        head.texts("sources"),
        {k: versions.text(k) for k in versions.keys()},  # noqa: SIM118
        {k: _span(ranges, k) for k in ranges.keys()},  # noqa: SIM118
        {v: {k: np.array(t.numbers(k)) for k in t.keys()} for v, t in tables.items()},  # noqa: SIM118
        _bits(head),
        {k: kept.texts(k) for k in kept.keys()},  # noqa: SIM118
    )
    for section in (head, ranges, versions, means, kept, *tables.values()):
        section.done()
    top.done()
    return found


def _bits(table: Section) -> int:
    bits = table.integer("weight_bits", 8)
    if bits not in (7, 8):
        table.fail("weight_bits", "7 or 8", bits)
    return bits


def _span(table: Section, key: str) -> Span:
    low, high = table.numbers(key, count=2)
    if not (np.isfinite([low, high]).all() and low <= high):
        table.fail(key, "two finite numbers, the lower first", [low, high])
    return low, high


def must_fit(found: Calibration, recipe: Recipe, path: Path) -> None:
    """InputError where the ranges were measured on another model file."""
    assert recipe.local is not None
    given = sha256_of(recipe.local)
    if given != found.sha256:
        raise InputError(
            f"{path}: holds the ranges of {found.file} with SHA-256 {found.sha256}, "
            f"got {recipe.local} with {given}; measure this one with --frames"
        )


def with_keep(found: Calibration, keep: Mapping[str, Sequence[str]]) -> Calibration:
    """The same calibration with other layers kept."""
    return dataclasses.replace(found, keep={**found.keep, **{k: tuple(v) for k, v in keep.items()}})
