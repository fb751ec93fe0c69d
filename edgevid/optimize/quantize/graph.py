"""A model's graph in one normal form for quantization, with the producer and consumers of each tensor.

`normalize` brings exports of all versions to one form: weights are no inputs, opset 17 or later, constants folded,
batch normalization inside its convolution (ONNX Runtime's basic optimizations), each node with a name of its own,
hard-swish written as x * HardSigmoid(x) whatever the exporter spelled it as."""

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from edgevid.errors import ModelError, require
from edgevid.files import sha256, write_atomic
from edgevid.runtime.onnxruntime.engine import optimize_basic
from edgevid.types import Array

MIN_OPSET = 17  # Per-channel DequantizeLinear came with 13, 17 is what every TensorRT from 10.3 reads
MAX_OPSET = 25  # ONNX Runtime 1.32 has no QuantizeLinear of opset 28 yet: later models are converted to this one
WEIGHTED_OPS = ("Conv", "ConvTranspose", "Gemm", "MatMul")  # Layers with constant weights, which INT8 makes faster
PURPOSE = "quantizing a model"


def load_onnx() -> Any:
    """The onnx package, or MissingExtraError with the pip line."""
    onnx = require("onnx", extra="build", purpose=PURPOSE)
    require("onnx.version_converter", extra="build", purpose=PURPOSE)
    return onnx


class Graph:
    """A normalized model with lookups of its tensors: producers, consumers, weights, element types."""

    def __init__(self, model: Any) -> None:
        self.model = model
        graph, onnx = model.graph, load_onnx()
        self.nodes = list(graph.node)
        self.weights = {t.name: t for t in graph.initializer}
        self.producer = {name: node for node in self.nodes for name in node.output}
        self.consumers: dict[str, list[Any]] = defaultdict(list)
        for node in self.nodes:
            for name in reads(node):
                self.consumers[name].append(node)
        self.inputs = tuple(i.name for i in graph.input)
        self.outputs = tuple(o.name for o in graph.output)
        known = [*graph.value_info, *graph.input, *graph.output]
        self.floats = {v.name for v in known if v.type.tensor_type.elem_type == onnx.TensorProto.FLOAT}
        """Names of float32 activations (not weights)."""

    def array(self, name: str) -> Array | None:
        """A weight's values; None for other tensors."""
        if name not in self.weights:
            return None
        return np.asarray(load_onnx().numpy_helper.to_array(self.weights[name]))

    def layers(self) -> list[Any]:
        """The nodes with constant float weights, in the graph's order."""
        nodes = [n for n in self.nodes if n.op_type in WEIGHTED_OPS and n.input[0] in self.floats]
        return [n for n in nodes if (w := self.array(n.input[1])) is not None and w.dtype == np.float32 and w.ndim >= 2]

    def feeding_layers(self) -> set[str]:
        """Tensors from which a layer with weights can be reached; the others are the model's tail."""
        reaching: set[str] = set()
        layers = {n.name for n in self.layers()}
        for node in reversed(self.nodes):
            if node.name in layers or any(o in reaching for o in node.output):
                reaching.update(i for i in node.input if i)
        return reaching


def branches(node: Any) -> list[Any]:
    """The graphs inside an If, a Loop or a Scan."""
    kind = load_onnx().AttributeProto.GRAPH
    return [a.g for a in node.attribute if a.type == kind]


def reads(node: Any) -> list[str]:
    """The tensors that a node reads: its inputs, and what its branches take from around them."""
    found = list(node.input)
    for graph in branches(node):
        found += [name for inner in graph.node for name in reads(inner)] + [o.name for o in graph.output]
    return found


def attribute(node: Any, name: str, default: Any = None) -> Any:
    """The value of a node's attribute."""
    value_of = load_onnx().helper.get_attribute_value
    return next((value_of(a) for a in node.attribute if a.name == name), default)


def opset_of(model: Any) -> int:
    """The version of ONNX's own operators that a model uses; StopIteration where it uses none."""
    return int(next(o.version for o in model.opset_import if o.domain in ("", "ai.onnx")))


def with_outputs(model: Any, names: Iterable[str]) -> bytes:
    """The bytes of the model with these tensors as further outputs."""
    onnx, made = load_onnx(), type(model)()
    made.CopyFrom(model)
    known = {output.name for output in model.graph.output}
    made.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in known)
    return bytes(made.SerializeToString())


