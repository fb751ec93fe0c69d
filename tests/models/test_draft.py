"""Drafts of models that give no boxes: what is read of the file, and what is to be filled in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx_models import constant_model, node, save, ultralytics_metadata

from edgevid.actions.load import load_extractor, load_recognizer
from edgevid.models.draft import inspect, write_draft
from edgevid.runtime.recipe import COCO_CATEGORIES, read_recipe

IMAGE = (1, 3, 32, 32)


def draft(folder: Path, output: np.ndarray, metadata: dict[str, str] | None = None) -> Path:
    return constant_model(folder / "m.onnx", {"o": output}, image=IMAGE, metadata=metadata)


@pytest.mark.parametrize(("values", "activation"), [([0.2, 0.5, 0.3], "none"), ([-1.0, 4.0, 9.0], "softmax")])
def test_a_classifier(tmp_path: Path, values: list[float], activation: str) -> None:
    path = draft(tmp_path, np.float32([values]))
    report = inspect(path)
    recipe = read_recipe(write_draft(report))
    assert (recipe.task, recipe.names) == ("classify", ("class 0", "class 1", "class 2"))
    assert recipe.tables["clip"]["activation"] == activation
    assert "write yours under [names]" in path.with_suffix(".toml").read_text()
    assert load_recognizer(path).names == recipe.names


def test_seven_classes_are_no_rows_of_boxes(tmp_path: Path) -> None:
    for values in (np.zeros(7), np.full(7, 1 / 7), np.arange(7) / 3):
        recipe = inspect(draft(tmp_path, values[None].astype(np.float32))).recipe
        assert recipe is not None
        assert (recipe.task, len(recipe.names)) == ("classify", 7)


def test_a_classifier_of_ultralytics_names_its_classes(tmp_path: Path) -> None:
    metadata = ultralytics_metadata(["cat", "dog"], "classify")
    path = draft(tmp_path, np.float32([[0.1, 0.9]]), metadata)
    assert load_recognizer(path).names == ("cat", "dog")


@pytest.mark.parametrize(
    ("channels", "kind", "said"),
    [(3, 1, "RGB divided by 255"), (1, 1, "GRAY divided by 255"), (3, 6, "RGB from 0 to 255")],
)
def test_the_note_on_the_input_is_what_the_draft_holds(tmp_path: Path, channels: int, kind: int, said: str) -> None:
    values, shape = {"o": np.float32([[0.2, 0.3, 0.5]])}, (1, channels, 8, 8)
    report = inspect(constant_model(tmp_path / "m.onnx", values, image=shape, image_type=kind))
    assert f"[input]: color, mean and std are unknown; {said} is assumed" in report.notes


def test_boxes_of_ssd_are_no_features(tmp_path: Path) -> None:
    """Caffe's detection_out."""
    assert inspect(draft(tmp_path, np.zeros((1, 1, 100, 7), np.float32))).recipe is None


@pytest.mark.parametrize("shape", [(1, 512), (1, 64, 4, 4)])
def test_features(tmp_path: Path, shape: tuple[int, ...]) -> None:
    path = draft(tmp_path, np.zeros(shape, np.float32))
    recipe = read_recipe(write_draft(inspect(path)))
    assert (recipe.task, recipe.tables["features"]["output"]) == ("features", "o")
    assert load_extractor(path).raw_width == shape[1]


def test_one_pose(tmp_path: Path) -> None:
    path = draft(tmp_path, np.zeros((1, 1, 17, 3), np.float32))
    recipe = read_recipe(write_draft(inspect(path)))
    assert (recipe.task, recipe.tables["pose"]["order"]) == ("pose", "yxs")
    assert "whether a key point is y, x, score" in path.with_suffix(".toml").read_text()
    assert load_extractor(path).raw_width == (2 + 1) * 15


@pytest.mark.parametrize(("image", "layout"), [((1, 4, 3, 16, 16), "NTCHW"), ((1, 3, 4, 16, 16), "NCTHW")])
def test_clips(tmp_path: Path, image: tuple[int, ...], layout: str) -> None:
    path = tmp_path / "m.onnx"
    save(
        path,
        [node("Reshape", "clip shape", "flat"), node("MatMul", "flat weights", "o")],
        {"clip": ("float32", image)},
        {"o": (1, 5)},
        shape=np.array([1, -1]),
        weights=np.zeros((int(np.prod(image)), 5), np.float32),
    )
    recipe = read_recipe(write_draft(inspect(path)))
    assert (recipe.task, len(recipe.names)) == ("clip", 5)
    assert (recipe.tables["clip"]["steps"], recipe.tables["clip"]["layout"]) == (4, layout)
    assert len(load_recognizer(path).names) == 5


def test_categories_of_coco_leave_gaps() -> None:
    names = COCO_CATEGORIES
    assert (names[1], names[13], names[90], len(set(names))) == ("person", "stop sign", "toothbrush", 91)
