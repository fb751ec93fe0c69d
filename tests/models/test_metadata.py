"""Exports with and without metadata: what they give, and what is an error instead of wrong boxes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx_models import TensorProto, constant_model, onnx, ultralytics_metadata

from edgevid.detect.detector import Detector
from edgevid.errors import ModelError
from edgevid.models.draft import ModelReport, inspect
from edgevid.runtime.recipe import Decode
from edgevid.types import Detections, Frame

IMAGE = (1, 3, 64, 64)  # 64 + 16 + 4 = 84 cells of strides 8, 16, 32
HERE = [25, 30, 30, 40]  # center and size of a box with corners 10, 10, 40, 50


def zeros(*shape: int) -> np.ndarray:
    return np.zeros(shape, np.float32)


def columns(*values: float, anchors: int = 84) -> np.ndarray:
    """(1, values, anchors) with one anchor that holds the box HERE and then `values`."""
    made = zeros(1, 4 + len(values), anchors)
    made[0, :, 10] = [*HERE, *values]
    return made


def gray(width: int = 64, height: int = 64, value: int = 200) -> Frame:
    return Frame(np.full((height, width, 3), value, np.uint8), 0.0, 0)


def detect(path: Path, frame: Frame | None = None) -> Detections:
    return Detector.load(path, device="cpu", threads=1).detect([frame or gray()])[0]


def found(path: Path, frame: Frame | None = None) -> list[tuple[str, float, list[int]]]:
    """Class name, score and box of everything that the file's draft recipe finds."""
    names = Detector.load(path, device="cpu", threads=1).names
    return [(names[one.label], round(one.score, 2), [round(v) for v in one.box]) for one in detect(path, frame)]


def report(folder: Path, outputs: dict[str, np.ndarray], **more: Any) -> ModelReport:
    return inspect(constant_model(folder / "m.onnx", outputs, **{"image": IMAGE, **more}))


@pytest.mark.parametrize("stated", [{"end2end": True}, {"args": {"nms": True}}, {"head": "v10Detect"}])
def test_two_classes_of_a_model_without_suppression(tmp_path: Path, stated: dict[str, Any]) -> None:
    rows = zeros(1, 300, 6)
    rows[0, 0] = [10, 10, 40, 50, 0.9, 1]
    metadata = ultralytics_metadata(["person", "car"], **stated)
    path = constant_model(tmp_path / "m.onnx", {"output0": rows}, image=IMAGE, metadata=metadata)
    assert found(path) == [("car", 0.9, [10, 10, 40, 50])]


def test_two_classes_without_a_flag_are_told_apart_by_a_trial_run(tmp_path: Path) -> None:
    rows = zeros(1, 300, 6)
    rows[0, 0] = [10, 10, 40, 50, 0.9, 1]
    metadata = ultralytics_metadata(["person", "car"])
    path = constant_model(tmp_path / "m.onnx", {"output0": rows}, image=IMAGE, metadata=metadata)
    assert found(path) == [("car", 0.9, [10, 10, 40, 50])]
    rows[0] = [0.4, 0.5, 0.5, 0.6, 0.1, 0.9]  # center, size, two scores: RT-DETR of 2024
    path = constant_model(tmp_path / "r.onnx", {"output0": rows}, image=IMAGE, metadata=metadata)
    assert {one[:2] for one in found(path)} == {("car", 0.9)}


def test_two_classes_that_nothing_tells_apart_are_an_error(tmp_path: Path) -> None:
    for metadata in (ultralytics_metadata(["person", "car"]), {"names": "['person', 'car']"}):
        made = report(tmp_path, {"output0": zeros(1, 300, 6)}, metadata=metadata)
        assert made.recipe is None
        assert "either x1, y1, x2, y2, score, label" in made.problem
        assert "kind = 'end-to-end'" in made.problem


@pytest.mark.parametrize("kind", [TensorProto.UINT8, TensorProto.INT32])
def test_whole_number_inputs_get_gray_levels(tmp_path: Path, kind: int) -> None:
    metadata = ultralytics_metadata(["person", "car"])
    path = constant_model(
        tmp_path / "m.onnx", {"o": columns(0.9, 0.1)}, image=(1, 64, 64, 3), metadata=metadata, image_type=kind
    )
    detector = Detector.load(path, device="cpu", threads=1)
    inputs, _ = detector.preprocess([gray(value=200)])
    assert int(inputs["images"].max()) == 200
    assert inputs["images"].shape == (1, 64, 64, 3)
    assert "gray levels" in " ".join(inspect(path).notes)
    assert len(detector.detect([gray()])[0]) == 1


