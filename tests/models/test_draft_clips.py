"""Drafts of clip models by the shapes of I3D, S3D, X3D and MoViNet; each loads and runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx_models import node, save
from recognizer_models import clips_of

from edgevid.actions import load_extractor, load_recognizer
from edgevid.models.draft import inspect, write_draft
from edgevid.runtime import read_recipe


def _model(path: Path, image: tuple[int | str, ...], output: tuple[int | str, ...]) -> Path:
    """Each output is the mean of the clip, and a first one of 5 more."""
    values = np.zeros((1, *output[1:]), np.float32)
    values[0, 0] = 5
    mean = [node("ReduceMean", "clip", "mean5", axes=[1, 2, 3, 4], keepdims=1)]
    if len(output) == 2:
        mean += [node("Flatten", "mean5", "mean")]
    nodes = [*mean, node("Add", "mean values" if len(output) == 2 else "mean5 values", "out")]
    save(path, nodes, {"clip": ("float32", image)}, {"out": output}, values=values)
    return path


@pytest.mark.parametrize(
    ("image", "output", "layout", "steps"),
    [
        (("n", 3, 16, 24, 24), ("n", 1024, 2, 1, 1), "NCTHW", 16),  # I3D before its classes
        ((1, 3, 13, 24, 24), (1, 2048), "NCTHW", 13),  # X3D
        ((1, 8, 3, 24, 24), (1, 512), "NTCHW", 8),  # R(2+1)D
        (("n", 8, 24, 24, 3), ("n", 2048), "NTHWC", 8),  # MoViNet-Base
    ],
)
def test_networks_of_clips_are_extractors(
    tmp_path: Path, image: tuple[int, ...], output: tuple[int, ...], layout: str, steps: int
) -> None:
    path = _model(tmp_path / "m.onnx", image, output)
    recipe = read_recipe(write_draft(inspect(path)))
    assert (recipe.task, recipe.tables["clip"]["layout"], recipe.tables["clip"]["steps"]) == ("features", layout, steps)
    extractor = load_extractor(path)
    assert (extractor.width, extractor.steps) == (output[1], steps)  # type: ignore[union-attr]
    rows = extractor.extract(np.full((2, steps, 24, 24, 3), 255, np.uint8), np.zeros((2, 4), np.float32))
    np.testing.assert_allclose(rows[:, :3], [[6, 1, 1]] * 2, atol=1e-5)


@pytest.mark.parametrize(
    ("image", "classes", "layout", "steps"),
    [
        ((1, 3, 16, 24, 24), 400, "NCTHW", 16),  # I3D, S3D
        (("n", 3, "t", "h", "w"), 400, "NCTHW", 16),
        ((1, 8, 24, 24, 3), 600, "NTHWC", 8),  # MoViNet-Base
    ],
)
def test_models_of_clips_are_recognizers(
    tmp_path: Path, image: tuple[int, ...], classes: int, layout: str, steps: int
) -> None:
    path = _model(tmp_path / "m.onnx", image, (image[0], classes))
    recipe = read_recipe(write_draft(inspect(path)))
    assert (recipe.task, recipe.tables["clip"]["layout"], len(recipe.names)) == ("clip", layout, classes)
    recognizer = load_recognizer(path)
    assert recognizer.spec.steps == steps
    height, width = recognizer.spec.height, recognizer.spec.width
    found = recognizer.recognize(clips_of([[255] * steps], [1], size=(height, width)))
    assert int(found.values[0].argmax()) == 0
    assert "the length of clips is open" in path.with_suffix(".toml").read_text() or "t" not in image


@pytest.mark.parametrize("image", [("n", 1, 24, 24, 3), ("n", 3, 1, 24, 24), ("n", "t", 3, 24, 24)])
@pytest.mark.parametrize("named", [True, False])
def test_states_make_a_streaming_recognizer(tmp_path: Path, image: tuple[int, ...], named: bool) -> None:
    """MoViNet-Stream: buffers and a counter of frames go in and come out again."""
    path, buffer, count = tmp_path / "m.onnx", "buffer_next" if named else "call_1", "count_next" if named else "call"
    nodes = [
        node("ReduceMean", "image", "m", axes=[1, 2, 3, 4], keepdims=0), node("Unsqueeze", "m at", "m2"),
        node("Add", "buffer m2", buffer), node("Add", "count one", count),
        node("Mul", f"{buffer} weights", "logits"),
    ]  # fmt: skip
    inputs = {"image": ("float32", image), "buffer": ("float32", ("n", 1)), "count": ("float32", ("n",))}
    save(
        path, nodes, inputs, {buffer: ("n", 1), "logits": ("n", 600), count: ("n",)},
        at=np.int64([1]), one=np.float32(1), weights=np.eye(1, 600, dtype=np.float32),
    )  # fmt: skip
    recipe = read_recipe(write_draft(inspect(path)))
    assert (recipe.task, len(recipe.names)) == ("stream", 600)
    assert recipe.tables["stream"] == {"states": ["buffer", "count"], "next": [buffer, count]}
    recognizer = load_recognizer(path)
    found = [recognizer.recognize(clips_of([[255]], [1], start=n / 8, size=(24, 24))).values[0, 0] for n in range(3)]
    np.testing.assert_allclose(found, [np.exp(n) / (np.exp(n) + 599) for n in (1, 2, 3)], atol=1e-6)