def normalize(path: Path) -> Any:
    """The model in its normal form, as an onnx ModelProto with shapes and all of its weights. ModelError for another
    file, one that is quantized or FP16 already, and one whose weights are not there."""
    onnx = load_onnx()
    try:
        model = onnx.load(str(path.absolute()))
        version = opset_of(model)
    except Exception as error:
        raise ModelError(f"{path}: expected an ONNX model, got another or a damaged file: {error}") from error
    _reject_converted(model, path)
    weights = {t.name for t in model.graph.initializer}
    for surplus in [i for i in model.graph.input if i.name in weights]:
        model.graph.input.remove(surplus)
    try:
        if wanted := MIN_OPSET if version < MIN_OPSET else MAX_OPSET if version > MAX_OPSET else 0:
            model = onnx.version_converter.convert_version(model, wanted)
    except Exception as error:  # the converter's errors share no base
        what = f"{path}: cannot be converted from opset {version} ({' '.join(str(error).split())})"
        raise ModelError(f"{what}; export it again with an opset from {MIN_OPSET} to {MAX_OPSET}") from error
    try:
        model = onnx.load_from_string(optimize_basic(model.SerializeToString()))
    except Exception as error:
        raise ModelError(f"{path}: ONNX Runtime cannot load it: {' '.join(str(error).split())}") from error
    rewrite_hard_swish(model)
    taken: set[str] = set()
    for node in model.graph.node:  # each gets a name of its own; the exporter's stay where they are unique
        name = node.name or f"{node.op_type}:{node.output[0]}"
        while name in taken:
            name += "'"
        node.name = name
        taken.add(name)
    read = {i for n in model.graph.node for i in reads(n)} | {o.name for o in model.graph.output}
    for weight in [t for t in model.graph.initializer if t.name not in read]:
        model.graph.initializer.remove(weight)
    for opset in [o for o in model.opset_import if o.domain not in ("", "ai.onnx")]:
        model.opset_import.remove(opset)
    return onnx.shape_inference.infer_shapes(model)


def _reject_converted(model: Any, path: Path) -> None:
    quantized = {"QuantizeLinear", "QLinearConv", "ConvInteger", "DynamicQuantizeLinear"}
    if found := quantized & {n.op_type for n in model.graph.node}:
        raise ModelError(f"{path}: is quantized already ({sorted(found)[0]}); give its float model")
    halves = {t.name for t in model.graph.initializer if t.data_type == load_onnx().TensorProto.FLOAT16}
    if halves & {i for n in model.graph.node if n.op_type in WEIGHTED_OPS for i in n.input}:
        raise ModelError(f"{path}: is FP16 already; give the FP32 model that it was made from")


def rewrite_hard_swish(model: Any) -> None:
    """Rewrites x * clip(x + 3, 0, 6) / 6 and HardSwish(x) as x * HardSigmoid(x) (A. Howard et al., "Searching for
    MobileNetV3", 2019): two operators instead of four."""
    make, graph = load_onnx().helper.make_node, Graph(model)
    nodes: list[Any] = []
    for node in graph.nodes:
        found = _hard_swish(graph, node)
        if found is None or any(p.output[0] in graph.outputs for p in found[1][1:]):
            nodes.append(node)
            continue
        x, parts = found
        y, gone = node.output[0], {part.output[0] for part in parts}
        nodes = [one for one in nodes if one.output[0] not in gone]
        nodes.append(make("HardSigmoid", [x], [f"{y} gate"], alpha=1 / 6, beta=0.5))
        nodes.append(make("Mul", [x, f"{y} gate"], [y]))
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _hard_swish(graph: Graph, last: Any) -> tuple[str, list[Any]] | None:
    """(x, nodes to remove) where `last` ends a hard-swish."""
    if last.op_type == "HardSwish":
        return last.input[0], [last]
    if last.op_type == "Div" and _is(graph, last.input[1], 6):
        product = graph.producer.get(last.input[0])
    elif last.op_type == "Mul" and (other := _other_input(graph, last, 1 / 6)):
        product = graph.producer.get(other)
    else:
        return None
    if product is None or product.op_type != "Mul" or len(graph.consumers[product.output[0]]) != 1:
        return None
    for x, gate in (tuple(product.input), tuple(reversed(product.input))):
        clip = graph.producer.get(gate)
        if clip is None or clip.op_type != "Clip" or len(clip.input) != 3:
            continue
        add = graph.producer.get(clip.input[0])
        alone = all(len(graph.consumers[n]) == 1 for n in (gate, clip.input[0]))
        fits = add is not None and add.op_type == "Add" and _other_input(graph, add, 3) == x
        if alone and fits and _is(graph, clip.input[1], 0) and _is(graph, clip.input[2], 6):
            return x, [last, product, clip, add]
    return None


def _is(graph: Graph, name: str, value: float) -> bool:
    array = graph.array(name)
    return array is not None and array.size == 1 and bool(np.isclose(array.reshape(()), value))


def _other_input(graph: Graph, node: Any, value: float) -> str | None:
    """The other input of a two-input node that has the constant `value`."""
    first, second = node.input
    if _is(graph, second, value):
        return str(first)
    return str(second) if _is(graph, first, value) else None


def save_model(model: Any, path: Path) -> str:
    """Writes a model, the same bytes for the same model, and returns their SHA-256."""
    data = model.SerializeToString(deterministic=True)
    write_atomic(path, data)
    return sha256(data)
