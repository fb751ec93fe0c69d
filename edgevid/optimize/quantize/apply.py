"""Applies a plan to a graph: QuantizeLinear and DequantizeLinear around what the plan names. B. Jacob et al.,
"Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference", 2018: int8 weights with
one scale per channel, biases as int32 of scale input x weight."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from edgevid.optimize.quantize.graph import Graph, attribute, load_onnx, reads
from edgevid.optimize.quantize.plan import Plan, Scale, asymmetric_scale
from edgevid.types import Array

Means = tuple[Mapping[str, Sequence[float]], Mapping[str, Sequence[float]]]
"""Mean of each channel of the layers' inputs, as floats and after rounding."""


def apply_plan(graph: Graph, plan: Plan, means: Means | None = None) -> Any:
    """A new model with the plan applied; with `means`, biases correct the mean error of rounding."""
    return _Writer(graph, plan, means).model


def weight_scale(values: Array, axis: int | None, min_scale: Array | None = None, top: int = 127) -> Array:
    """float32 scale of int8 weights, one for each index of `axis` (None: one in all); never 0. `min_scale` (per
    channel) is the smallest scale with which a bias still fits its int32."""
    reduced = None if axis is None else tuple(a for a in range(values.ndim) if a != axis)
    scale = np.asarray(np.abs(values).max(axis=reduced) / top, np.float64)
    if min_scale is not None:
        scale = np.maximum(scale, min_scale)
    return np.where(scale > 0, scale, 1.0).astype(np.float32)


def rounded(values: Array, scale: Array, axis: int | None, top: int = 127) -> Array:
    """int8 weights."""
    return np.clip(np.rint(values / _along(scale, axis, values.ndim)), -top, top).astype(np.int8)


def _along(scale: Array, axis: int | None, rank: int) -> Array:
    """The scale reshaped to broadcast over weights of this rank."""
    return scale if axis is None else scale.reshape([-1 if a == axis else 1 for a in range(rank)])


