"""The exported detector."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch: pip install 'edgevid[train]'")
onnx = pytest.importorskip("onnx", reason="export needs onnx")

from edgevid.detect.detector import Detector  # noqa: E402
from edgevid.errors import InputError  # noqa: E402
from edgevid.learn.detector.export import export_onnx, read_onnx, write_recipe  # noqa: E402
from edgevid.learn.detector.network import Shape, StreetDetector  # noqa: E402
from edgevid.types import Frame  # noqa: E402

SMALL = Shape(96, 64, (8, 8, 16, 16, 16), (1, 1, 1), 16)


def test_a_logit_bias_shifts_scores_and_keeps_boxes(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = StreetDetector(SMALL).eval()
    sample = Frame(np.random.default_rng(0).integers(0, 255, (64, 96, 3), np.uint8), 0.0, 0)
    found = []
    for name, logit_bias in (("plain", 0.0), ("biased", 1.0)):
        file = export_onnx(network, tmp_path / f"{name}.onnx", logit_bias=logit_bias)
        recipe = write_recipe(tmp_path, file.name, network, name=name, summary="")
        detector = Detector.load(recipe, score_threshold=0.001)
        found.append(detector.engine.run({"images": detector_input(sample)})["output"][0].copy())
    np.testing.assert_allclose(found[0][:4], found[1][:4], atol=1e-3)
    odds = [out[4:] / (1 - out[4:]) for out in found]
    np.testing.assert_allclose(odds[1] / odds[0], np.e, rtol=0.02)


def test_a_temperature_divides_the_logits_and_a_batch_may_have_any_size(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = StreetDetector(SMALL).eval()
    images = np.random.default_rng(0).random((3, 3, 64, 96), np.float32)
    logits = []
    for temperature in (1.0, 2.0):
        file = export_onnx(network, tmp_path / "a.onnx", temperature=temperature)
        detector = Detector.load(write_recipe(tmp_path, file.name, network, name="a", summary=""), device="cpu")
        scores = detector.engine.run({"images": images})["output"][:, 4:].astype(float)
        assert len(scores) == 3
        logits.append(np.log(scores / (1 - scores)))
    np.testing.assert_allclose(logits[1], logits[0] / 2, rtol=0.02)


def test_an_exported_network_is_read_back_to_train_on(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = StreetDetector(replace(SMALL, context=True))
    images = torch.rand(4, 3, 64, 96)
    for _ in range(5):
        network(images)  # its batch normalization has statistics to fold
    again = read_onnx(export_onnx(network.eval(), tmp_path / "a.onnx"))
    assert again.shape == network.shape
    np.testing.assert_allclose(again(images).detach(), network(images).detach(), atol=0.02)
    model = onnx.load(tmp_path / "a.onnx")
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "b.onnx")
    with pytest.raises(InputError, match="another model"):
        read_onnx(tmp_path / "b.onnx")


def detector_input(sample: Frame) -> np.ndarray:
    return (sample.image.astype(np.float32) / 255).transpose(2, 0, 1)[None]
