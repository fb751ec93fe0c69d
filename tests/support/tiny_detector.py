"""Detectors of 32 x 32 images as files, with a recipe and photos: for commands and what is behind them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from onnx_models import constant_model

RECIPE = """
[model]
name = "tiny"
task = "detect"
file = "tiny.onnx"
[input]
width = 32
height = 32
[decode]
kind = "yolo"
layout = "rows"
score_threshold = 0.5
nms_iou = 0.5
[names]
classes = ["person", "car"]
"""
PERSON, CAR = (8, 8, 10, 10, 0.9, 0), (24, 24, 10, 10, 0, 0.9)


def model(path: Path, *boxes: tuple[float, ...]) -> Path:
    """A detector that answers with `boxes` (cx, cy, w, h and two scores) whatever the image."""
    made = np.zeros((1, 8, 6), np.float32)
    made[0, : len(boxes)] = boxes
    return constant_model(path, {"output": made})


def photos(folder: Path, number: int, size: tuple[int, int] = (32, 32)) -> Path:
    """Plain images of this (height, width), each 50 levels brighter than the one before."""
    folder.mkdir()
    for n in range(number):
        cv2.imwrite(str(folder / f"{n}.png"), np.full((*size, 3), 50 * n, np.uint8))
    return folder


def compare_folder(folder: Path) -> Path:
    """tiny.onnx with its recipe; same.int8.onnx and worse.onnx without one; three photos."""
    (folder / "tiny.toml").write_text(RECIPE)
    model(folder / "tiny.onnx", PERSON, CAR)
    model(folder / "same.int8.onnx", PERSON, CAR)
    model(folder / "worse.onnx", PERSON)
    photos(folder / "photos", 3)
    return folder


def bench_folder(folder: Path) -> Path:
    """tiny.onnx with its recipe, other.onnx with the same outputs and none, and two photos of 64 x 48."""
    (folder / "tiny.toml").write_text(RECIPE)
    model(folder / "tiny.onnx", PERSON, CAR)
    model(folder / "other.onnx", PERSON)
    photos(folder / "photos", 2, (48, 64))
    return folder
