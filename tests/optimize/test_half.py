"""FP16 as a device computes it: rounded after each operator, infinite beyond its range."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx_models
import pytest
from onnx_models import helper, node
from random_graphs import random_image, random_model

from edgevid.errors import ModelError
from edgevid.optimize.fp16 import convert_fp16
from edgevid.optimize.half import not_finite, open_fp16, simulate_fp16
from edgevid.optimize.quantize.graph import Graph, normalize
from edgevid.runtime.onnxruntime.engine import open_session

onnx = onnx_models.onnx
HALF, FULL = onnx.TensorProto.FLOAT16, onnx.TensorProto.FLOAT
GAINS = (1.0, 1.0, 30.0, 3e3, 3e5)


def half_model(nodes: list[Any], *, opset: int = 17, **weights: Any) -> Any:
    """A model of FP16 tensors from x (2) to y (2)."""
    tensors = [helper.make_tensor_value_info(n, HALF, [2]) for n in ("x", "y")]
    stored = [onnx.numpy_helper.from_array(np.asarray(v), n) for n, v in weights.items()]
    graph = helper.make_graph(nodes, "half", tensors[:1], tensors[1:], stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def run(model: Any, *x: float) -> list[float]:
    session = open_session(simulate_fp16(model).SerializeToString(), threads=1, optimization="none")
    (y,) = session.run(None, {"x": np.array(x, np.float16)})
    assert y.dtype == np.float16
    return [float(v) for v in y]


def test_each_result_is_rounded_to_11_bits() -> None:
    """2048 + 1 is 2048 in FP16, and so is one more; in float32 it would be 2050."""
    model = half_model([node("Add", "x one", "a"), node("Add", "a one", "y")], one=np.float16(1))
    assert run(model, 2048, 100) == [2048, 102]


def test_beyond_65504_it_is_infinite_and_stays_so() -> None:
    """300 * 300 / 300: a product that a device cannot store."""
    model = half_model([node("Mul", "x x", "a"), node("Div", "a by", "y")], by=np.float16(300))
    assert run(model, 300, 200) == [np.inf, pytest.approx(133.3, abs=0.1)]


def test_a_constant_that_vanishes_in_fp16_divides_as_zero() -> None:
    model = half_model([node("Div", "x tiny", "y")], tiny=np.float16(1e-8))
    found = run(model, 1, 0)
    assert found[0] == np.inf
    assert np.isnan(found[1])


@pytest.mark.parametrize("opset", [11, 13, 17, 18])
def test_a_mean_whose_sum_overflows_is_infinite(opset: int) -> None:
    axes = {"axes": [0]} if opset < 18 else {}
    mean = node("ReduceMean", "x" if axes else "x first", "m", keepdims=1, **axes)
    more = {} if axes else {"first": np.array([0])}
    model = half_model([mean, node("Add", "m zeros", "y")], opset=opset, zeros=np.zeros(2, np.float16), **more)
    assert run(model, 60000, 60000) == [np.inf] * 2
    assert run(model, 30000, 31984) == [30992] * 2


def test_branches_round_inside() -> None:
    one = helper.make_tensor_value_info("b", HALF, [2])
    double = helper.make_graph([node("Mul", "x x", "a"), node("Div", "a x", "b")], "then", [], [one])
    keep = helper.make_graph([node("Identity", "x", "b")], "else", [], [one])
    model = half_model(
        [helper.make_node("If", ["yes"], ["c"], then_branch=double, else_branch=keep), node("Abs", "c", "y")],
        yes=np.array(True),
    )
    assert run(model, -300, 4) == [np.inf, 4]


def test_types_that_contradict_each_other_are_an_error(tmp_path: Path) -> None:
    path = tmp_path / "wrong.onnx"
    onnx.save(half_model([node("Add", "x one", "y")], one=np.zeros(2, np.int64)), path)
    with pytest.raises(ModelError, match=r"wrong.onnx: cannot be computed as an FP16 device would"):
        open_fp16(path)


def test_it_equals_the_reference_evaluator_on_random_graphs(tmp_path: Path) -> None:
    """NaN for NaN and infinity for infinity; numbers to 1 % of the largest, as sums have another order."""
    from onnx.reference import ReferenceEvaluator

    overflowing = 0
    for seed in range(200):
        path = tmp_path / "m.onnx"
        onnx.save(random_model(seed, 13 + seed % 16, gain=GAINS[seed % len(GAINS)]), path)
        half = convert_fp16(path, tmp_path / "half.onnx").path
        given = {"x": random_image(seed)}
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")  # overflow is what this is about
            expected = ReferenceEvaluator(onnx.load(half)).run(None, given)[0]
        with open_fp16(half, threads=1) as engine:
            found = engine.run(given)["y"]
        finite = np.isfinite(expected)
        overflowing += not finite.all()
        np.testing.assert_array_equal(found[~finite], expected[~finite], f"seed {seed}")
        limit = 0.01 * (0.1 + np.abs(expected[finite]).max(initial=0))
        np.testing.assert_allclose(found[finite], expected[finite], rtol=0, atol=limit, err_msg=f"seed {seed}")
    assert overflowing >= 20


def test_operators_that_overflow_are_named(tmp_path: Path) -> None:
    """A variance that vanishes in FP16: the division is named, and in FP32 all is finite."""
    path = tmp_path / "m.onnx"
    onnx_models.save(
        path,
        [
            node("Sub", "x x", "zero", name="difference"),
            node("Add", "zero eps", "safe", name="plus"),
            node("Div", "x safe", "d", name="divide"),
            node("Mul", "d small", "y", name="scale"),
        ],
        {"x": ("float32", (1, 4))},
        {"y": (1, 4)},
        eps=np.float32(1e-8),
        small=np.float32(1e-8),
    )
    graph = Graph(normalize(path))
    half = onnx.load(convert_fp16(path, tmp_path / "half.onnx").path)
    found = not_finite(half, graph, [{"x": np.zeros((1, 4), np.float32)}])
    assert set(found) == {"divide"}
    assert found["divide"] == "d is not finite in FP16"
