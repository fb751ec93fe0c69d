"""Random graphs of every opset go through INT8 and FP16: valid files, finite answers, close to exact ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_models
import pytest
from random_graphs import SIZE, random_image, random_model
from small_classifier import noise_video

from edgevid.optimize.fp16 import make_fp16, make_int8_fp16
from edgevid.optimize.half import open_fp16
from edgevid.optimize.quantize.quantizer import quantize
from edgevid.optimize.quantize.ranges import CALIBRATORS
from edgevid.runtime.engine import InputSpec
from edgevid.runtime.onnxruntime.engine import OrtEngine
from edgevid.runtime.recipe import LocalRecipe
from edgevid.types import Array

OPSETS = range(13, onnx_models.onnx.defs.onnx_opset_version() + 1)
GRAPHS = 6
"""Of each opset."""


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return noise_video(tmp_path_factory.mktemp("noise") / "noise.mp4")


def answer(engine: OrtEngine, image: Array) -> Array:
    with engine:
        return engine.run({"x": image})["y"].reshape(-1).astype(np.float64)


def cosine(a: Array, b: Array) -> float:
    return float(a @ b / np.sqrt((a @ a) * (b @ b)))


@pytest.mark.parametrize("opset", OPSETS)
def test_int8_and_fp16_of_random_graphs(opset: int, video: Path, tmp_path: Path) -> None:
    close: dict[str, list[float]] = {"int8-cpu": [], "int8-trt": [], "fp16": []}
    for seed in range(GRAPHS):
        path = tmp_path / f"{seed}.onnx"
        onnx_models.onnx.save(random_model(seed, opset, batch="n" if seed % 2 else 1), path)
        recipe = LocalRecipe(
            "random", "classify", path.name, tmp_path, names=tuple("abcde"), local=path,
            input=InputSpec(SIZE, SIZE, resize="stretch", std=(255.0,) * 3),
        )  # fmt: skip
        made = quantize(
            recipe, video, calibrator=CALIBRATORS[seed % 3], max_frames=4, min_agreement=0.0,
            out=tmp_path, save_ranges=tmp_path / "ranges.toml",
        )  # fmt: skip
        half = make_fp16(recipe, video, max_frames=3, folder=tmp_path).path
        image = random_image(seed)
        mixed = make_int8_fp16(recipe, folder=tmp_path).path
        assert answer(open_fp16(mixed, threads=1), image).shape == (5,)
        exact = answer(OrtEngine(path, device="cpu", threads=1), image)
        found = {
            file.variant: OrtEngine(
                file.path, device="cpu", threads=1, disable_optimizations=file.variant == "int8-trt"
            )
            for file in made.files
        }
        for variant, engine in {**found, "fp16": open_fp16(half, threads=1)}.items():
            given = answer(engine, image)
            assert np.isfinite(given).all() or not np.isfinite(exact).all(), f"{variant} of seed {seed}"
            if np.isfinite(exact).all():
                close[variant].append(cosine(exact, given))
    # Of random weights some answers hang on one rounding; most must not.
    assert min(np.median(shares) for shares in close.values()) > 0.99
    assert min(close["fp16"]) > 0.95
