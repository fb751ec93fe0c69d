"""Conversion from and to supervision.Detections, with stand-ins where that package is not installed."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy as np
import pytest
from supervision_samples import TheirDetections

from edgevid.errors import InputError
from edgevid.output import from_supervision, to_supervision
from edgevid.types import Detections, Result, Tracks

BOXES = [[0.0, 0.0, 4.0, 8.0], [10.0, 10.0, 20.0, 30.0]]


def test_boxes_scores_and_labels_are_taken() -> None:
    theirs = SimpleNamespace(xyxy=np.array(BOXES), confidence=np.array([0.5, 0.9]), class_id=np.array([2, 0]))
    detections = from_supervision(theirs)
    assert isinstance(detections, Detections)
    assert detections.boxes.tolist() == BOXES
    assert (detections.scores.dtype, detections.labels.dtype) == (np.float32, np.int32)
    assert detections.scores.tolist() == [0.5, np.float32(0.9)]
    assert detections.labels.tolist() == [2, 0]


def test_a_missing_confidence_is_1_and_a_missing_class_is_0() -> None:
    detections = from_supervision(SimpleNamespace(xyxy=np.array(BOXES), confidence=None, class_id=None))
    assert detections.scores.tolist() == [1.0, 1.0]
    assert detections.labels.tolist() == [0, 0]


def test_nothing_gives_an_empty_table() -> None:
    empty = SimpleNamespace(xyxy=np.empty((0, 4)), confidence=np.empty(0), class_id=np.empty(0, int))
    assert len(from_supervision(empty)) == 0


def test_an_object_without_boxes_is_rejected() -> None:
    with pytest.raises(InputError, match=r"expected supervision\.Detections with xyxy, got list"):
        from_supervision([1, 2])


def test_supervision_gets_the_tracks(monkeypatch: pytest.MonkeyPatch) -> None:
    """`supervision` itself where it is installed; else a module whose Detections keep what they are given."""
    monkeypatch.setitem(sys.modules, "supervision", SimpleNamespace(Detections=TheirDetections))
    tracks = Tracks.of(
        ids=[1, 2], boxes=BOXES, scores=[0.5, 0.9], labels=[0, 3], match=[0, 1], age=[1, 1], unseen=[0, 0]
    )
    names = {"class": ("person",)}
    found = to_supervision(Result(0, 0.0, (64, 48), Detections.empty(), tracks, names=names))
    assert found.tracker_id.tolist() == [1, 2]
    assert found.data["class_name"].tolist() == ["person", "3"]
    assert from_supervision(found).boxes.tolist() == BOXES
