"""Single-image classifiers per object, through a real ONNX file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgevid.actions import ImageRecognizer
from edgevid.actions.clip_buffer import ClipBuffer
from edgevid.errors import ModelError
from edgevid.runtime import load_engine, read_recipe
from edgevid.types import Array, Clips, Frame, Tracks

onnx = pytest.importorskip("onnx", reason="the test models are written with onnx")
from onnx import TensorProto as T  # noqa: E402
from onnx import helper as h  # noqa: E402

RECIPE = """
[model]
name = "brightness"
task = "classify"
file = "model.onnx"
[input]
width = 16
height = 16
[clip]
steps = 1
rate_hz = 8
stride_s = 0
min_side = 4
activation = "{activation}"
[names]
classes = ["bright", "dark"]
"""


def brightness_model(
    folder: Path, batch: str | int = "n", activation: str = "softmax"
) -> tuple[object, object]:
    """Logits (10 m, 10 (1 - m)) of the mean m of the image, and its recipe."""
    nodes = [
        h.make_node("ReduceMean", ["x"], ["m"], axes=[1, 2, 3], keepdims=0),
        h.make_node("Unsqueeze", ["m", "one"], ["column"]),
        h.make_node("Sub", ["unit", "column"], ["rest"]),
        h.make_node("Concat", ["column", "rest"], ["both"], axis=1),
        h.make_node("Mul", ["both", "ten"], ["logits"]),
    ]
    constants = [
        h.make_tensor("one", T.INT64, [1], [1]),
        h.make_tensor("unit", T.FLOAT, [1], [1.0]),
        h.make_tensor("ten", T.FLOAT, [1], [10.0]),
    ]
    graph = h.make_graph(
        nodes, "brightness",
        [h.make_tensor_value_info("x", T.FLOAT, [batch, 3, 16, 16])],
        [h.make_tensor_value_info("logits", T.FLOAT, [batch, 2])],
        constants,
    )  # fmt: skip
    onnx.save(
        h.make_model(graph, opset_imports=[h.make_opsetid("", 13)], ir_version=8), folder / "model.onnx"
    )
    (folder / "recipe.toml").write_text(RECIPE.format(activation=activation))
    recipe = read_recipe(folder).with_local(folder / "model.onnx")
    return load_engine(recipe, device="cpu", threads=1), recipe


def clips(values: list[float], ids: list[int], time: float = 0.0) -> Clips:
    pixels = np.stack([np.full((1, 16, 16, 3), v, np.uint8) for v in values])
    n = len(ids)
    return Clips(np.array(ids), pixels, np.full((n, 1), time), np.zeros((n, 1, 4), np.float32))


def expected(value: float) -> Array:
    m = value / 255
    e = np.exp([10 * m, 10 * (1 - m)])
    return np.asarray(e / e.sum())


@pytest.mark.parametrize("batch", ["n", 1, 2, 4])
def test_one_batch_answers_every_object_whatever_the_engine_takes(tmp_path: Path, batch: str | int) -> None:
    recognizer = ImageRecognizer(*brightness_model(tmp_path, batch))  # type: ignore[arg-type]
    found = recognizer.recognize(clips([255, 0, 51], [7, 8, 9]))
    assert found.ids.tolist() == [7, 8, 9]
    np.testing.assert_allclose(found.values, [expected(v) for v in (255, 0, 51)], atol=1e-5)


def test_answers_are_averaged_over_the_track_and_fade(tmp_path: Path) -> None:
    recognizer = ImageRecognizer(*brightness_model(tmp_path), memory_s=2.0)  # type: ignore[arg-type]
    recognizer.recognize(clips([255], [1], 0.0))
    found = recognizer.recognize(clips([0, 0], [1, 2], 2.0))
    fade = np.exp(-1.0)
    mean = (expected(255) * fade + expected(0)) / (fade + 1)
    np.testing.assert_allclose(found.values, [mean, expected(0)], atol=1e-5)
    recognizer.reset()
    np.testing.assert_allclose(recognizer.recognize(clips([0], [1], 4.0)).values, [expected(0)], atol=1e-5)


def test_the_order_of_tracks_only_orders_the_answer(tmp_path: Path) -> None:
    recognizer = ImageRecognizer(*brightness_model(tmp_path), memory_s=0)  # type: ignore[arg-type]
    one = recognizer.recognize(clips([10, 200, 90], [1, 2, 3]))
    two = recognizer.recognize(clips([90, 10, 200], [3, 1, 2]))
    np.testing.assert_array_equal(one.values[[2, 0, 1]], two.values)


def test_logits_called_probabilities_are_rejected(tmp_path: Path) -> None:
    recognizer = ImageRecognizer(*brightness_model(tmp_path, activation="none"))  # type: ignore[arg-type]
    with pytest.raises(ModelError, match="softmax"):
        recognizer.recognize(clips([255], [1]))


def test_other_classes_are_rejected(tmp_path: Path) -> None:
    engine, _ = brightness_model(tmp_path)
    path = tmp_path / "recipe.toml"
    path.write_text(path.read_text().replace('"dark"]', '"dark", "gray"]'))
    recognizer = ImageRecognizer(engine, read_recipe(tmp_path))  # type: ignore[arg-type]
    with pytest.raises(ModelError, match="expected 3 classes as in the recipe, the model has 2"):
        recognizer.recognize(clips([255], [1]))


def test_from_frame_to_score(tmp_path: Path) -> None:
    recognizer = ImageRecognizer(*brightness_model(tmp_path))  # type: ignore[arg-type]
    buffer = ClipBuffer(recognizer.spec)
    image = np.zeros((64, 64, 3), np.uint8)
    image[:, 32:] = 255
    tracks = Tracks.of(
        ids=[1, 2], boxes=[[4, 20, 20, 36], [44, 20, 60, 36]], scores=[1, 1], labels=[0, 0], match=[0, 1],
        age=[0, 0], unseen=[0, 0],
    )  # fmt: skip
    found = recognizer.recognize(buffer.update(Frame(image, 0.0, 0), tracks))
    assert found.values.argmax(1).tolist() == [1, 0]
    assert found.times.tolist() == [0.0, 0.0]


def test_no_clips_no_scores(tmp_path: Path) -> None:
    recognizer = ImageRecognizer(*brightness_model(tmp_path))  # type: ignore[arg-type]
    found = recognizer.recognize(Clips.empty())
    assert found.values.shape == (0, 2)
