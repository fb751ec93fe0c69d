"""What is quantized in a graph, and with which scales: one plan for ONNX Runtime's CPU, one for TensorRT.

CPU: unsigned 8-bit activations with a zero point, on both sides of every operator that ONNX Runtime has
an integer kernel for, so that pixels stay bytes from the first layer to the last. TensorRT: signed 8-bit
activations symmetric about 0 at the inputs of layers with weights, nothing else; the builder fuses the rest.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edgevid.optimize.quantize.graph import Graph, attribute

Span = tuple[float, float]
"""Lowest and highest value of an activation."""

SAME = (
    "Reshape",
    "Transpose",
    "Squeeze",
    "Unsqueeze",
    "Flatten",
    "Split",
    "Slice",
    "Gather",
    "MaxPool",
    "Resize",
)
"""Operators that only move values: their outputs keep the scale of their input."""
INTEGER = ("Add", "Mul", "Concat", "Sigmoid", "LeakyRelu", "AveragePool", "GlobalAveragePool", "HardSigmoid")
"""Further operators that ONNX Runtime's CPU computes on bytes."""
SILU_FLOOR = -7.0
"""Below this x * sigmoid(x) is 0 within 0.007: no step of a byte is spent there."""
SIGMOID_END = 8.0
"""Beyond this sigmoid is 0 or 1 within 0.0004."""


@dataclass(frozen=True, slots=True)
class Scale:
    """How an activation becomes a byte: value = scale * (byte - zero)."""

    scale: float
    zero: int = 0
    signed: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """What is quantized."""

    tensors: Mapping[str, Scale]
    """Activations that pass through a byte."""
    layers: tuple[str, ...]
    """Names of the layers whose weights are int8."""
    kept: tuple[str, ...]
    """Names of the layers that stay float."""
    integer: frozenset[str] = frozenset()
    """CPU: names of all nodes that compute on bytes."""
    folded: Mapping[str, str] = field(default_factory=dict)
    """CPU: tensors whose only reader is a Relu or Clip that rounding to bytes already does -> its output."""
    quantized_bias: bool = False
    weight_bits: int = 8
    """7 for the CPU file on x86 without VNNI, whose sums of two byte products saturate at 16 bits."""


def unsigned(span: Span) -> Scale:
    """256 steps over the span, 0 among them."""
    low, high = min(span[0], 0.0), max(span[1], 0.0)
    scale = float(np.float32((high - low) / 255))
    if not scale > 0:
        return Scale(1.0)
    return Scale(scale, int(np.clip(round(-low / scale), 0, 255)))


def symmetric(span: Span) -> Scale:
    """255 steps about 0."""
    return Scale(float(np.float32(max(abs(span[0]), abs(span[1])) / 127)) or 1.0, signed=True)


def useful(graph: Graph, name: str, span: Span) -> Span:
    """The span without what the readers of the tensor turn into a constant anyway.

    Hard-swish is 0 below -3 whatever the input; silu nearly so below -7; sigmoid is flat beyond 8.
    """
    low, high = span
    kinds = sorted({r.op_type for r in graph.readers[name]})
    gates = [r for r in graph.readers[name] if r.op_type in ("HardSigmoid", "Sigmoid")]
    swish = kinds in (["HardSigmoid", "Mul"], ["Mul", "Sigmoid"]) and _gated(graph, name, gates)
    if len(gates) == 1 and (swish or len(kinds) == 1):
        ends = _ends(gates[0], swish)
        low, high = max(low, ends[0]), high if swish else min(high, ends[1])
    return (low, high) if low < high else span


def _gated(graph: Graph, name: str, gates: list[Any]) -> bool:
    """Whether every product that reads `name` multiplies it by its own gate."""
    outputs = {g.output[0] for g in gates}
    products = [r for r in graph.readers[name] if r.op_type == "Mul"]
    return all(outputs & set(p.input) for p in products)


def _ends(gate: Any, swish: bool) -> Span:
    if gate.op_type == "HardSigmoid":
        alpha, beta = attribute(gate, "alpha", 0.2), attribute(gate, "beta", 0.5)
        return -beta / alpha, (1 - beta) / alpha
    return (SILU_FLOOR, math.inf) if swish else (-SIGMOID_END, SIGMOID_END)


def plan_tensorrt(graph: Graph, spans: Mapping[str, Span], keep: frozenset[str] = frozenset()) -> Plan:
    """Symmetric int8 at the inputs of all layers but those named in `keep`; biases stay float."""
    layers, kept = [], []
    tensors: dict[str, Scale] = {}
    for node in graph.layers():
        source = node.input[0]
        if node.name in keep or source not in spans:
            kept.append(node.name)
            continue
        layers.append(node.name)
        tensors[source] = symmetric(spans[source])
    return Plan(tensors, tuple(layers), tuple(kept))


