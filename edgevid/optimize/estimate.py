"""The cost of one run of an ONNX model, and upper bounds on its speed on a device, before anything is built.

The bound is a roofline (Williams, Waterman and Patterson, Communications of the ACM 52(4), 2009): no run can be
faster than its operations at the device's peak, nor than its weights and images at its memory's bandwidth.
`layers_ms` adds up the layers' own bounds, each with its values read from and written to memory: what a runtime
reaches that keeps nothing in a cache."""

import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgevid.errors import InputError, ModelError, check_choice, require
from edgevid.files import Positive, checked, read_toml
from edgevid.optimize.quantize.graph import with_outputs
from edgevid.runtime.onnxruntime.engine import open_session

_Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Layer:
    """One multiplying node of the graph: a convolution, a matrix product, a recurrent layer."""

    name: str
    kind: str
    operations: int  # Two for each multiply-add
    weights: int  # Elements of its constant inputs
    values: int  # Elements read from and written to other nodes


@dataclass(frozen=True, slots=True)
class Cost:
    """The cost of one run at one batch size. Element counts: multiply by the bytes of a precision."""

    batch: int
    layers: tuple[Layer, ...]
    operations: int  # Of the whole graph, two for each multiply-add, one for each element of other nodes' outputs
    parameters: int  # Elements of the weights
    inputs: int
    outputs: int  # Elements of the inputs and outputs
    peak: int  # Most elements of intermediate values alive at once, each freed after its last consumer


def model_cost(path: str | Path, *, batch: int = 1) -> Cost:
    """Counts an ONNX file. Dynamic axes: the first of an input is the batch, others must be fixed. Raises ModelError
    for a file that cannot be read or run, MissingExtraError without `onnx`."""
    if batch < 1:
        raise InputError(f"--batch: expected 1 or more, got {batch}")
    graph, shapes = _shaped(Path(path), batch)
    constants = {t.name: math.prod(t.dims) for t in graph.initializer}
    stored = ((n, a) for n in graph.node if n.op_type == "Constant" for a in n.attribute if a.name == "value")
    constants |= {n.output[0]: math.prod(a.t.dims) for n, a in stored}  # some exporters keep weights there
    nodes = [node for node in graph.node if node.op_type != "Constant"]
    layers, operations = [], 0
    for node in nodes:
        if (count := _OPERATIONS.get(node.op_type)) is None:
            operations += 0 if node.op_type in _FREE else _elements(node.output, shapes)
            continue
        weights = sum(constants.get(name, 0) for name in node.input)
        values = _elements([*(n for n in node.input if n not in constants), *node.output], shapes)
        layers.append(Layer(node.name or node.output[0], node.op_type, count(node, shapes), weights, values))
    operations += sum(layer.operations for layer in layers)
    feeds = _elements([i.name for i in graph.input if i.name not in constants], shapes)
    results = {o.name for o in graph.output}
    peak = _peak(nodes, shapes, set(constants), results)
    parameters, given = sum(constants.values()), _elements(results, shapes)
    return Cost(batch, tuple(layers), operations, parameters, feeds, given, peak)


def _shaped(path: Path, batch: int) -> tuple[Any, _Shapes]:
    """The graph, and the shape of every value: measured by one run on blank input. ONNX's own shape inference
    gives up at the Reshape and Resize nodes of many detectors; a run does not."""
    onnx = require("onnx", extra="build", purpose="counting a model's operations")
    try:
        model = onnx.load(str(path))
    except Exception as error:  # the protocol buffer library raises several unrelated kinds
        raise ModelError(f"{path}: expected an ONNX file, got: {error}") from None
    graph = model.graph
    feeds = _blank_inputs(graph, path, batch)
    inner = (name for node in graph.node for name in node.output if name)
    try:
        session = open_session(with_outputs(model, inner), optimization="none")
        names = [o.name for o in session.get_outputs()]
        values = session.run(names, feeds)
    except Exception as error:  # ONNX Runtime's errors share no base below Exception
        raise ModelError(f"{path}: does not run on blank input, so it cannot be counted ({error})") from None
    shapes = {name: tuple(np.shape(value)) for name, value in zip(names, values, strict=True)}
    shapes |= {name: value.shape for name, value in feeds.items()}
    shapes |= {t.name: tuple(t.dims) for t in graph.initializer}
    return graph, shapes


