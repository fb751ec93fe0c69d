"""Parts of all recognizers: crops, batches of any size, probabilities."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from fake_engine import FakeEngine
from recognizer_models import clips_of

from edgevid.actions.recognizer import (
    first_output,
    image_input,
    input_named,
    newest_crops,
    no_scores,
    preprocess_crops,
    probabilities,
    run_batch,
    softmax,
)
from edgevid.errors import InputError, ModelError
from edgevid.runtime import Recipe, TensorSpec
from edgevid.runtime.engine import InputSpec
from edgevid.types import Array, Clips

NAMES = ("walk", "run")
HOW = Recipe("test", "classify", "test.onnx", Path("test"), names=NAMES)


def doubling(batch: int, sizes: list[int], *, axis: int = 0) -> FakeEngine:
    """y = 2 x of (batch, 2), or of (2, batch) with the batch on axis 1; notes the size of each run."""

    def answer(given: Mapping[str, Array]) -> dict[str, Array]:
        sizes.append(given["x"].shape[axis])
        return {"y": 2 * given["x"]}

    shape = (batch, 2) if axis == 0 else (2, batch)
    specs = [(TensorSpec(name, shape, np.dtype(np.float32)),) for name in "xy"]
    return FakeEngine(*specs, answer)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize(
    ("batch", "count", "runs"), [(-1, 5, [5]), (5, 5, [5]), (2, 5, [2, 2, 2]), (8, 3, [8]), (1, 2, [1, 1])]
)
def test_any_number_runs_on_any_batch(batch: int, count: int, runs: list[int], axis: int) -> None:
    """A fixed batch of 2 runs five rows as 2 + 2 + 1; the padding of the last run is not returned."""
    sizes: list[int] = []
    x = np.arange(2 * count, dtype=np.float32).reshape((count, 2) if axis == 0 else (2, count))
    found = run_batch(doubling(batch, sizes, axis=axis), {"x": x}, {"x": axis, "y": axis})
    assert sizes == runs
    np.testing.assert_array_equal(found["y"], 2 * x)


def test_the_outputs_are_the_callers() -> None:
    """Engines may reuse their arrays, recognizers keep theirs."""
    kept = np.zeros((1, 2), np.float32)
    spec = TensorSpec("y", (-1, 2), np.dtype(np.float32))
    found = run_batch(FakeEngine((spec,), (spec,), lambda _: {"y": kept}), {"y": kept})
    kept += 1
    assert found["y"].tolist() == [[0, 0]]


def test_softmax_by_hand() -> None:
    """Odds of 3 to 1 are ln 3 apart; large values do not overflow."""
    np.testing.assert_allclose(softmax(np.array([[np.log(3), 0]])), [[0.75, 0.25]])
    np.testing.assert_allclose(softmax(np.array([[1e4, 1e4], [0, -1e4]])), [[0.5, 0.5], [1, 0]])


def test_probabilities_are_flat_float32_rows() -> None:
    found = probabilities(np.array([[[np.log(3)], [0.0]]]), "softmax", NAMES, "m")
    assert (found.dtype, found.shape) == (np.float32, (1, 2))
    np.testing.assert_allclose(found, [[0.75, 0.25]], rtol=1e-6)
    np.testing.assert_allclose(probabilities(np.array([[0.4, 0.6]]), "none", NAMES, "m"), [[0.4, 0.6]])


@pytest.mark.parametrize(
    ("values", "activation", "words"),
    [
        ([[0.1, 0.2, 0.7]], "softmax", "m: expected 2 classes as in the recipe, the model has 3"),
        ([[2.0, -1.0]], "none", "expected probabilities for activation 'none'"),
        ([[0.4, 0.4]], "none", "use 'softmax'"),
        ([[np.nan, 1.0]], "softmax", "NaN or infinity"),
        ([[np.inf, 1.0]], "softmax", "NaN or infinity"),
    ],
)
@pytest.mark.filterwarnings("ignore:invalid value")
def test_outputs_that_are_no_probabilities(values: list[list[float]], activation: str, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        probabilities(np.array(values), activation, NAMES, "m")


def test_the_newest_crop_of_each_clip() -> None:
    """The second clip's last step is missing, the third has only its first."""
    clips = clips_of([[1, 2, 3], [4, 5, np.nan], [6, np.nan, np.nan]], [1, 2, 3])
    boxes = clips.boxes.copy()
    boxes[1, 1] = [1, 2, 3, 4]
    clips = Clips(clips.ids, clips.pixels, clips.times, boxes)
    pixels, times, boxes = newest_crops(clips)
    assert pixels[:, 0, 0, 0].tolist() == [3, 5, 6]
    assert times.tolist() == [0.25, 0.125, 0.0]
    assert boxes[1].tolist() == [1, 2, 3, 4]


def test_crops_become_inputs_as_the_recipe_states() -> None:
    """Gray 51 of 255 is 0.2; channels come first."""
    spec = InputSpec(4, 2, resize="stretch")
    found = preprocess_crops(np.full((3, 8, 8, 3), 51, np.uint8), spec)
    assert (found.shape, found.dtype) == ((3, 3, 2, 4), np.float32)
    np.testing.assert_allclose(found, 0.2, atol=1e-6)


def test_inputs_and_outputs_are_found_by_name_or_are_the_first() -> None:
    specs = tuple(TensorSpec(name, (1, 2), np.dtype(np.float32)) for name in ("a", "b"))
    engine = FakeEngine(specs, specs, lambda given: dict(given))
    assert (input_named(engine, "b", HOW).name, input_named(engine, "", HOW).name) == ("b", "a")
    assert first_output(engine, HOW) == "a"
    with pytest.raises(ModelError, match=r"test: expected an input 'c' as in the recipe, the model has a: "):
        input_named(engine, "c", HOW)
    named = Recipe("test", "classify", "test.onnx", Path("test"), outputs=("b",), names=NAMES)
    assert first_output(engine, named) == "b"
    other = Recipe("test", "classify", "test.onnx", Path("test"), outputs=("c",), names=NAMES)
    with pytest.raises(ModelError, match="the recipe names output 'c', the model has a, b"):
        first_output(engine, other)


def test_a_recipe_without_an_input_takes_no_images() -> None:
    with pytest.raises(InputError, match=r"test: expected a table \[input\]"):
        image_input(HOW)


def test_no_scores_have_a_column_per_class() -> None:
    assert no_scores(NAMES).values.shape == (0, 2)
