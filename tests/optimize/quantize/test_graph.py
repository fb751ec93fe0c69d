"""The normal form of a graph, and files that have none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_models
import pytest
from onnx_models import node

from edgevid.errors import ModelError
from edgevid.optimize.fp16 import convert_fp16
from edgevid.optimize.quantize.apply import apply_plan
from edgevid.optimize.quantize.graph import Graph, normalize
from edgevid.optimize.quantize.plan import PLANNERS
from edgevid.optimize.quantize.quantizer import quantize
from edgevid.runtime.onnxruntime.engine import OrtEngine
from edgevid.runtime.recipe import LocalRecipe

onnx = onnx_models.onnx
RNG = np.random.default_rng(3)


@pytest.mark.parametrize("read", ["", "a", "k", "m"])
def test_hard_swish_is_found_in_every_spelling_unless_a_part_is_read(tmp_path: Path, read: str) -> None:
    path = tmp_path / "swish.onnx"
    onnx_models.save(
        path,
        [
            node("Conv", "x w", "c"),
            node("Add", "c three", "a"),
            node("Clip", "a zero six", "k"),
            node("Mul", "c k", "m"),
            node("Div", "m six", "y"),
        ],
        {"x": ("float32", (1, 3, 4, 4))},
        dict.fromkeys(("y", read) if read else ("y",), (1, 2, 4, 4)),
        w=RNG.normal(size=(2, 3, 1, 1)).astype(np.float32) * 3,
        three=np.float32(3),
        zero=np.float32(0),
        six=np.float32(6),
    )
    model = normalize(path)
    rewritten = [n.op_type for n in model.graph.node] == ["Conv", "HardSigmoid", "Mul"]
    assert rewritten == (not read)
    image = {"x": RNG.normal(size=(1, 3, 4, 4)).astype(np.float32)}
    with OrtEngine(path, device="cpu") as engine:
        expected = {name: values.copy() for name, values in engine.run(image).items()}
    target = tmp_path / "tidy.onnx"
    onnx.save(model, target)
    with OrtEngine(target, device="cpu") as engine:
        assert engine.run(image) == {name: pytest.approx(v, abs=1e-5) for name, v in expected.items()}


def test_a_quantized_model_is_not_quantized_again(net: LocalRecipe, video: Path, tmp_path: Path) -> None:
    report = quantize(net, video, max_frames=5, min_agreement=0.0, out=tmp_path / "q", save_ranges=tmp_path / "r.toml")
    with pytest.raises(ModelError, match="is quantized already"):
        normalize(report.files[0].path)


def test_another_file_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "bad.onnx"
    path.write_bytes(b"not a model")
    with pytest.raises(ModelError, match="expected an ONNX model"):
        normalize(path)


def branched(path: Path) -> Path:
    """y = conv(x) scaled by a branch that reads a weight and a tensor from around it."""
    info, kind = onnx.helper.make_tensor_value_info, onnx.TensorProto.FLOAT
    outputs = [info("b", kind, (1, 2, 4, 4))]
    double = onnx.helper.make_graph([node("Mul", "c two", "b")], "then", [], outputs)
    keep = onnx.helper.make_graph([node("Identity", "c", "b")], "else", [], outputs)
    onnx_models.save(
        path,
        [
            node("Conv", "x w", "c", name="conv"),
            node("ReduceSum", "x", "s", keepdims=0),
            node("Greater", "s zero", "large"),
            onnx.helper.make_node("If", ["large"], ["y"], then_branch=double, else_branch=keep),
        ],
        {"x": ("float32", (1, 3, 4, 4))},
        {"y": (1, 2, 4, 4)},
        w=RNG.normal(size=(2, 3, 1, 1)).astype(np.float32),
        two=np.float32(2),
        zero=np.float32(0),
    )
    return path


def test_branches_keep_the_weights_that_they_read(tmp_path: Path) -> None:
    path = branched(tmp_path / "branched.onnx")
    graph = Graph(normalize(path))
    plan = PLANNERS["int8-trt"](graph, {"x": (0.0, 1.0)})
    assert plan.layers == ("conv",)
    onnx.save(apply_plan(graph, plan), tmp_path / "int8.onnx")
    image = {"x": RNG.random((1, 3, 4, 4), np.float32)}
    with OrtEngine(path, device="cpu") as a, OrtEngine(tmp_path / "int8.onnx", device="cpu") as b:
        assert b.run(image)["y"] == pytest.approx(a.run(image)["y"], abs=0.1)
    with pytest.raises(ModelError, match=r"branched: has control flow \(If\).*FP32 or INT8"):
        convert_fp16(path, tmp_path / "half.onnx")


def test_a_model_without_weights_has_nothing_to_quantize(net: LocalRecipe, video: Path, tmp_path: Path) -> None:
    path = tmp_path / "plain.onnx"
    onnx_models.save(
        path, [node("ReduceMean", "x", "y", axes=[2, 3], keepdims=0)],
        {"x": ("float32", (1, 3, 8, 8))}, {"y": (1, 3)},
    )  # fmt: skip
    with pytest.raises(ModelError, match=r"plain.onnx: has no layers with constant weights"):
        quantize(net.with_local(path), video, max_frames=2, save_ranges=tmp_path / "r.toml")


def test_an_fp16_model_is_an_error(net: LocalRecipe, tmp_path: Path) -> None:
    half = convert_fp16(net.local, tmp_path / "half.onnx").path
    with pytest.raises(ModelError, match="is FP16 already; give the FP32 model"):
        normalize(half)
