"""TrtEngine and load_engine on the host driver, with a stand-in for TensorRT's runtime (tensorrt_host.py).

test_cuda.py runs this file; test_gpu.py has real engines on a real device.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cuda_checks import ON_HOST, RUNS, counts, living, nothing_is_left, rgb, yuv  # noqa: F401
from tensorrt_host import batch_of, plan, written

from edgevid.detect.preprocess import letterbox, letterbox_rectangle
from edgevid.errors import InputError, ModelError
from edgevid.runtime import load_engine
from edgevid.runtime.manifest import manifest_path
from edgevid.types import InputSpec

if not ON_HOST:
    pytest.skip("needs the host driver: test_cuda.py sets it up", allow_module_level=True)


@pytest.fixture
def trt(monkeypatch: pytest.MonkeyPatch) -> Any:
    import tensorrt_host

    made = tensorrt_host.module()
    monkeypatch.setitem(sys.modules, "tensorrt", made)
    return made


def test_the_stand_in_has_no_member_that_the_real_one_lacks(trt: Any) -> None:
    table = json.loads(Path(__file__).with_name("tensorrt_names.json").read_text())["classes"]
    for name in ("Runtime", "ICudaEngine", "IExecutionContext", "TensorIOMode", "TensorLocation", "DataType"):
        everywhere = set(table[name]["1111"].split(" "))
        offered = {m for m in vars(getattr(trt, name)) if not m.startswith("_")}
        assert offered - {"name", "value"} <= everywhere, name


def test_an_engine_of_dynamic_batch_runs_each_size(trt: Any, tmp_path: Path) -> None:
    with load_engine(written(tmp_path / "net.engine", plan())) as engine:
        assert [str(s) for s in (*engine.inputs, *engine.outputs)] == [
            "images: float32 (any, 3, 8, 8)",
            "y: float32 (any, 3, 8, 8)",
        ]
        for seed, count in enumerate((1, 4, 2, 1, 1, 4, 2, 1)):
            x = batch_of(count, seed)
            y = engine.run({"images": x})["y"]
            assert y.shape == x.shape
            assert np.array_equal(y, x)
        assert counts()["replays"] > 0
        with pytest.raises(
            InputError, match=r"expected \(1, 3, 8, 8\) to \(4, 3, 8, 8\), got \(5, 3, 8, 8\)"
        ):
            engine.run({"images": batch_of(5)})
        with pytest.raises(InputError, match="engine input images"):
            engine.run({"images": batch_of(1).astype(np.float64)})
        with pytest.raises(InputError, match="engine inputs: expected"):
            engine.run({"image": batch_of(1)})
        assert np.array_equal(engine.run({"images": batch_of(3)})["y"], batch_of(3))  # unharmed
    with pytest.raises(ModelError, match="closed; load it again"):
        engine.run({"images": batch_of(1)})
    engine.close()


def test_runs_are_the_same_recorded_and_step_by_step(trt: Any, tmp_path: Path) -> None:
    from edgevid.runtime.tensorrt.engine import TrtEngine

    path = written(tmp_path / "net.engine", plan("add", batch=2))
    offset = np.array([0.5], np.float32)
    with TrtEngine(path) as recorded, TrtEngine(path, graphs=False) as stepwise:
        for seed in range(4):
            x = batch_of(2, seed)
            a = recorded.run({"images": x, "offset": offset})["y"]
            b = stepwise.run({"images": x, "offset": offset})["y"]
            assert np.array_equal(a, x + np.float32(0.5))
            assert np.array_equal(a, b)


def test_threads_may_share_an_engine(trt: Any, tmp_path: Path) -> None:
    wrong: list[BaseException] = []
    with load_engine(written(tmp_path / "net.engine", plan())) as engine:
        lock = threading.Lock()

        def use(seed: int) -> None:
            try:
                for i in range(20):
                    x = batch_of(1 + (seed + i) % 4, seed)
                    with lock:  # what run returns is valid until the next run
                        assert np.array_equal(engine.run({"images": x})["y"], x)
            except BaseException as error:
                wrong.append(error)

        threads = [threading.Thread(target=use, args=(i,)) for i in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrong == []


def test_an_engine_that_is_dropped_gives_everything_back(trt: Any, tmp_path: Path) -> None:
    engine = load_engine(written(tmp_path / "net.engine", plan()))
    engine.run({"images": batch_of(1)})
    del engine


def test_a_hundred_engines_leave_nothing(trt: Any, tmp_path: Path) -> None:
    path = written(tmp_path / "net.engine", plan())
    for _ in range(100):
        with load_engine(path) as engine:
            engine.run({"images": batch_of(2)})


def test_frames_are_letterboxed_into_the_engine(trt: Any, tmp_path: Path) -> None:
    from edgevid.runtime.tensorrt.engine import TrtEngine

    spec = InputSpec(8, 8, color="BGR")
    with TrtEngine(written(tmp_path / "net.engine", plan())) as engine:
        for _ in range(3):
            for frames in ([rgb(31, 17), yuv(20, 40)], [yuv(31, 17)]):
                rectangles = [letterbox_rectangle(frame.size, spec) for frame in frames]
                given = engine.run_frames(frames, rectangles, spec)["y"]
                assert len(given) == len(frames)
                for row, frame in enumerate(frames):
                    assert given[row].tobytes() == letterbox(frame, spec)[0].tobytes()
            x = batch_of(2)
            assert np.array_equal(engine.run({"images": x})["y"], x)  # both ways in turn
        with pytest.raises(InputError, match="does not fit images"):
            engine.run_frames([rgb(8, 8)], [(0, 0, 8, 8)], InputSpec(9, 9))
        with pytest.raises(InputError, match="one rectangle for each"):
            engine.run_frames([rgb(8, 8)], [], spec)
    with TrtEngine(written(tmp_path / "two.engine", plan("add", batch=2))) as engine:
        with pytest.raises(InputError, match="engine inputs: expected"):
            engine.run_frames([rgb(8, 8)], [(0, 0, 8, 8)], spec)
        offset = np.zeros(1, np.float32)
        given = engine.run_frames([rgb(8, 8)], [(0, 0, 8, 8)], spec, extra_inputs={"offset": offset})["y"]
        assert given[0].tobytes() == letterbox(rgb(8, 8), spec)[0].tobytes()


def test_where_the_kernels_do_not_load_the_cpu_takes_their_place(
    trt: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from edgevid.runtime.cuda import letterbox as cuda_letterbox
    from edgevid.runtime.tensorrt.engine import TrtEngine

    monkeypatch.setattr(cuda_letterbox, "kernel_image", lambda: b"of another time\0")
    spec = InputSpec(8, 8)
    with TrtEngine(written(tmp_path / "net.engine", plan())) as engine:
        for frame in (rgb(31, 17), yuv(20, 40), rgb(31, 17)):
            given = engine.run_frames([frame], [letterbox_rectangle(frame.size, spec)], spec)["y"]
            assert given[0].tobytes() == letterbox(frame, spec)[0].tobytes()
    warned = [r.message for r in caplog.records if r.levelname == "WARNING"]
    assert len(warned) == 1
    assert "letterboxed by the CPU" in warned[0]


def test_a_detector_hands_its_frames_to_the_engine(trt: Any, tmp_path: Path) -> None:
    """Each image holds one "a" in its middle, of a quarter of its side, says the engine."""
    from edgevid.detect.detector import Detector
    from edgevid.runtime.recipe import Decode, Recipe
    from edgevid.runtime.tensorrt.engine import TrtEngine

    image = {"name": "x", "shape": [1, 8, 8, 3]}
    answer = [[4.0], [4.0], [2.0], [2.0], [0.9], [0.1]]  # center, size, two classes
    reported = {"does": answer, "inputs": [image], "outputs": [{"name": "y", "shape": [1, 6, 1]}]}
    path = written(tmp_path / "net.engine", b"ftrt" + json.dumps(reported).encode())
    spec = InputSpec(8, 8, layout="NHWC", std=(1.0, 1.0, 1.0))
    decode = Decode("yolo", layout="columns", nms_iou=0.5)
    recipe = Recipe("net", "detect", "net.onnx", tmp_path, input=spec, decode=decode, names=("a", "b"))
    before = counts()["launches"]
    with TrtEngine(path) as engine:
        found = Detector(engine, recipe).detect([rgb(8, 8), yuv(16, 16)])
    assert counts()["launches"] == before + 2  # one letterbox an image, the batch being one
    assert found[0].boxes.tolist() == [[3.0, 3.0, 5.0, 5.0]]
    assert found[1].boxes.tolist() == [[6.0, 6.0, 10.0, 10.0]]
    assert found[1].labels.tolist() == [0]


def test_the_header_of_ultralytics_is_read_past(trt: Any, tmp_path: Path) -> None:
    header = json.dumps({"names": {"0": "person"}, "imgsz": [8, 8]}).encode()
    path = tmp_path / "yolo.engine"
    path.write_bytes(len(header).to_bytes(4, "little") + header + plan())
    with load_engine(path) as engine:
        assert engine.metadata == {"names": {"0": "person"}, "imgsz": [8, 8]}  # type: ignore[attr-defined]
        assert np.array_equal(engine.run({"images": batch_of(1)})["y"], batch_of(1))


@pytest.mark.parametrize(
    ("changes", "reported"),
    [
        ({"gpu": "Orin"}, "built for Orin .*this is Host stand-in.*edgevid build net --precision fp16"),
        ({"version": "10.3.0"}, "built by TensorRT 10.3.0, here is 10.13.3.9.*edgevid build net"),
        ({"engine_sha256": "0" * 64}, "damaged or replaced.*edgevid build net"),
        ({"engine_bytes": 7}, "expected 7 bytes"),
    ],
)
def test_what_does_not_match_is_rejected_before_tensorrt_gets_it(
    trt: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], reported: str
) -> None:
    path = written(tmp_path / "net.engine", plan(), **changes)
    monkeypatch.setattr(trt, "Runtime", None)
    with pytest.raises(ModelError, match=reported):
        load_engine(path)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"something else", "cannot load it: Error Code 1: Serialization"),
        (
            plan("search", batch=1).replace(b'"y", "shape": [1', b'"y", "shape": [-1'),
            "depends on the image",
        ),
        (plan("fail", batch=1), "could not start the run"),
        (plan(dtype="bfloat16"), "'y' has type DataType.BF16, which NumPy does not have"),
        (plan(location="HOST"), "is a shape tensor"),
    ],
)
def test_engines_that_cannot_be_run_name_the_cause(
    trt: Any, tmp_path: Path, data: bytes, message: str
) -> None:
    (tmp_path / "net.engine").write_bytes(data)

    def use() -> None:
        with load_engine(tmp_path / "net.engine") as engine:
            engine.run({"images": batch_of(1)})

    with pytest.raises(ModelError, match=message):
        use()


def test_rtx_caches_its_compiled_kernels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import tensorrt_host

    monkeypatch.setitem(sys.modules, "tensorrt_rtx", tensorrt_host.module("tensorrt_rtx"))
    monkeypatch.setattr(tensorrt_host.RtxEngine, "finished", 0)
    path = written(tmp_path / "net.rtx.engine", plan(), backend="tensorrt-rtx", version="1.7.1.116", gpu="")
    kept = tmp_path / "net.rtx.engine.cache"
    for finished in (1, 1):  # the second time they are there
        with load_engine(path) as engine:
            assert np.array_equal(engine.run({"images": batch_of(1)})["y"], batch_of(1))
        assert tensorrt_host.RtxEngine.finished == finished
        assert kept.read_bytes() == b"kernels of 8.7"
    kept.write_bytes(b"of another card")
    with load_engine(path):
        pass
    assert tensorrt_host.RtxEngine.finished == 2
    assert kept.read_bytes() == b"kernels of 8.7"
    assert sorted(p.name for p in tmp_path.iterdir()) == [path.name, kept.name, path.name + ".json"]


def test_many_runs_of_an_engine_leak_nothing(trt: Any, tmp_path: Path) -> None:
    """With and without CUDA graphs, with sizes that change."""
    from edgevid.runtime.tensorrt.engine import TrtEngine

    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    path = written(tmp_path / "net.engine", plan())
    batches = [batch_of(n) for n in (1, 2, 4, 1)]
    with TrtEngine(path) as recorded, TrtEngine(path, graphs=False) as stepwise:
        for engine in (recorded, stepwise):
            for i in range(40):
                engine.run({"images": batches[i % 4]})
        before, size = living(), resident()
        for i in range(RUNS // 2):
            recorded.run({"images": batches[i % 4]})
        assert living() == before
        for i in range(min(RUNS // 2, 2000)):  # the stand-in keeps a note of each run, the engine nothing
            stepwise.run({"images": batches[i % 4]})
        assert living() == before
        assert resident() - size < 16 << 20


# Which engine load_engine takes.


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


def test_the_matching_engine_is_taken(trt: Any, model: Path, caplog: pytest.LogCaptureFixture) -> None:
    engine_for(model)
    with caplog.at_level("INFO", logger="edgevid"):
        assert kind(load_engine(model, precision="fp16")) == "TrtEngine"
        assert kind(load_engine(model, precision="fp16", device="cuda:0")) == "TrtEngine"
    output = [r.message for r in caplog.records if "TensorRT 10.13.3.9" in r.message]
    assert len(output) == 1  # once
    assert output[0].startswith("net.fp16.engine runs on cuda:0 by TensorRT 10.13.3.9")
    assert kind(load_engine(model, precision="fp16", device="cpu")) == "OrtEngine"


@pytest.mark.parametrize("changes", [{"onnx_sha256": "0" * 64}, {"version": "10.3.0"}, {"gpu": "Orin"}])
def test_an_engine_that_does_not_match_is_replaced_and_the_cause_logged(
    trt: Any, model: Path, caplog: pytest.LogCaptureFixture, changes: dict[str, Any]
) -> None:
    engine_for(model, **changes)
    assert kind(load_engine(model, precision="fp16")) == "OrtEngine"
    warned = [r.message for r in caplog.records if r.levelname == "WARNING"]
    assert len(warned) == 1
    assert "Build it again with: edgevid build" in warned[0]


def test_without_an_engine_the_log_names_the_command(
    trt: Any, model: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", logger="edgevid"):
        assert kind(load_engine(model, precision="fp16")) == "OrtEngine"
    assert f"edgevid build {model} --precision fp16 --data VIDEO" in caplog.text


def test_an_engine_without_its_manifest_is_not_taken_for_the_model(
    trt: Any, model: Path, caplog: pytest.LogCaptureFixture
) -> None:
    manifest_path(engine_for(model)).unlink()
    assert kind(load_engine(model, precision="fp16")) == "OrtEngine"
    assert "its manifest net.fp16.engine.json is missing" in caplog.text


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


def test_a_rebuild_that_fails_names_the_cause(trt: Any, model: Path) -> None:
    """In a process of its own, where there is no TensorRT at all."""
    path = engine_for(model, version="10.3.0")
    with pytest.raises(ModelError, match=r"could not be built.*edgevid"):
        load_engine(path, rebuild=True)
