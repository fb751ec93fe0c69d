"""A classifier of 8 x 8 images and frames of noise, for the tests of quantization."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_models
from onnx_models import node

from edgevid.runtime.engine import InputSpec
from edgevid.runtime.recipe import LocalRecipe
from edgevid.video.writer import VideoWriter

RNG = np.random.default_rng(3)


W1 = RNG.normal(size=(8, 3, 3, 3)).astype(np.float32)


W2 = RNG.normal(size=(4, 8, 1, 1)).astype(np.float32)


def small_net(path: Path) -> Path:
    """Conv, Relu, Conv, silu, mean: four class values of an 8 x 8 image."""
    onnx_models.save(
        path,
        [
            node("Conv", "x w1 b1", "c1", pads=[1, 1, 1, 1]),
            node("Relu", "c1", "r1"),
            node("Conv", "r1 w2 b2", "c2"),
            node("Sigmoid", "c2", "gate"),
            node("Mul", "c2 gate", "s"),
            node("Conv", "s w3", "c3"),
            node("GlobalAveragePool", "c3", "p"),
            node("Flatten", "p", "y"),
        ],
        {"x": ("float32", (1, 3, 8, 8))},
        {"y": (1, 4)},
        w1=W1,
        b1=np.linspace(-1, 1, 8, dtype=np.float32),
        w2=W2,
        b2=np.zeros(4, np.float32),
        w3=RNG.normal(size=(4, 4, 1, 1)).astype(np.float32),
    )
    return path


def classifier(folder: Path) -> LocalRecipe:
    """The recipe of `small_net`, with its file in `folder`."""
    path = small_net(folder / "small.onnx")
    return LocalRecipe(
        "small", "classify", path.name, folder, input=InputSpec(8, 8, resize="stretch"),
        names=("a", "b", "c", "d"), local=path,
    )  # fmt: skip


def noise_video(path: Path) -> Path:
    """Twenty frames of noise, 32 x 32."""
    with VideoWriter(path, fps=10, quality=8) as writer:
        for n in range(20):
            writer.write(np.random.default_rng(n).integers(0, 256, (32, 32, 3), np.uint8), n / 10)
    return path
