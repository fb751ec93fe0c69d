"""A deployed recognizer evaluated on labeled videos and skeletons."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from recognizer_models import clip_model, feature_model, window_head

from edgevid.actions import load_recognizer
from edgevid.errors import InputError
from edgevid.evaluate.actions.data import Corpus, Example
from edgevid.evaluate.recognition import check_classes, evaluate_crops, evaluate_rows, read_rows, score
from edgevid.runtime import Recipe
from edgevid.video.writer import VideoWriter


def video(path: Path, level: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with VideoWriter(path, fps=8.0) as writer:
        for i in range(8):
            writer.write(np.full((48, 64, 3), level, np.uint8), i / 8)


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    """Two bright videos, and two that are labeled dark, one of them bright as well."""
    levels = {"bright/a.mp4": 250, "bright/b.mp4": 240, "dark/c.mp4": 10, "dark/d.mp4": 245}
    for name, level in levels.items():
        video(tmp_path / "data" / name, level)
    return tmp_path / "data"


def test_a_model_on_labeled_videos(videos: Path, tmp_path: Path) -> None:
    found = score(clip_model(tmp_path / "model", "NTCHW"), videos)
    assert found.report.names == ("bright", "dark")
    assert found.report.confusion.tolist() == [[2, 0], [1, 1]]
    assert (found.report.accuracy, found.abstained) == (0.75, 0)


def test_a_video_without_scores_counts_as_abstained(tmp_path: Path) -> None:
    recognizer = load_recognizer(clip_model(tmp_path / "model", "NTCHW"))
    nothing = (np.zeros((0, 8, 8, 3), np.uint8), np.zeros((0, 4), np.float32), 0)
    bright = (np.full((4, 8, 8, 3), 255, np.uint8), np.zeros((4, 4), np.float32), 0)
    found = evaluate_crops(recognizer, [nothing, bright])
    assert (found.abstained, found.report.accuracy) == (1, 1.0)


def rows(*levels: float, labels: list[int] | None = None, name: str = "a") -> Example:
    raw = np.repeat(np.array(levels, np.float32)[:, None], 3, axis=1)
    return Example(name, name, raw, np.array(labels if labels is not None else [0] * len(levels)))


def test_the_last_scores_of_rows_count(tmp_path: Path) -> None:
    """The head says bright where the mean of the last four rows is above 0.5."""
    feature_model(tmp_path / "features")
    head = window_head(tmp_path / "head", "window = 4\nstride = 1\n")
    examples = (
        rows(0, 0, 0, 0, 1, 1, 1, 1, name="a"),
        rows(1, 1, 1, 1, 0, 0, 0, 0, labels=[1] * 8, name="b"),
        rows(1, 1, 1, 1, 1, 1, 1, 1, labels=[1] * 8, name="c"),
    )
    found = evaluate_rows(head, Corpus(("bright", "dark"), examples, 8.0))
    assert found.report.confusion.tolist() == [[1, 0], [1, 1]]
    assert (found.abstained, found.segments) == (0, None)


def test_steps_of_different_labels_are_scored_as_segments(tmp_path: Path) -> None:
    """After a rise from 0.2 to 1 means of four are 0.4, 0.6, 0.8, of which bright has 0.12, 0.88, 1.00.

    Averaged over the windows by their overlap (1, 3/4, 1/2, 1/4) that is 0.05, 0.39, 0.69: two steps late.
    A fall from 1 to 0.2 passes 0.8, 0.6, 0.4, 0.2, averages 1.00, 0.95, 0.61, 0.31: three steps late.
    """
    feature_model(tmp_path / "features")
    head = window_head(tmp_path / "head", "window = 4\nstride = 1\n")
    rise = rows(*[0.2] * 8, *[1] * 8, labels=[1] * 8 + [0] * 8)
    fall = rows(*[1] * 8, *[0.2] * 8, labels=[0] * 8 + [1] * 8, name="b")
    found = evaluate_rows(head, Corpus(("bright", "dark"), (rise, fall), 8.0))
    assert found.report.confusion.tolist() == [[14, 2], [3, 13]]
    assert found.segments is not None
    assert (found.segments.accuracy, found.segments.edit) == (pytest.approx(100 * 27 / 32), 100)


def test_other_classes_are_an_error(videos: Path, tmp_path: Path) -> None:
    check_classes(("a", "b"), ("b",))
    with pytest.raises(InputError, match=r"expected classes of the model, \['a'\], got also \['b', 'c'\]"):
        check_classes(("a",), ("c", "a", "b"))
    (videos / "dark").rename(videos / "dim")
    with pytest.raises(InputError, match="got also"):
        score(clip_model(tmp_path / "model", "NTCHW"), videos)


def test_skeletons_are_read_from_a_file_or_the_held_out_part_of_a_folder(tmp_path: Path) -> None:
    for part, count in (("train_1", 3), ("test_1", 2)):
        offsets = np.arange(count + 1) * 6
        joints = np.ones((offsets[-1], 15, 2), np.float32)
        label = np.array(["run", "walk", "run"][:count])
        np.savez(tmp_path / f"GT_{part}.npz", joints=joints, offsets=offsets, label=label)
    recipe = Recipe("head", "head", "head.onnx", tmp_path, names=("run", "walk"))
    assert [len(read_rows(p, recipe)) for p in (tmp_path, tmp_path / "GT_train_1.npz")] == [2, 3]
    assert read_rows(tmp_path / "list.csv", recipe) is None
