"""A pose detector (Ultralytics' YOLO-pose) as the source of skeletons of several people: no second pose model."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from onnx_models import constant_model, ultralytics_metadata
from recognizer_models import clip_model, window_head

from edgevid import Detector, Frame, Pipeline, RecognitionTask, Tracker
from edgevid.abstain import Policy
from edgevid.actions import ClipBuffer, load_recognizer
from edgevid.actions.features import COCO17, width_of
from edgevid.cli import main
from edgevid.errors import EdgevidError
from edgevid.files import toml_table, vars_of
from edgevid.types import Array
from edgevid.video.writer import VideoWriter

BOXES = np.float32([[20, 30, 24, 40], [44, 30, 16, 44]])  # centers and sizes of two people


def yolo_pose(folder: Path) -> tuple[Path, Array]:
    """A model as Ultralytics exports it, (1, 4 + 1 + 17 * 3, 84), that finds two people, and their key points."""
    points = np.random.default_rng(0).uniform(0.1, 0.9, (2, 17, 3)).astype(np.float32)
    points[..., :2] = BOXES[:, None, :2] + (points[..., :2] - 0.5) * BOXES[:, None, 2:]
    output = np.zeros((1, 56, 84), np.float32)
    output[0, :, [10, 40]] = np.concatenate((BOXES, [[0.9], [0.8]], points.reshape(2, -1)), axis=1)
    metadata = ultralytics_metadata(["person"], "pose", kpt_shape=[17, 3])
    return constant_model(folder / "pose.onnx", {"output0": output}, image=(1, 3, 64, 64), metadata=metadata), points


def skeleton_head(folder: Path) -> Path:
    """A head whose recipe names a pose model that is not there."""
    width = width_of(COCO17)
    window_head(folder, features=width)
    text = (folder / "recipe.toml").read_text().replace("features = 3", f"features = {width}")
    (folder / "recipe.toml").write_text("\n".join([text, *toml_table("layout", vars_of(COCO17)), ""]))
    return folder


def test_key_points_of_each_track_reach_the_recognizer(tmp_path: Path) -> None:
    path, points = yolo_pose(tmp_path)
    recognizer = load_recognizer(skeleton_head(tmp_path / "head"), inside="detector")
    task = RecognitionTask(ClipBuffer(recognizer.spec), recognizer, Policy(recognizer.names))
    pipeline = Pipeline(Detector.load(path, device="cpu", threads=1), Tracker(), recognitions={"action": task})
    for step in range(8):
        result = pipeline(Frame(np.full((64, 64, 3), 90, np.uint8), step / 8, step))
    assert len(result.tracks) == len(result.verdicts["action"]) == 2
    rows, fresh = recognizer.store.rows(result.tracks.ids, np.full(2, 7 / 8))  # type: ignore[attr-defined]
    assert not fresh.any()
    person = np.abs(result.tracks.boxes[:, None, 0] - (BOXES[:, 0] - BOXES[:, 2] / 2)).argmin(1)
    for row, number in zip(rows, person, strict=True):
        stored = recognizer.store["raw"][row]  # type: ignore[attr-defined]
        expected = COCO17.rows(points[number, :, :2], points[number, :, 2])
        assert len(stored) == 5  # steps that a feature needs
        np.testing.assert_allclose(stored, np.tile(expected, (5, 1)), atol=1e-3)


def test_a_run_recognizes_with_the_key_points_of_its_own_detector(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, _ = yolo_pose(tmp_path)
    squares = (np.indices((64, 64)) // 11).sum(0) % 2  # a plain image counts as blurred, and is not recognized
    image = np.repeat((60 + 110 * squares).astype(np.uint8)[..., None], 3, axis=2)
    with VideoWriter(tmp_path / "two.mp4", fps=8.0) as writer:
        for step in range(12):
            writer.write(image, step / 8)
    action = f"{skeleton_head(tmp_path / 'head')}@detector"
    with pytest.raises(SystemExit) as ended:
        main(["run", str(tmp_path / "two.mp4"), "--model", str(model), "--actions", action,
              "--jsonl", str(tmp_path / "two.jsonl")])  # fmt: skip
    assert ended.value.code == 0, capsys.readouterr().err
    records = [json.loads(line) for line in (tmp_path / "two.jsonl").read_text().splitlines()]
    verdicts = [(one["id"], one["verdicts"]["action"]) for record in records for one in record.get("objects", ())]
    found = {id_ for id_, verdict in verdicts if verdict.get("reason") != "NOT_MEASURED"}
    assert len(found) == 2


def test_what_is_no_head_takes_no_key_points(tmp_path: Path) -> None:
    clip_model(tmp_path / "clips", "NTCHW")
    with pytest.raises(EdgevidError, match="detector"):
        load_recognizer(tmp_path / "clips", inside="detector")
