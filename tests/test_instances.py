"""Masks, key points and rotated boxes from the model's outputs to tracks, zones, records and the overlay."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx_models import constant_model, ultralytics_metadata

from edgevid import Detector, Frame, Pipeline, Tracker
from edgevid.output.overlay import Overlay
from edgevid.output.records import as_json
from edgevid.types import Detections, Result
from edgevid.types.frame import mask_of_rle
from edgevid.zones import Zone, ZoneMonitor

HERE = [25, 30, 30, 40]  # center and size in an input of 64 x 64: corners 10, 10, 40, 50


def results(folder: Path, task: str, *extra: float, **more: Any) -> tuple[list[Frame], list[Result]]:
    """Three gray frames of 128 x 128 through a detector of one object and a tracker."""
    made = np.zeros((1, 5 + len(extra), 84), np.float32)
    made[0, :, 10] = [*HERE, 0.9, *extra]
    prototypes = np.full((1, len(extra), 16, 16), -1, np.float32)
    prototypes[:, :, :, 8:] = 1  # right of frame column 64
    outputs = {"output0": made, **({"output1": prototypes} if task == "segment" else {})}
    metadata = ultralytics_metadata(["ship"], task, **more)
    path = constant_model(folder / "m.onnx", outputs, image=(1, 3, 64, 64), metadata=metadata)
    pipeline = Pipeline(Detector(path, device="cpu", threads=1), Tracker())
    frames = [Frame(np.full((128, 128, 3), 90, np.uint8), k / 10, k) for k in range(3)]
    return frames, [pipeline.process(frame) for frame in frames]


def drawn(frame: Frame, result: Result, without: Callable[[Result], Result] | None = None) -> np.ndarray:
    return Overlay(show_status=False).draw(frame, result)


def record(result: Result) -> Any:
    (one,) = json.loads(json.dumps(as_json(result)))["objects"]
    return one


def test_masks_are_recorded_and_drawn(tmp_path: Path) -> None:
    frames, found = results(tmp_path, "segment", 1.0)
    mask = mask_of_rle(record(found[-1])["mask"]).pixels
    assert mask.shape == (128, 128)
    assert mask[20:100, 64:80].all()
    assert mask.sum() == 80 * 16
    image = drawn(frames[-1], found[-1])
    assert (image[70, 72] != 90).any()
    assert (image[70, 40] == 90).all()  # in the box, left of the object


def test_key_points_reach_tracks_records_and_the_overlay(tmp_path: Path) -> None:
    frames, found = results(tmp_path, "pose", *np.tile([20, 40, 0.9], 17), kpt_shape=[17, 3])
    assert found[-1].tracks.keypoints.shape == (1, 17, 3)
    assert record(found[-1])["keypoints"] == [[40, 80, 0.9]] * 17
    assert (drawn(frames[-1], found[-1])[80, 40] != 90).any()


def test_rotated_boxes_reach_tracks_records_and_the_overlay(tmp_path: Path) -> None:
    frames, found = results(tmp_path, "obb", np.pi / 4)
    assert record(found[-1])["rotated"] == pytest.approx([50, 60, 60, 80, 0.785], abs=1e-3)
    image = drawn(frames[-1], found[-1])
    corner = np.array([50, 60]) + np.array([30 + 40, 30 - 40]) / np.sqrt(2) * [1, 1]
    x, y = np.round(corner).astype(int)
    assert (image[y - 2 : y + 3, x - 2 : x + 3] != 90).any()


def test_the_point_of_a_rotated_box_is_its_center(tmp_path: Path) -> None:
    _, found = results(tmp_path, "obb", 0.0)
    middle = Zone("middle", ((40, 50), (60, 50), (60, 70), (40, 70)), debounce_s=0.0)
    monitor = ZoneMonitor([middle])
    events = [event for result in found for event in monitor.update(result.tracks, result.time)]
    assert [(event.kind, event.place) for event in events] == [("enter", "middle")]
    upright = [result.tracks for result in results(tmp_path, "detect")[1]]
    monitor = ZoneMonitor([middle])
    assert not [e for k, tracks in enumerate(upright) for e in monitor.update(tracks, k / 10)]


def test_a_coasting_object_has_no_key_points() -> None:
    tracker = Tracker(coast_s=1.0)
    keypoints = np.ones((1, 5, 3), np.float32)
    some = Detections.of(boxes=[[0, 0, 40, 40]], scores=[0.9], labels=[0], keypoints=keypoints)
    for k in range(3):
        tracks = tracker.update(some, k / 10)
    assert tracks.keypoints.tolist() == keypoints.tolist()
    gone = tracker.update(some[:0], 0.3)
    assert gone.match.tolist() == [-1]
    assert np.isnan(gone.keypoints).all()
    empty = Result(3, 0.3, (64, 64), some[:0], gone)
    assert "keypoints" not in record(empty)
    assert Overlay().draw(Frame(np.zeros((64, 64, 3), np.uint8), 0.3, 3), empty).shape == (64, 64, 3)
