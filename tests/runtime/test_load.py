"""Which engine runs a model: TensorRT where one matches, else ONNX Runtime, and the log says why."""

from __future__ import annotations

import hashlib
import json
import logging
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx_models import constant_model
from tensorrt_host import batch_of, plan, written

from edgevid.errors import InputError, ModelError
from edgevid.files import sha256_of
from edgevid.runtime import device as cuda_driver
from edgevid.runtime import load as choose
from edgevid.runtime import load_engine
from edgevid.runtime.cuda.open import open_cuda
from edgevid.runtime.load import engine_paths
from edgevid.runtime.manifest import manifest_path
from edgevid.runtime.recipe import LocalRecipe, Recipe
from edgevid.runtime.variants import record_path, variant_path

OUT = np.arange(12, dtype=np.float32).reshape(1, 3, 4)


@pytest.fixture
def no_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda_driver, "gpus", lambda: ())
    monkeypatch.setattr(choose, "gpus", lambda: ())


@pytest.mark.usefixtures("no_device")
def test_without_a_driver_nothing_of_tensorrt_is_touched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some runtimes of TensorRT end the process there."""
    for package in ("tensorrt", "tensorrt_rtx"):
        monkeypatch.setitem(sys.modules, package, None)  # importing it would be another error
    (tmp_path / "net.engine").write_bytes(b"ftrt")
    with pytest.raises(ModelError, match=r"no NVIDIA driver was found.*device='cpu'"):
        load_engine(tmp_path / "net.engine")
    with pytest.raises(ModelError, match="no NVIDIA driver was found"):
        open_cuda("cuda:0")


def test_engine_files_that_cannot_be_taken(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="there is no such file"):
        load_engine(tmp_path / "gone.engine")
    (tmp_path / "net.plan").write_bytes(b"ftrt")
    with pytest.raises(InputError, match="runs on an NVIDIA device, not on device='cpu'"):
        load_engine(tmp_path / "net.plan", device="cpu")


def test_wrong_choices_are_named(tmp_path: Path) -> None:
    path = constant_model(tmp_path / "m.onnx", {"a": OUT})
    with pytest.raises(InputError, match="precision: expected one of fp32, fp16, int8, got"):
        load_engine(path, precision="fp64")
    with pytest.raises(InputError, match="device: expected 'auto'"):
        load_engine(path, device="gpu")
    with pytest.raises(InputError, match="threads: expected at least 1"):
        load_engine(path, threads=0)


def local(path: Path) -> LocalRecipe:
    return LocalRecipe("net", "classify", path.name, path.parent, local=path)


def test_engines_lie_in_build_next_to_the_model(tmp_path: Path) -> None:
    for model in (tmp_path / "net.onnx", str(tmp_path / "net.onnx"), local(tmp_path / "net.onnx")):
        assert engine_paths(model, "fp16") == [
            tmp_path / "build" / "net.fp16.engine",
            tmp_path / "build" / "net.fp16.rtx.engine",
        ]


def test_a_recipe_without_its_file_names_who_gets_it(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"net: its file is not here; resolve_model\('net'\)"):
        load_engine(Recipe("net", "classify", "net.onnx", tmp_path), device="cpu")


@pytest.fixture(params=[False, True], ids=["without CUDA", "next to CUDA"])
def _has_cuda(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgevid.runtime.onnxruntime.engine.has_cuda", lambda: request.param)


@pytest.mark.usefixtures("_has_cuda")
def test_on_the_cpu_int8_takes_the_variant_of_the_cpu(tmp_path: Path) -> None:
    path = constant_model(tmp_path / "net.onnx", {"a": OUT})
    with pytest.raises(ModelError, match="has no int8-cpu file yet"):
        load_engine(path, device="cpu", precision="int8")
    variant = variant_path(path, "int8-cpu")
    variant.parent.mkdir()
    constant_model(variant, {"a": OUT + 100})
    record_path(variant).write_text(json.dumps({"source_sha256": sha256_of(path), "sha256": sha256_of(variant)}))
    images = {"images": np.zeros((1, 3, 32, 32), np.float32)}
    for precision, added in (("int8", 100), ("fp32", 0)):
        with load_engine(local(path), device="cpu", precision=precision, threads=1) as engine:
            np.testing.assert_array_equal(engine.run(images)["a"], OUT + added)


@pytest.mark.usefixtures("no_device")
@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_with_cuda_the_fp16_variant_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: str) -> None:
    monkeypatch.setattr("edgevid.runtime.onnxruntime.engine.has_cuda", lambda: True)
    path = constant_model(tmp_path / "net.onnx", {"a": OUT})
    variant_path(path, "fp16").parent.mkdir()
    variant_path(path, "fp16").write_bytes(b"no model")
    with pytest.raises(ModelError, match=r"net\.fp16\."):
        load_engine(path, precision=precision)


@pytest.mark.usefixtures("_has_cuda")
def test_on_the_cpu_fp16_runs_in_fp32_and_the_log_says_why(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = constant_model(tmp_path / f"half-{tmp_path.name}.onnx", {"a": OUT})  # a line is logged once
    variant = variant_path(path, "fp16")  # of a GPU: not taken
    variant.parent.mkdir()
    variant.write_bytes(b"no model")
    with caplog.at_level(logging.INFO, "edgevid"), load_engine(path, device="cpu", precision="fp16") as engine:
        assert engine.run({"images": np.zeros((1, 3, 32, 32), np.float32)})["a"].shape == OUT.shape
    assert f"{path.name}: fp16 was requested, it runs in FP32: FP32 is as exact and faster" in caplog.text


@pytest.mark.usefixtures("no_device")
def test_without_a_device_auto_is_the_cpu(tmp_path: Path) -> None:
    path = constant_model(tmp_path / "net.onnx", {"a": OUT})
    with load_engine(path, threads=1) as engine:
        assert type(engine).__name__ == "OrtEngine"
        assert engine.device == "cpu"  # type: ignore[attr-defined]


@pytest.mark.parametrize("device", ["gpu", "cuda:x", "cuda:-1", ""])
def test_devices_that_are_none(device: str) -> None:
    with pytest.raises(InputError, match="device: expected"):
        load_engine("model.onnx", device=device)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper

    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("Identity", ["images"], ["y"])],
        "net",
        [value("images", TensorProto.FLOAT, ["n", 3, 8, 8])],
        [value("y", TensorProto.FLOAT, ["n", 3, 8, 8])],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(made, tmp_path / "net.onnx")
    (tmp_path / "build").mkdir()
    return tmp_path / "net.onnx"


def engine_for(model: Path, **changes: Any) -> Path:
    digest = hashlib.sha256(model.read_bytes()).hexdigest()
    return written(model.parent / "build" / "net.fp16.engine", plan(), **{"onnx_sha256": digest, **changes})


def kind(engine: Any) -> str:
    with engine:
        assert np.array_equal(engine.run({"images": batch_of(1)})["y"], batch_of(1))
        return type(engine).__name__


@pytest.mark.device
def test_the_matching_engine_is_taken(trt: Any, model: Path, caplog: pytest.LogCaptureFixture) -> None:
    engine_for(model)
    with caplog.at_level("INFO", logger="edgevid"):
        assert kind(load_engine(model, precision="fp16")) == "TrtEngine"
        assert kind(load_engine(model, precision="fp16", device="cuda:0")) == "TrtEngine"
    output = [r.message for r in caplog.records if "TensorRT 10.13.3.9" in r.message]
    assert len(output) == 1  # once
    assert output[0].startswith("net.fp16.engine runs on cuda:0 by TensorRT 10.13.3.9")
    assert kind(load_engine(model, precision="fp16", device="cpu")) == "OrtEngine"


@pytest.mark.device
@pytest.mark.parametrize("changes", [{"onnx_sha256": "0" * 64}, {"version": "10.3.0"}, {"gpu": "Orin"}])
def test_an_engine_that_does_not_match_is_replaced_and_the_cause_logged(
    trt: Any, model: Path, caplog: pytest.LogCaptureFixture, changes: dict[str, Any]
) -> None:
    engine_for(model, **changes)
    assert kind(load_engine(model, precision="fp16")) == "OrtEngine"
    warned = [r.message for r in caplog.records if r.levelname == "WARNING"]
    assert len(warned) == 1
    assert "Build it again with: edgevid build" in warned[0]


@pytest.mark.device
def test_without_an_engine_the_log_names_the_command(trt: Any, model: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", logger="edgevid"):
        assert kind(load_engine(model, precision="fp16")) == "OrtEngine"
    assert f"edgevid build {model} --precision fp16 --data VIDEO" in caplog.text


@pytest.mark.device
def test_an_engine_without_its_manifest_is_not_taken_for_the_model(
    trt: Any, model: Path, caplog: pytest.LogCaptureFixture
) -> None:
    manifest_path(engine_for(model)).unlink()
    assert kind(load_engine(model, precision="fp16")) == "OrtEngine"
    assert "its manifest net.fp16.engine.json is missing" in caplog.text


@pytest.mark.device
def test_it_is_rebuilt_on_request(trt: Any, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command is the one that the manifest names; the test does its work."""
    from edgevid.runtime import load as choose

    requested: list[list[str]] = []

    def rebuilt(arguments: list[str]) -> None:
        requested.append(arguments)
        engine_for(model)

    monkeypatch.setattr(choose, "_build", rebuilt)
    assert kind(load_engine(model, precision="fp16", rebuild=True)) == "TrtEngine"
    path = engine_for(model, version="10.3.0")
    assert kind(load_engine(path, rebuild=True)) == "TrtEngine"
    assert kind(load_engine(path, rebuild=True)) == "TrtEngine"  # it matches now: nothing is built
    common = ["build", str(model), "--precision", "fp16"]
    assert requested == [common, [*common, "--backend", "tensorrt", "--out", str(path)]]


@pytest.mark.device
def test_a_rebuild_that_fails_names_the_cause(trt: Any, model: Path) -> None:
    """In a process of its own, where there is no TensorRT at all."""
    path = engine_for(model, version="10.3.0")
    with pytest.raises(ModelError, match=r"could not be built.*edgevid"):
        load_engine(path, rebuild=True)
