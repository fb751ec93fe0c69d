"""One agreement and one floor for quantize, build and compare."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx_models import constant_model, node, save

from edgevid.errors import InputError, ParityError
from edgevid.optimize.agreement import FLOORS, Floor, floor_of, match_boxes
from edgevid.optimize.builder.options import Verification, Verifier
from edgevid.optimize.compare.gate import compare_engines
from edgevid.optimize.quantize.evaluator import Evaluator
from edgevid.optimize.quantize.quantizer import quantize
from edgevid.runtime.engine import InputSpec
from edgevid.runtime.onnxruntime.engine import OrtEngine
from edgevid.runtime.recipe import AccuracyFloor, Decode, LocalRecipe
from edgevid.types import Detections, Frame
from edgevid.video.writer import VideoWriter

THRESHOLD = 0.5
PERSON = (8.0, 8.0, 10.0, 10.0, 0.9)


def boxes(*rows: tuple[float, float, float, float, float, int]) -> Detections:
    return Detections.of(
        boxes=[row[:4] for row in rows], scores=[row[4] for row in rows], labels=[row[5] for row in rows]
    )


def recipe(folder: Path, **precisions: AccuracyFloor) -> LocalRecipe:
    """Rows of cx cy w h and one class score, in pixels of a 32x32 input."""
    return LocalRecipe(
        "tiny",
        "detect",
        "tiny.onnx",
        folder,
        input=InputSpec(32, 32, std=(1.0, 1.0, 1.0)),
        decode=Decode("yolo", layout="rows", score_threshold=THRESHOLD, nms_iou=0.5),
        names=("person",),
        precisions=precisions,
        local=folder / "tiny.onnx",
    )


def model(path: Path, *rows: tuple[float, ...]) -> Path:
    output = np.zeros((1, 8, 5), np.float32)
    output[0, : len(rows)] = rows
    return constant_model(path, {"output": output})


def convolution(path: Path) -> Path:
    """The same answer from a convolution with zero weights, whose bias is one box: a layer to quantize."""
    bias = np.zeros(40, np.float32)
    bias[:5] = PERSON
    nodes = [node("Conv", "images w b", "c", strides=[32, 32]), node("Reshape", "c shape", "output")]
    weights = {"w": np.zeros((40, 3, 32, 32), np.float32), "b": bias, "shape": np.array([1, 8, 5])}
    save(path, nodes, {"images": ("float32", (1, 3, 32, 32))}, {"output": (1, 8, 5)}, **weights)
    return path


def frames(count: int = 2) -> list[Frame]:
    return [Frame(np.full((32, 32, 3), n, np.uint8), float(n), n) for n in range(count)]


class TestBoxes:
    def test_the_greatest_overlap_matches_first_and_each_box_once(self) -> None:
        a = boxes((0, 0, 10, 10, 0.9, 0), (0, 0, 10, 8, 0.8, 0))
        b = boxes((0, 0, 10, 9, 0.9, 0))  # IoU 0.9 with the first, 8/9 with the second
        found, ious = match_boxes(a, b)
        assert found.tolist() == [[0, 0]]
        assert ious.tolist() == pytest.approx([0.9])

    def test_another_class_does_not_match(self) -> None:
        a, b = boxes((0, 0, 10, 10, 0.9, 0)), boxes((0, 0, 10, 10, 0.9, 1))
        assert len(match_boxes(a, b)[0]) == 0

    def test_exactly_the_minimum_iou_matches(self) -> None:
        a, b = boxes((0, 0, 10, 10, 0.9, 0)), boxes((0, 0, 10, 5, 0.9, 0))
        assert len(match_boxes(a, b, 0.5)[0]) == 1
        assert len(match_boxes(a, b, 0.51)[0]) == 0

    def test_empty_tables_do_not_match(self) -> None:
        found, ious = match_boxes(Detections.empty(), boxes((0, 0, 10, 10, 0.9, 0)))
        assert found.shape == (0, 2)
        assert ious.shape == (0,)


def test_a_box_at_exactly_the_threshold_counts_the_same_in_quantize_and_compare(tmp_path: Path) -> None:
    how = recipe(tmp_path)
    first = model(tmp_path / "tiny.onnx", PERSON, (24.0, 24.0, 10.0, 10.0, THRESHOLD))
    second = model(tmp_path / "other.onnx", PERSON)
    by_quantize = Evaluator(how, frames(), first).agreement(second)
    with OrtEngine(first, device="cpu") as a, OrtEngine(second, device="cpu") as b:
        by_compare = compare_engines(a, b, how, frames())
    assert by_quantize.agreement == by_compare.agreement == 1.0
    assert by_quantize.count == by_compare.task.count == 4  # the second box of the first model never counts


def test_who_sets_the_floor(tmp_path: Path) -> None:
    how = recipe(tmp_path, int8=AccuracyFloor(0.95, "agreement"), fp16=AccuracyFloor(0.7, "AP50 of person"))
    assert floor_of(how, "int8") == Floor(0.95, "the recipe of tiny")
    assert floor_of(how, "int8", 0.9) == Floor(0.9, "--min-agreement")
    assert floor_of(how, "fp16") == Floor(FLOORS["fp16"], "the default for fp16")  # AP50 needs labels
    with pytest.raises(InputError, match=r"--min-agreement: expected 0 to 1 \(0\.97 is 97 %\), got 97"):
        floor_of(how, "int8", 97)
    with pytest.raises(InputError, match="expected one of fp32, fp16, int8, got 'int4'"):
        floor_of(how, "int4")


def test_the_recipes_floor_holds_in_quantize_build_and_compare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """0.6 is far below every default, and 2/3 of the boxes agree: each passes by the recipe's floor alone."""
    monkeypatch.chdir(tmp_path)
    floor = AccuracyFloor(0.6, "agreement")
    how = recipe(tmp_path, int8=floor)
    first = model(tmp_path / "tiny.onnx", PERSON, (24.0, 24.0, 10.0, 10.0, 0.9))
    second = model(tmp_path / "tiny.int8-trt.onnx", PERSON)
    with OrtEngine(first, device="cpu") as a, OrtEngine(second, device="cpu") as b:
        report = compare_engines(a, b, how, frames(), precision="int8")
    assert (report.floor.value, report.passed) == (0.6, True)

    clip = tmp_path / "clip.mp4"
    with VideoWriter(clip, fps=10) as writer:
        for frame in frames(4):
            writer.write(frame.image, frame.time)
    verified = Verifier(first, how, "int8", Verification(clip)).graph(second, tmp_path / "e", lambda _: None)
    assert isinstance(verified, dict)
    assert (verified["floor"], verified["passed"]) == (0.6, True)
    with pytest.raises(ParityError, match="floor 97"):
        Verifier(first, recipe(tmp_path), "int8", Verification(clip)).graph(second, tmp_path / "e", print)

    convolution(tmp_path / "tiny.onnx")
    quantized = quantize(how, clip, out=tmp_path, save_ranges=tmp_path / "r.toml")
    assert quantized.floor == Floor(0.6, "the recipe of tiny")
