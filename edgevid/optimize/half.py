"""What an FP16 graph computes on a device, computed on the CPU: each FP16 result rounded, or infinite.

ONNX Runtime's CPU computes most FP16 operators in float32 and keeps float32 between them, so that neither rounding
nor overflow shows. Here every FP16 result passes through a Cast to float16 and back (IEEE 754: to the nearest, ties
to even, from 65520 on infinite). Assumed of the device: an operator computes in float32 and rounds its result once.
TensorRT accumulates convolutions and products of FP16 in float32, too; a kernel that accumulates in FP16 may
overflow earlier, which the comparison of the engine itself shows."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edgevid.errors import ModelError
from edgevid.optimize.quantize.graph import Graph, attribute, branches, load_onnx, opset_of, with_outputs
from edgevid.runtime.onnxruntime.engine import OrtEngine, open_session
from edgevid.types import Array

NOTE = "FP16 results are rounded to float16 one by one, as a device stores them; sums are in float32"
TYPE_ATTRIBUTES = ("to", "dtype", "output_dtype", "precision")


def simulate_fp16(model: Any) -> Any:
    """A float32 model that computes what `model` does where its tensors are FP16. Inputs and outputs are the same. It
    must run without optimizations."""
    onnx = load_onnx()
    simulated = onnx.shape_inference.infer_shapes(model)
    _Simulation(onnx, opset_of(model)).rewrite(simulated.graph, frozenset())
    return simulated


def open_fp16(path: Path, *, threads: int | None = None) -> OrtEngine:
    """The engine of an FP16 file that rounds as a device does (`simulate_fp16`), on the CPU. ModelError for a file that
    onnx or ONNX Runtime cannot read."""
    onnx = load_onnx()
    try:
        content = simulate_fp16(onnx.load(str(path.absolute()))).SerializeToString()
        engine = OrtEngine(content, device="cpu", threads=threads, disable_optimizations=True)
    except Exception as error:  # onnx's errors share no base
        text = " ".join(str(error).split())
        raise ModelError(f"{path}: cannot be computed as an FP16 device would: {text}") from error
    engine.path = path
    return engine


def not_finite(half: Any, graph: Graph, inputs: Iterable[Mapping[str, Array]]) -> dict[str, str]:
    """Operators of an FP16 model that first turn finite values into others, and why. Empty where the outputs agree.
    `half` was made of `graph`. An output agrees where it is finite or the float model's is not, either."""
    simulated = simulate_fp16(half)
    models = (graph.model.SerializeToString(), simulated.SerializeToString())
    exact, session = (open_session(model, threads=1, optimization="none") for model in models)
    for given in inputs:
        pairs = zip(*(one.run(list(graph.outputs), given) for one in (exact, session)), strict=True)
        if all(_finite(b) or not _finite(a) for a, b in pairs):
            continue
        names = [o for n in simulated.graph.node for o in n.output if o]
        session = open_session(with_outputs(simulated, names), threads=1, optimization="none")
        values = dict(zip(names, session.run(names, given), strict=True))
        return _first(half, graph, {name for name, value in values.items() if not _finite(value)})
    return {}


def _finite(values: Array) -> bool:
    return values.dtype.kind != "f" or bool(np.isfinite(values).all())


def _first(half: Any, graph: Graph, wrong: set[str]) -> dict[str, str]:
    """Of each operator that gives other values for finite ones: itself where it is FP16, else its neighbors.
    An operator in FP32 does so where an FP16 value was rounded to 0 before it; a Cast, where its readers do
    not take what it gives."""
    known, found = {n.name for n in graph.nodes}, dict[str, str]()
    for node in half.graph.node:
        if wrong.isdisjoint(node.output) or not wrong.isdisjoint(node.input):
            continue
        name = next(o for o in node.output if o in wrong)
        tensor = name.removesuffix(" half")
        if node.name not in known:
            near = graph.consumers[tensor]
        elif name != tensor:
            near = [graph.producer[tensor]]
        else:
            given = (i.removesuffix(" half") for i in node.input)
            near = [graph.producer[i] for i in given if i in graph.producer]
        found |= {one.name: f"{tensor} is not finite in FP16" for one in near}
    return found