def test_float16_inputs(tmp_path: Path) -> None:
    metadata = ultralytics_metadata(["person", "car"])
    path = constant_model(
        tmp_path / "m.onnx", {"o": columns(0.9, 0.1).astype(np.float16)},
        image=IMAGE, metadata=metadata, image_type=TensorProto.FLOAT16,
    )  # fmt: skip
    detector = Detector.load(path, device="cpu", threads=1)
    inputs, _ = detector.preprocess([gray(80, 40, value=255)])
    assert inputs["images"].dtype == np.float16
    assert float(inputs["images"][0, 0, 32, 32]) == 1.0
    assert float(inputs["images"][0, 0, 0, 0]) == pytest.approx(114 / 255, abs=1e-3)
    assert len(detector.detect([gray()])[0]) == 1


def test_a_pose_model_is_not_a_detector_of_52_classes(tmp_path: Path) -> None:
    points = np.tile([25, 30, 0.9], 17)
    metadata = ultralytics_metadata(["person"], "pose", kpt_shape=[17, 3])
    path = constant_model(tmp_path / "m.onnx", {"output0": columns(0.9, *points)}, image=IMAGE, metadata=metadata)
    guess = inspect(path).guess
    assert guess is not None
    assert (guess.classes, guess.decode.keypoints) == (1, 17)
    (one,) = detect(path, gray(128, 128))
    np.testing.assert_allclose(one.box, (20, 20, 80, 100), atol=1e-4)
    np.testing.assert_allclose(one.keypoints, np.tile([50, 60, 0.9], (17, 1)), rtol=1e-6)


def test_a_pose_model_without_metadata_is_recognized_or_an_error(tmp_path: Path) -> None:
    person = constant_model(tmp_path / "m.onnx", {"o": columns(0.9, *np.tile([25, 30, 0.9], 17))}, image=IMAGE)
    assert found(person) == [("class 0", 0.9, [10, 10, 40, 50])]
    assert "key points of a person and not for 52 classes" in " ".join(inspect(person).notes)
    hand = constant_model(tmp_path / "h.onnx", {"o": columns(0.9, *np.tile([25, 30], 21))}, image=IMAGE)
    with pytest.raises(ModelError, match="scores go from 0 to 30 in a trial run"):
        found(hand)


def test_a_score_above_one_is_an_error(tmp_path: Path) -> None:
    """A recipe that reads key points as classes, which the trial run of a draft would have named."""
    path = constant_model(tmp_path / "m.onnx", {"o": columns(0.9, 25, 0.9)}, image=IMAGE)
    lines = ["[model]", 'name = "m"', 'task = "detect"', 'file = "m.onnx"', "[input]", "width = 64", "height = 64"]
    lines += ["[decode]", 'kind = "yolo"', "nms_iou = 0.7", "[names]", 'classes = ["a", "b", "c"]', ""]
    path.with_suffix(".toml").write_text("\n".join(lines))
    with pytest.raises(ModelError, match=r"score of 25; .*edgevid inspect \S+m.onnx --data VIDEO"):
        detect(path)


@pytest.mark.parametrize("box", ["columns", "rows"])
def test_rotated_boxes(tmp_path: Path, box: str) -> None:
    """A box of 30 x 40 that is turned by a quarter is enclosed by one of 40 x 30."""
    metadata = ultralytics_metadata(["ship", "plane"], "obb", end2end=box == "rows")
    if box == "columns":
        made = columns(0.1, 0.9, np.pi / 2)
    else:
        made = zeros(1, 300, 7)
        made[0, 0] = [*HERE, 0.9, 1, np.pi / 2]
    path = constant_model(tmp_path / "m.onnx", {"output0": made}, image=IMAGE, metadata=metadata)
    assert found(path) == [("plane", 0.9, [5, 15, 45, 45])]
    (one,) = detect(path, gray(128, 64))  # half size, 16 rows of padding above
    np.testing.assert_allclose(one.rotated, [50, 28, 60, 80, np.pi / 2], atol=1e-4)


def test_masks_lie_in_the_frame(tmp_path: Path) -> None:
    """Two prototypes of 16 x 16: everywhere, and the right half; the object is the right half of its box."""
    prototypes = np.full((1, 2, 16, 16), -1, np.float32)
    prototypes[0, 1, :, 8:] = 1
    metadata = ultralytics_metadata(["person"], "segment")
    outputs = {"output0": columns(0.9, 0.0, 1.0), "output1": prototypes}
    path = constant_model(tmp_path / "m.onnx", outputs, image=IMAGE, metadata=metadata)
    guess = inspect(path).guess
    assert guess is not None
    assert guess.decode == Decode("yolo", nms_iou=0.7, masks=2)
    (one,) = detect(path, gray(128, 128))
    assert (one.mask.left, one.mask.top, one.mask.pixels.shape) == (20, 20, (80, 60))
    columns_of_object = np.flatnonzero(one.mask.pixels.any(0))
    assert columns_of_object.tolist() == list(range(44, 60))  # frame columns 64 to 79
    assert one.mask.pixels[:, 44:].all()


