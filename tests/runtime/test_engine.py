"""What every engine states and checks: names, shapes and types of its tensors."""

from __future__ import annotations

import numpy as np
import pytest
from fake_engine import FakeEngine

from edgevid.errors import InputError
from edgevid.runtime.engine import AcceptsFrames, LoadedEngine, TensorSpec, check_inputs

IMAGE = TensorSpec("images", (-1, 3, 4, 4), np.dtype(np.float32))
SIZE = TensorSpec("size", (1, 2), np.dtype(np.int64))


def zeros(*shape: int, dtype: type = np.float32) -> np.ndarray:
    return np.zeros(shape, dtype)


@pytest.mark.parametrize(
    ("array", "accepted"),
    [
        (zeros(1, 3, 4, 4), True),
        (zeros(7, 3, 4, 4), True),  # the open axis
        (zeros(0, 3, 4, 4), True),
        (zeros(1, 3, 4, 5), False),
        (zeros(3, 4, 4), False),
        (zeros(1, 1, 3, 4, 4), False),
        (zeros(1, 3, 4, 4, dtype=np.float64), False),
        (zeros(1, 3, 4, 4).astype(">f4"), False),
    ],
)
def test_a_tensor_accepts_its_type_and_shape(array: np.ndarray, accepted: bool) -> None:
    assert IMAGE.accepts(array) is accepted


def test_a_scalar_has_no_axes() -> None:
    scalar = TensorSpec("threshold", (), np.dtype(np.float32))
    assert scalar.accepts(np.float32(0.5).reshape(()))
    assert not scalar.accepts(zeros(1))
    assert str(scalar) == "threshold: float32 ()"


def test_a_tensor_is_described_with_its_open_axes() -> None:
    assert str(IMAGE) == "images: float32 (any, 3, 4, 4)"


def test_inputs_are_exactly_the_named_ones() -> None:
    good = {"images": zeros(2, 3, 4, 4), "size": zeros(1, 2, dtype=np.int64)}
    check_inputs((IMAGE, SIZE), good)
    with pytest.raises(InputError, match=r"engine inputs: expected \['images', 'size'\], got \['images'\]"):
        check_inputs((IMAGE, SIZE), {"images": good["images"]})
    with pytest.raises(InputError, match=r"got \['images', 'more', 'size'\]"):
        check_inputs((IMAGE, SIZE), {**good, "more": zeros(1)})
    with pytest.raises(InputError, match=r"engine input size: int64 \(1, 2\): got float32 \(1, 2\)"):
        check_inputs((IMAGE, SIZE), {**good, "size": zeros(1, 2)})


def test_a_fake_engine_runs_its_function_on_checked_inputs() -> None:
    output = TensorSpec("y", (-1,), np.dtype(np.float32))
    with FakeEngine((IMAGE,), (output,), lambda given: {"y": given["images"].sum((1, 2, 3))}) as engine:
        assert engine.run({"images": np.ones((2, 3, 4, 4), np.float32)})["y"].tolist() == [48, 48]
        with pytest.raises(InputError, match="engine input images"):
            engine.run({"images": zeros(2, 3, 4, 5)})
        assert not engine.closed
    assert engine.closed


def test_only_an_engine_that_letterboxes_frames_accepts_them() -> None:
    class Letterboxing(FakeEngine):
        def run_frames(self, frames: object, rectangles: object, spec: object) -> dict[str, np.ndarray]:
            return {}

    assert not isinstance(FakeEngine((), (), dict), AcceptsFrames)
    assert isinstance(Letterboxing((), (), dict), AcceptsFrames)


def test_an_engine_must_run_and_close() -> None:
    class Half(LoadedEngine):
        def close(self) -> None:
            pass

    with pytest.raises(TypeError, match="run"):
        Half()  # type: ignore[abstract]
