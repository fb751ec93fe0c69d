"""Detectors of constructed outputs: their answers can be worked out by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from fake_engine import FakeEngine

from edgevid.detect.detector import Detector
from edgevid.runtime import Recipe, TensorSpec
from edgevid.runtime.engine import InputSpec
from edgevid.runtime.recipe import Decode
from edgevid.types import Detections, Frame


def frame(width: int = 64, height: int = 64) -> Frame:
    return Frame(np.zeros((height, width, 3), np.uint8), 0.0, 0)


def recipe(decode: Decode, *, size: int = 32, names: Sequence[str] = ("person", "car"), **more: Any) -> Recipe:
    spec = InputSpec(size, size, std=(1.0, 1.0, 1.0))
    return Recipe("test", "detect", "test.onnx", Path("test"), input=spec, decode=decode, names=tuple(names), **more)


def engine(
    outputs: Mapping[str, np.ndarray], *, size: int = 32, batch: int = 1, extra: tuple[TensorSpec, ...] = ()
) -> FakeEngine:
    """An engine that answers with these arrays, whatever it sees."""
    image = TensorSpec("images", (batch, 3, size, size), np.dtype(np.float32))
    specs = tuple(TensorSpec(n, (batch, *a.shape[1:]), a.dtype) for n, a in outputs.items())
    return FakeEngine((image, *extra), specs, lambda _: dict(outputs))


def detect(decode: Decode, outputs: Mapping[str, Any], *, score: float = 0.25, **more: Any) -> Detections:
    """What the detector makes of constructed outputs for one 64x64 frame resized to 32x32 (scale 2)."""
    arrays = {n: np.asarray(a, np.float32) for n, a in outputs.items()}
    return Detector(engine(arrays), recipe(decode, **more), score_threshold=score).detect([frame()])[0]


def expect(found: Detections, boxes: Any, labels: Sequence[int]) -> None:
    np.testing.assert_allclose(found.boxes, np.asarray(boxes, np.float32).reshape(-1, 4), atol=1e-4)
    assert found.labels.tolist() == list(labels)


def anchors(*rows: Sequence[float], total: int = 21) -> np.ndarray:
    """(1, total, values) with the given first rows, the others zero."""
    output = np.zeros((1, total, len(rows[0])), np.float32)
    output[0, : len(rows)] = rows
    return output
