"""The parity gate: boxes paired by hand-made cases, engines that agree, and everything that is rejected."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from compare_samples import CAR, PERSON, always, engine, frames, recipe, rows
from fake_engine import FakeEngine

from edgevid.errors import InputError, ParityError
from edgevid.models.hub import resolve_model
from edgevid.optimize.agreement import FLOORS, percent
from edgevid.optimize.compare.gate import ParityReport, compare_engines
from edgevid.optimize.frames import read_frames
from edgevid.runtime import load_engine
from edgevid.runtime.recipe import Decode
from edgevid.types import Array


class TestDetectors:
    def test_an_engine_agrees_with_itself(self) -> None:
        report = compare_engines(always(PERSON, CAR), always(PERSON, CAR), recipe(), frames(3))
        assert report.passed
        assert report.agreement == 1.0
        assert (report.frames, report.task.count) == (3, 12)
        (output,) = report.outputs
        assert (output.max_abs, output.mean_abs, output.min_cosine) == (0.0, 0.0, 1.0)
        assert report.raise_if_failed() is report
        assert "agrees with reference on 100.0 % of 12 boxes at IoU 0.5 over 3 frames" in report.summary()

    def test_the_worst_frames_come_first(self) -> None:
        def candidate(image: Array) -> Array:
            return rows() if image.max() == 2 else rows(PERSON) if image.max() == 1 else rows(PERSON, CAR)

        report = compare_engines(
            always(PERSON, CAR), engine(candidate), recipe(), frames(4), min_agreement=0.0, keep_worst=3
        )
        assert [pair.frame.name for pair in report.worst] == ["frame 3", "frame 2", "frame 1"]
        assert report.worst[0].difference.startswith("2 missed, 0 extra")
        assert report.worst[0].frame.frame.image[0, 0, 0] == 2

    def test_the_report_is_json(self) -> None:
        report = compare_engines(always(PERSON, CAR), always(PERSON), recipe(), frames(2), precision="int8")
        back = json.loads(json.dumps(report.as_dict()))
        assert back["agreement"] == pytest.approx(2 / 3, abs=1e-6)
        assert (back["floor"], back["passed"]) == (FLOORS["int8"], False)
        assert back["outputs"][0]["name"] == "output"
        assert back["worst"][0]["candidate"] == [[6.0, 6.0, 26.0, 26.0, 0.9, 0.0]]

    def test_little_evidence_is_noted(self) -> None:
        report = compare_engines(always(PERSON), always(PERSON), recipe(), frames())
        assert any("little evidence" in note for note in report.notes)
        enough = compare_engines(always(PERSON, CAR), always(PERSON, CAR), recipe(), frames(50))
        assert enough.notes == ()


class TestRejections:
    def test_below_the_floor_is_rejected_with_what_to_do(self) -> None:
        report = compare_engines(always(PERSON, CAR), always(PERSON), recipe(), frames(), names=("fp32", "int8"))
        assert not report.passed
        with pytest.raises(ParityError, match=r"agrees with fp32 on 66\.6 % of 3 boxes.*below the floor"):
            report.raise_if_failed()
        assert "Worst: frame 1 (1 missed, 0 extra, 1 matched" in report.summary()

    def test_overflow_is_rejected_whatever_the_boxes_say(self) -> None:
        overflowed = rows(PERSON)
        overflowed[0, 7, 0] = np.inf
        report = compare_engines(always(PERSON), engine(lambda _: overflowed), recipe(), frames(2))
        assert report.agreement == 1.0
        assert report.non_finite == 2
        assert "2 NaN or infinite values" in report.summary()
        with pytest.raises(ParityError):
            report.raise_if_failed()

    def test_nothing_found_verifies_nothing(self) -> None:
        report = compare_engines(always(), always(), recipe(), frames(2))
        assert not report.passed
        assert "is unverified: neither it nor reference found any boxes in 2 frames" in report.summary()

    def test_no_frames(self) -> None:
        with pytest.raises(InputError, match="at least one real frame"):
            compare_engines(always(PERSON), always(PERSON), recipe(), [])

    def test_other_outputs(self) -> None:
        other = engine(lambda _: rows(PERSON), name="boxes")
        with pytest.raises(InputError, match=r"same outputs.*output: float32.*boxes: float32"):
            compare_engines(always(PERSON), other, recipe(), frames())
        wide = engine(lambda _: np.zeros((1, 8, 7), np.float32), shape=(1, 8, 7))
        with pytest.raises(InputError, match="same outputs"):
            compare_engines(always(PERSON), wide, recipe(), frames())

    def test_other_classes(self) -> None:
        other = dataclasses.replace(recipe(), names=("car", "person"))
        with pytest.raises(InputError, match="same classes"):
            compare_engines(always(PERSON), always(PERSON), recipe(), frames(), candidate_recipe=other)

    def test_another_model_of_the_same_classes_is_compared_by_its_boxes(self) -> None:
        columns = dataclasses.replace(
            recipe(), decode=Decode("yolo", layout="columns", score_threshold=0.5, nms_iou=0.5)
        )
        other = engine(lambda _: rows(PERSON).transpose(0, 2, 1).copy(), shape=(1, 6, 8), name="else")
        report = compare_engines(always(PERSON), other, recipe(), frames(), candidate_recipe=columns)
        assert report.agreement == 1.0
        assert report.outputs == ()

    @pytest.mark.parametrize("given", [{"min_agreement": 1.5}, {"min_agreement": -0.1}, {"precision": "int4"}])
    def test_values_out_of_range(self, given: Mapping[str, Any]) -> None:
        with pytest.raises(InputError, match="expected"):
            compare_engines(always(PERSON), always(PERSON), recipe(), frames(), **given)


def test_a_share_is_never_rounded_up_to_its_floor() -> None:
    assert percent(0.9699999) == "96.9 %"
    assert percent(2 / 3) == "66.6 %"


@pytest.fixture
def photos(shared_data: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("EDGEVID_MODELS_MIRROR", str(shared_data))
    monkeypatch.setenv("EDGEVID_CACHE", str(tmp_path))
    return shared_data / "images" / "coco_val2017_100"


def real(name: str, photos: Path, count: int, **more: Any) -> ParityReport:
    how = resolve_model(name)
    with load_engine(how, device="cpu", threads=1) as a, load_engine(how, device="cpu", threads=2) as b:
        return compare_engines(a, b, how, read_frames(photos, count), **more)


def test_a_real_detector_agrees_with_itself_on_photos(photos: Path) -> None:
    report = real("picodet-s-320", photos, 8)
    assert report.passed
    assert report.agreement == 1.0
    assert report.task.count >= 20
    assert len(report.outputs) == 8
    assert all(output.cosine > 0.99999 for output in report.outputs)


def test_a_real_detector_that_is_less_sure_loses_only_what_crosses_the_limit(photos: Path) -> None:
    how = resolve_model("picodet-s-320")
    with load_engine(how, device="cpu", threads=1) as a, load_engine(how, device="cpu", threads=1) as b:
        classes = [spec.name for spec in b.outputs if spec.shape[-1] == len(how.names)]
        assert len(classes) == 4

        def fainter(inputs: Mapping[str, Array]) -> dict[str, Array]:
            found = b.run(inputs)
            return {name: v * np.float32(0.9) if name in classes else v for name, v in found.items()}

        candidate = FakeEngine(b.inputs, b.outputs, fainter)
        report = compare_engines(a, candidate, how, read_frames(photos, 6), precision="int8")
    details = report.task.details
    lost = details["boxes of the reference"] - details["matched at IoU 0.5"]
    assert lost > 0
    assert details["threshold crossings"] == lost
    assert details["precision of the candidate's boxes"] == 1.0
    assert details["mean IoU of matches"] > 0.999
    assert -0.1 < details["score drift, mean"] < -0.04
    assert not report.passed


@pytest.mark.parametrize("name", ["emotion-mini-xception-64", "movenet-lightning-192"])
def test_real_models_of_other_tasks_agree_with_themselves(photos: Path, name: str) -> None:
    report = real(name, photos, 3)
    assert report.agreement == 1.0
    assert report.frames == 3
