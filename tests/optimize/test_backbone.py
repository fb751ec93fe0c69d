"""A feature extractor cut out of another model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx_models import node, save

from edgevid.actions import FeatureExtractor, load_extractor
from edgevid.errors import InputError
from edgevid.models.hub import resolve_model
from edgevid.optimize.export import cut_backbone
from edgevid.runtime import read_recipe


def model(folder: Path) -> Path:
    """An image of 8 x 8 halved twice (means), then ten unused numbers."""
    (folder / "recipe.toml").write_text(
        '[model]\nname = "two-pools"\ntask = "clip"\nfile = "m.onnx"\n[input]\nwidth = 8\nheight = 8\n'
    )
    pool = {"kernel_shape": [2, 2], "strides": [2, 2]}
    nodes = [
        node("AveragePool", "x", "half", **pool), node("AveragePool", "half", "deep", **pool),
        node("Flatten", "deep", "flat"), node("MatMul", "flat w", "logits"),
    ]  # fmt: skip
    inputs = {"x": ("float32", (1, 3, 8, 8))}
    save(folder / "m.onnx", nodes, inputs, {"logits": (1, 10)}, w=np.zeros((12, 10), np.float32))
    return folder


def test_the_deepest_map_becomes_the_features(tmp_path: Path) -> None:
    path, width = cut_backbone(resolve_model(model(tmp_path)), tmp_path / "cut")
    assert width == 3
    assert "cut at deep" in read_recipe(path).summary
    extractor = load_extractor(path)
    assert isinstance(extractor, FeatureExtractor)
    crops = np.zeros((5, 8, 8, 3), np.uint8)
    crops[..., 1] = 51
    found = extractor.extract(crops, np.zeros((5, 4), np.float32))
    np.testing.assert_allclose(found, np.broadcast_to([0, 0.2, 0], (5, 3)), atol=1e-6)


def test_a_tensor_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no feature map 'nope'"):
        cut_backbone(resolve_model(model(tmp_path)), tmp_path / "cut", tensor="nope")


def test_a_real_detector_gives_features(tmp_path: Path, shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEVID_MODELS_MIRROR", str(shared_data / "models"))
    path, width = cut_backbone(resolve_model("nanodet-m-320"), tmp_path / "cut")
    assert width == 464
    crops = np.random.default_rng(0).integers(0, 255, (2, 320, 320, 3), np.uint8)
    found = load_extractor(path, threads=1).extract(crops, np.zeros((2, 4), np.float32))
    assert found.shape == (2, 464)
    assert float(np.abs(found[0] - found[1]).max()) > 0
