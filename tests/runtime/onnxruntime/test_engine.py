"""ONNX Runtime as an engine: what it runs, and what it rejects."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from onnx_models import constant_model, onnx

from edgevid.errors import InputError, ModelError
from edgevid.runtime import load_engine
from edgevid.runtime.onnxruntime.engine import OrtEngine

OUT = np.arange(12, dtype=np.float32).reshape(1, 3, 4)
IMAGES = {"images": np.zeros((1, 3, 32, 32), np.float32)}


def test_a_fixed_model_runs_into_the_same_arrays_each_time(tmp_path: Path) -> None:
    path = constant_model(tmp_path / "m.onnx", {"a": OUT, "b": OUT[0].astype(np.int64)})
    with load_engine(path, device="cpu", threads=1) as engine:
        assert [str(s) for s in engine.inputs] == ["images: float32 (1, 3, 32, 32)"]
        assert [str(s) for s in engine.outputs] == ["a: float32 (1, 3, 4)", "b: int64 (3, 4)"]
        first = engine.run(IMAGES)
        np.testing.assert_array_equal(first["a"], OUT)
        np.testing.assert_array_equal(first["b"], OUT[0])
        again = engine.run({"images": np.ones((1, 3, 32, 32), np.float32)})
        assert np.shares_memory(first["a"], again["a"])
    with pytest.raises(ModelError, match="closed"):
        engine.run(IMAGES)


def test_changed_inputs_are_read_in_place(tmp_path: Path) -> None:
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Add", ["x", "x"], ["y"])],
        "g",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [2])],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [2])],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 15)])
    model.ir_version = 8
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    engine = OrtEngine(tmp_path / "m.onnx", device="cpu")
    x = np.array([1, 2], np.float32)
    assert engine.run({"x": x})["y"].tolist() == [2, 4]
    x[:] = 5
    assert engine.run({"x": x})["y"].tolist() == [10, 10]
    assert engine.run({"x": np.arange(4, dtype=np.float32)[::2]})["y"].tolist() == [0, 4]


def test_threads_that_share_an_engine_keep_their_own_outputs(tmp_path: Path) -> None:
    model = constant_model(tmp_path / "m.onnx", {"y": OUT})
    with load_engine(model, device="cpu", threads=1) as engine, ThreadPoolExecutor(1) as other:
        mine = engine.run(IMAGES)
        theirs = other.submit(engine.run, IMAGES).result()
        assert not np.shares_memory(mine["y"], theirs["y"])
        np.testing.assert_array_equal(theirs["y"], OUT)
        assert np.shares_memory(mine["y"], engine.run(IMAGES)["y"])


def test_a_graph_runs_as_it_is_written_on_request(tmp_path: Path) -> None:
    """ONNX Runtime folds the factor behind a convolution into its weight, which rounds otherwise."""
    random = np.random.default_rng(4)
    x, w, s = (random.uniform(1, 2, n).astype(np.float32) for n in (64, 1, 1))
    weights = {"w": w.reshape(1, 1, 1, 1), "s": s.reshape(1, 1, 1, 1)}
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Conv", ["x", "w"], ["c"]), onnx.helper.make_node("Mul", ["c", "s"], ["y"])],
        "g",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 1, 8, 8])],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, 1, 8, 8])],
        [onnx.numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 15)])
    model.ir_version = 8
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    given = {"x": x.reshape(1, 1, 8, 8)}
    answers = {}
    for disable_optimizations in (True, False):
        with OrtEngine(tmp_path / "m.onnx", device="cpu", disable_optimizations=disable_optimizations) as engine:
            answers[disable_optimizations] = engine.run(given)["y"].ravel().copy()
    np.testing.assert_array_equal(answers[True], x * w * s)
    np.testing.assert_array_equal(answers[False], x * (w * s))
    assert (answers[True] != answers[False]).any()


def test_a_dynamic_batch_takes_any_size(tmp_path: Path) -> None:
    path = constant_model(tmp_path / "m.onnx", {"a": OUT}, image=("batch", 3, 32, 32))
    engine = OrtEngine(path, device="cpu")
    assert (engine.inputs[0].shape, engine.outputs[0].shape) == ((-1, 3, 32, 32), (-1, 3, 4))
    for batch in (1, 3):
        given = engine.run({"images": np.zeros((batch, 3, 32, 32), np.float32)})
        np.testing.assert_array_equal(given["a"], np.repeat(OUT, batch, axis=0))


def test_wrong_inputs_are_named(tmp_path: Path) -> None:
    engine = OrtEngine(constant_model(tmp_path / "m.onnx", {"a": OUT}), device="cpu")
    with pytest.raises(InputError, match=r"expected \['images'\], got \['image'\]"):
        engine.run({"image": IMAGES["images"]})
    with pytest.raises(InputError, match=r"got uint8 \(1, 3, 32, 32\)"):
        engine.run({"images": IMAGES["images"].astype(np.uint8)})
    with pytest.raises(InputError, match=r"got float32 \(1, 3, 16, 16\)"):
        engine.run({"images": IMAGES["images"][:, :, ::2, ::2]})


def test_files_that_are_no_models_are_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such file"):
        load_engine(tmp_path / "gone.onnx")
    (tmp_path / "text.onnx").write_text("this is no model")
    with pytest.raises(ModelError, match=r"text\.onnx: expected an ONNX model, this file is not one, or is damaged"):
        load_engine(tmp_path / "text.onnx")
    whole = constant_model(tmp_path / "m.onnx", {"a": OUT}).read_bytes()
    (tmp_path / "cut.onnx").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelError, match="is not one, or is damaged"):
        load_engine(tmp_path / "cut.onnx")
    (tmp_path / "empty.onnx").write_bytes(b"")
    with pytest.raises(ModelError, match="empty"):
        load_engine(tmp_path / "empty.onnx")


def test_without_cuda_it_names_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: ["CPUExecutionProvider"])
    path = constant_model(tmp_path / "m.onnx", {"a": OUT})
    with pytest.raises(ModelError, match="onnxruntime-gpu"):
        load_engine(path, device="cuda:0")
    assert OrtEngine(path, device="auto").device == "cpu"


def test_the_device_is_logged_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = constant_model(tmp_path / "logged-once.onnx", {"a": OUT})
    with caplog.at_level(logging.INFO, "edgevid"):
        for _ in range(2):
            OrtEngine(path, device="cpu").close()
    assert [r.message for r in caplog.records if "logged-once.onnx runs on cpu" in r.message] != []
    assert len([r for r in caplog.records if "logged-once.onnx" in r.message]) == 1


class _NoCuda:
    """onnxruntime.InferenceSession of a machine whose CUDA provider is listed but does not start."""

    made = staticmethod(onnxruntime.InferenceSession)

    def __new__(cls, source: object, options: object, providers: list[object]) -> object:
        return cls.made(source, options, providers=["CPUExecutionProvider"])


def test_cuda_that_does_not_start_falls_back_and_warns_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    have = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: have)
    monkeypatch.setattr("onnxruntime.InferenceSession", _NoCuda)
    path = constant_model(tmp_path / "falls-back.onnx", {"a": OUT})
    for _ in range(2):
        with OrtEngine(path, device="auto") as engine:
            assert engine.device == "cpu"
            np.testing.assert_array_equal(engine.run(IMAGES)["a"], OUT)
    assert caplog.text.count("CUDA did not start") == 1
    with pytest.raises(ModelError, match=r"device 'cuda:0': CUDA did not start .*take device='cpu'"):
        OrtEngine(path, device="cuda:0")


def test_threads_are_counted_unless_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgevid.runtime.onnxruntime.engine.default_threads", lambda: 3)
    path = constant_model(tmp_path / "m.onnx", {"a": OUT})
    assert OrtEngine(path, device="cpu").threads == 3
    assert OrtEngine(path, device="cpu", threads=1).threads == 1
