"""The detector: real models on real photos where they are at hand, exact constructed outputs elsewhere."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from detector_outputs import anchors, detect, engine, expect, frame, recipe
from fake_engine import FakeEngine

from edgevid.detect.detector import Detector
from edgevid.errors import InputError, ModelError
from edgevid.kernels import iou
from edgevid.models.download import MIRROR
from edgevid.models.hub import recipes
from edgevid.runtime import Recipe, TensorSpec
from edgevid.runtime.recipe import Decode
from edgevid.types import Detections, Frame


def test_one_object_under_two_classes_keeps_the_better_one() -> None:
    # The second lies on the first (0.97 of it), the third overlaps by 0.6: another object.
    rows = anchors([10, 12, 8, 8, 0.9, 0.1], [10, 12.1, 8, 8, 0.1, 0.8], [12, 12, 8, 8, 0.1, 0.7])
    found = detect(Decode("yolo", layout="rows", nms_iou=0.7), {"o": rows})
    expect(found, [[12, 16, 28, 32], [16, 16, 32, 32]], [0, 1])


def test_threads_that_share_a_detector_get_their_own_boxes() -> None:
    def answer(inputs: Mapping[str, Any]) -> dict[str, Any]:
        time.sleep(0.05)  # the other thread's image may be written meanwhile
        side = float(inputs["images"].mean()) / 10
        return {"o": anchors([2, 4, 2 + side, 4 + side, 0.9, 1])}

    fake = engine({"o": anchors([0.0] * 6)})
    fake._function = answer
    detector = Detector(fake, recipe(Decode("end-to-end")), score_threshold=0.25)
    frames = [Frame(np.full((32, 32, 3), 10 * side, np.uint8), 0.0, 0) for side in range(5, 13)]
    with ThreadPoolExecutor(4) as threads:
        found = threads.map(lambda one: detector.detect([one])[0], frames)
        sides = [float(one.boxes[0, 2] - one.boxes[0, 0]) for one in found]
    np.testing.assert_allclose(sides, range(5, 13), atol=1e-3)


def test_boxes_outside_the_frame_are_clipped_or_dropped() -> None:
    # A 64x32 frame fills rows 8 to 24 of the 32x32 input: row 4 lies in the padding.
    rows = anchors([16, 4, 4, 4, 0.9, 0], [0, 16, 8, 8, 0.9, 0], [np.nan, 16, 8, 8, 0.9, 0])
    how = recipe(Decode("yolo", layout="rows", nms_iou=0.5))
    found = Detector(engine({"o": rows}), how).detect([frame(64, 32)])[0]
    expect(found, [[0, 8, 8, 24]], [0])


def test_nothing_found_is_an_empty_table() -> None:
    assert len(detect(Decode("yolo", nms_iou=0.5), {"o": np.zeros((1, 6, 21))})) == 0


def test_five_thousand_objects_are_cut_to_the_limit_best_first() -> None:
    rows = np.zeros((1, 5000, 6), np.float32)
    rows[0, :, :4] = [16, 16, 0.001, 0.001]
    rows[0, :, 0] = np.linspace(1, 31, 5000)
    rows[0, :, 4] = np.linspace(0.3, 0.9, 5000)
    how = recipe(Decode("yolo", layout="rows", nms_iou=0.5))
    found = Detector(engine({"o": rows}), how).detect([frame()])[0]
    assert len(found) == 300
    assert found.scores.tolist() == sorted(found.scores.tolist(), reverse=True)
    assert found.scores[0] == np.float32(0.9)


@pytest.mark.parametrize(("batch", "frames", "runs"), [(1, 3, 3), (-1, 3, 1), (2, 3, 2), (2, 0, 0)])
def test_frames_go_through_together_as_far_as_the_batch_allows(batch: int, frames: int, runs: int) -> None:
    sizes: list[int] = []

    def answer(inputs: Mapping[str, Any]) -> dict[str, Any]:
        images = inputs["images"]
        sizes.append(len(images))
        output = np.zeros((len(images), 21, 6), np.float32)
        output[:, 0] = [8, 8, 4, 4, 0.9, 0]
        output[:, 0, 0] += images[:, 0, 0, 0]  # the image's own value moves the box
        return {"o": output}

    specs = (
        TensorSpec("images", (batch, 3, 32, 32), np.dtype(np.float32)),
        TensorSpec("o", (batch, 21, 6), np.dtype(np.float32)),
    )
    how = recipe(Decode("yolo", layout="rows", nms_iou=0.5))
    detector = Detector(FakeEngine(specs[:1], specs[1:], answer), how)
    given = [Frame(np.full((32, 32, 3), k, np.uint8), 0.0, k) for k in range(frames)]
    found = detector.detect(given)
    assert len(sizes) == runs
    assert [d.boxes[0, 0] for d in found] == [6 + k for k in range(frames)]


def test_classes_by_name_and_label() -> None:
    rows = anchors([10, 12, 4, 6, 0.9, 0.1], [20, 20, 8, 8, 0.1, 0.7])
    how = recipe(Decode("yolo", layout="rows", nms_iou=0.5))
    for expected in ("car", ["car"], [1]):
        found = Detector(engine({"o": rows}), how, classes=expected).detect([frame()])[0]
        assert found.labels.tolist() == [1]
    with pytest.raises(InputError, match="did you mean 'person'"):
        Detector(engine({"o": rows}), how, classes=["persn"])
    with pytest.raises(InputError, match="label from 0 to 1"):
        Detector(engine({"o": rows}), how, classes=[2])


def test_inputs_that_do_not_fit_are_named() -> None:
    output = {"o": np.zeros((1, 21, 6), np.float32)}
    how = Decode("yolo", layout="rows")
    with pytest.raises(ModelError, match=r"the model's is images: float32 \(1, 3, 48, 48\)"):
        Detector(engine(output, size=48), recipe(how))
    with pytest.raises(ModelError, match="expected an input 'x'"):
        Detector(engine(output), recipe(how, input_name="x"))
    with pytest.raises(ModelError, match="expected outputs"):
        Detector(engine(output), recipe(how, outputs=("p",)))
    prompt = TensorSpec("prompt", (1, 5), np.dtype(np.int64))
    with pytest.raises(ModelError, match="extra input prompt"):
        Detector(engine(output, extra=(prompt,)), recipe(how))


def test_wrong_arguments() -> None:
    output = {"o": np.zeros((1, 21, 6), np.float32)}
    how = recipe(Decode("yolo", layout="rows"))
    with pytest.raises(InputError, match="score_threshold: expected 0 to 1"):
        Detector(engine(output), how, score_threshold=25)
    with pytest.raises(InputError, match="task 'detect'"):
        Detector(engine(output), Recipe("pose", "pose", "x.onnx", Path("x")))


def test_a_label_without_a_name_is_dropped() -> None:
    rows = anchors([2, 4, 10, 12, 0.9, 1], [2, 4, 10, 12, 0.8, 2], [2, 4, 10, 12, 0.8, 90])
    expect(detect(Decode("end-to-end"), {"o": rows}), [[4, 8, 20, 24]], [1])


def test_the_recipe_says_the_score_unless_the_user_does() -> None:
    rows = anchors([2, 4, 10, 12, 0.9, 1], [2, 4, 10, 12, 0.5, 0])
    how = recipe(Decode("end-to-end", score_threshold=0.6))
    assert len(Detector(engine({"o": rows}), how).detect([frame()])[0]) == 1
    assert len(Detector(engine({"o": rows}), how, score_threshold=0.25).detect([frame()])[0]) == 2


@pytest.fixture(scope="module")
def photos(shared_data: Path) -> list[tuple[str, Frame, np.ndarray]]:
    """Name, image and person boxes of the labeled photos that are at hand."""
    cv2 = pytest.importorskip("cv2")
    folder = shared_data / "images"
    found = []
    for labels in sorted((folder / "coco_val2017_100_person_kpt_labels").glob("*.txt")):
        path = folder / "coco_val2017_100" / f"{labels.stem}.jpg"
        if not path.exists():
            continue
        image = np.ascontiguousarray(cv2.imread(str(path))[:, :, ::-1])
        rows = np.array([line.split()[1:5] for line in labels.read_text().splitlines()], float)
        size = np.array([image.shape[1], image.shape[0]] * 2)
        center, half = rows[:, :2], rows[:, 2:] / 2
        boxes = np.concatenate([center - half, center + half], axis=1) * size
        found.append((labels.stem, Frame(image, 0.0, 0), boxes.astype(np.float32)))
    return found


def average_precision(found: Sequence[Detections], truth: Sequence[np.ndarray]) -> float:
    """AP at overlap 0.5 of label 0, interpolated at 101 recalls as COCO does."""
    hits: list[tuple[float, bool]] = []
    for detections, boxes in zip(found, truth, strict=True):
        people = detections[detections.labels == 0]
        free = np.ones(len(boxes), bool)
        for row, score in zip(iou(people.boxes, boxes), people.scores, strict=True):
            best = int(np.argmax(np.where(free, row, -1)))
            hit = bool(free[best] and row[best] >= 0.5)
            free[best] &= not hit
            hits.append((float(score), hit))
    right = np.array([hit for _, hit in sorted(hits, key=lambda h: -h[0])])
    recall = np.cumsum(right) / sum(len(b) for b in truth)
    precision = np.cumsum(right) / np.arange(1, len(right) + 1)
    best_after = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0.0)
    return float(best_after[np.searchsorted(recall, np.linspace(0, 1, 101))].mean())


REAL = ("yolox-nano-416", "nanodet-m-320", "nanodet-m-416", "picodet-s-320", "picodet-s-416", "fastestdet-352")


@pytest.fixture
def _models(shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MIRROR, str(shared_data / "models"))
    monkeypatch.setenv("EDGEVID_CACHE", str(tmp_path))


@pytest.mark.usefixtures("_models")
@pytest.mark.parametrize("name", REAL)
def test_real_models_reach_the_floor_of_their_recipe(photos: list[tuple[str, Frame, np.ndarray]], name: str) -> None:
    detector = Detector.load(name, device="cpu", threads=2, score_threshold=0.01)
    found = [detector.detect([image])[0] for _, image, _ in photos]
    reached = average_precision(found, [boxes for _, _, boxes in photos])
    assert reached >= recipes()[name].precisions["fp32"].floor


@pytest.mark.usefixtures("_models")
@pytest.mark.parametrize("name", REAL)
def test_two_buses_where_a_person_sees_them(shared_data: Path, name: str) -> None:
    cv2 = pytest.importorskip("cv2")
    image = cv2.imread(str(shared_data / "images" / "coco_val2017_100" / "000000001584.jpg"))
    image = Frame(np.ascontiguousarray(image[:, :, ::-1]), 0.0, 0)
    detector = Detector.load(name, device="cpu", threads=2, score_threshold=0.5, classes="bus")
    found = detector.detect([image])[0]
    by_hand = np.array([[122, 89, 520, 531], [503, 316, 569, 383]], np.float32)
    overlap = iou(found.boxes, by_hand).max(axis=0)
    assert overlap[0] > 0.9
    assert overlap[1] > 0.7
