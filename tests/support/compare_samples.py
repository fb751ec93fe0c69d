"""Detectors that answer with given boxes, and frames for them: comparisons worked out by hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from fake_engine import FakeEngine

from edgevid.runtime import Recipe, TensorSpec
from edgevid.runtime.engine import InputSpec
from edgevid.runtime.recipe import Decode
from edgevid.types import Array, Frame

SPEC = InputSpec(64, 64, std=(1.0, 1.0, 1.0))


def recipe(**more: Any) -> Recipe:
    """Rows of cx cy w h and two classes, in pixels of a 64x64 input; score limit 0.5."""
    decode = Decode("yolo", layout="rows", score_threshold=0.5, nms_iou=0.5)
    given = {"input": SPEC, "decode": decode, "names": ("person", "car"), **more}
    return Recipe("test", given.pop("task", "detect"), "test.onnx", Path("test"), **given)


def engine(answer: Any, *, shape: tuple[int, ...] = (1, 8, 6), name: str = "output") -> FakeEngine:
    """Answers with what `answer` makes of the image (1, 3, 64, 64)."""
    image = TensorSpec("images", (1, 3, 64, 64), np.dtype(np.float32))
    out = TensorSpec(name, shape, np.dtype(np.float32))
    return FakeEngine((image,), (out,), lambda inputs: {name: answer(inputs["images"])})


def rows(*boxes: Sequence[float]) -> Array:
    made = np.zeros((1, 8, 6), np.float32)
    made[0, : len(boxes)] = np.reshape(boxes, (-1, 6))
    return made


def always(*boxes: Sequence[float]) -> FakeEngine:
    return engine(lambda _: rows(*boxes))


def frames(count: int = 1, start: int = 0) -> list[Frame]:
    return [Frame(np.full((64, 64, 3), start + n, np.uint8), float(n), n) for n in range(count)]


PERSON = (16.0, 16.0, 20.0, 20.0, 0.9, 0.0)


CAR = (48.0, 48.0, 20.0, 20.0, 0.0, 0.8)