def test_names_follow_their_keys(tmp_path: Path) -> None:
    metadata = ultralytics_metadata([]) | {"names": "{1: 'car', 0: 'person', 2: 'bus'}"}
    made = report(tmp_path, {"o": columns(0.1, 0.2, 0.9)}, metadata=metadata)
    assert made.recipe is not None
    assert made.recipe.names == ("person", "car", "bus")


def test_metadata_that_contradicts_the_outputs_is_an_error(tmp_path: Path) -> None:
    metadata = ultralytics_metadata(["person", "car"], "pose", kpt_shape=[17, 3])
    made = report(tmp_path, {"o": columns(0.1, 0.2, 0.9)}, metadata=metadata)
    assert "task 'pose' with 2 classes" in made.problem
    assert "(batch, 57, N)" in made.problem


@pytest.mark.parametrize("names", [[], ["a", "b"]])
def test_classes_that_the_file_does_not_name_are_numbered(tmp_path: Path, names: list[str]) -> None:
    outputs = {"labels": np.zeros((1, 300), np.int64), "boxes": zeros(1, 300, 4), "scores": zeros(1, 300)}
    more: dict[str, Any] = {"further": {"orig_target_sizes": (TensorProto.INT64, (1, 2))}}
    made = report(tmp_path, outputs, metadata={"names": str(names)}, **more)
    assert made.recipe is not None
    if names:
        assert made.recipe.names == ("a", "b")
        return
    assert made.recipe.names[0] == "class 0"
    assert "names no classes" in " ".join(made.notes)


def test_labels_beyond_the_names_are_named_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = zeros(1, 300, 6)
    rows[0, :2] = [[10, 10, 40, 50, 0.9, 1], [0, 0, 9, 9, 0.8, 5]]
    path = constant_model(tmp_path / "beyond.onnx", {"o": rows}, image=IMAGE, metadata={"names": "['a', 'b', 'c']"})
    for _ in range(2):
        assert found(path) == [("b", 0.9, [10, 10, 40, 50])]
    messages = [one.message for one in caplog.records if "labels beyond the 3 classes" in one.message]
    assert len(messages) == 1


def test_coco_is_assumed_only_with_a_note(tmp_path: Path) -> None:
    made = report(tmp_path, {"o": zeros(1, 84, 336)}, image=(1, 3, 128, 128))
    assert made.recipe is not None
    assert made.recipe.names[0] == "person"
    assert "80 are taken for COCO's" in " ".join(made.notes)


def test_a_model_of_one_channel_gets_gray_images(tmp_path: Path) -> None:
    metadata = ultralytics_metadata(["person", "car"], channels=1)
    for image in ((1, 1, 64, 64), ("batch", "channels", "height", "width")):
        path = constant_model(tmp_path / "m.onnx", {"o": columns(0.9, 0.1)}, image=image, metadata=metadata)
        recipe = inspect(path).recipe
        assert recipe is not None
        assert recipe.input is not None
        assert recipe.input.color == "GRAY"
        assert found(path) == [("person", 0.9, [10, 10, 40, 50])]


def test_yolov7_with_its_suppression_in_the_graph(tmp_path: Path) -> None:
    rows = np.array([[0, 10, 10, 40, 50, 1, 0.9], [1, 0, 0, 9, 9, 0, 0.8]], np.float32)
    path = constant_model(tmp_path / "m.onnx", {"output": rows}, image=IMAGE, metadata={"names": "['a', 'b']"})
    assert found(path) == [("b", 0.9, [10, 10, 40, 50])]


@pytest.mark.parametrize(("strides", "total"), [((8, 16, 32), 252), ((4, 8, 16, 32), 1020), ((8, 16, 32, 64), 255)])
def test_yolov5_with_heads_of_all_sizes(tmp_path: Path, strides: tuple[int, ...], total: int) -> None:
    rows = zeros(1, total, 7)
    rows[0, 10], rows[0, 11] = [*HERE, 0.0, 0.9, 0.1], [*HERE, 0.9, 0.1, 0.9]
    path = constant_model(tmp_path / "m.onnx", {"o": rows}, image=IMAGE)
    assert found(path) == [("class 1", 0.81, [10, 10, 40, 50])], strides


