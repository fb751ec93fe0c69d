"""One execution context: shapes, graphs, letterboxed frames, and what cannot be run."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from host_driver import RUNS, counts, living
from letterboxed import letterbox
from random_frames import rgb, yuv
from tensorrt_host import batch_of, plan, written

from edgevid.detect.preprocess import letterbox_rectangle
from edgevid.errors import InputError, ModelError
from edgevid.runtime import load_engine
from edgevid.runtime.engine import InputSpec
from edgevid.runtime.tensorrt.engine import TrtEngine

pytestmark = pytest.mark.device


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
        with pytest.raises(InputError, match=r"expected \(1, 3, 8, 8\) to \(4, 3, 8, 8\), got \(5, 3, 8, 8\)"):
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
    path = written(tmp_path / "net.engine", plan("add", batch=2))
    offset = np.array([0.5], np.float32)
    with TrtEngine(path) as recorded, TrtEngine(path, graphs=False) as stepwise:
        for seed in range(4):
            x = batch_of(2, seed)
            a = recorded.run({"images": x, "offset": offset})["y"]
            b = stepwise.run({"images": x, "offset": offset})["y"]
            assert np.array_equal(a, x + np.float32(0.5))
            assert np.array_equal(a, b)


def test_frames_are_letterboxed_into_the_engine(trt: Any, tmp_path: Path) -> None:
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

    monkeypatch.setattr(cuda_letterbox, "kernel_image", lambda: b"of another time\0")
    spec = InputSpec(8, 8)
    with TrtEngine(written(tmp_path / "net.engine", plan())) as engine:
        for frame in (rgb(31, 17), yuv(20, 40), rgb(31, 17)):
            given = engine.run_frames([frame], [letterbox_rectangle(frame.size, spec)], spec)["y"]
            assert given[0].tobytes() == letterbox(frame, spec)[0].tobytes()
    warned = [r.message for r in caplog.records if r.levelname == "WARNING"]
    assert len(warned) == 1
    assert "letterboxed by the CPU" in warned[0]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"something else", "cannot load it: Error Code 1: Serialization"),
        (plan("search", batch=1).replace(b'"y", "shape": [1', b'"y", "shape": [-1'), "depends on the image"),
        (plan("fail", batch=1), "could not start the run"),
        (plan(dtype="bfloat16"), "'y' has type DataType.BF16, which NumPy does not have"),
        (plan(location="HOST"), "is a shape tensor"),
    ],
)
def test_engines_that_cannot_be_run_name_the_cause(trt: Any, tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / "net.engine").write_bytes(data)

    def use() -> None:
        with load_engine(tmp_path / "net.engine") as engine:
            engine.run({"images": batch_of(1)})

    with pytest.raises(ModelError, match=message):
        use()


def test_many_runs_of_an_engine_leak_nothing(trt: Any, tmp_path: Path) -> None:
    """With and without CUDA graphs, with sizes that change."""

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
