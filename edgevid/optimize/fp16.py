"""FP16 graphs: half precision inside, float32 at the inputs and outputs, FP32 where FP16 would overflow.

Every operator is FP16 or FP32, with a Cast where a tensor passes from one to the other; weights have the precision of
their consumers. The result is strongly typed, as TensorRT 10.3 and later need it, and valid for ONNX Runtime, which
inserts casts around operators without an FP16 CPU kernel.

ONNX Runtime's own converter (onnxruntime.transformers.float16) makes the same graphs, but passes a tensor between
two FP32 operators through FP16, where it overflows: what the measured list of operators prevents."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from edgevid._version import __version__
from edgevid.errors import ModelError, log
from edgevid.files.atomic import check_file, write_atomic
from edgevid.models.hub import resolve_model
from edgevid.optimize.agreement import Floor, TaskMetrics, floor_of, shortfall
from edgevid.optimize.compare.tasks import KINDS
from edgevid.optimize.frames import FEW_FRAMES, FrameRunner, FrameSources, select_frames
from edgevid.optimize.half import not_finite, simulate_fp16
from edgevid.optimize.quantize.evaluator import Evaluator
from edgevid.optimize.quantize.graph import Graph, branches, load_onnx, normalize, opset_of, save_model
from edgevid.optimize.quantize.plan import Range
from edgevid.optimize.quantize.ranges import measure_ranges
from edgevid.runtime import LocalRecipe
from edgevid.runtime.onnxruntime.engine import OrtEngine
from edgevid.runtime.variants import find_variant, model_digest, record_path, variant_path
from edgevid.types import Array, Frame

LARGEST = 65504.0  # The largest FP16 value
HEADROOM = 2.0  # Measured values must stay this factor below the largest: other frames will go a little higher
MAX_POSITION = 256.0  # Above it FP16 values are 1/4 apart and more: positions in pixels behind the last layer stay FP32
FP32_OPS: Mapping[str, str] = {
    **dict.fromkeys(("CumSum", "Pow", "ReduceSumSquare", "ReduceL2"), "sums and powers lose much in FP16"),
    **dict.fromkeys(("InstanceNormalization", "LayerNormalization"), "divides by a small variance"),
    **dict.fromkeys(("NonMaxSuppression", "TopK", "RoiAlign", "Range"), "has no FP16 form in every runtime"),
}
"""Operators that always stay in FP32, and why."""
FIXED_INPUTS: Mapping[str, tuple[int, ...]] = {"Resize": (1, 2), "Upsample": (1,)}
"""Inputs (regions, scales) that are float32 for an FP16 operator too."""
MAX_FRAMES = 32  # Frames on which activations are measured


@dataclass(slots=True)
class Fp16Report:
    """The result of a conversion."""

    model: str
    path: Path
    sha256: str
    fp16_nodes: int  # Number of operators in FP16
    fp32_nodes: dict[str, str]  # Name of each operator that stays in FP32, and why
    frames: int  # Frames on which activations were measured
    agreement: TaskMetrics | None = None  # With the FP32 model on them, as a device rounds FP16; None without frames
    floor: Floor | None = None
    warnings: list[str] = field(default_factory=list)

    @property
    def failed(self) -> bool:
        """Whether something was found on the frames, and agrees less than the floor."""
        found, floor = self.agreement, self.floor
        return bool(found and floor and found.total and not found.agreement >= floor.value)


def make_fp16(model: LocalRecipe | str | Path, data: FrameSources | None = None, *, max_frames: int = MAX_FRAMES,
              min_agreement: float | None = None, folder: str | Path | None = None) -> Fp16Report:  # fmt: skip
    """Writes the FP16 variant of a model next to it (or in `folder`), with its record. With `data` its operators that
    overflow on those frames stay in FP32, and its agreement is measured."""
    recipe = model if isinstance(model, LocalRecipe) else find_recipe(model)
    source = recipe.local if recipe else Path(str(model))
    target = variant_path(recipe or source, "fp16", folder=folder)
    check_file(target)
    frames: Sequence[Frame] = ()
    if data is not None:
        frames = select_frames(data, max_frames=max_frames, hold_out=False, head=recipe).calibration
    report = convert_fp16(source, target, frames, recipe=recipe, min_agreement=min_agreement)
    _record(report, source, "fp16")
    return report


def find_recipe(model: str | Path) -> LocalRecipe | None:
    """The recipe of a name or file; None for an ONNX file without a recipe and without a known decoder."""
    try:
        return resolve_model(model)
    except ModelError as error:
        if not Path(model).is_file():
            raise
        log.info("%s: used as a bare graph (%s)", model, error)
        return None


def make_int8_fp16(model: LocalRecipe | str | Path, *, folder: str | Path | None = None) -> Fp16Report:
    """Writes the int8-trt variant with FP16 between its INT8 layers (opset 19 or later) next to it. ModelError where
    there is no int8-trt variant of this model file yet."""
    recipe = model if isinstance(model, LocalRecipe) else resolve_model(model)
    source = find_variant(recipe, "int8-trt", folder=folder)
    onnx = load_onnx()
    loaded = onnx.load(source)
    if opset_of(loaded) < 19:  # the first whose scales may be FP16
        loaded = onnx.version_converter.convert_version(loaded, 19)
    report = _converted(recipe.name, loaded, variant_path(recipe, "int8-trt-fp16", folder=folder))
    _record(report, recipe.local, "int8-trt-fp16")
    return report


def convert_fp16(src: Path, dst: Path, frames: Sequence[Frame] = (), *, recipe: LocalRecipe | None = None,
                 min_agreement: float | None = None) -> Fp16Report:  # fmt: skip
    """Writes the FP16 graph of the ONNX file `src` as `dst`. With frames (and the recipe of their preprocessing),
    operators whose activations come close to the FP16 limit, or whose FP16 results are not finite, stay in FP32, and
    the agreement is measured; without, only those whose weights do, and those of a fixed list."""
    model = normalize(src)
    if not frames:
        return _converted(recipe.name if recipe else src.stem, model, dst)
    recipe = recipe or resolve_model(src)
    with OrtEngine(recipe.local, device="cpu", threads=1) as engine:
        runner = FrameRunner(recipe, engine)
        ranges = measure_ranges(Graph(model), runner, frames, "min-max", only_planned=False)
        report = _converted(recipe.name, model, dst, ranges, lambda: (runner.inputs(f) for f in frames))
    report.frames, report.floor = len(frames), floor_of(recipe, "fp16", min_agreement)
    if len(frames) < min(FEW_FRAMES, MAX_FRAMES) // 2:
        report.warnings.append(f"{len(frames)} frames are few to measure overflow on")
    if recipe.task not in KINDS:  # clips are compared by `edgevid compare`
        simulated = simulate_fp16(load_onnx().load(str(dst)))
        report.agreement = Evaluator(recipe, frames, model).agreement(simulated, disable_optimizations=True)
        remedy = "run this model in FP32, or lower --min-agreement: every operator that overflows is in FP32 already"
        if problem := shortfall("fp16", report.agreement, report.floor, remedy):
            report.warnings.append(problem)
    return report


def _converted(name: str, model: Any, dst: Path, ranges: Mapping[str, Range] | None = None,
               inputs: Callable[[], Iterable[Mapping[str, Array]]] | None = None) -> Fp16Report:  # fmt: skip
    """The graph as a file; with `inputs`, without operators whose FP16 results are not finite on them."""
    onnx = load_onnx()
    graph = Graph(onnx.shape_inference.infer_shapes(model))
    if flow := sorted({n.op_type for n in graph.nodes if branches(n)}):
        remedy = "run this model in FP32 or INT8, or export it without (onnxsim removes what is constant)"
        raise ModelError(f"{name}: has control flow ({', '.join(flow)}), which stays FP32 as a whole: {remedy}")
    kept = _fp32_nodes(graph, ranges or {})
    writer = _Fp16Graph(graph, kept)
    while inputs and (found := not_finite(writer.model, graph, inputs())) and not found.keys() <= kept.keys():
        kept = {**found, **kept}
        writer = _Fp16Graph(graph, kept)
    onnx.checker.check_model(writer.model)
    report = Fp16Report(name, dst, save_model(writer.model, dst), writer.count, writer.fp32_nodes, 0)
    if inputs is None and not any(n.op_type == "QuantizeLinear" for n in graph.nodes):
        what = "no frames given: overflow was checked in the weights only"
        report.warnings.append(f"{what}; --data measures the activations")
    return report


def _fp32_nodes(graph: Graph, ranges: Mapping[str, Range]) -> dict[str, str]:
    """Operators that stay in FP32, with the reason."""
    kept = {n.name: FP32_OPS[n.op_type] for n in graph.nodes if n.op_type in FP32_OPS}
    inside = graph.feeding_layers()
    for node in graph.nodes:
        behind = node.output[0] not in inside and node.op_type in ("Add", "Mul", "Sub", "Div")
        for name in (*node.input, *node.output):
            values, size = graph.array(name), max(map(abs, ranges.get(name, (0.0, 0.0))))
            if values is not None and values.dtype == np.float32 and values.size:
                size = float(np.abs(values).max())
            if size * HEADROOM > LARGEST:
                kept.setdefault(node.name, f"{name} reaches {size:g}; FP16 ends at {LARGEST:g}")
            elif behind and size > MAX_POSITION:
                kept.setdefault(node.name, f"{name} reaches {size:g}: FP16 would round positions")
    return kept


class _Fp16Graph:
    """The graph rewritten in FP16: a tensor is "x" in float32 and "x half" in FP16, whichever of them is read; a Cast
    makes the one that its operator does not give."""

    def __init__(self, graph: Graph, fp32_nodes: Mapping[str, str]) -> None:
        self.graph, self.onnx = graph, load_onnx()
        kept = [n.name for n in graph.nodes if n.name in fp32_nodes and not graph.floats.isdisjoint(n.output)]
        self.fp32_nodes = {name: fp32_nodes[name] for name in kept}
        self.model = self.onnx.ModelProto()
        self.model.CopyFrom(graph.model)
        self.model.ir_version = max(self.model.ir_version, 8)
        self.model.producer_name = "edgevid fp16"
        self.count = 0
        self.scales = {n.input[1] for n in graph.nodes if n.op_type in ("QuantizeLinear", "DequantizeLinear")}
        self.made = set(graph.inputs)  # Tensors that are there
        self.weights: dict[str, Any] = {}
        self.nodes: list[Any] = []
        for node in self.model.graph.node:
            self._add(node)
        for output in graph.outputs:
            self._read(output, half=False)
        content = self.model.graph
        del content.node[:], content.value_info[:], content.initializer[:]
        content.node.extend(self.nodes)
        content.initializer.extend(self.weights.values())

    def _add(self, node: Any) -> None:
        """The node in its precision, after the Casts that its inputs need."""
        half = node.name not in self.fp32_nodes and any(map(self._is_float, (*node.input, *node.output)))
        fixed = FIXED_INPUTS.get(node.op_type, ())
        for at, name in enumerate(node.input):
            node.input[at] = self._read(name, half=half and at not in fixed)
        if half:
            self.count += 1
            self._retype(node)
            for at, name in enumerate(node.output):
                node.output[at] = f"{name} half" if self._is_float(name) else name
        self.made.update(node.output)
        self.nodes.append(node)

    def _is_float(self, name: str) -> bool:
        weight = self.graph.weights.get(name)
        return name in self.graph.floats if weight is None else weight.data_type == self.onnx.TensorProto.FLOAT

    def _read(self, name: str, *, half: bool) -> str:
        """The name of a tensor in the requested precision, which is there from now on."""
        half = half and self._is_float(name)
        wanted, other = (f"{name} half", name) if half else (name, f"{name} half")
        if name in self.graph.weights:
            self.weights.setdefault(wanted, self._half_weight(name) if half else self.graph.weights[name])
        elif wanted not in self.made and self._is_float(name):
            kind = self.onnx.TensorProto.FLOAT16 if half else self.onnx.TensorProto.FLOAT
            self.nodes.append(self.onnx.helper.make_node("Cast", [other], [wanted], f"cast to {wanted}", to=kind))
            self.made.add(wanted)
        return wanted

    def _half_weight(self, name: str) -> Any:
        halves = self.onnx.numpy_helper.to_array(self.graph.weights[name]).astype(np.float16)
        if name in self.scales:  # nearly constant channels: TensorRT rejects a scale of 0
            halves = np.maximum(halves, np.finfo(np.float16).smallest_subnormal)
        return self.onnx.numpy_helper.from_array(halves, f"{name} half")

    def _retype(self, node: Any) -> None:
        """Attributes that name float32 name float16."""
        kinds = self.onnx.TensorProto
        for a in node.attribute:
            if (node.op_type, a.name, a.i) == ("Cast", "to", kinds.FLOAT):
                a.i = kinds.FLOAT16
            if a.t.data_type == kinds.FLOAT:
                values = self.onnx.numpy_helper.to_array(a.t).astype(np.float16)
                a.t.CopyFrom(self.onnx.numpy_helper.from_array(values))


def _record(report: Fp16Report, source: Path, variant: str) -> None:
    record = {"variant": variant, "sha256": report.sha256, "model": report.model, "source": source.name,
              "source_sha256": model_digest(source), "precision": "fp16" if variant == "fp16" else "int8",
              "fp16_nodes": report.fp16_nodes, "fp32_nodes": report.fp32_nodes, "frames": report.frames,
              "agreement": report.agreement.as_dict() if report.agreement else None,
              "versions": {"edgevid": __version__, "onnx": load_onnx().__version__},
              "warnings": report.warnings}  # fmt: skip
    write_atomic(record_path(report.path), json.dumps(record, indent=1, ensure_ascii=False) + "\n")
