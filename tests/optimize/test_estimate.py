"""`edgevid estimate`: counts worked by hand on made graphs, published counts of real ones, the roofline."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from onnx_models import onnx
from typer.testing import CliRunner

from edgevid import cli
from edgevid.errors import InputError, ModelError
from edgevid.optimize.cost import Cost, Layer, model_cost
from edgevid.optimize.estimate import BYTES, Device, device, devices, estimate, measure_this_cpu

FLOAT = 1


def saved(path: Path, nodes: list[object], shape: list[object], weights: dict[str, np.ndarray]) -> Path:
    helper = onnx.helper
    graph = helper.make_graph(
        nodes,
        "made",
        [helper.make_tensor_value_info("x", FLOAT, shape)],
        [helper.make_tensor_value_info("y", FLOAT, None)],
        [onnx.numpy_helper.from_array(w, name) for name, w in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 8
    onnx.save(model, str(path))
    return path


def conv(path: Path, batch: object = 1) -> Path:
    """3 -> 8 channels, 3x3, stride 1, padded, on 10x10, then Relu."""
    nodes = [
        onnx.helper.make_node("Conv", ["x", "w", "b"], ["c"], pads=[1, 1, 1, 1]),
        onnx.helper.make_node("Relu", ["c"], ["y"]),
    ]
    weights = {"w": np.ones((8, 3, 3, 3), np.float32), "b": np.ones(8, np.float32)}
    return saved(path, nodes, [batch, 3, 10, 10], weights)


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


COST = Cost(1, (Layer("c", "Conv", 4_000_000, 1000, 9000),), 5_000_000, 1000, 300, 700, 2000)
BOX = Device("box", "", {"fp32": 1.0, "int8": 5000.0}, gb_per_s=1.0, memory_gb=0.001)


def test_the_bound_is_the_greater_of_arithmetic_and_memory() -> None:
    slow = estimate(COST, BOX, "fp32")
    assert slow is not None
    assert (slow.bound_ms, slow.limit) == (5.0, "arithmetic")  # 5e6 operations at 1e9 a second
    assert slow.layers_ms == 5.0  # the layer's 4 ms are less than the whole's 5
    assert slow.memory_mb == pytest.approx((4 * (1000 + 2000) + 4 * 1000) / 1e6)
    quick = estimate(COST, BOX, "int8")
    assert quick is not None
    assert (quick.bound_ms, quick.limit) == (pytest.approx((1000 + 4 * 1000) / 1e6), "memory")
    assert quick.layers_ms == pytest.approx(10_000 / 1e6)  # 1000 weights and 9000 values, a byte each


def test_a_precision_without_hardware_has_no_row_and_little_memory_does_not_fit() -> None:
    assert estimate(COST, BOX, "fp16") is None
    big = Cost(1, (), 1, 10**6, 0, 0, 0)
    found = estimate(big, BOX, "fp32")
    assert found is not None
    assert not found.fits
    with pytest.raises(InputError, match="expected one of fp32, fp16, int8"):
        estimate(COST, BOX, "bf16")


def test_jetson_figures_follow_from_their_multiprocessors() -> None:
    for name, (count, ghz) in {"orin-nano": (8, 0.625), "orin-nx": (8, 0.918), "agx-orin": (16, 1.3)}.items():
        for precision, a_clock in {"fp32": 256, "fp16": 2048, "int8": 4096}.items():
            assert devices()[name].gflops[precision] == pytest.approx(count * ghz * a_clock, rel=1e-3)


def test_an_unknown_device_is_answered_with_the_nearest() -> None:
    with pytest.raises(InputError, match="did you mean 'orin-nano'"):
        device("orin-nono")


def test_this_machine_is_measured() -> None:
    here = measure_this_cpu(0.02)
    assert set(here.gflops) == {"fp32", "int8"}
    assert 0.1 < here.gflops["fp32"] < 1e4
    assert 0.1 < here.gb_per_s < 1e4


def test_the_command_prints_a_table_and_json(tmp_path: Path) -> None:
    path = conv(tmp_path / "m.onnx")
    done = CliRunner().invoke(cli.app(), ["estimate", str(path), "--device", "orin-nx"])
    assert done.exit_code == 0
    assert "orin-nx" in done.output
    assert "roofline" in done.output
    done = CliRunner().invoke(cli.app(), ["estimate", str(path), "--json", "-", "--precision", "fp16"])
    values = json.loads(done.output)
    assert values["operations"] == 2 * 8 * 100 * 27 + 800
    assert {row["device"] for row in values["estimates"]} == set(devices())
    assert all(row["precision"] in BYTES for row in values["estimates"])
