"""Shared engines: loaded once, and what many threads request at one moment is one batch."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from fake_engine import FakeEngine

from edgevid.detect.detector import Detector
from edgevid.models.hub import resolve_model
from edgevid.run.engines import BatchedEngine, SharedEngines
from edgevid.runtime.engine import TensorSpec
from edgevid.runtime.load import load_engine
from edgevid.synthetic.render import RenderedStreet


class Device:
    """A stand-in device that charges for each call, whatever its batch, and doubles what it gets."""

    def __init__(self, batch: int, call_s: float = 0.004) -> None:
        self.calls: list[int] = []
        self.call_s = call_s
        spec = (TensorSpec("x", (batch, 2), np.dtype(np.float32)),)
        self.engine = FakeEngine(spec, (TensorSpec("y", (batch, 2), np.dtype(np.float32)),), self.run)
        self.out = np.zeros((64, 2), np.float32)

    def run(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        x = inputs["x"]
        self.calls.append(len(x))
        time.sleep(self.call_s)
        if (x < 0).any():
            raise ValueError("below zero")
        self.out[: len(x)] = 2 * x  # valid until the next call, as an engine's buffers are
        return {"y": self.out[: len(x)]}


def in_threads(count: int, work: Callable[[int], None]) -> None:
    threads = [threading.Thread(target=work, args=(n,)) for n in range(count)]
    for one in threads:
        one.start()
    for one in threads:
        one.join(20)
        assert not one.is_alive()


@pytest.mark.parametrize("batch", [-1, 8, 1])
def test_threads_share_the_calls_of_a_device_and_get_their_own_outputs(batch: int) -> None:
    device = Device(batch)
    engine = BatchedEngine(device.engine, lambda: 8, wait_s=0.2)
    wrong: list[Any] = []

    def camera(n: int) -> None:
        for k in range(6):
            x = np.full((1, 2), 10 * n + k, np.float32)
            y = engine.run({"x": x})["y"]
            time.sleep(0.001)  # others run meanwhile
            if not np.array_equal(y, 2 * x):
                wrong.append((n, k, y))

    in_threads(8, camera)
    assert not wrong
    if batch == 1:
        assert device.calls == [1] * 48
    else:
        assert len(device.calls) <= 8  # 6 where all eight come at once, each time
        assert sum(device.calls) >= 48


@pytest.mark.parametrize("batch", [-1, 1])
def test_no_thread_keeps_the_device_for_itself(batch: int) -> None:
    engine = BatchedEngine(Device(batch, call_s=0.001).engine, lambda: 4, wait_s=0.01)
    counts, end = [0] * 4, time.monotonic() + 20

    def camera(n: int) -> None:
        while sum(counts) < 600 and time.monotonic() < end:  # so many that the system's own turns even out
            engine.run({"x": np.ones((1, 2), np.float32)})
            counts[n] += 1

    in_threads(4, camera)
    assert min(counts) > 0.5 * max(counts)


def test_a_request_waits_for_no_more_than_the_stated_time() -> None:
    device = Device(-1)
    engine = BatchedEngine(device.engine, lambda: 8, wait_s=0.05)
    begun = time.monotonic()
    engine.run({"x": np.ones((1, 2), np.float32)})
    assert 0.05 <= time.monotonic() - begun < 2
    alone = BatchedEngine(device.engine, lambda: 1, wait_s=60)
    alone.run({"x": np.ones((1, 2), np.float32)})  # no other frame is in work: it does not wait at all


def test_more_rows_than_a_batch_run_in_parts() -> None:
    device = Device(4)
    engine = BatchedEngine(device.engine, lambda: 1)
    x = np.arange(22, dtype=np.float32).reshape(11, 2)
    assert np.array_equal(engine.run({"x": x})["y"], 2 * x)
    assert device.calls == [4, 4, 4]


def test_only_the_request_that_fails_gets_the_error() -> None:
    device = Device(-1)
    engine = BatchedEngine(device.engine, lambda: 4, wait_s=0.5)
    found: dict[int, Any] = {}

    def camera(n: int) -> None:
        try:
            found[n] = engine.run({"x": np.full((1, 2), n if n != 2 else -1, np.float32)})["y"][0, 0]
        except ValueError as error:
            found[n] = str(error)

    in_threads(4, camera)
    assert found == {0: 0.0, 1: 2.0, 2: "below zero", 3: 6.0}


def test_frames_that_an_engine_preprocesses_itself_are_joined() -> None:
    class Own(FakeEngine):
        def run_frames(self, frames: Any, rectangles: Any, spec: Any, *, name: str, extra_inputs: Any) -> Any:
            assert len(frames) == len(rectangles) == len(extra_inputs["size"])
            calls.append(len(frames))
            return {"y": np.array([[frame] for frame in frames], np.float32) + extra_inputs["size"]}

    calls: list[int] = []
    float_32 = np.dtype(np.float32)
    inputs = (TensorSpec("x", (-1, 2), float_32), TensorSpec("size", (-1, 1), float_32))
    engine = BatchedEngine(
        Own(inputs, (TensorSpec("y", (-1, 1), float_32),), lambda given: dict(given)), lambda: 4, wait_s=1.0
    )
    found: dict[int, float] = {}

    def camera(n: int) -> None:
        size = np.full((1, 1), 100, np.float32)
        given: Any = engine.run_frames([n], [(0, 0, 1, 1)], "spec", name="x", extra_inputs={"size": size})
        found[n] = float(given["y"][0, 0])

    in_threads(4, camera)
    assert found == {n: 100.0 + n for n in range(4)}
    assert calls == [4]


def test_batches_of_a_free_batch_model_equal_single_runs_to_the_bit() -> None:
    recipe = resolve_model("street-nano")
    frames = list(RenderedStreet(seconds=0.16))
    engine = BatchedEngine(load_engine(recipe, device="cpu", threads=1), lambda: 4, wait_s=1.0)
    assert engine.batch > 1
    found: dict[int, Any] = {}
    in_threads(4, lambda n: found.update({n: Detector(engine, recipe).detect([frames[n]])[0]}))
    alone = Detector.load("street-nano", device="cpu", threads=1)
    for n, frame in enumerate(frames):
        expected = alone.detect([frame])[0]
        assert len(expected) > 0
        assert found[n].boxes.tobytes() == expected.boxes.tobytes()
        assert found[n].scores.tobytes() == expected.scores.tobytes()


def test_a_model_is_loaded_once_and_freed_when_no_camera_has_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    from edgevid.run import engines as room

    loaded: list[Any] = []

    def load(model: Any, **options: Any) -> Any:
        loaded.append((model, options))
        time.sleep(0.02)
        return Device(-1).engine

    monkeypatch.setattr(room, "load_engine", load)
    shared, got = SharedEngines(lambda: 4), []
    in_threads(4, lambda _: got.append(shared.load(tmp_path / "a.onnx", device="cpu", threads=1)))
    assert len(loaded) == 1
    assert len({id(engine) for engine in got}) == 1
    assert shared.batch() == room.MOST
    assert shared.load(tmp_path / "a.onnx", device="cpu", threads=2) is not got[0]
    got.clear()
    assert len(shared._known) == 0
    assert shared.batch() == 1