def plan_cpu(graph: Graph, spans: Mapping[str, Span], keep: frozenset[str] = frozenset()) -> Plan:
    """Bytes wherever an integer kernel has bytes on all sides; tensors and layers in `keep` stay float."""
    known = {t for t in spans if t in graph.floats}
    keep = _carried(graph, keep)
    # What is kept behind a folded activation is kept before it too: it would be rounded there instead.
    free = known - keep - {before for before, after in _folded(graph, known).items() if after in keep}
    folded = _folded(graph, free)
    inside = graph.feeding_layers()
    layers = [n for n in graph.layers() if n.op_type != "ConvTranspose"]
    integer = {
        n.name: n
        for n in layers
        if n.name not in keep and n.input[0] in free and _end(folded, n.output[0]) in free
    }
    others = [n for n in graph.nodes if _eligible(graph, n, free, folded, inside)]
    grown = True
    while grown:
        touched = {_end(folded, o) for n in integer.values() for o in n.output}
        touched |= {i for n in integer.values() for i in n.input}
        new = {
            n.name: n
            for n in others
            if n.name not in integer and touched & {*n.input, _end(folded, n.output[0])}
        }
        grown = bool(new)
        integer |= new
    tensors = _scales(graph, spans, integer, folded)
    names = {n.name for n in layers}
    return Plan(
        tensors,
        tuple(n.name for n in layers if n.name in integer),
        tuple(n.name for n in graph.layers() if n.name not in integer or n.name not in names),
        frozenset(integer),
        {k: v for k, v in folded.items() if graph.maker[k].name in integer},
        quantized_bias=True,
    )


def _carried(graph: Graph, keep: frozenset[str]) -> frozenset[str]:
    """What is kept, and what it becomes by only being moved: the same values would be rounded there."""
    kept = set(keep)
    for node in graph.nodes:
        if node.op_type in SAME and node.input[0] in kept:
            kept.update(node.output)
    return frozenset(kept)


def _end(folded: Mapping[str, str], name: str) -> str:
    """The tensor that a node's output becomes once the activation behind it is folded into rounding."""
    return folded.get(name, name)


def _folded(graph: Graph, free: set[str]) -> dict[str, str]:
    """Outputs read only by a Relu, or by a Clip about 0: rounding to a byte saturates just there."""
    found = {}
    for node in graph.nodes:
        if node.op_type not in ("Relu", "Clip") or node.output[0] not in free:
            continue
        source = node.input[0]
        maker = graph.maker.get(source)
        alone = len(graph.readers[source]) == 1 and source not in graph.outputs
        if maker is None or not alone or maker.op_type not in ("Conv", "Add", "Gemm", "MatMul"):
            continue
        limits = [graph.array(i) for i in node.input[1:]]
        about_zero = len(limits) == 2 and all(
            x is not None and x * s <= 0 for x, s in zip(limits, (1, -1), strict=True)
        )
        if node.op_type == "Relu" or about_zero:
            found[source] = node.output[0]
    return found


def _eligible(graph: Graph, node: Any, free: set[str], folded: Mapping[str, str], inside: set[str]) -> bool:
    """Whether a node without weights has an integer kernel and bytes on all sides."""
    if node.op_type not in (*SAME, *INTEGER) or _end(folded, node.output[0]) not in inside:
        return False
    if node.op_type == "Resize" and attribute(node, "mode", b"nearest") not in (b"nearest", b"linear"):
        return False
    values = node.input[:1] if node.op_type in SAME else node.input
    constant = [i for i in values if i in graph.weights]
    if constant and (node.op_type not in ("Add", "Mul") or len(constant) == len(values)):
        return False
    sides = [i for i in values if i not in graph.weights] + [_end(folded, o) for o in node.output]
    return all(s in free for s in sides)


def _scales(
    graph: Graph, spans: Mapping[str, Span], integer: Mapping[str, Any], folded: Mapping[str, str]
) -> dict[str, Scale]:
    """The scale of each tensor that an integer node makes or reads; movers hand theirs on."""
    scales: dict[str, Scale] = {}
    for name in graph.inputs:
        if any(r.name in integer for r in graph.readers[name]) and name in spans:
            scales[name] = unsigned(useful(graph, name, spans[name]))
    for node in graph.nodes:
        for output in node.output:
            name = _end(folded, output)
            read = any(r.name in integer for r in graph.readers[name])
            if name not in spans or not (node.name in integer or read) or output in folded.values():
                continue
            if node.name in integer and node.op_type in SAME:
                scales[name] = scales[node.input[0]]
            elif node.op_type in ("Sigmoid", "HardSigmoid"):
                scales[name] = Scale(float(np.float32(1 / 255)))
            else:
                scales[name] = unsigned(useful(graph, name, spans[name]))
    return scales
