"""A small graph, and the shipped detector with its variants, for the tests of builds."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from onnx_models import helper, node, numpy_helper, onnx, save

from edgevid.models.hub import resolve_model
from edgevid.optimize.builder.options import BuildOptions
from edgevid.optimize.quantize.quantizer import quantize
from edgevid.runtime.recipe import LocalRecipe, Precision, Recipe
from edgevid.runtime.variants import record_path, variant_path
from edgevid.synthetic.render import RenderedStreet


def small_model(path: Path) -> Path:
    """One convolution of 3 to 8 channels and a ReLU, of open batch, height and width."""
    weights = np.random.default_rng(0).normal(size=(8, 3, 3, 3)).astype(np.float32)
    save(
        path,
        [node("Conv", "x w", "c", name="first", pads=[1, 1, 1, 1]), node("Relu", "c", "y")],
        {"x": ("float32", ("n", 3, "h", "w"))},
        {"y": ("n", 8, "h", "w")},
        w=weights,
    )
    return path


def local_street(folder: Path) -> LocalRecipe:
    """The shipped detector, copied to a folder that keeps what is made of it too."""
    folder.mkdir(parents=True, exist_ok=True)
    recipe = resolve_model("street-nano")
    return recipe.with_local(Path(shutil.copy(recipe.local, folder)))


def street_frames(folder: Path) -> Path:
    """A few rendered images of a street."""
    for frame in list(RenderedStreet(seconds=4.0))[10::15]:
        cv2.imwrite(str(folder / f"{frame.index:03}.png"), frame.image[..., ::-1])
    return folder


def rtx_options(precision: Precision = "fp32", **more: Any) -> BuildOptions:
    """Options of a build by TensorRT-RTX, which needs no device."""
    return BuildOptions(**{"precision": precision, "backend": "tensorrt-rtx", **more})


def int8(recipe: Recipe, frames: Path, folder: Path) -> None:
    """The int8-trt variant from ranges of two frames: quick, and quantized everywhere."""
    quantize(
        recipe, frames, max_frames=2, min_agreement=0.0, variants=("int8-trt",), calibrator="min-max",
        out=folder, save_ranges=folder / "ranges.toml",
    )  # fmt: skip


def blinded(recipe: Recipe, folder: Path) -> Path:
    """An "FP16" variant that detects nothing: its output is zero everywhere."""
    assert recipe.local is not None
    made = onnx.load(recipe.local)
    out = made.graph.output[0].name
    for one in made.graph.node:
        one.output[:] = [name + "_before" if name == out else name for name in one.output]
    made.graph.initializer.append(numpy_helper.from_array(np.zeros(1, np.float32), "nothing"))
    made.graph.node.append(helper.make_node("Mul", [out + "_before", "nothing"], [out]))
    path = variant_path(recipe, "fp16", folder=folder)
    onnx.save(made, path)
    digests = {"source_sha256": recipe.local, "sha256": path}
    record = {key: hashlib.sha256(file.read_bytes()).hexdigest() for key, file in digests.items()}
    record_path(path).write_text(json.dumps(record))
    return path
