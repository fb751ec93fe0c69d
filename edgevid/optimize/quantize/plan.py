"""What is quantized in a graph, and with which scales: one plan for ONNX Runtime's CPU, one for TensorRT.

CPU: unsigned 8-bit activations with a zero point, on both sides of every operator that ONNX Runtime has an integer
kernel for, so that values stay bytes from the first layer to the last. TensorRT: signed 8-bit activations, symmetric
about 0, at the inputs of layers with weights only; the builder fuses the others."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edgevid.optimize.quantize.graph import Graph, attribute
from edgevid.types import Array

Range = tuple[float, float]  # Lowest and highest value of an activation

PASS_THROUGH_OPS = ("Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten", "Split", "Slice", "Gather", "MaxPool",
                    "Resize")  # fmt: skip
"""Operators that only move values: their outputs keep the scale of their input."""
INTEGER_OPS = ("Add", "Mul", "Concat", "Sigmoid", "HardSigmoid", "LeakyRelu", "AveragePool", "GlobalAveragePool")
"""Further operators that ONNX Runtime's CPU computes on bytes."""
SILU_FLOOR = -7.0  # Below this x * sigmoid(x) is 0 within 0.007: no step of a byte is spent there
SIGMOID_END = 8.0  # Beyond this sigmoid is 0 or 1 within 0.0004


@dataclass(frozen=True, slots=True)
class Scale:
    """How an activation becomes a byte: value = scale * (byte - zero)."""

    scale: float
    zero: int = 0
    signed: bool = False

    def to_bytes(self, values: Array) -> Array:
        """The bytes of values as whole float32 numbers, rounded as QuantizeLinear does."""
        low, high = (-128, 127) if self.signed else (0, 255)
        return np.clip(np.rint(values / np.float32(self.scale)) + np.float32(self.zero), low, high)


@dataclass(frozen=True, slots=True)
class Plan:
    """What is quantized."""

    tensors: Mapping[str, Scale]  # Activations that pass through a byte
    layers: tuple[str, ...]  # Names of the layers whose weights are int8
    float_layers: tuple[str, ...]  # Names of the layers that are not quantized
    integer: frozenset[str] = frozenset()  # CPU: names of all nodes that compute on bytes
    folded: Mapping[str, str] = field(default_factory=dict)
    """CPU: tensors whose only consumer is a Relu or Clip that rounding to bytes replaces -> its output."""
    quantized_bias: bool = False
    reduce_range: bool = False  # 7-bit weights, for x86 without VNNI, whose sums of two byte products saturate


def asymmetric_scale(limits: Range) -> Scale:
    """256 steps over the range, which includes 0."""
    low, high = min(limits[0], 0.0), max(limits[1], 0.0)
    scale = float(np.float32((high - low) / 255))
    if not scale > 0:
        return Scale(1.0)
    return Scale(scale, int(np.clip(round(-low / scale), 0, 255)))


def symmetric_scale(limits: Range) -> Scale:
    """255 steps, symmetric about 0."""
    return Scale(float(np.float32(max(abs(limits[0]), abs(limits[1])) / 127)) or 1.0, signed=True)


def clipped_range(graph: Graph, name: str, limits: Range) -> Range:
    """The range without the part that the tensor's consumers map to a constant. Hard-swish is 0 below -3 whatever the
    input; silu nearly so below -7; sigmoid is flat beyond 8."""
    low, high = limits
    kinds = sorted({r.op_type for r in graph.consumers[name]})
    gates = [r for r in graph.consumers[name] if r.op_type in ("HardSigmoid", "Sigmoid")]
    own = {g.output[0] for g in gates}
    gated = all(own & set(r.input) for r in graph.consumers[name] if r.op_type == "Mul")  # by its own gate
    swish = kinds in (["HardSigmoid", "Mul"], ["Mul", "Sigmoid"]) and gated
    if len(gates) == 1 and (swish or len(kinds) == 1):
        start, end = (SILU_FLOOR, math.inf) if swish else (-SIGMOID_END, SIGMOID_END)
        if gates[0].op_type == "HardSigmoid":
            alpha, beta = attribute(gates[0], "alpha", 0.2), attribute(gates[0], "beta", 0.5)
            start, end = -beta / alpha, (1 - beta) / alpha
        low, high = max(low, start), high if swish else min(high, end)
    return (low, high) if low < high else limits


def plan_tensorrt(graph: Graph, ranges: Mapping[str, Range], excluded: frozenset[str] = frozenset()) -> Plan:
    """Symmetric int8 at the inputs of all layers that are not in `excluded`; float biases."""
    inputs = {n.name: n.input[0] for n in graph.layers()}
    layers = {name: i for name, i in inputs.items() if name not in excluded and i in ranges}
    tensors = {i: symmetric_scale(ranges[i]) for i in layers.values()}
    return Plan(tensors, tuple(layers), tuple(name for name in inputs if name not in layers))


