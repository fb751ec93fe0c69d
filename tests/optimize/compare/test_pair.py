"""The values of a comparison: classes, pairs of answers, and their JSON."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from compare_samples import frames

from edgevid.optimize.agreement import FramePair, TaskMetrics, TopClass
from edgevid.optimize.frames import NamedFrame
from edgevid.types import Detections

FRAME = NamedFrame("a.png", frames()[0])


def pair(reference: Any = None, candidate: Any = None, *, agreeing: float = 1.0, drift: float = 0.0) -> FramePair:
    return FramePair(FRAME, agreeing, 3.0, drift, "text", reference, candidate)


def test_the_most_probable_class() -> None:
    found = TopClass.of(np.array([0.2, 0.7, 0.1]), ("walk", "run", "fall"))
    assert (found.label, found.name, found.probability) == (1, "run", 0.7)


def test_an_answer_that_is_not_finite_has_no_class() -> None:
    for wrong in (np.nan, np.inf):
        found = TopClass.of(np.array([0.2, wrong]), ("walk", "run"))
        assert (found.label, found.name) == (-1, "not finite")
        assert np.isnan(found.probability)


def test_the_worst_frame_disagrees_most_then_drifts_most() -> None:
    agreed, drifted, worst = pair(agreeing=3.0, drift=0.9), pair(drift=0.2), pair(agreeing=0.0)
    assert sorted([drifted, worst, agreed], key=lambda p: p.severity) == [agreed, drifted, worst]
    assert pair(drift=0.1).severity < drifted.severity


def test_boxes_and_classes_of_a_pair_are_json() -> None:
    boxes = Detections.of(boxes=[[1.04, 2, 3, 4.06]], scores=[0.90004], labels=[1])
    values = json.loads(json.dumps(pair(boxes, Detections.empty(), agreeing=1.00004, drift=0.25).as_dict()))
    assert values == {
        "frame": "a.png", "differing": 2.0, "of": 3.0, "drift": 0.25, "difference": "text",
        "reference": [[1.0, 2.0, 3.0, 4.1, 0.9, 1.0]], "candidate": [],
    }  # fmt: skip
    walk, run = TopClass(0, "walk", 0.6), TopClass(1, "run", 0.7)
    assert (pair(walk, run).as_dict()["reference"], pair(walk, run).as_dict()["candidate"]) == ("walk", "run")
    assert "reference" not in pair().as_dict()  # features are no text


def test_metrics_are_json_with_their_details() -> None:
    made = TaskMetrics("detect", 2 / 3, 12.0, 12, "boxes", " at IoU 0.5", "2 M / (A + B)", {"n": 3, "x": 1 / 3})
    assert json.loads(json.dumps(made.as_dict())) == {
        "task": "detect", "agreement": 0.666667, "definition": "2 M / (A + B)", "compared": 12,
        "unit": "boxes", "n": 3, "x": 0.333333,
    }  # fmt: skip
