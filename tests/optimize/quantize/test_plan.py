"""Plans: scales computed by hand, and which tensors each planner quantizes."""

from __future__ import annotations

import numpy as np
import onnx_models
import pytest

from edgevid.optimize.quantize.apply import apply_plan
from edgevid.optimize.quantize.graph import Graph
from edgevid.optimize.quantize.plan import (
    Scale,
    asymmetric_scale,
    clipped_range,
    plan_cpu,
    plan_tensorrt,
    symmetric_scale,
)

onnx = onnx_models.onnx


def test_scales_are_as_published() -> None:
    # 0 .. 25.5 in 255 steps of 0.1; -12.7 .. 12.7 in 254 steps of 0.1
    assert asymmetric_scale((0.0, 25.5)) == Scale(float(np.float32(0.1)), 0)
    assert asymmetric_scale((-5.1, 20.4)) == Scale(float(np.float32(0.1)), 51)
    assert asymmetric_scale((3.0, 25.5)).zero == 0  # 0 is always among the steps: padding is exactly 0
    assert symmetric_scale((-12.7, 3.0)) == Scale(float(np.float32(0.1)), 0, signed=True)
    assert asymmetric_scale((0.0, 0.0)).scale == 1.0


def test_a_range_is_not_spent_on_what_the_activation_cuts_off(graph: Graph) -> None:
    assert clipped_range(graph, "c2", (-30.0, 5.0)) == (-7.0, 5.0)  # silu is 0 below -7
    assert clipped_range(graph, "r1", (-1.0, 5.0)) == (-1.0, 5.0)


def test_the_cpu_plan_keeps_bytes_from_layer_to_layer(graph: Graph) -> None:
    spans = dict.fromkeys(graph.floats, (-1.0, 1.0))
    plan = plan_cpu(graph, spans)
    assert len(plan.layers) == 3
    assert not plan.float_layers
    assert plan.folded == {"c1": "r1"}  # the Relu is done by rounding
    assert set(plan.tensors) == {"x", "r1", "c2", "gate", "s", "c3"}
    model = apply_plan(graph, plan)
    onnx.checker.check_model(model)
    assert "Relu" not in {n.op_type for n in model.graph.node}
    kinds = {t.data_type for t in model.graph.initializer if t.name.endswith("zero")}
    assert {onnx.TensorProto.UINT8, onnx.TensorProto.INT8, onnx.TensorProto.INT32} == kinds


def test_the_tensorrt_plan_is_symmetric_with_float_biases(graph: Graph) -> None:
    spans = dict.fromkeys(graph.floats, (-1.0, 2.54))
    plan = plan_tensorrt(graph, spans)
    assert set(plan.tensors) == {"x", "r1", "s"}
    model = apply_plan(graph, plan)
    onnx.checker.check_model(model)
    zeros = [t for t in model.graph.initializer if t.name.endswith("zero")]
    assert {t.data_type for t in zeros} == {onnx.TensorProto.INT8}
    assert all(not onnx.numpy_helper.to_array(t).any() for t in zeros)
    quantized = {n.input[0] for n in model.graph.node if n.op_type == "QuantizeLinear"}
    assert quantized == {"x", "r1", "s"}
    scale = next(t for t in model.graph.initializer if t.name == "x scale")
    assert float(onnx.numpy_helper.to_array(scale)) == pytest.approx(0.02)


def test_excluded_nodes_are_not_quantized(graph: Graph) -> None:
    spans = dict.fromkeys(graph.floats, (-1.0, 1.0))
    second = graph.layers()[1].name
    plan = plan_tensorrt(graph, spans, frozenset({second}))
    assert plan.float_layers == (second,)
    assert set(plan.tensors) == {"x", "s"}
    plan = plan_cpu(graph, spans, frozenset({"r1"}))
    assert "r1" not in plan.tensors
    assert len(plan.float_layers) == 2  # the layer that makes it and the one that reads it
    onnx.checker.check_model(apply_plan(graph, plan))
