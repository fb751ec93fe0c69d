"""Operations, bytes and memory counted by hand on made graphs, and published counts of real models."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from counted_models import conv, saved
from onnx_models import onnx

from edgevid.errors import InputError, ModelError
from edgevid.optimize.estimate import Layer, model_cost


def test_a_convolution_is_counted_by_hand(tmp_path: Path) -> None:
    cost = model_cost(conv(tmp_path / "m.onnx"))
    multiplied = 2 * 8 * 100 * 3 * 9
    assert cost.layers == (Layer("c", "Conv", multiplied, 8 * 27 + 8, 300 + 800),)
    assert cost.operations == multiplied + 800  # the Relu: one for each of its 800 values
    assert cost.parameters == 224
    assert (cost.inputs, cost.outputs) == (300, 800)
    assert cost.peak == 1600  # the convolution's answer and the Relu's; the image is gone by then


def test_an_open_batch_multiplies_values_and_operations_but_no_weights(tmp_path: Path) -> None:
    path = conv(tmp_path / "m.onnx", batch="n")
    one, four = model_cost(path), model_cost(path, batch=4)
    assert four.operations == 4 * one.operations
    assert four.parameters == one.parameters
    assert four.peak == 4 * one.peak


def test_a_grouped_convolution_and_its_transpose(tmp_path: Path) -> None:
    node = onnx.helper.make_node("Conv", ["x", "w"], ["y"], group=4)
    path = saved(tmp_path / "g.onnx", [node], [1, 4, 6, 6], {"w": np.ones((4, 1, 3, 3), np.float32)})
    assert model_cost(path).operations == 2 * (4 * 16) * 9
    node = onnx.helper.make_node("ConvTranspose", ["x", "w"], ["y"], strides=[2, 2])
    path = saved(tmp_path / "t.onnx", [node], [1, 4, 6, 6], {"w": np.ones((4, 5, 2, 2), np.float32)})
    assert model_cost(path).operations == 2 * (4 * 36) * (5 * 4)


def test_products_and_a_recurrent_layer(tmp_path: Path) -> None:
    node = onnx.helper.make_node("MatMul", ["x", "w"], ["y"])
    path = saved(tmp_path / "m.onnx", [node], [2, 7], {"w": np.ones((7, 5), np.float32)})
    assert model_cost(path).operations == 2 * 2 * 5 * 7
    node = onnx.helper.make_node("Gemm", ["x", "w"], ["y"], transB=1, transA=1)
    path = saved(tmp_path / "g.onnx", [node], [7, 2], {"w": np.ones((5, 7), np.float32)})
    assert model_cost(path).operations == 2 * 2 * 5 * 7
    node = onnx.helper.make_node("GRU", ["x", "w", "r"], ["y"], hidden_size=4)
    weights = {"w": np.ones((1, 12, 3), np.float32), "r": np.ones((1, 12, 4), np.float32)}
    path = saved(tmp_path / "r.onnx", [node], [6, 2, 3], weights)
    assert model_cost(path).operations == 2 * 6 * 2 * (12 * 3 + 12 * 4)


def test_a_quantized_convolution_costs_as_much_as_its_float_one(tmp_path: Path) -> None:
    """4 channels to 6 of 5 x 5, with 3 x 3 filters; then one for each value that is quantized or restored."""
    make = onnx.helper.make_node
    nodes = [
        make("QuantizeLinear", ["x", "s", "z"], ["q"]),
        make("QLinearConv", ["q", "s", "z", "w", "s", "zw", "s", "z"], ["p"], pads=[1, 1, 1, 1]),
        make("DequantizeLinear", ["p", "s", "z"], ["y"]),
    ]
    weights = {
        "w": np.ones((6, 4, 3, 3), np.int8), "s": np.array(1, np.float32), "z": np.array(0, np.uint8),
        "zw": np.array(0, np.int8),
    }  # fmt: skip
    found = model_cost(saved(tmp_path / "q.onnx", nodes, [1, 4, 5, 5], weights))
    (layer,) = found.layers
    assert (layer.kind, layer.operations) == ("QLinearConv", 2 * (6 * 25) * (4 * 9))
    assert found.operations == layer.operations + 4 * 25 + 6 * 25


@pytest.mark.parametrize(
    ("file", "billion", "million"),
    # as their own projects publish them: YOLOX's and PicoDet's READMEs, NanoDet's README
    [("yolox_nano_416", 1.08, 0.91), ("picodet_s_416_coco", 1.24, 0.99), ("nanodet_m_320", 0.72, 0.95)],
)
def test_real_detectors_cost_what_their_projects_publish(
    shared_data: Path, file: str, billion: float, million: float
) -> None:
    cost = model_cost(shared_data / "models" / f"{file}.onnx")
    assert cost.operations / 1e9 == pytest.approx(billion, rel=0.05)
    assert cost.parameters / 1e6 == pytest.approx(million, rel=0.02)


def test_what_cannot_be_counted_is_an_error(tmp_path: Path) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no model at all")
    with pytest.raises(ModelError, match=r"broken\.onnx"):
        model_cost(broken)
    node = onnx.helper.make_node("Relu", ["x"], ["y"])
    with pytest.raises(ModelError, match="has a dynamic size"):
        model_cost(saved(tmp_path / "open.onnx", [node], [1, 3, "h", "w"], {}))
    with pytest.raises(InputError, match="batch is fixed at 1"):
        model_cost(conv(tmp_path / "m.onnx"), batch=2)
    with pytest.raises(InputError, match="1 or more"):
        model_cost(conv(tmp_path / "m.onnx"), batch=0)