def plan_cpu(graph: Graph, ranges: Mapping[str, Range], excluded: frozenset[str] = frozenset()) -> Plan:
    """Bytes where an integer kernel has bytes on all sides; except for tensors and layers in `excluded`."""
    known = {t for t in ranges if t in graph.floats}
    moved = set(excluded)  # with the tensors that hold the same values moved: they would be rounded there
    for node in graph.nodes:
        if node.op_type in PASS_THROUGH_OPS and node.input[0] in moved:
            moved.update(node.output)
    excluded = frozenset(moved)
    # A tensor excluded behind a folded activation is excluded before it too, where it would be rounded.
    before = {source for source, output in _folded(graph, known).items() if output in excluded}
    free = known - excluded - before
    folded = _folded(graph, free)
    inside = graph.feeding_layers()
    layers = [n for n in graph.layers() if n.op_type != "ConvTranspose"]
    inner = [n for n in layers if n.name not in excluded and {n.input[0], _end(folded, n.output[0])} <= free]
    integer = {n.name: n for n in inner}
    others = [n for n in graph.nodes if _eligible(graph, n, free, folded, inside)]
    grown = True
    while grown:
        touched = {_end(folded, o) for n in integer.values() for o in n.output}
        touched |= {i for n in integer.values() for i in n.input}
        new = {n.name: n for n in others if n.name not in integer and touched & {*n.input, _end(folded, n.output[0])}}
        grown = bool(new)
        integer |= new
    return Plan(_scales(graph, ranges, integer, folded), tuple(n.name for n in layers if n.name in integer),
                tuple(n.name for n in graph.layers() if n.name not in integer), frozenset(integer),
                {k: v for k, v in folded.items() if graph.producer[k].name in integer},
                quantized_bias=True)  # fmt: skip


def _end(folded: Mapping[str, str], name: str) -> str:
    """The tensor that a node's output becomes once the activation behind it is folded into rounding."""
    return folded.get(name, name)


def _folded(graph: Graph, free: set[str]) -> dict[str, str]:
    """Outputs read only by a Relu, or by a Clip around 0: rounding to a byte saturates at the same values."""
    found = {}
    for node in graph.nodes:
        if node.op_type not in ("Relu", "Clip") or node.output[0] not in free:
            continue
        source = node.input[0]
        producer = graph.producer.get(source)
        alone = len(graph.consumers[source]) == 1 and source not in graph.outputs
        if producer is None or not alone or producer.op_type not in ("Conv", "Add", "Gemm", "MatMul"):
            continue
        bounds = [graph.array(i) for i in node.input[1:]]
        sides = zip(bounds, (1, -1), strict=False)
        around_zero = len(bounds) == 2 and all(x is not None and x * sign <= 0 for x, sign in sides)
        if node.op_type == "Relu" or around_zero:
            found[source] = node.output[0]
    return found


def _eligible(graph: Graph, node: Any, free: set[str], folded: Mapping[str, str], inside: set[str]) -> bool:
    """Whether a node without weights has an integer kernel and bytes on all sides."""
    if node.op_type not in (*PASS_THROUGH_OPS, *INTEGER_OPS) or _end(folded, node.output[0]) not in inside:
        return False
    if node.op_type == "Resize" and attribute(node, "mode", b"nearest") not in (b"nearest", b"linear"):
        return False
    values = node.input[:1] if node.op_type in PASS_THROUGH_OPS else node.input
    constant = [i for i in values if i in graph.weights]
    if constant and (node.op_type not in ("Add", "Mul") or len(constant) == len(values)):
        return False
    sides = [i for i in values if i not in graph.weights] + [_end(folded, o) for o in node.output]
    return all(s in free for s in sides)


def _scales(graph: Graph, ranges: Mapping[str, Range], integer: Mapping[str, Any],
            folded: Mapping[str, str]) -> dict[str, Scale]:  # fmt: skip
    """The scale of each tensor that an integer node writes or reads; moved values keep theirs."""
    scales: dict[str, Scale] = {}
    for name in graph.inputs:
        if any(r.name in integer for r in graph.consumers[name]) and name in ranges:
            scales[name] = asymmetric_scale(clipped_range(graph, name, ranges[name]))
    for node in graph.nodes:
        for output in node.output:
            name = _end(folded, output)
            read = any(r.name in integer for r in graph.consumers[name])
            if name not in ranges or not (node.name in integer or read) or output in folded.values():
                continue
            if node.name in integer and node.op_type in PASS_THROUGH_OPS:
                scales[name] = scales[node.input[0]]
            elif node.op_type in ("Sigmoid", "HardSigmoid"):
                scales[name] = Scale(float(np.float32(1 / 255)))
            else:
                scales[name] = asymmetric_scale(clipped_range(graph, name, ranges[name]))
            if node.name in integer and node.op_type == "GlobalAveragePool":
                # ONNX Runtime's kernel rejects steps far below those of its input, which hold nothing anyway.
                least = scales[node.input[0]].scale / 128
                scales[name] = scales[name] if scales[name].scale > least else Scale(least, 128)
    return scales


PLANNERS: Mapping[str, Callable[..., Plan]] = {"int8-cpu": plan_cpu, "int8-trt": plan_tensorrt}  # By variant
