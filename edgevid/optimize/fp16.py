"""FP16 graphs: half precision inside, float32 at the inputs and outputs, what would overflow kept in FP32.

Written over the graph itself: every operator is half or full, a Cast stands where a tensor passes from one
to the other, weights are stored as their readers want them. The result is strongly typed, as TensorRT 10.3
and later take it, and valid for ONNX Runtime, which puts casts around what its CPU cannot do in half.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from edgevid._version import __version__
from edgevid.errors import ModelError
from edgevid.files.digest import sha256_of
from edgevid.models.hub import resolve_model
from edgevid.optimize.quantize.frames import FEW, Feed, Where, pick
from edgevid.optimize.quantize.graph import Graph, attribute, load_onnx, save_model, tidy
from edgevid.optimize.quantize.plan import Span
from edgevid.optimize.quantize.ranges import spans_of
from edgevid.runtime import Recipe
from edgevid.runtime.onnxruntime.engine import OrtEngine
from edgevid.runtime.variants import find_variant, record_path, variant_path
from edgevid.types import Frame

LARGEST = 65504.0
"""The largest half."""
ROOM = 2.0
"""What was measured must fit so many times over: other frames will go a little higher."""
FINE = 256.0
"""From here on halves are 1/4 apart and more: positions in pixels behind the last layer stay FP32."""
BLOCKED: Mapping[str, str] = {
    **dict.fromkeys(("CumSum", "Pow", "ReduceSumSquare", "ReduceL2"), "sums or powers lose much in half"),
    **dict.fromkeys(("InstanceNormalization", "LayerNormalization"), "divides by a small variance"),
    **dict.fromkeys(("NonMaxSuppression", "TopK", "RoiAlign", "Range"), "has no half form in every runtime"),
}
"""Operators that stay in FP32 whatever is measured, and why."""
FIXED_INPUTS: Mapping[str, tuple[int, ...]] = {"Resize": (1, 2), "Upsample": (1,)}
"""Inputs (regions, scales) that must be float32 for a half operator too."""
COUNT = 32
"""Frames that overflow is looked for on."""


@dataclass(slots=True)
class HalfReport:
    """What was converted."""

    model: str
    path: Path
    sha256: str
    half: int
    """Operators in half precision."""
    kept: dict[str, str]
    """Name of each operator that stays FP32, and why."""
    frames: int
    """Frames that activations were measured on."""
    warnings: list[str] = field(default_factory=list)


def make_fp16(
    model: Recipe | str | Path,
    frames: Where | None = None,
    *,
    count: int = COUNT,
    folder: str | Path | None = None,
) -> HalfReport:
    """The FP16 variant of a model beside it (or in `folder`), with its record."""
    recipe = model if isinstance(model, Recipe) else _recipe_of(model)
    source = recipe.local if isinstance(recipe, Recipe) else recipe
    assert source is not None
    target = variant_path(recipe, "fp16", folder=folder)
    picked = pick(frames, count=count, held_out=False).calibration if frames is not None else ()
    known = recipe if isinstance(recipe, Recipe) else None
    report = convert_fp16(source, target, picked, recipe=known)
    _record(report, source, "fp16")
    return report


def _recipe_of(model: str | Path) -> Recipe | Path:
    """The recipe of a model, or its path where no decoder is known: FP16 needs none without frames."""
    try:
        return resolve_model(model)
    except ModelError:
        if not Path(model).is_file():
            raise
        return Path(model)


def make_int8_fp16(model: Recipe | str | Path, *, folder: str | Path | None = None) -> HalfReport:
    """The int8-trt variant with FP16 between its int8 layers (opset 19), beside it.

    ModelError where there is no int8-trt variant of this very model yet.
    """
    recipe = model if isinstance(model, Recipe) else resolve_model(model)
    assert recipe.local is not None
    source = find_variant(recipe, "int8-trt", folder=folder)
    onnx = load_onnx()
    loaded = onnx.version_converter.convert_version(onnx.load(source), 19)
    target = variant_path(recipe, "int8-trt-fp16", folder=folder)
    report = _converted(recipe.name, loaded, target, {}, 0)
    _record(report, recipe.local, "int8-trt-fp16")
    return report


def convert_fp16(
    src: Path,
    dst: Path,
    frames: tuple[Frame, ...] | list[Frame] | None = None,
    *,
    recipe: Recipe | None = None,
) -> HalfReport:
    """Writes the half-precision graph of the ONNX file `src` as `dst`.

    With frames (and the recipe that says how they are fed), operators whose activations come near the end
    of the half range stay in FP32; without, only those whose weights do, and those of a fixed list.
    """
    model = tidy(src)
    spans: Mapping[str, Span] = {}
    if frames:
        if recipe is None or recipe.local is None:
            recipe = resolve_model(src)
        assert recipe.local is not None
        with OrtEngine(recipe.local, device="cpu", threads=1) as engine:
            spans = spans_of(Graph(model), Feed(recipe, engine), frames, "min-max", only_planned=False)
    return _converted(recipe.name if recipe else src.stem, model, dst, spans, len(frames or ()))


def _converted(name: str, model: Any, dst: Path, spans: Mapping[str, Span], frames: int) -> HalfReport:
    onnx = load_onnx()
    graph = Graph(onnx.shape_inference.infer_shapes(model))
    writer = _Half(graph, _kept(graph, spans))
    onnx.checker.check_model(writer.model)
    sha256 = save_model(writer.model, dst)
    report = HalfReport(name, dst, sha256, writer.half, writer.kept, frames)
    if not frames and not any(n.op_type == "QuantizeLinear" for n in graph.nodes):
        report.warnings.append(
            "no frames given: overflow was looked for in the weights only; --frames measures the activations"
        )
    elif 0 < frames < min(FEW, COUNT) // 2:
        report.warnings.append(f"{frames} frames are few to look for overflow on")
    return report


def _kept(graph: Graph, spans: Mapping[str, Span]) -> dict[str, str]:
    """Operators that stay in FP32, with the reason."""
    kept = {n.name: BLOCKED[n.op_type] for n in graph.nodes if n.op_type in BLOCKED}
    inside = graph.feeding_layers()
    for node in graph.nodes:
        behind = node.output[0] not in inside and node.op_type in ("Add", "Mul", "Sub", "Div")
        for name in (*node.input, *node.output):
            size = _size(graph, spans, name)
            if size * ROOM > LARGEST:
                kept.setdefault(node.name, f"{name} reaches {size:g}; halves end at {LARGEST:g}")
            elif behind and size > FINE:
                kept.setdefault(node.name, f"{name} reaches {size:g}: halves would round positions")
    return kept


def _size(graph: Graph, spans: Mapping[str, Span], name: str) -> float:
    """The largest value of an activation, as measured, or of a weight."""
    values = graph.array(name)
    if values is not None and values.dtype == np.float32 and values.size:
        return float(np.abs(values).max())
    return max(map(abs, spans.get(name, (0.0, 0.0))))


class _Half:
    """The graph written anew with halves."""

    def __init__(self, graph: Graph, kept: Mapping[str, str]) -> None:
        self.graph, self.onnx = graph, load_onnx()
        self.kept = {n.name: kept[n.name] for n in graph.nodes if n.name in kept and self._floats_of(n)}
        self.model = self.onnx.ModelProto()
        self.model.CopyFrom(graph.model)
        self.model.ir_version = max(self.model.ir_version, 8)
        self.model.producer_name = "edgevid fp16"
        self.half = 0
        self.weights: dict[str, Any] = {}
        self.halves: set[str] = set()
        """Tensors that their makers leave in half."""
        pairs = ("QuantizeLinear", "DequantizeLinear")
        self.scales = {node.input[1] for node in self.model.graph.node if node.op_type in pairs}
        nodes: list[Any] = []
        self.casts: dict[str, str] = {}
        for node in list(self.model.graph.node):
            nodes += self._node(node)
        for output in graph.outputs:
            if output in self.halves:
                nodes.append(self._cast(f"{output} half", output, self.onnx.TensorProto.FLOAT))
        self._finish(nodes)

    def _floats_of(self, node: Any) -> list[str]:
        return [o for o in node.output if o in self.graph.floats]

    def _node(self, node: Any) -> list[Any]:
        """The node with its inputs as it wants them, behind the Casts that this takes."""
        takes = [i for i in node.input if i in self.graph.floats or self._is_float_weight(i)]
        half = node.name not in self.kept and bool(takes or self._floats_of(node))
        before: list[Any] = []
        fixed = FIXED_INPUTS.get(node.op_type, ())
        for at, name in enumerate(node.input):
            node.input[at] = self._given(name, half and at not in fixed, before)
        if half:
            self.half += 1
            self._retype(node)
            for at, name in enumerate(node.output):
                if name in self.graph.floats:
                    self.halves.add(name)
                    node.output[at] = f"{name} half" if name in self.graph.outputs else name
        return [*before, node]

    def _is_float_weight(self, name: str) -> bool:
        values = self.graph.array(name)
        return values is not None and values.dtype == np.float32

    def _given(self, name: str, half: bool, before: list[Any]) -> str:
        """The name under which a tensor is read in the precision wanted."""
        if self._is_float_weight(name):
            return self._weight(name, half)
        if name not in self.graph.floats or (name in self.halves) == half:
            return f"{name} half" if half and name in self.graph.outputs and name in self.halves else name
        stored = f"{name} half" if name in self.halves and name in self.graph.outputs else name
        kind = self.onnx.TensorProto.FLOAT16 if half else self.onnx.TensorProto.FLOAT
        made = f"{name} as {'half' if half else 'float'}"
        if made not in self.casts:
            self.casts[made] = stored
            before.append(self._cast(stored, made, kind))
        return made

    def _weight(self, name: str, half: bool) -> str:
        if not half:
            self.weights[name] = self.graph.weights[name]
            return name
        made = f"{name} in half"
        if made not in self.weights:
            values = self.graph.array(name)
            assert values is not None
            halves = values.astype(np.float16)
            if name in self.scales:  # channels of nearly nothing: TensorRT refuses a scale of zero
                halves = np.maximum(halves, np.finfo(np.float16).smallest_subnormal)
            self.weights[made] = self.onnx.numpy_helper.from_array(halves, made)
        return made

    def _cast(self, source: str, target: str, kind: int) -> Any:
        return self.onnx.helper.make_node("Cast", [source], [target], f"cast to {target}", to=kind)

    def _retype(self, node: Any) -> None:
        """Attributes that name float32 say float16."""
        kinds = self.onnx.TensorProto
        if node.op_type == "Cast" and attribute(node, "to") == kinds.FLOAT:
            for a in node.attribute:
                a.i = kinds.FLOAT16 if a.name == "to" else a.i
        for a in node.attribute:
            if a.type == self.onnx.AttributeProto.TENSOR and a.t.data_type == kinds.FLOAT:
                values = self.onnx.numpy_helper.to_array(a.t).astype(np.float16)
                a.t.CopyFrom(self.onnx.numpy_helper.from_array(values))

    def _finish(self, nodes: list[Any]) -> None:
        graph = self.model.graph
        others = [t for n, t in self.graph.weights.items() if not self._is_float_weight(n)]
        for part in (graph.node, graph.initializer, graph.value_info):
            del part[:]
        graph.node.extend(nodes)
        read = {i for n in nodes for i in n.input}
        graph.initializer.extend(t for t in others if t.name in read)
        graph.initializer.extend(self.weights[k] for k in sorted(self.weights) if k in read)


def _record(report: HalfReport, source: Path, variant: str) -> None:
    record = {
        "variant": variant,
        "sha256": report.sha256,
        "model": report.model,
        "source": source.name,
        "source_sha256": sha256_of(source),
        "precision": "fp16" if variant == "fp16" else "int8",
        "operators_half": report.half,
        "kept_fp32": report.kept,
        "frames": report.frames,
        "versions": {"edgevid": __version__, "onnx": load_onnx().__version__},
        "warnings": report.warnings,
    }
    text = json.dumps(record, indent=1, ensure_ascii=False) + "\n"
    record_path(report.path).write_text(text, encoding="utf-8")
