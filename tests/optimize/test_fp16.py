"""FP16 graphs: float32 at both ends, FP32 where halves would overflow, valid for ONNX Runtime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_models
import pytest
from onnx_models import node

from edgevid.errors import ModelError
from edgevid.optimize.fp16 import convert_fp16, make_fp16, make_int8_fp16
from edgevid.optimize.quantize.quantizer import quantize
from edgevid.runtime.engine import InputSpec
from edgevid.runtime.onnxruntime.engine import OrtEngine
from edgevid.runtime.recipe import LocalRecipe
from edgevid.runtime.variants import find_variant, read_record
from edgevid.types import Frame

onnx = onnx_models.onnx
HALF, FULL = onnx.TensorProto.FLOAT16, onnx.TensorProto.FLOAT
WHITE = [Frame(np.full((4, 4, 3), 255, np.uint8), 0.0, 0)]


def net(folder: Path, factor: float = 2.0) -> LocalRecipe:
    """y = 2 * relu(conv(x)) / factor, conv with the weight `factor`: y is the sum of the channels, twice."""
    path = folder / "net.onnx"
    onnx_models.save(
        path,
        [
            node("Conv", "x w", "c", name="conv"),
            node("Relu", "c", "r", name="relu"),
            node("Div", "r factor", "d", name="shrink"),
            node("Mul", "d two", "m", name="double"),
            node("Conv", "m one", "y", name="last"),
        ],
        {"x": ("float32", (1, 3, 4, 4))},
        {"y": (1, 1, 4, 4)},
        w=np.full((1, 3, 1, 1), factor, np.float32),
        one=np.ones((1, 1, 1, 1), np.float32),
        factor=np.float32(factor),
        two=np.float32(2),
    )
    spec = InputSpec(4, 4, resize="stretch", std=(1.0, 1.0, 1.0))
    return LocalRecipe("net", "classify", path.name, folder, input=spec, names=tuple("abcdefghijklmnop"), local=path)


def types(model: object) -> dict[str, int]:
    """Element type of each tensor as ONNX infers it."""
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, check_type=True)
    return {v.name: v.type.tensor_type.elem_type for v in inferred.graph.value_info}


def test_inputs_and_outputs_stay_float32(tmp_path: Path) -> None:
    recipe = net(tmp_path)
    report = make_fp16(recipe, folder=tmp_path)
    model = onnx.load(report.path)
    assert [t.type.tensor_type.elem_type for t in (*model.graph.input, *model.graph.output)] == [FULL, FULL]
    assert [n.op_type for n in model.graph.node if n.op_type == "Cast"] == ["Cast", "Cast"]
    assert {types(model)[f"{n} half"] for n in "crdm"} == {HALF}
    assert report.fp16_nodes == 5
    assert not report.fp32_nodes
    assert "no frames given" in report.warnings[0]
    with OrtEngine(report.path, device="cpu") as engine:
        given = np.full((1, 3, 4, 4), 0.25, np.float32)
        assert engine.run({"x": given})["y"] == pytest.approx(np.full((1, 1, 4, 4), 1.5), abs=1e-3)


def test_what_overflows_on_real_frames_stays_fp32(tmp_path: Path) -> None:
    """3 * 255 * 100 = 76500 is more than a half holds: the operators that make or read it stay."""
    recipe = net(tmp_path, factor=100.0)
    assert recipe.local is not None
    report = convert_fp16(recipe.local, tmp_path / "half.onnx", WHITE, recipe=recipe)
    assert set(report.fp32_nodes) == {"conv", "relu", "shrink"}
    assert "reaches 76500" in report.fp32_nodes["relu"]
    seen = types(onnx.load(report.path))
    assert (seen["c"], seen["r"], seen["m half"]) == (FULL, FULL, HALF)
    with OrtEngine(report.path, device="cpu") as engine:
        white = np.full((1, 3, 4, 4), 255, np.float32)
        assert engine.run({"x": white})["y"] == pytest.approx(np.full((1, 1, 4, 4), 1530.0), rel=1e-3)


def test_weights_beyond_halves_keep_their_layer(tmp_path: Path) -> None:
    report = make_fp16(net(tmp_path, factor=1e5), folder=tmp_path)
    assert set(report.fp32_nodes) == {"conv", "shrink"}
    assert "FP16 ends at 65504" in report.fp32_nodes["conv"]


def test_positions_behind_the_last_layer_stay_fp32(tmp_path: Path) -> None:
    path = tmp_path / "grid.onnx"
    onnx_models.save(
        path,
        [node("Conv", "x w", "c"), node("Add", "c grid", "y", name="place")],
        {"x": ("float32", (1, 3, 4, 4))},
        {"y": (1, 1, 4, 4)},
        w=np.ones((1, 3, 1, 1), np.float32),
        grid=np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4) * 40,
    )
    report = convert_fp16(path, tmp_path / "half.onnx")
    assert set(report.fp32_nodes) == {"place"}
    assert "would round positions" in report.fp32_nodes["place"]
    with OrtEngine(report.path, device="cpu") as engine:
        assert engine.run({"x": np.zeros((1, 3, 4, 4), np.float32)})["y"].reshape(-1)[15] == 600.0


def test_the_record_makes_the_variant_findable(tmp_path: Path) -> None:
    recipe = net(tmp_path)
    report = make_fp16(recipe)
    assert find_variant(recipe, "fp16") == report.path == tmp_path / "build" / "net.fp16.onnx"
    assert read_record(report.path)["fp16_nodes"] == 5


def test_int8_with_halves_between(tmp_path: Path) -> None:
    recipe = net(tmp_path)
    with pytest.raises(ModelError, match="has no int8-trt file yet"):
        make_int8_fp16(recipe)
    images = tmp_path / "images"
    images.mkdir()
    from edgevid.video.writer import VideoWriter

    with VideoWriter(images / "v.mp4") as writer:
        for n in range(4):
            writer.write(np.full((16, 16, 3), 60 * n, np.uint8), n / 25)
    quantize(recipe, images / "v.mp4", max_frames=4, min_agreement=0.0, save_ranges=tmp_path / "r.toml")
    report = make_int8_fp16(recipe)
    model = onnx.load(report.path)
    assert model.opset_import[0].version == 19
    scales = [n.input[1] for n in model.graph.node if n.op_type == "DequantizeLinear"]
    stored = {t.name: t.data_type for t in model.graph.initializer}
    assert {stored[s] for s in scales} == {HALF}
    with OrtEngine(report.path, device="cpu") as engine:
        black = engine.run({"x": np.zeros((1, 3, 4, 4), np.float32)})["y"]
        assert black == pytest.approx(0.0, abs=0.5)  # of up to 1100; a step of int8 is 4.3
    assert find_variant(recipe, "int8-trt-fp16") == report.path


def test_another_file_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "bad.onnx"
    path.write_bytes(b"nothing")
    with pytest.raises(ModelError, match="expected an ONNX"):
        make_fp16(path)


def test_a_real_detector_finds_the_same_in_half(
    shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEVID_MODELS_MIRROR", str(shared_data))
    monkeypatch.setenv("EDGEVID_CACHE", str(tmp_path / "cache"))
    from edgevid.models.hub import resolve_model
    from edgevid.optimize.frames import select_frames
    from edgevid.optimize.quantize.evaluator import Evaluator

    recipe = resolve_model("street-nano")
    assert recipe.local is not None
    video = shared_data / "videos" / "pets09_s2l1_vtest.avi"
    frames = select_frames(video, max_frames=3, hold_out=False).calibration
    report = convert_fp16(recipe.local, tmp_path / "half.onnx", frames, recipe=recipe)
    assert report.fp16_nodes > 50
    found = Evaluator(recipe, frames, recipe.local).agreement(report.path)
    assert found.agreement >= 0.95
    assert found.details["boxes of the reference"] >= 3
