"""Habits of other libraries are answered with the line to write here."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from result_samples import sample_result

import edgevid
from edgevid.errors import EdgevidError, InputError
from edgevid.types import Detections
from edgevid.types.peers import Boxes, habits
from edgevid.video.live import LiveSource


def test_a_habit_is_answered_as_attribute_error_and_as_error_of_edgevid() -> None:
    result = sample_result()[1]
    assert not hasattr(result, "plot")
    with pytest.raises(EdgevidError, match=r"Result has no attribute 'plot': draw it: edgevid\.Overlay"):
        result.plot()  # type: ignore[attr-defined]


def test_a_result_is_not_taken_for_ultralytics_results_without_boxes() -> None:
    with pytest.raises(InputError, match=r"Result has no attribute 'boxes': use result\.tracks\.boxes"):
        hasattr(sample_result()[1], "boxes")


def test_a_subclass_has_the_habits_of_its_base_under_its_own_name() -> None:
    with pytest.raises(EdgevidError, match=r"^Tracker has no attribute 'update_with_tensors': use update"):
        edgevid.Tracker().update_with_tensors  # type: ignore[attr-defined]  # noqa: B018


def test_a_misspelling_is_answered_with_the_similar_name() -> None:
    with pytest.raises(EdgevidError, match="did you mean 'scores'"):
        Detections.empty().scors  # type: ignore[attr-defined]  # noqa: B018


def test_the_habits_of_the_package_name_what_to_use() -> None:
    with pytest.raises(EdgevidError, match=r"edgevid has no attribute 'YOLO': use Detector"):
        edgevid.YOLO  # noqa: B018
    assert not hasattr(edgevid, "__wrapped__")


def test_no_habit_hides_an_attribute_that_is_there() -> None:
    for owner, lines in habits().items():
        kinds = {"edgevid": edgevid, "Boxes": Boxes, "_Boxed": Detections, "Source": LiveSource,
                 "predict": edgevid.Detector, "tracker": edgevid.Tracker}  # fmt: skip
        assert not set(lines) & set(dir(kinds.get(owner) or getattr(edgevid, owner))), owner


def test_values_are_still_copied_and_pickled() -> None:
    found = Detections.of(boxes=[[0, 0, 4, 4]], scores=[0.5], labels=[1])
    for made in (copy.deepcopy(found), pickle.loads(pickle.dumps(found))):
        assert made.boxes.tolist() == found.boxes.tolist()


def test_boxes_are_an_array() -> None:
    boxes = np.array([[0, 0, 4, 4]], np.float32).view(Boxes)
    assert (boxes[:, 2] - boxes[:, 0]).tolist() == [4]
    with pytest.raises(EdgevidError, match=r"Boxes has no attribute 'xyxy': boxes is the \(N, 4\) array"):
        boxes.xyxy  # type: ignore[attr-defined]  # noqa: B018