def test_yolox_with_its_decoding_in_the_graph(tmp_path: Path) -> None:
    """Boxes that lie where their cells are, in pixels: a raw head would give numbers near 0."""
    rows = zeros(1, 84, 7)
    start = 0
    for stride in (8, 16, 32):
        side = 64 // stride
        y, x = np.mgrid[:side, :side]
        part = rows[0, start : start + side * side]
        part[:, 0], part[:, 1], part[:, 2:4] = (x.ravel() + 0.5) * stride, (y.ravel() + 0.5) * stride, stride
        start += side * side
    rows[0, :, 5:] = 0.1  # classes of what is an object: YOLOX does not train them on background
    rows[0, 10] = [*HERE, 0.9, 0.1, 1.0]
    made = report(tmp_path, {"o": rows})
    assert made.guess is not None
    assert made.guess.decode == Decode("yolo", layout="rows", objectness=True, nms_iou=0.65)
    assert made.guess.preprocessing["color"] == "BGR"
    assert found(tmp_path / "m.onnx") == [("class 1", 0.9, [10, 10, 40, 50])]
    rows[:, :, 4] = 1.0
    six = report(tmp_path, {"o": rows})
    assert six.guess is not None
    assert six.guess.family == "YOLOv6"


def test_rf_detr_has_its_own_mean_and_std(tmp_path: Path) -> None:
    logits, boxes = np.full((1, 300, 91), -9, np.float32), zeros(1, 300, 4)
    logits[0, 0, 3], boxes[0, 0] = 2.2, [0.5, 0.5, 0.5, 0.25]
    made = report(tmp_path, {"dets": boxes, "labels": logits})
    assert made.recipe is not None
    assert made.recipe.input is not None
    assert (made.recipe.input.mean[0], made.recipe.input.resize) == (123.675, "stretch")
    assert found(tmp_path / "m.onnx") == [("car", 0.9, [16, 24, 48, 40])]


def test_the_first_detr_needs_a_softmax_and_is_an_error(tmp_path: Path) -> None:
    logits = zeros(1, 100, 92)
    logits[..., -1] = 5
    made = report(tmp_path, {"logits": logits, "pred_boxes": zeros(1, 100, 4)})
    assert "need a softmax" in made.problem


def test_nan_is_named_and_not_taken_for_an_empty_frame(tmp_path: Path) -> None:
    path = constant_model(tmp_path / "my model.onnx", {"o": np.full((1, 7, 84), np.nan, np.float32)}, image=IMAGE)
    with pytest.raises(ModelError, match=r"gives NaN instead of boxes.*--precision fp32.*inspect '\S+my model.onnx'"):
        detect(path)


@pytest.mark.parametrize(("classes", "label"), [(1, 0), (3, 2), (1000, 777)])
def test_any_number_of_classes(tmp_path: Path, classes: int, label: int) -> None:
    scores = [0.9 if k == label else 0.0 for k in range(classes)]
    metadata = ultralytics_metadata([f"c{k}" for k in range(classes)])
    path = constant_model(tmp_path / "m.onnx", {"o": columns(*scores)}, image=IMAGE, metadata=metadata)
    assert found(path) == [(f"c{label}", 0.9, [10, 10, 40, 50])]


def test_an_input_that_is_not_square(tmp_path: Path) -> None:
    made = zeros(1, 5, 63)
    made[0, :, 10] = [48, 16, 20, 20, 0.9]
    metadata = ultralytics_metadata(["a"], imgsz=[32, 96])
    path = constant_model(tmp_path / "m.onnx", {"o": made}, image=(1, 3, 32, 96), metadata=metadata)
    assert found(path, gray(128, 64)) == [("a", 0.9, [44, 12, 84, 52])]


def test_a_batch_of_eight(tmp_path: Path) -> None:
    eight = np.repeat(columns(0.9), 8, axis=0)
    path = constant_model(tmp_path / "m.onnx", {"o": eight}, image=(8, 3, 64, 64), metadata=ultralytics_metadata(["a"]))
    detector = Detector.load(path, device="cpu", threads=1)
    assert [len(one) for one in detector.detect([gray()] * 11)] == [1] * 11


def test_a_file_that_is_newer_than_the_runtime(tmp_path: Path) -> None:
    path = constant_model(tmp_path / "m.onnx", {"o": columns(0.9)}, image=IMAGE, ir_version=99)
    with pytest.raises(ModelError, match="IR version: 99"):
        found(path)
    assert onnx is not None
