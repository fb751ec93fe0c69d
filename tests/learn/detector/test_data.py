"""Labels, and images composed for training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch: pip install 'edgevid[train]'")
pytest.importorskip("onnx", reason="export needs onnx")
from detector_samples import blank_sample, squares  # noqa: E402

from edgevid.errors import InputError  # noqa: E402
from edgevid.learn.detector.data import Composer, Sample, clip_boxes, load, read_labels  # noqa: E402
from edgevid.learn.detector.network import CLASSES  # noqa: E402


def test_labels_are_read_and_errors_name_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("car 1 2 30 40 0.9\n\nperson 0 0 5 9 -1\n")
    boxes, labels, weights = read_labels(path, CLASSES)
    assert boxes.tolist() == [[1, 2, 30, 40], [0, 0, 5, 9]]
    assert labels.tolist() == [2, 0]
    assert weights.tolist() == pytest.approx([0.9, -1])
    for wrong in ("cat 1 2 3 4 1", "car 1 2 3 4", "car 5 5 5 9 1", "car 1 2 3 x 1", "car 1 2 3 4 nan"):
        path.write_text(wrong)
        with pytest.raises(InputError, match=r"a\.txt, line 1"):
            read_labels(path, CLASSES)
    with pytest.raises(InputError, match=r"b\.txt: expected a label file for each image"):
        read_labels(tmp_path / "b.txt", CLASSES)
    with pytest.raises(InputError, match="found no image"):
        load(tmp_path, CLASSES)


def test_labels_are_clipped_and_small_rests_are_ignored() -> None:
    boxes = np.array([[10, 10, 30, 30], [90, 10, 110, 30], [97, 10, 117, 30], [200, 0, 220, 20]], np.float32)
    cut, labels, weights = clip_boxes(boxes, np.arange(4), np.ones(4, np.float32), (0, 0, 100, 50))
    assert cut.tolist() == [[10, 10, 30, 30], [90, 10, 100, 30], [97, 10, 100, 30]]
    assert labels.tolist() == [0, 1, 2]
    assert weights.tolist() == [1, 1, -1]  # half of the second is left, 15 % of the third


def test_composed_images_keep_boxes_on_their_objects(tmp_path: Path) -> None:
    composer = Composer(load(squares(tmp_path), CLASSES), 96, 64, seed=3, mosaic=0.5, paste=0.5)
    reds = []
    for _ in range(40):
        made = composer.compose()
        for box in made.boxes[made.weights > 0.5]:
            x1, y1, x2, y2 = box.astype(int)
            inside = made.image[y1:y2, x1:x2].reshape(-1, 3).astype(int)
            reds.append(float((inside[:, 0] > inside[:, 1] + 25).mean()) if len(inside) else 0.0)
    assert len(reds) > 20
    assert np.mean(np.array(reds) > 0.5) > 0.8  # pasted objects may cover others


def test_an_image_without_objects_can_be_composed() -> None:
    blank = Sample(np.zeros((40, 60, 3), np.uint8), np.zeros((0, 4), np.float32), np.zeros(0, np.int64),
                    np.zeros(0, np.float32), "a")  # fmt: skip
    images, boxes, _, weights = next(Composer([blank], 96, 64).batches(4))
    assert images.shape == (4, 64, 96, 3)
    assert boxes.shape == (4, 1, 4)
    assert weights.sum() == 0


def test_pasted_vehicles_come_from_every_scene_that_has_one() -> None:
    def scene(clip: str, label: int) -> Sample:
        image = np.full((64, 96, 3), 90, np.uint8)
        box = np.array([[20, 10, 60, 50]], np.float32)
        return Sample(image, box, np.array([label]), np.ones(1, np.float32), clip)

    samples = [*[scene("long", 0) for _ in range(8)], scene("road", 2), scene("stop", 4)]
    composer = Composer(samples, 96, 64, seed=0, mosaic=0.0, paste=1.0)
    drawn = [composer._object() for _ in range(200)]
    labels = [int(sample.labels[k]) for sample, k in drawn]
    assert 60 < labels.count(0) < 140  # half are people, though they are in eight images of ten
    assert 30 < labels.count(2) < 70
    assert 30 < labels.count(4) < 70  # buses as often as cars


def test_views_are_drawn_by_the_shares_of_their_clips_names_and_more_often_where_a_class_is_rare() -> None:
    road = [blank_sample("road", boxes=1) for _ in range(4)]
    photos = [blank_sample(f"photo{n}", boxes=1) for n in range(3)]
    photos[0].labels[:] = 1  # one image of seven: drawn sqrt(0.3 * 7) times as often
    composer = Composer([*road, *photos], 96, 64, seed=5, shares={"photo": 0.8})
    drawn = [composer.draw().clip for _ in range(3000)]
    assert drawn.count("road") / 3000 == pytest.approx(0.2, abs=0.03)
    often = np.sqrt(0.3 * 7)
    assert drawn.count("photo0") / 3000 == pytest.approx(0.8 * often / (often + 2), abs=0.03)


def test_nights_are_darker_and_rain_is_streaks() -> None:
    composer = Composer([blank_sample("a", boxes=1)], 96, 64, seed=1)
    day = np.full((64, 96, 3), 120, np.uint8)
    nights = [composer._night(day, np.zeros((0, 4), np.float32)) for _ in range(9)]
    assert max(float(night.mean()) for night in nights) < 110
    rain = composer._rain(day)
    assert rain.shape == day.shape
    assert rain.std() > 1


def test_batches_have_the_sizes_that_are_asked_for() -> None:
    composer = Composer([blank_sample("a", boxes=1)], 96, 64)
    assert [b[0].shape for b in composer.batches(2, [(64, 32), (96, 64)])] == [(2, 32, 64, 3), (2, 64, 96, 3)]


def test_a_resumed_training_composes_other_images() -> None:
    def first(step: int | None) -> list[list[float]]:
        composer = Composer([blank_sample("a", boxes=1)], 96, 64, seed=4)
        if step is not None:
            composer.resume(step)
        return [row for _ in range(3) for row in composer.compose().boxes.tolist()]

    assert first(None) == first(None) != first(500) == first(500)
