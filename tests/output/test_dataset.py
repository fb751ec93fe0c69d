"""DatasetSink: frames and boxes as COCO's and YOLO's tools read them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from event_samples import an_event
from result_samples import sample_result

from edgevid.errors import FileFormatError, InputError, SourceError
from edgevid.files import file_name
from edgevid.output.dataset import DatasetSink
from edgevid.types import Detections, Frame, Header, Mask, Result
from edgevid.video.images import read_image

NAMES = ("person", 'a "car": #1')


def moment(time: float, **more: Any) -> tuple[Frame, Result]:
    """Two objects: one of class 1 that passes the left border, one that is predicted only."""
    frame, result = sample_result()
    tracks = replace(
        result.tracks, labels=np.array([1, 0], np.int32), match=np.array([0, -1], np.int32),
        boxes=np.array([[-10, 20, 50.5, 80], [5, 5, 9, 9]], np.float32),
    )  # fmt: skip
    index = round(time * 10)
    return Frame(frame.image, time, index), replace(
        result, tracks=tracks, names={"class": NAMES}, time=time, frame_index=index, **more
    )


def written(folder: Path, layout: Any, times: list[float], **options: Any) -> None:
    with DatasetSink(folder, layout, **options) as sink:
        sink.open(Header("gate", run="gate/1 2026"))
        for time in times:
            sink.write(*moment(time))


def test_coco(tmp_path: Path) -> None:
    written(tmp_path, "coco", [0.0, 0.4, 1.0, 1.9, 2.1])
    made = json.loads((tmp_path / "annotations.json").read_text())
    assert [one["file_name"] for one in made["images"]] == [
        f"{file_name('gate/1 2026')}-{n:08d}.jpg" for n in (0, 10, 21)
    ]
    assert made["categories"][1] == {"id": 2, "name": NAMES[1], "supercategory": ""}
    assert made["annotations"][2] == {
        "id": 3, "image_id": 3, "category_id": 2, "bbox": [0.0, 20.0, 50.5, 60.0], "area": 3030.0,
        "iscrowd": 0, "score": 0.9, "track_id": 1, "segmentation": [],
    }  # fmt: skip
    image = read_image(tmp_path / "images" / made["images"][0]["file_name"])
    assert image is not None
    assert image.shape == (360, 640, 3)
    assert abs(int(image.mean()) - 90) <= 3


def test_yolo(tmp_path: Path) -> None:
    written(tmp_path, "yolo", [0.0, 1.0])
    assert (tmp_path / "labels" / f"{file_name('gate/1 2026')}-00000010.txt").read_text() == (
        "1 0.039453 0.138889 0.078906 0.166667\n"
    )
    assert (tmp_path / "data.yaml").read_text().endswith('names:\n  0: "person"\n  1: "a \\"car\\": #1"\n')


def test_only_frames_with_events(tmp_path: Path) -> None:
    with DatasetSink(tmp_path, "yolo", every_s=0) as sink:
        sink.write(*moment(0.0))
        sink.write(*moment(0.1, events=(an_event(1),)))
    assert [path.name[-12:] for path in (tmp_path / "images").iterdir()] == ["00000001.jpg"]


@pytest.mark.parametrize("key", ["gated", "damaged"])
def test_a_frame_that_nothing_was_detected_in_is_no_image_without_boxes(tmp_path: Path, key: str) -> None:
    with DatasetSink(tmp_path, "coco", every_s=1.0) as sink:
        sink.write(*moment(0.0, **{key: True}))
        sink.write(*moment(0.1))
    assert [path.name[-12:] for path in (tmp_path / "images").iterdir()] == ["00000001.jpg"]


def test_masks_are_run_lengths(tmp_path: Path) -> None:
    masks = np.empty(1, object)
    masks[0] = Mask(0, 20, np.ones((60, 50), np.uint8))
    found = replace(Detections.of(boxes=[[-10, 20, 50.5, 80]], scores=[0.9], labels=[1]), masks=masks)
    with DatasetSink(tmp_path, "coco") as sink:
        sink.write(*moment(0.0, detections=found))
    (one,) = json.loads((tmp_path / "annotations.json").read_text())["annotations"]
    assert sum(one["segmentation"]["counts"][1::2]) == 60 * 50


def test_a_folder_is_continued_with_the_same_classes_only(tmp_path: Path) -> None:
    written(tmp_path, "coco", [0.0])
    with DatasetSink(tmp_path, "coco") as sink:
        sink.write(*moment(0.5))
    made = json.loads((tmp_path / "annotations.json").read_text())
    assert [one["id"] for one in made["images"]] == [one["id"] for one in made["annotations"]] == [1, 2]
    frame, result = moment(0.0)
    with pytest.raises(InputError, match="holds other classes than this model's; choose another folder"):
        DatasetSink(tmp_path, "coco").write(frame, replace(result, names={"class": ("cat",)}))


def test_a_program_that_is_killed_leaves_annotations(tmp_path: Path) -> None:
    sink = DatasetSink(tmp_path, "coco")
    for time in range(9):
        sink.write(*moment(float(time)))
    assert len(json.loads((tmp_path / "annotations.json").read_text())["images"]) == 8


def test_mistakes_are_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "annotations.json").write_text("{")
    with pytest.raises(FileFormatError, match=r"annotations.json: the whole file: expected COCO's JSON"):
        DatasetSink(tmp_path, "coco")
    with pytest.raises(InputError, match=r"expected coco or yolo and every_s >= 0, got 'voc', 1"):
        DatasetSink(tmp_path, "voc")  # type: ignore[arg-type]
    (tmp_path / "file").touch()
    with pytest.raises(SourceError, match="is a file"):
        DatasetSink(tmp_path / "file", "yolo")


def test_supervision_reads_both(tmp_path: Path) -> None:
    sv = pytest.importorskip("supervision", reason='needs supervision: pip install "edgevid[supervision]"')
    written(tmp_path / "c", "coco", [0.0, 1.0])
    written(tmp_path / "y", "yolo", [0.0, 1.0])
    coco = sv.DetectionDataset.from_coco(str(tmp_path / "c/images"), str(tmp_path / "c/annotations.json"))
    yolo = sv.DetectionDataset.from_yolo(
        str(tmp_path / "y/images"), str(tmp_path / "y/labels"), str(tmp_path / "y/data.yaml")
    )
    for found in (coco, yolo):
        assert found.classes == list(NAMES)
        assert len(found) == 2
        for _, image, boxes in found:
            assert image.shape == (360, 640, 3)
            np.testing.assert_allclose(boxes.xyxy, [[0, 20, 50.5, 80]], atol=0.5)
            assert boxes.class_id.tolist() == [1]


def test_cocos_own_tools_read_it(tmp_path: Path) -> None:
    coco = pytest.importorskip("pycocotools.coco", reason="needs pycocotools: pip install pycocotools")
    written(tmp_path, "coco", [0.0, 1.0])
    found = coco.COCO(str(tmp_path / "annotations.json"))
    assert found.loadCats(found.getCatIds())[1]["name"] == NAMES[1]
    assert len(found.loadAnns(found.getAnnIds(imgIds=[2]))) == 1
