"""Agreement, drift and speed of a model against its reference, worked out by hand."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from onnx_models import constant_model, node, onnx, save
from tiny_detector import CAR, PERSON, RECIPE, compare_folder, model

from edgevid.errors import InputError, ModelError
from edgevid.models.hub import resolve_model
from edgevid.optimize.quantize.evaluator import DriftMeter, Evaluator, median_cpu_ms, speedup
from edgevid.runtime.recipe import LocalRecipe
from edgevid.types import Frame


def plain(*levels: int) -> list[Frame]:
    return [Frame(np.full((32, 32, 3), level, np.uint8), float(n), n) for n, level in enumerate(levels)]


@pytest.fixture
def tiny(tmp_path: Path) -> LocalRecipe:
    """A detector of a person and a car."""
    return resolve_model(compare_folder(tmp_path) / "tiny.toml")


def test_agreement_is_that_of_compare(tiny: LocalRecipe) -> None:
    """The candidate lacks the car: one match of two boxes and one, 2 * 1 / (2 + 1), in each frame."""
    evaluator = Evaluator(tiny, plain(0, 100), tiny.local)
    found = evaluator.agreement(tiny.local.with_name("worse.onnx"))
    assert (found.agreement, found.total, found.unit) == (pytest.approx(2 / 3), 6.0, "boxes")
    same = evaluator.agreement(onnx.load(tiny.local), disable_optimizations=True)
    assert (same.agreement, same.total) == (1.0, 8.0)  # nothing is left of the evaluation before


def test_a_task_without_independent_frames_is_an_error(tiny: LocalRecipe) -> None:
    with pytest.raises(InputError, match="expected one that takes images"):
        Evaluator(dataclasses.replace(tiny, task="head"), plain(0), tiny.local)


def test_drift_of_boxes_by_hand(tiny: LocalRecipe) -> None:
    """The person moves by 2 of 10 pixels (IoU 8/12) and loses 0.2; the car of 0.9 is missed."""
    moved = model(tiny.local.with_name("moved.onnx"), (10, 8, 10, 10, 0.7, 0))
    meter = DriftMeter(tiny, plain(0, 100), tiny.local)
    assert meter.drift(moved) == pytest.approx((0.2 + (1 - 8 / 12) / 2 + 0.9 / 2) / 2, abs=1e-6)
    assert meter.drift(tiny.local) == 0.0


def test_a_missed_box_drifts_by_half_its_own_score(tiny: LocalRecipe) -> None:
    """The person of 0.9 is missed, the car of 0.6 is the candidate's first box."""
    both = model(tiny.local.with_name("both.onnx"), PERSON, (*CAR[:5], 0.6))
    car = model(tiny.local.with_name("car.onnx"), (*CAR[:5], 0.6))
    assert DriftMeter(tiny, plain(0), both).drift(car) == pytest.approx(0.9 / 2 / 2, abs=1e-6)
    assert DriftMeter(tiny, plain(0), car).drift(both) == pytest.approx(0.9 / 2 / 1, abs=1e-6)


def test_boxes_down_to_half_the_threshold_drift(tiny: LocalRecipe) -> None:
    """0.3 is below the threshold of 0.5 and above its half; 0.2 is below both and no box."""
    meter = DriftMeter(tiny, plain(0), tiny.local)
    for score, drift in ((0.3, 0.6 / 2), (0.2, 0.9 / 2 / 2)):
        fainter = model(tiny.local.with_name("fainter.onnx"), PERSON, (*CAR[:5], score))
        assert meter.drift(fainter) == pytest.approx(drift, abs=1e-6)


def test_drift_of_other_tasks_is_the_largest_noise_to_signal_ratio(net: LocalRecipe, tmp_path: Path) -> None:
    """(3, 4) against (3, 4.5): 0.25 of a power of 25. The other output, 2.8 against 2.9, has less."""

    def answering(name: str, *values: float) -> Path:
        given = {"y": np.array([values], np.float32), "z": np.array([[2 + values[1] / 5]], np.float32)}
        return constant_model(tmp_path / name, given, image=(1, 3, 8, 8), name="x")

    one, two = answering("one.onnx", 3, 4), answering("two.onnx", 3, 4.5)
    meter = DriftMeter(dataclasses.replace(net, names=("a", "b")), plain(0, 1), one)
    assert meter.drift(two) == pytest.approx(0.01)
    assert meter.drift(one) == 0.0


def test_the_hardest_frames_hold_the_most_boxes(tmp_path: Path) -> None:
    """Three boxes of scores 1, 0.5 and 0.3 times the brightness; from 0.25 they count."""
    slope, constant = np.zeros((1, 3, 6), np.float32), np.zeros((1, 3, 6), np.float32)
    constant[0, :, :4] = [[6, 6, 8, 8], [16, 16, 8, 8], [26, 26, 8, 8]]
    slope[0, :, 4] = [1, 0.5, 0.3]
    nodes = [
        node("ReduceMean", "images", "m", axes=[1, 2, 3], keepdims=0), node("Mul", "m slope", "scores"),
        node("Add", "scores constant", "output"),
    ]  # fmt: skip
    inputs = {"images": ("float32", (1, 3, 32, 32))}
    save(tmp_path / "tiny.onnx", nodes, inputs, {"output": (1, 3, 6)}, slope=slope, constant=constant)
    (tmp_path / "tiny.toml").write_text(RECIPE)
    recipe = resolve_model(tmp_path / "tiny.toml")
    frames = plain(76, 255, 0, 153)  # 1, 3, 0 and 2 boxes
    assert [f.index for f in DriftMeter(recipe, frames, recipe.local, 3).frames] == [1, 3, 0]
    assert len(DriftMeter(recipe, frames, recipe.local, 9).frames) == 4


def test_all_frames_of_another_task_are_taken(net: LocalRecipe) -> None:
    frames = plain(1, 2, 3)
    assert DriftMeter(net, frames, net.local, 2).frames == frames


def test_the_speedup_is_a_ratio_of_two_files_that_run(net: LocalRecipe, tmp_path: Path) -> None:
    assert speedup(net, net.local) > 0
    (tmp_path / "broken.onnx").write_bytes(b"nothing")
    with pytest.raises(ModelError, match="expected an ONNX model"):
        median_cpu_ms(net, [net.local, tmp_path / "broken.onnx"], plain(0))