def _blank_inputs(graph: Any, path: Path, batch: int) -> dict[str, Any]:
    from onnx.helper import tensor_dtype_to_np_dtype

    weights = {t.name for t in graph.initializer}
    feeds = {}
    for tensor in graph.input:
        if tensor.name in weights:
            continue
        kind = tensor.type.tensor_type
        shape = [d.dim_value if d.HasField("dim_value") else -1 for d in kind.shape.dim]
        if shape and (shape[0] < 1 or (shape[0] == 1 and batch > 1)):
            if shape[0] == 1:
                raise InputError(f"{path}: its batch is fixed at 1; export a dynamic batch to count {batch}")
            shape[0] = batch
        if any(n < 1 for n in shape):
            raise ModelError(f"{path}: input {tensor.name!r} has a dynamic size {shape}; export a fixed one")
        feeds[tensor.name] = np.zeros(shape, tensor_dtype_to_np_dtype(kind.elem_type))
    return feeds


def _elements(names: Iterable[str], shapes: _Shapes) -> int:
    return sum(math.prod(shapes.get(name, (0,))) for name in names if name)


def _conv(node: Any, shapes: _Shapes) -> int:
    """One multiply-add per weight of the filter and output (transposed: input) element."""
    counted = node.input if node.op_type == "ConvTranspose" else node.output
    weights = node.input[3 if node.op_type == "QLinearConv" else 1]
    return 2 * _elements(counted[:1], shapes) * math.prod(shapes[weights][1:])


def _product(node: Any, shapes: _Shapes) -> int:
    """Each element of the output sums over the inner side, which Gemm may have transposed."""
    transposed = any(a.name == "transA" and a.i for a in node.attribute)
    return 2 * _elements(node.output[:1], shapes) * shapes[node.input[0]][0 if transposed else -1]


def _recurrent(node: Any, shapes: _Shapes) -> int:
    """Both weight matrices once per step and sequence."""
    steps, batch = shapes[node.input[0]][:2]
    return 2 * steps * batch * _elements(node.input[1:3], shapes)


_OPERATIONS: Mapping[str, Callable[[Any, _Shapes], int]] = {
    **dict.fromkeys(("Conv", "ConvTranspose", "QLinearConv"), _conv),
    **dict.fromkeys(("LSTM", "GRU", "RNN"), _recurrent),
    **dict.fromkeys(("MatMul", "Gemm"), _product),
}
_FREE = {"Reshape", "Squeeze", "Unsqueeze", "Flatten", "Identity", "Shape", "Cast", "Transpose", "Concat", "Split",
         "Slice", "Gather", "Expand", "ConstantOfShape"}  # fmt: skip
"""Nodes that move or rename values and compute nothing."""


def _peak(nodes: list[Any], shapes: _Shapes, constants: set[str], outputs: set[str]) -> int:
    """Most elements alive at once in the file's own order; outputs live to the end."""
    last = {name: k for k, node in enumerate(nodes) for name in node.input if name}
    produced = {name for node in nodes for name in node.output}
    fed = [name for name in last if name in shapes and name not in produced | constants]
    alive = {name: math.prod(shapes[name]) for name in fed}
    peak = now = sum(alive.values())
    for k, node in enumerate(nodes):
        for name in node.output:
            alive[name] = math.prod(shapes.get(name, (0,)))
            now += alive[name]
        peak = max(peak, now)
        for name in {*node.input, *node.output}:
            if name in alive and last.get(name, -1) <= k and name not in outputs:
                now -= alive.pop(name)
    return peak


BYTES: Mapping[str, int] = {"fp32": 4, "fp16": 2, "int8": 1}  # Bytes of a weight or value in each precision
THIS_CPU = "this-cpu"  # The name of one core of this machine, whose peak is measured


@dataclass(frozen=True, slots=True)
class Device:
    """Peak rates of a device."""

    name: str
    what: str
    gflops: Mapping[str, Positive]  # 1e9 dense operations per second, by precision; a missing one is not supported
    gb_per_s: Positive  # Memory bandwidth
    memory_gb: Positive  # 0 where unknown


