"""Clip models and single-image classifiers through real ONNX files with known outputs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from recognizer_models import clip_model, clips_of, sure

from edgevid.actions import ClipRecognizer, ImageRecognizer, load_recognizer
from edgevid.actions.clip import fill_steps
from edgevid.actions.clip_buffer import ClipBuffer
from edgevid.errors import InputError, ModelError
from edgevid.runtime import load_engine, read_recipe
from edgevid.types import Array, Clips, Frame, Tracks

onnx = pytest.importorskip("onnx", reason="the test models are written with onnx")
from onnx import TensorProto as T  # noqa: E402
from onnx import helper as h  # noqa: E402


@pytest.mark.parametrize("layout", ["NTCHW", "NCTHW", "NTHWC"])
@pytest.mark.parametrize("batch", ["n", 2])
def test_clip_models_of_every_layout(tmp_path: Path, layout: str, batch: int | str) -> None:
    recognizer = load_recognizer(clip_model(tmp_path, layout, batch))
    found = recognizer.recognize(clips_of([[255] * 4, [0] * 4, [0, 0, 255, 255]], [1, 2, 3]))
    np.testing.assert_allclose(found.values, [sure(1), sure(0), sure(0.5)], atol=1e-5)
    assert found.times.tolist() == [0.375] * 3


def test_missing_steps_repeat_their_neighbor(tmp_path: Path) -> None:
    recognizer = load_recognizer(clip_model(tmp_path, "NTCHW"))
    found = recognizer.recognize(clips_of([[np.nan, np.nan, 255, 255]], [1]))
    np.testing.assert_allclose(found.values, [sure(1)], atol=1e-5)
    assert fill_steps(np.array([[True, False, False, True]])).tolist() == [[0, 0, 3, 3]]


def test_overlapping_windows_of_a_track_are_averaged(tmp_path: Path) -> None:
    recognizer = load_recognizer(clip_model(tmp_path, "NTCHW"))
    recognizer.recognize(clips_of([[255] * 4], [1]))
    found = recognizer.recognize(clips_of([[0] * 4], [1], start=0.25))  # half a window later
    expected = (0.5 * sure(1) + sure(0)) / 1.5
    np.testing.assert_allclose(found.values, [expected], atol=1e-5)
    far = recognizer.recognize(clips_of([[0] * 4], [1], start=5.0))
    np.testing.assert_allclose(far.values, [sure(0)], atol=1e-5)


def test_a_clip_of_another_length_is_rejected(tmp_path: Path) -> None:
    recognizer = load_recognizer(clip_model(tmp_path, "NTCHW"))
    with pytest.raises(InputError, match=r"clips of 4 steps, got 3"):
        recognizer.recognize(clips_of([[0] * 3], [1]))


def test_a_recipe_of_another_shape_is_rejected(tmp_path: Path) -> None:
    clip_model(tmp_path, "NTCHW")
    path = tmp_path / "recipe.toml"
    path.write_text(path.read_text().replace("steps = 4", "steps = 5"))
    with pytest.raises(ModelError, match="5, 3, 8, 8"):
        load_recognizer(tmp_path)


def test_clip_recognizer_without_clips(tmp_path: Path) -> None:
    recognizer = load_recognizer(clip_model(tmp_path, "NTCHW"))
    assert isinstance(recognizer, ClipRecognizer)
    assert recognizer.recognize(Clips.empty()).values.shape == (0, 2)


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


def brightness_model(folder: Path, batch: str | int = "n", activation: str = "softmax") -> tuple[object, object]:
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
    onnx.save(h.make_model(graph, opset_imports=[h.make_opsetid("", 13)], ir_version=8), folder / "model.onnx")
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
