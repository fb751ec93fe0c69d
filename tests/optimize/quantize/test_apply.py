"""Plans applied to graphs: weights, Q/DQ pairs and biases, computed by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_models
import pytest

from edgevid.optimize.quantize.apply import apply_plan, rounded, weight_scale
from edgevid.optimize.quantize.graph import Graph
from edgevid.optimize.quantize.plan import Plan, asymmetric_scale, plan_tensorrt

onnx = onnx_models.onnx


def test_weights_get_a_scale_for_each_channel() -> None:
    values = np.array([[1.27, -0.5], [0.0127, 0.0]], np.float32).reshape(2, 2, 1, 1)
    scale = weight_scale(values, 0)
    assert scale == pytest.approx([0.01, 0.0001])
    assert rounded(values, scale, 0).reshape(2, 2).tolist() == [[127, -50], [127, 0]]
    assert weight_scale(np.zeros((1, 4), np.float32), 0).tolist() == [1.0]  # a dead channel


def test_one_activation_can_be_rounded_alone(graph: Graph, tmp_path: Path) -> None:
    model = apply_plan(graph, Plan({"s": asymmetric_scale((-1.0, 3.0))}, (), ()))
    assert sum(n.op_type == "QuantizeLinear" for n in model.graph.node) == 1
    onnx.checker.check_model(model)


def test_biases_correct_the_mean_error_of_rounding(graph: Graph, tmp_path: Path) -> None:
    """With all inputs at their mean the corrected layer gives exactly the float layer's mean."""
    first = graph.layers()[0]
    spans = dict.fromkeys(graph.floats, (0.0, 2.55))
    plan = plan_tensorrt(graph, spans, frozenset(n.name for n in graph.layers()[1:]))
    mean = np.array([0.5, 1.0, 1.5])
    model = apply_plan(graph, plan, ({"x": mean}, {"x": mean}))
    bias = next(onnx.numpy_helper.to_array(t) for t in model.graph.initializer if t.name.startswith("bias of"))
    weights = graph.array("w1")
    assert weights is not None
    scale = weight_scale(weights, 0)
    back = rounded(weights, scale, 0) * scale.reshape(-1, 1, 1, 1)
    lost = ((weights - back).sum((2, 3)) * mean).sum(1)
    assert bias == pytest.approx(np.linspace(-1, 1, 8) + lost, abs=1e-5)
    assert first.name in plan.layers
