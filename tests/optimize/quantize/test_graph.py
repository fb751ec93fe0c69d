"""The normal form of a graph, and files that have none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_models
import pytest
from onnx_models import node

from edgevid.errors import ModelError
from edgevid.optimize.quantize.graph import normalize
from edgevid.optimize.quantize.quantizer import quantize
from edgevid.runtime.onnxruntime.engine import OrtEngine
from edgevid.runtime.recipe import LocalRecipe

onnx = onnx_models.onnx
RNG = np.random.default_rng(3)


def test_hard_swish_is_found_in_every_spelling(tmp_path: Path) -> None:
    path = tmp_path / "swish.onnx"
    onnx_models.save(
        path,
        [
            node("Conv", "x w", "c"),
            node("Add", "c three", "a"),
            node("Clip", "a zero six", "k"),
            node("Mul", "c k", "m"),
            node("Div", "m six", "y"),
        ],
        {"x": ("float32", (1, 3, 4, 4))},
        {"y": (1, 2, 4, 4)},
        w=RNG.normal(size=(2, 3, 1, 1)).astype(np.float32) * 3,
        three=np.float32(3),
        zero=np.float32(0),
        six=np.float32(6),
    )
    model = normalize(path)
    assert [n.op_type for n in model.graph.node] == ["Conv", "HardSigmoid", "Mul"]
    image = {"x": RNG.normal(size=(1, 3, 4, 4)).astype(np.float32)}
    with OrtEngine(path, device="cpu") as engine:
        expected = engine.run(image)["y"].copy()
    target = tmp_path / "tidy.onnx"
    onnx.save(model, target)
    with OrtEngine(target, device="cpu") as engine:
        assert engine.run(image)["y"] == pytest.approx(expected, abs=1e-5)


def test_a_quantized_model_is_not_quantized_again(net: LocalRecipe, video: Path, tmp_path: Path) -> None:
    report = quantize(
        net, video, max_frames=5, min_agreement=0.0, out=tmp_path / "q", save_ranges=tmp_path / "r.toml"
    )
    with pytest.raises(ModelError, match="is quantized already"):
        normalize(report.files[0].path)


def test_another_file_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "bad.onnx"
    path.write_bytes(b"not a model")
    with pytest.raises(ModelError, match="expected an ONNX model"):
        normalize(path)
