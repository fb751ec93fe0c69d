"""OpenVINO as an engine: the same four members, the same numbers as ONNX Runtime, and what it rejects."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from onnx_models import constant_model, onnx

from edgevid.errors import InputError, MissingExtraError, ModelError, module_version
from edgevid.models.hub import resolve_model
from edgevid.runtime import load_engine
from edgevid.runtime.onnxruntime.engine import OrtEngine
from edgevid.runtime.openvino.engine import OvEngine

NEEDS = pytest.mark.skipif(not module_version("openvino"), reason="needs the package openvino")
IMAGES = {"images": np.zeros((1, 3, 32, 32), np.float32)}


@NEEDS
def test_names_types_and_shapes_are_those_of_the_file(tmp_path: Path) -> None:
    out = np.arange(12, dtype=np.float32).reshape(1, 3, 4)
    path = constant_model(tmp_path / "m.onnx", {"a": out, "b": out[0].astype(np.int64)})
    with load_engine(path, device="openvino", threads=1) as engine:
        assert isinstance(engine, OvEngine)
        assert (engine.device, engine.threads) == ("openvino", 1)
        with OrtEngine(path, device="cpu") as other:
            assert (engine.inputs, engine.outputs) == (other.inputs, other.outputs)
        found = engine.run(IMAGES)
        np.testing.assert_array_equal(found["a"], out)
        np.testing.assert_array_equal(found["b"], out[0])
        with pytest.raises(InputError, match=r"expected \['images'\], got \['x'\]"):
            engine.run({"x": IMAGES["images"]})
    with pytest.raises(ModelError, match="closed"):
        engine.run(IMAGES)


@NEEDS
def test_threads_and_sizes_do_not_meet(tmp_path: Path) -> None:
    info = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Mul", ["x", "x"], ["y"])], "g",
        [info("x", onnx.TensorProto.FLOAT, ["n", 2])], [info("y", onnx.TensorProto.FLOAT, ["n", 2])],
    )  # fmt: skip
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "m.onnx")

    def square(n: int) -> bool:
        given = np.full((n % 5 + 1, 2), n, np.float32)
        return bool((engine.run({"x": given})["y"] == given**2).all())

    with load_engine(tmp_path / "m.onnx", device="openvino", threads=1) as engine, ThreadPoolExecutor(4) as pool:
        assert engine.inputs[0].shape == (-1, 2)
        assert all(pool.map(square, range(60)))


@NEEDS
def test_it_agrees_with_onnx_runtime_on_the_shipped_detector() -> None:
    recipe = resolve_model("street-nano")
    with load_engine(recipe, device="openvino") as ours, load_engine(recipe, device="cpu") as theirs:
        spec = ours.inputs[0]
        given = {spec.name: np.random.default_rng(0).random([max(n, 1) for n in spec.shape]).astype(spec.dtype)}
        first, second = ours.run(given), theirs.run(given)
        assert first.keys() == second.keys()
        for name, values in first.items():
            np.testing.assert_allclose(values, second[name], rtol=1e-3, atol=1e-3)


@NEEDS
def test_what_cannot_be_run_is_a_model_error(tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_text("no model")
    with pytest.raises(ModelError, match=r"text\.onnx: OpenVINO cannot run it"):
        OvEngine(tmp_path / "text.onnx")
    with pytest.raises(ModelError, match="there is no such file"):
        OvEngine(tmp_path / "absent.onnx")
    path = constant_model(tmp_path / "m.onnx", {"a": np.zeros((1, 3), np.float32)})
    with pytest.raises(ModelError, match=r"'openvino:npu': OpenVINO finds CPU.* and no NPU"):
        load_engine(path, device="openvino:npu")
    with pytest.raises(InputError, match="threads: expected at least 1, got 0"):
        OvEngine(path, threads=0)


def test_without_the_package_the_error_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = constant_model(tmp_path / "m.onnx", {"a": np.zeros((1, 3), np.float32)})
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(MissingExtraError, match=r"edgevid\[openvino\]"):
        OvEngine(path)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert module_version("openvino") == ""
    with pytest.raises(MissingExtraError, match=r"edgevid\[openvino\]"):
        load_engine(path, device="openvino")