class _Simulation:
    """Rewrites graphs in place: float32 everywhere, with two Casts behind each FP16 result. A tensor keeps
    its name as float16; "... exact" is its value before, "... float" after rounding."""

    def __init__(self, onnx: Any, opset: int) -> None:
        self.onnx, self.kinds, self.opset = onnx, onnx.TensorProto, opset

    def rewrite(self, graph: Any, outside: frozenset[str]) -> None:
        """One graph; `outside` are the FP16 tensors of the graphs around it."""
        stored = {t.name for t in graph.initializer}
        for weight in graph.initializer:
            self._widen(weight)
        for surplus in [i for i in graph.input if i.name in stored]:
            graph.input.remove(surplus)
        values = [*graph.value_info, *graph.input, *graph.output]
        halves = {v.name for v in values if v.type.tensor_type.elem_type == self.kinds.FLOAT16} - stored
        halves = halves - {n.output[0] for n in graph.node if n.op_type == "Constant"} | (outside - stored)
        nodes = [self._widened(i.name) for i in graph.input if i.name in halves]
        for node in graph.node:
            nodes += self._node(node, halves)
        del graph.node[:], graph.value_info[:]
        graph.node.extend(nodes)

    def _node(self, node: Any, halves: set[str]) -> list[Any]:
        """The node in float32, and the Casts behind it."""
        for one in node.attribute:
            if one.type == self.onnx.AttributeProto.GRAPH:
                self.rewrite(one.g, frozenset(halves))
            elif one.type == self.onnx.AttributeProto.TENSOR:
                self._widen(one.t)
            elif one.name in TYPE_ATTRIBUTES and one.i == self.kinds.FLOAT16:
                one.i = self.kinds.FLOAT
        given = [o for o in node.output if o in halves]
        if branches(node):  # these take and give float16, and round inside
            return [node, *(self._widened(name) for name in given)]
        for at, name in enumerate(node.input):
            node.input[at] = f"{name} float" if name in halves else name
        means = self._sum(node) if node.op_type == "ReduceMean" and given else []
        for at, name in enumerate(node.output):
            if name in halves and not means:
                node.output[at] = f"{name} exact"
        rounded = [self._cast(f"{name} exact", name, self.kinds.FLOAT16) for name in given]
        return [node, *means, *rounded, *(self._widened(name) for name in given)]

    def _sum(self, node: Any) -> list[Any]:
        """Behind a mean in float32: infinite where its sum is in float16, as in onnx's reference."""
        make, (name,) = self.onnx.helper.make_node, node.output
        # From opset 13 on the axes of a sum are an input, those of a mean from 18 on.
        axes = attribute(node, "axes") if self.opset >= 13 else None
        found = [] if axes is None else [make("Constant", [], [f"{name} axes"], value_ints=axes)]
        given = [*node.input, *(n.output[0] for n in found)]
        more = [a for a in node.attribute if a.name != "axes" or self.opset < 13]
        total = make("ReduceSum", given, [f"{name} sum"])
        total.attribute.extend(more)
        node.output[0] = f"{name} mean"
        return [*found, total, self._cast(f"{name} sum", f"{name} half sum", self.kinds.FLOAT16),
                self._cast(f"{name} half sum", f"{name} rounded sum", self.kinds.FLOAT),
                make("IsInf", [f"{name} rounded sum"], [f"{name} overflows"]),
                make("Where", [f"{name} overflows", f"{name} rounded sum", f"{name} mean"],
                     [f"{name} exact"])]  # fmt: skip

    def _widened(self, name: str) -> Any:
        return self._cast(name, f"{name} float", self.kinds.FLOAT)

    def _cast(self, source: str, target: str, kind: int) -> Any:
        return self.onnx.helper.make_node("Cast", [source], [target], to=kind)

    def _widen(self, tensor: Any) -> None:
        if tensor.data_type == self.kinds.FLOAT16:
            values = self.onnx.numpy_helper.to_array(tensor).astype(np.float32)
            tensor.CopyFrom(self.onnx.numpy_helper.from_array(values, tensor.name))
