"""Images in which something moves, and a network of optical flow with known outputs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx_models import node, save
from recognizer_models import recipe

from edgevid.types import Array

cv2 = pytest.importorskip("cv2", reason="optical flow needs OpenCV: pip install 'edgevid[opencv]'")


def texture(height: int, width: int, seed: int) -> Array:
    """(height, width, 3) smooth random gray, which can be followed."""
    small = np.random.default_rng(seed).integers(0, 255, (height // 4 + 1, width // 4 + 1), np.uint8)
    return np.repeat(cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)[..., None], 3, axis=2)


def scene(x: int, y: int) -> Array:
    """(112, 112, 3) a square of 28 pixels at (x, y) before a wall."""
    image = texture(112, 112, 0)
    image[y : y + 28, x : x + 28] = texture(28, 28, 1)
    return image


def flow_model(folder: Path, shape: tuple[int, ...] = (2, 1, 112, 112), layout: str = "NCTHW") -> Path:
    """Means of the flow along x and y, wherever its axis is."""
    table = f'[clip]\nsteps = 1\nlayout = "{layout}"\nflow_bound = 4\n'
    recipe(folder, "features", "[input]\nwidth = 112\nheight = 112\n", table)
    channel = 1 + min(range(4), key=lambda n: abs(shape[n] - 2.5))
    axes = [n for n in range(1, 5) if n != channel]
    nodes = [node("ReduceMean", "x", "f", axes=axes, keepdims=0)]
    save(folder / "model.onnx", nodes, {"x": ("float32", ("n", *shape))}, {"f": ("n", shape[channel - 1])})
    return folder