@dataclass(frozen=True, slots=True)
class Estimate:
    """One model on one device in one precision."""

    device: Device
    precision: str
    bound_ms: float  # No run can be faster (roofline)
    limit: str  # What limits the bound: "arithmetic" or "memory"
    layers_ms: float  # Sum of the layers' own bounds
    memory_mb: float  # Weights and the most values alive at once; the runtime's own memory comes on top

    @property
    def fits(self) -> bool:
        """Whether the device's memory holds it (true where that is unknown)."""
        return self.device.memory_gb == 0 or self.memory_mb < 1000 * self.device.memory_gb


def devices() -> dict[str, Device]:
    """The devices that edgevid knows, by name."""
    path = Path(__file__).with_name("devices.toml")
    return {name: checked(Device, {"name": name, **table}, path, name=name) for name, table in read_toml(path).items()}


def device(name: str) -> Device:
    """The device of this name, "this-cpu" measured now. InputError with the nearest name otherwise."""
    if name == THIS_CPU:
        return measure_this_cpu()
    known = devices()
    check_choice(name, [*known, THIS_CPU], "--device")
    return known[name]


def measure_this_cpu(seconds: float = 0.4) -> Device:
    """One core of this machine: the best of repeated matrix products and copies, about one second in all."""
    side = 512
    rates = {p: 2 * side**3 / _product_seconds(p, side, seconds) / 1e9 for p in ("fp32", "int8")}
    block = np.ones(1 << 25, np.uint8)
    target = np.empty_like(block)
    copy = _best(lambda: np.copyto(target, block), seconds)
    return Device(THIS_CPU, "one core of this machine, measured", rates, 2 * block.size / copy / 1e9, 0.0)


def _product_seconds(precision: str, side: int, seconds: float) -> float:
    """Minimum time of a product of two square matrices in ONNX Runtime, one thread."""
    parser = require("onnx.parser", extra="build", purpose="measuring this machine")
    a, b, y, product = _PRODUCTS[precision]
    names = f"{a}[{side}, {side}] a, {b}[{side}, {side}] b) => ({y}[{side}, {side}] y"
    model = parser.parse_model(f'<ir_version: 8, opset_import: ["": 13]> g ({names}) {{ y = {product}(a, b) }}')
    session = open_session(model.SerializeToString(), threads=1)
    types = (np.float32, np.float32) if precision == "fp32" else (np.uint8, np.int8)
    feeds = {name: np.ones((side, side), kind) for name, kind in zip("ab", types, strict=True)}
    return _best(lambda: session.run(None, feeds), seconds)


_PRODUCTS = {"fp32": ("float", "float", "float", "MatMul"), "int8": ("uint8", "int8", "int32", "MatMulInteger")}


def _best(action: Callable[[], object], seconds: float) -> float:
    """The minimum time of one call within `seconds`."""
    best, end = float("inf"), time.perf_counter() + seconds
    while (start := time.perf_counter()) < end:
        action()
        best = min(best, time.perf_counter() - start)
    return best


def estimate(cost: Cost, on: Device, precision: str) -> Estimate | None:
    """The bound of one run in this precision; None where the device does not support it."""
    check_choice(precision, BYTES, "precision")
    if precision not in on.gflops:
        return None
    width = BYTES[precision]
    arithmetic = cost.operations / on.gflops[precision] / 1e6
    # Images go in and results come out as float32 whatever the precision between.
    memory = (width * cost.parameters + 4 * (cost.inputs + cost.outputs)) / on.gb_per_s / 1e6
    rates = on.gflops[precision], on.gb_per_s
    layers = sum(max(n.operations / rates[0], width * (n.weights + n.values) / rates[1]) for n in cost.layers) / 1e6
    bound, limit = max((arithmetic, "arithmetic"), (memory, "memory"), key=lambda one: one[0])
    needed = (width * (cost.parameters + cost.peak) + 4 * (cost.inputs + cost.outputs)) / 1e6
    return Estimate(on, precision, bound, limit, max(bound, layers), needed)
