"""TensorRT engines as files: headers, manifests, threads, and nothing left behind."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from host_driver import SUPPORT, counts
from random_frames import rgb, yuv
from tensorrt_host import batch_of, plan, written

from edgevid.errors import ModelError
from edgevid.runtime import load_engine
from edgevid.runtime.engine import InputSpec
from edgevid.runtime.tensorrt.engine import TrtEngine, split_header


@pytest.mark.parametrize(
    ("data", "header", "plan"),
    [
        (b"ftrt and so on", {}, b"ftrt and so on"),
        (b'\x0e\x00\x00\x00{"stride": 32}ftrt', {"stride": 32}, b"ftrt"),
        (b"\x02\x00\x00\x00{}ftrt", {}, b"ftrt"),
        (b"\x02\x00\x00\x00[]ftrt", {}, b"\x02\x00\x00\x00[]ftrt"),  # no object: no header
        (b"\x03\x00\x00\x00{a}ftrt", {}, b"\x03\x00\x00\x00{a}ftrt"),
        (b"\xff\x00\x00\x00{}ftrt", {}, b"\xff\x00\x00\x00{}ftrt"),  # longer than the file
        (b"", {}, b""),
    ],
)
def test_the_header_of_an_exporter_ends_where_the_engine_begins(
    data: bytes, header: dict[str, int], plan: bytes
) -> None:
    assert split_header(data) == (header, plan)


@pytest.mark.device
def test_the_stand_in_has_no_member_that_the_real_one_lacks(trt: Any) -> None:
    table = json.loads((SUPPORT / "tensorrt_names.json").read_text())["classes"]
    for name in ("Runtime", "ICudaEngine", "IExecutionContext", "TensorIOMode", "TensorLocation", "DataType"):
        everywhere = set(table[name]["1111"].split(" "))
        offered = {m for m in vars(getattr(trt, name)) if not m.startswith("_")}
        assert offered - {"name", "value"} <= everywhere, name


@pytest.mark.device
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


@pytest.mark.device
def test_an_engine_that_is_dropped_gives_everything_back(trt: Any, tmp_path: Path) -> None:
    engine = load_engine(written(tmp_path / "net.engine", plan()))
    engine.run({"images": batch_of(1)})
    del engine


@pytest.mark.device
def test_a_hundred_engines_leave_nothing(trt: Any, tmp_path: Path) -> None:
    path = written(tmp_path / "net.engine", plan())
    for _ in range(100):
        with load_engine(path) as engine:
            engine.run({"images": batch_of(2)})


@pytest.mark.device
def test_a_detector_hands_its_frames_to_the_engine(trt: Any, tmp_path: Path) -> None:
    """Each image holds one "a" in its middle, of a quarter of its side, says the engine."""
    from edgevid.detect.detector import Detector
    from edgevid.runtime.recipe import Decode, Recipe

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


@pytest.mark.device
def test_the_header_of_ultralytics_is_read_past(trt: Any, tmp_path: Path) -> None:
    header = json.dumps({"names": {"0": "person"}, "imgsz": [8, 8]}).encode()
    path = tmp_path / "yolo.engine"
    path.write_bytes(len(header).to_bytes(4, "little") + header + plan())
    with load_engine(path) as engine:
        assert engine.metadata == {"names": {"0": "person"}, "imgsz": [8, 8]}  # type: ignore[attr-defined]
        assert np.array_equal(engine.run({"images": batch_of(1)})["y"], batch_of(1))


@pytest.mark.device
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