class _Writer:
    def __init__(self, graph: Graph, plan: Plan, means: Means | None = None) -> None:
        self.graph, self.plan, self.means, self.onnx = graph, plan, means, load_onnx()
        self.model = self.onnx.ModelProto()
        self.model.CopyFrom(graph.model)
        self.model.ir_version = max(self.model.ir_version, 8)
        self.model.producer_name = "edgevid quantize"
        self.copies = {n.name: n for n in self.model.graph.node}
        self.folded_away = {graph.producer[o].name for o in plan.folded.values()}
        self.constants: dict[str, Any] = {}
        self.before: dict[str, list[Any]] = defaultdict(list)
        for name, scale in plan.tensors.items():
            self._rewire(name, scale)
        for node in graph.nodes:
            if node.name in plan.layers:
                self._weights(node)
            elif node.name in plan.integer and node.op_type in ("Add", "Mul"):
                self._constant_operand(node)
        self._finish()

    def constant(self, name: str, value: Array) -> str:
        """A weight of this name, stored once."""
        if name not in self.constants:
            self.constants[name] = self.onnx.numpy_helper.from_array(value, name)
        return name

    def _scale(self, name: str, scale: Scale) -> list[str]:
        zero = np.array(scale.zero, np.int8 if scale.signed else np.uint8)
        step = self.constant(f"{name} scale", np.array(scale.scale, np.float32))
        return [step, self.constant(f"{name} zero", zero)]

    def _rewire(self, name: str, scale: Scale) -> None:
        """Q and DQ behind a tensor; its consumers read the rounded values."""
        make, producer = self.onnx.helper.make_node, self.graph.producer.get(name)
        terms = self._scale(name, scale)
        raw, back = name, f"{name} back"
        if name in self.graph.outputs:
            raw, back = f"{name} raw", name
        if producer is not None:
            copy = self.copies[producer.name]
            folded = next((s for s, o in self.plan.folded.items() if o == name), None)
            if folded is not None:  # the node before the activation writes its output instead
                copy = self.copies[self.graph.producer[folded].name]
            copy.output[list(copy.output).index(folded or name)] = raw
        bytes_, gate_terms = f"{name} bytes", self._gate_terms(producer, name, terms)
        self.before[producer.name if producer is not None else ""] += [
            make("QuantizeLinear", [raw, *terms], [bytes_], f"{name} quantize"),
            make("DequantizeLinear", [bytes_, *gate_terms], [back], f"{name} dequantize"),
        ]
        in_bytes = producer is None or producer.name in self.plan.integer or producer.name in self.folded_away
        for reader in self.graph.consumers[name]:
            # A float consumer of a float producer reads the exact value.
            exact = not in_bytes and reader.name not in self.plan.integer and bool(self.plan.integer)
            if back == name and not exact:
                continue
            self._replace(self.copies[reader.name], name, raw if exact else back)

    def _gate_terms(self, producer: Any, name: str, terms: list[str]) -> list[str]:
        """A HardSigmoid on bytes is clip(x + b/a, 0, 1/a): its bytes are read back with the scale times a."""
        if producer is None or producer.op_type != "HardSigmoid" or producer.name not in self.plan.integer:
            return terms
        alpha, beta = attribute(producer, "alpha", 0.2), attribute(producer, "beta", 0.5)
        copy = self.copies[producer.name]
        copy.op_type = "Add"
        del copy.attribute[:]
        shift, step = beta / alpha, self.plan.tensors[name].scale
        steps = asymmetric_scale((0.0, shift))
        copy.input.append(self._bytes_of(f"{name} shift", np.array(shift, np.float32), steps))
        self.constants[terms[0]] = self.onnx.numpy_helper.from_array(np.array(step / alpha, np.float32), terms[0])
        return [self.constant(f"{name} scale back", np.array(step, np.float32)), terms[1]]

    def _bytes_of(self, name: str, values: Array, scale: Scale) -> str:
        """A constant operand as bytes, read back."""
        terms = self._scale(name, scale)
        stored = scale.to_bytes(values).astype(np.uint8)
        given, make = [self.constant(f"{name} bytes", stored), *terms], self.onnx.helper.make_node
        self.before[""].append(make("DequantizeLinear", given, [f"{name} back"], f"{name} dequantize"))
        return f"{name} back"

    def _constant_operand(self, node: Any) -> None:
        for source in set(node.input):
            values = self.graph.array(source)
            if values is not None:
                scale = asymmetric_scale((float(values.min()), float(values.max())))
                name = self._bytes_of(f"{source} of {node.name}", values, scale)
                self._replace(self.copies[node.name], source, name)

    def _weights(self, node: Any) -> None:
        """int8 weights with their scales instead of float ones, and the bias as int32 where planned."""
        values = self.graph.array(node.input[1])
        assert values is not None
        copy = self.copies[node.name]
        axis = {"Conv": 0, "ConvTranspose": 1}.get(node.op_type)  # output channels; None: one scale in all
        if node.op_type == "ConvTranspose" and attribute(node, "group", 1) != 1:
            axis = None  # its channels are stored group by group
        bias = self.graph.array(node.input[2]) if len(node.input) > 2 and node.input[2] else None
        min_scale, into = None, self.plan.tensors[node.input[0]].scale
        if bias is not None and self.plan.quantized_bias:
            min_scale = np.abs(bias.astype(np.float64)) / (into * 2.0**30)
            min_scale = min_scale if axis is not None else np.asarray(min_scale.max())
        top = 63 if self.plan.reduce_range else 127
        scale = weight_scale(values, axis, min_scale, top)
        name = f"{node.input[1]} of {node.name}"
        stored = rounded(values, scale, axis, top)
        copy.input[1] = self._read_back(name, stored, scale, axis)
        shift = self._shift(node, values, stored * _along(scale, axis, values.ndim))
        if shift is not None:
            bias = shift if bias is None else bias + shift
        if bias is None:
            return
        name = f"bias of {node.name}"
        if self.plan.quantized_bias:
            step = (np.float32(into) * scale).astype(np.float32)
            most = 2.0**31 - 1
            whole = np.clip(np.rint(bias.astype(np.float64) / step), -most, most).astype(np.int32)
            read = self._read_back(name, whole, step, 0 if axis is not None else None)
        else:
            read = self.constant(name, bias.astype(np.float32))
        del copy.input[2:]
        copy.input.append(read)

    def _shift(self, node: Any, exact: Array, rounded_: Array) -> Array | None:
        """(O,) what rounding subtracts from the layer's mean output: W E[x] - W' E[x']."""
        name = node.input[0]
        if self.means is None or node.op_type != "Conv" or name not in self.means[0]:
            return None
        before, after = (np.array(mean.get(name, self.means[0][name])) for mean in self.means)
        taps = tuple(range(2, exact.ndim))
        exact, rounded_ = exact.astype(np.float64).sum(taps), rounded_.astype(np.float64).sum(taps)
        outputs, each = exact.shape
        group = np.arange(outputs) // (outputs // attribute(node, "group", 1))
        rows = group[:, None] * each + np.arange(each)
        return np.asarray((exact * before[rows] - rounded_ * after[rows]).sum(1), np.float32)

    def _read_back(self, name: str, stored: Array, scale: Array, axis: int | None) -> str:
        parts = {"int": stored, "scale": scale, "zero": np.zeros(scale.shape, stored.dtype)}
        terms = [self.constant(f"{name} {part}", value) for part, value in parts.items()]
        more = {} if axis is None else {"axis": axis}
        node = self.onnx.helper.make_node("DequantizeLinear", terms, [f"{name} back"], f"{name} read", **more)
        self.before[""].append(node)
        return f"{name} back"

    @staticmethod
    def _replace(node: Any, old: str, new: str) -> None:
        for at, source in enumerate(node.input):
            if source == old:
                node.input[at] = new

    def _finish(self) -> None:
        """Nodes in an order that runs, weights that are still read."""
        nodes: list[Any] = list(self.before[""])
        for node in self.graph.nodes:
            if node.name not in self.folded_away:
                nodes.append(self.copies[node.name])
            nodes += self.before[node.name]
        del self.model.graph.node[:]
        self.model.graph.node.extend(nodes)
        read = {i for n in nodes for i in reads(n)} | set(self.graph.outputs)
        made = {o for n in nodes for o in n.output}
        for stored, names in ((self.model.graph.initializer, read), (self.model.graph.value_info, made)):
            kept = [one for one in stored if one.name in names]
            del stored[:]
            stored.extend(kept)
        self.model.graph.initializer.extend(self.constants[k] for k in sorted(self.constants))
