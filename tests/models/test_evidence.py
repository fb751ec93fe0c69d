"""What a trial run shows of outputs: fractions, corners, probabilities, a class for the background."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx_models import constant_model, ultralytics_metadata

from edgevid.detect.detector import Detector
from edgevid.errors import ModelError
from edgevid.models.draft import inspect
from edgevid.types import Array, Frame

SIDE = 64
CENTER = [25, 30, 30, 40]
CORNERS = [10, 10, 40, 50]


def boxes(count: int, *, corners: bool = False, fractions: bool = False) -> Array:
    """(1, count, 4) small boxes all over the input, the first one with corners 10, 10, 40, 50."""
    places = np.random.default_rng(0).random((count, 4)) * [SIDE, SIDE, 20, 20] + [0, 0, 2, 2]
    places[0] = CENTER
    if corners:
        half = places[:, 2:] / 2
        places = np.concatenate([places[:, :2] - half, places[:, :2] + half], axis=1)
    return (places / (SIDE if fractions else 1)).astype(np.float32)[None]


def scores(count: int, classes: int, best: float = 0.9, other: float = 0.01) -> Array:
    made = np.full((1, count, classes), other, np.float32)
    made[0, 0, classes - 1] = best
    return made


def joined(*parts: Array) -> Array:
    return np.concatenate(parts, axis=2)


def columns(*parts: Array) -> Array:
    return np.ascontiguousarray(joined(*parts).transpose(0, 2, 1))


def ordered(count: int, label: float = 1) -> Array:
    """Scores in order, and labels."""
    made = np.zeros((1, count, 2), np.float32)
    made[0, :, 0] = np.linspace(0.01, 0, count)
    made[0, 0] = 0.9, label
    return made


def model(folder: Path, outputs: dict[str, Array], **more: Any) -> Path:
    return constant_model(folder / "m.onnx", outputs, image=(1, 3, SIDE, SIDE), **more)


def found(path: Path) -> list[tuple[float, list[int]]]:
    frame = Frame(np.zeros((SIDE, SIDE, 3), np.uint8), 0.0, 0)
    rows = Detector.load(path, device="cpu", threads=1).detect([frame])[0]
    return [(round(row.score, 1), [round(v) for v in row.box]) for row in rows]


@pytest.mark.parametrize("corners", [False, True])
@pytest.mark.parametrize("fractions", [False, True])
@pytest.mark.parametrize("best", [0.9, 2.2])
def test_boxes_of_transformers(tmp_path: Path, corners: bool, fractions: bool, best: float) -> None:
    """Logits and probabilities, in pixels and in parts, corners and centers: all give the one box."""
    places = boxes(300, corners=corners, fractions=fractions)
    values = scores(300, 3, best, 0.01 if best < 1 else -6)
    assert found(model(tmp_path, {"pred_boxes": places, "logits": values})) == [(0.9, CORNERS)]


@pytest.mark.parametrize("stated", [True, False])
def test_boxes_as_parts_of_the_input(tmp_path: Path, stated: bool) -> None:
    more = {"metadata": ultralytics_metadata(["a", "b"])} if stated else {}
    made = columns(boxes(84, fractions=True), scores(84, 2))
    assert found(model(tmp_path, {"o": made}, **more)) == [(0.9, CORNERS)]
    rows = joined(boxes(300, corners=True, fractions=True), ordered(300))
    assert found(model(tmp_path, {"o": rows}, **more)) == [(0.9, CORNERS)]
    one = joined(boxes(300, fractions=True), scores(300, 1))  # RT-DETR of one class
    assert found(model(tmp_path, {"o": one})) == [(0.9, CORNERS)]


def test_four_classes_are_no_boxes(tmp_path: Path) -> None:
    outputs = {"pred_logits": scores(300, 4, 2.2, -6), "pred_boxes": boxes(300, fractions=True)}
    assert found(model(tmp_path, outputs)) == [(0.9, CORNERS)]


@pytest.mark.parametrize("names", ["bboxes scores class_ids", "box conf cls", "det_boxes det_scores det_classes"])
def test_boxes_scores_and_labels_by_their_names(tmp_path: Path, names: str) -> None:
    rows = boxes(300, corners=True), ordered(300)[:, :, 0], np.zeros((1, 300), np.int32)
    outputs = dict(zip(names.split(), rows, strict=True))
    assert found(model(tmp_path, outputs)) == [(0.9, CORNERS)]
    swapped = {"detection_boxes": rows[0], "detection_scores": rows[1], "detection_classes": rows[2]}
    assert inspect(model(tmp_path, swapped)).recipe is None  # TensorFlow's y comes before its x


def test_boxes_of_the_whole_frame_are_no_corners(tmp_path: Path) -> None:
    """Centers at 0.5 and sides of 1: as corners they would be valid, too."""
    places = boxes(300, fractions=True)
    places[0, 1:] = [0.5, 0.5, 0.98, 0.98]
    assert found(model(tmp_path, {"b": places, "s": scores(300, 3)})) == [(0.9, CORNERS)]


def test_boxes_of_an_untrained_yolo26_stay_corners(tmp_path: Path) -> None:
    """Its distances may be negative, so that x2 is less than x1."""
    rows = joined(boxes(300), ordered(300))
    rows[0, 0, :4] = CORNERS
    assert found(model(tmp_path, {"o": rows})) == [(0.9, CORNERS)]


def test_official_exports_with_parts_of_the_input(tmp_path: Path) -> None:
    outputs = {
        "labels": np.zeros((1, 300), np.int64),
        "boxes": boxes(300, corners=True, fractions=True),
        "scores": ordered(300)[:, :, 0],
    }
    assert found(model(tmp_path, outputs)) == [(0.9, CORNERS)]
    problem = inspect(model(tmp_path, {**outputs, "boxes": boxes(300)})).problem
    assert "expected corners" in problem


@pytest.mark.parametrize("where", [0, -1])
@pytest.mark.parametrize("count", [50, 3000])
def test_a_class_for_the_background_is_an_error(tmp_path: Path, where: int, count: int) -> None:
    """SSD's first class and DETR's last one win everywhere: boxes of the whole frame were reported."""
    values = scores(count, 21)
    values[..., where] = 0.98
    made = inspect(model(tmp_path, {"b": boxes(count, fractions=True), "s": values}))
    assert "it means no object (background)" in made.problem
    assert made.recipe is None


def test_an_angle_is_no_class(tmp_path: Path) -> None:
    """Rotated boxes without metadata: the angle was the score of one more class."""
    angles = np.full((1, 84, 1), 0.7, np.float32)
    made = inspect(model(tmp_path, {"o": columns(boxes(84), scores(84, 3), angles)}))
    assert "value 3 after the box is 0.7 in the mean" in made.problem
    untrained = np.full((1, 84, 3), 0.5, np.float32)
    assert not inspect(model(tmp_path, {"o": columns(boxes(84), untrained, angles)})).problem


def test_what_follows_the_label_of_ordered_rows(tmp_path: Path) -> None:
    rows = joined(boxes(300, corners=True), ordered(300, 0))
    points = np.tile(np.float32([20, 30, 0.5]), (1, 300, 17))
    with Detector.load(model(tmp_path, {"o": joined(rows, points)}), device="cpu").engine as engine:
        assert engine.outputs[0].shape == (1, 300, 57)
    assert found(tmp_path / "m.onnx") == [(0.9, CORNERS)]
    made = inspect(model(tmp_path, {"o": joined(boxes(300), ordered(300), np.ones((1, 300, 1), np.float32))}))
    assert made.recipe is not None
    assert made.recipe.decode is not None
    assert made.recipe.decode.rotated
    assert "and 3 more values" in inspect(model(tmp_path, {"o": joined(rows, points[..., :3])})).problem


def test_rows_that_are_either_yolox_or_yolov8(tmp_path: Path) -> None:
    """Without names, objectness and 2 classes look like 3 classes: nothing was found, without a word."""
    places = boxes(84)
    for start, stride in ((0, 8), (64, 16), (80, 32)):
        count = (SIDE // stride) ** 2
        y, x = np.divmod(np.arange(count), SIDE // stride)
        places[0, start : start + count, :2] = np.stack([x, y], axis=1) * stride + stride / 2
    path = model(tmp_path, {"o": joined(places, scores(84, 3))})
    assert "either objectness and 2 classes (YOLOX) or 3 classes" in inspect(path).problem
    with pytest.raises(ModelError, match="objectness = true"):
        Detector.load(path, device="cpu")


def test_maps_next_to_the_boxes_are_left_out(tmp_path: Path) -> None:
    """YOLOv5's three heads for training next to its boxes: no decoder was known for four outputs."""
    heads = {f"h{s}": np.zeros((1, 67, SIDE // s, SIDE // s), np.float32) for s in (8, 16, 32)}
    path = model(tmp_path, {"o": columns(boxes(84), scores(84, 2)), **heads})
    assert found(path) == [(0.9, CORNERS)]


def test_labels_of_minus_one_are_labels(tmp_path: Path) -> None:
    rows = np.zeros((1, 300, 6), np.float32)
    rows[..., 5] = -1
    report = inspect(model(tmp_path, {"o": rows}, metadata=ultralytics_metadata(["a", "b"])))
    assert report.guess is not None
    assert report.guess.decode.kind == "end-to-end"
