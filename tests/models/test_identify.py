"""The decoder that fits: of constructed models of each family, and of real ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx_models import constant_model, onnx

from edgevid.detect.detector import Detector
from edgevid.errors import InputError
from edgevid.models.draft import inspect, write_draft
from edgevid.models.hub import recipes
from edgevid.runtime.recipe import Recipe, read_recipe
from edgevid.types import Frame

INT64 = 7
S = 64  # 64x64: 64 + 16 + 4 = 84 cells of strides 8, 16, 32
ULTRALYTICS = {
    "author": "Ultralytics",
    "description": "Ultralytics YOLO11n model",
    "stride": "32",
    "imgsz": "[64, 64]",
    "names": "{0: 'person', 1: 'van', 2: 'bus'}",
}


def zeros(*shape: int) -> np.ndarray:
    return np.zeros(shape, np.float32)


@pytest.mark.parametrize(
    ("outputs", "more", "kind", "expected"),
    [
        ({"o": zeros(1, 7, 84)}, {"metadata": ULTRALYTICS}, "yolo", {"layout": "columns", "nms_iou": 0.7}),
        ({"o": zeros(1, 84, 7)}, {"metadata": ULTRALYTICS}, "yolo", {"layout": "rows", "objectness": False}),
        ({"o": zeros(1, 252, 85)}, {}, "yolo", {"layout": "rows", "objectness": True}),
        ({"o": zeros(1, 300, 6)}, {"metadata": ULTRALYTICS}, "end-to-end", {"nms_iou": None}),
        (
            {"o": zeros(1, 300, 6)},
            {"metadata": {**ULTRALYTICS, "head": "RTDETRDecoder"}},
            "end-to-end",
            {"box": "cxcywh", "normalized": True},
        ),
        ({"o": zeros(1, 300, 44)}, {"metadata": {**ULTRALYTICS, "names": ""}}, "yolo", {"normalized": True}),
        ({"o": zeros(1, 84, 85)}, {}, "yolox", {"strides": (8, 16, 32)}),
        (
            {
                f"{part}_{stride}": zeros(1, (64 // stride) ** 2, last)
                for stride in (8, 16, 32)
                for part, last in (("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10))
            },
            {},
            "yunet",
            {"keypoints": 5, "keypoint_values": 2},
        ),
        ({"o": zeros(1, 85, 112)}, {}, "dfl", {"strides": (8, 16, 32, 64), "offset": 0.0}),
        ({"o": zeros(1, 85, 4, 4)}, {}, "fastestdet", {}),
        (
            {"logits": zeros(1, 300, 80), "pred_boxes": zeros(1, 300, 4)},
            {},
            "boxes-scores",
            {"normalized": True, "logits": True},
        ),
        (
            {"labels": np.zeros((1, 300), np.int64), "boxes": zeros(1, 300, 4), "scores": zeros(1, 300)},
            {"further": {"orig_target_sizes": (INT64, (1, 2))}},
            "boxes-scores-labels",
            {},
        ),
        (
            {f"{k}{s}": zeros(1, (S // s) ** 2, n) for k, n in (("c", 80), ("d", 32)) for s in (8, 16, 32)},
            {},
            "dfl",
            {"strides": (8, 16, 32), "offset": 0.5},
        ),
    ],
)
def test_each_family_is_recognized_and_its_draft_runs(
    tmp_path: Path, outputs: dict[str, np.ndarray], more: dict[str, Any], kind: str, expected: dict[str, Any]
) -> None:
    path = constant_model(tmp_path / "Some Model.onnx", outputs, image=(1, 3, S, S), **more)
    report = inspect(path)
    assert report.guess is not None
    assert report.guess.decode.kind == kind
    for key, value in expected.items():
        assert getattr(report.guess.decode, key) == value, key
    draft = read_recipe(write_draft(report))
    with pytest.raises(InputError, match="a recipe already"):
        write_draft(report)  # it may have been edited
    write_draft(report, replace=True)
    assert draft.decode == report.guess.decode
    assert draft.name == "some-model"
    detector = Detector.load(path, device="cpu", threads=1)
    assert detector.recipe.path == path.with_suffix(".toml")
    assert len(detector.detect([Frame(np.zeros((40, 80, 3), np.uint8), 0.0, 0)])[0]) == 0


def test_the_metadata_of_ultralytics_gives_names_and_size(tmp_path: Path) -> None:
    path = constant_model(
        tmp_path / "m.onnx", {"output0": zeros(1, 7, 84)}, image=(1, 3, "height", "width"), metadata=ULTRALYTICS
    )
    recipe = inspect(path).recipe
    assert recipe is not None
    assert recipe.names == ("person", "van", "bus")
    assert recipe.input is not None
    spec = recipe.input
    assert (spec.width, spec.height, spec.color, spec.resize, spec.std) == (64, 64, "RGB", "letterbox", (255.0,) * 3)


@pytest.mark.parametrize(
    ("file", "family", "color"),
    [
        ("yolox_nano_416", "YOLOX", "BGR"),
        ("nanodet_m_320", "NanoDet", "BGR"),
        ("picodet_s_416_coco", "PicoDet", "RGB"),
        ("fastestdet_352", "FastestDet", "BGR"),
    ],
)
def test_real_models_are_recognized(shared_data: Path, tmp_path: Path, file: str, family: str, color: str) -> None:
    report = inspect(shared_data / "models" / f"{file}.onnx")
    assert report.guess is not None
    assert family in report.guess.family
    drafted, ours = read_recipe(write_draft(report, tmp_path / "draft.toml")), known_recipe(file)
    assert drafted.input == ours.input
    assert drafted.outputs == ours.outputs
    assert drafted.input is not None
    assert drafted.input.color == color


def known_recipe(file: str) -> Recipe:
    """The recipe of this file in engines/."""
    name = file.removesuffix("_coco").replace("_", "-")
    return next(r for r in recipes().values() if r.name.removesuffix("-352") == name.removesuffix("-352"))


def test_onnx_is_not_needed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = constant_model(tmp_path / "m.onnx", {"o": zeros(1, 7, 84)}, image=(1, 3, S, S))
    assert onnx is not None
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    assert inspect(path).guess is not None
