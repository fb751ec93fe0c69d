"""Tables check themselves at construction, and select rows without losing meaning."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest

from edgevid.errors import InputError
from edgevid.types import Clips, Detections, Reason, Scores, Speeds, Tracks, Verdicts


def three() -> Detections:
    return Detections.of(boxes=[[0, 0, 4, 4], [1, 1, 2, 2], [5, 5, 9, 9]], scores=[0.5, 0.6, 0.7], labels=[0, 1, 2])


def test_mask_index_and_slice_give_the_same_type() -> None:
    table = three()
    assert table[table.scores > 0.55].labels.tolist() == [1, 2]
    assert table[np.array([2, 0])].labels.tolist() == [2, 0]
    assert table[1:].labels.tolist() == [1, 2]
    assert table[-1].labels.tolist() == [2]
    assert isinstance(table[0], Detections)
    assert len(table[0]) == 1


def test_iterating_gives_named_rows() -> None:
    row = list(three())[1]
    assert row.box == (1, 1, 2, 2)
    assert (row.score, row.label) == (np.float32(0.6), 1)
    assert json.dumps([row.box, row.score, row.label]).startswith("[[1.0, 1.0, 2.0, 2.0], 0.6")


def test_a_row_holds_its_reason_and_arrays_only_where_sizes_are_free() -> None:
    verdicts = Verdicts.of(ids=[3], labels=[-1], confidence=[0.5], reason=[Reason.TOO_SMALL])
    (row,) = verdicts
    assert row.reason is Reason.TOO_SMALL
    assert json.dumps(row._asdict()) == '{"id": 3, "label": -1, "confidence": 0.5, "reason": 2}'
    clips = Clips.of(ids=[1], pixels=np.zeros((1, 2, 3, 4, 3)), times=[[0.0, 0.1]], boxes=np.zeros((1, 2, 4)))
    (clip,) = clips
    assert (clip.pixels.shape, clip.times.tolist(), clip.boxes.shape) == ((2, 3, 4, 3), [0.0, 0.1], (2, 4))


@pytest.mark.parametrize("table", [Detections, Tracks, Clips, Scores, Speeds, Verdicts])
def test_an_empty_table_is_empty_and_keeps_its_dtypes(table: type) -> None:
    empty = table.empty()
    assert len(empty) == 0
    assert list(empty) == []
    assert len(empty[np.zeros(0, bool)]) == 0


def test_of_converts_empty_lists_to_the_right_shape() -> None:
    empty = Detections.of(boxes=[], scores=[], labels=[])
    assert empty.boxes.shape == (0, 4)
    assert empty.labels.dtype == np.int32


@pytest.mark.parametrize(
    ("column", "value", "says"),
    [
        ("boxes", np.zeros((3, 4)), "expected float32"),
        ("boxes", np.zeros((3, 5), np.float32), r"got float32 \(3, 5\)"),
        ("boxes", [[0, 0, 1, 1]], "got list"),
        ("scores", np.zeros(2, np.float32), "expected 3 rows"),
    ],
)
def test_a_wrong_column_is_refused_with_expected_and_got(column: str, value: object, says: str) -> None:
    table = three()
    columns = {"boxes": table.boxes, "scores": table.scores, "labels": table.labels, column: value}
    with pytest.raises(InputError, match=says):
        Detections(**columns)  # type: ignore[arg-type]


def test_tables_are_frozen_and_survive_pickling() -> None:
    table = three()
    with pytest.raises(AttributeError):
        table.boxes = table.boxes  # type: ignore[misc]
    assert pickle.loads(pickle.dumps(table)).labels.tolist() == [0, 1, 2]


def test_columns_that_a_detector_does_not_give_exist_and_are_empty() -> None:
    table = three()
    assert (table.keypoints.shape, table.rotated.shape) == ((3, 0, 3), (3, 0))
    assert table.masks.tolist() == [None, None, None]
    assert table[1:].keypoints.shape == (2, 0, 3)
    assert Tracks.trusted(*(getattr(Tracks.empty(), n) for n in Tracks.__slots__[:7])).keypoints.shape == (0, 0, 3)


def test_optional_columns_are_checked_like_the_others() -> None:
    boxes, scores, labels = (getattr(three(), n) for n in ("boxes", "scores", "labels"))
    rotated = Detections(boxes, scores, labels, rotated=np.ones((3, 5), np.float32))
    assert rotated[2].rotated.tolist() == [[1.0] * 5]
    with pytest.raises(InputError, match="expected 3 rows as in 'boxes', got 2"):
        Detections(boxes, scores, labels, keypoints=np.zeros((2, 17, 3), np.float32))
    with pytest.raises(InputError, match=r"keypoints: expected float32 of shape \(N, any, 3,\)"):
        Detections(boxes, scores, labels, keypoints=np.zeros((3, 17, 2), np.float32))
    copy = pickle.loads(pickle.dumps(rotated))
    assert copy.rotated.tolist() == rotated.rotated.tolist()


def test_columns_given_twice_or_not_at_all_and_names_in_brackets_are_answered() -> None:
    box = [[0, 0, 4, 4]]
    with pytest.raises(InputError, match="given by two names; leave one out: xyxy, boxes"):
        Detections.of(xyxy=box, boxes=box, scores=[1], labels=[0])
    with pytest.raises(InputError, match="expected columns scores, labels too, got only xyxy"):
        Detections.of(xyxy=box)
    with pytest.raises(InputError, match=r"Detections\['class_name'\]: a mask.*attributes: boxes, scores"):
        Detections.empty()["class_name"]
