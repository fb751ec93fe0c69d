"""Engines verified against their model on frames, or rejected."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from builder_samples import blinded, int8, rtx_options
from onnx_models import node, save

from edgevid.errors import InputError, ParityError
from edgevid.optimize.builder import build as module
from edgevid.optimize.builder.build import build
from edgevid.optimize.builder.options import Verification
from edgevid.runtime.manifest import manifest_path, read_manifest
from edgevid.runtime.recipe import LocalRecipe
from edgevid.runtime.variants import read_record


@pytest.mark.usefixtures("rtx")
def test_a_verified_engine_states_its_agreement(frames: Path, street: tuple[LocalRecipe, Path]) -> None:
    recipe, _ = street
    lines: list[str] = []
    verification = Verification(frames, min_agreement=0.9)
    done = build(recipe, rtx_options("fp16"), verification=verification, report=lines.append)
    parity = read_manifest(manifest_path(done.engine)).parity
    assert parity["graph"]["passed"] is True
    assert parity["graph"]["agreement"] >= 0.9
    assert parity["graph"]["frames"] == len(list(frames.iterdir()))
    assert parity["engine"].startswith("not run: no NVIDIA device here")
    assert parity["rejected"] == []
    assert any("comparing street_nano.fp16.onnx" in line for line in lines)


@pytest.mark.usefixtures("rtx")
def test_below_the_floor_nothing_is_built_and_the_figures_stay(
    frames: Path, street: tuple[LocalRecipe, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, folder = street
    monkeypatch.setattr(module, "make_fp16", lambda *_, **__: blinded(recipe, folder))
    with pytest.raises(ParityError, match=r"street_nano.fp16.onnx.* below the floor"):
        build(recipe, rtx_options("fp16"), verification=Verification(frames, min_agreement=0.9))
    assert not list(folder.glob("*.engine"))
    found = json.loads((folder / "street_nano.fp16.rtx.engine.rejected.json").read_text())
    assert found["passed"] is False
    assert found["agreement"] < 0.1


@pytest.mark.usefixtures("rtx")
def test_an_fp16_graph_that_was_not_measured_on_frames_is_made_again(
    frames: Path, street: tuple[LocalRecipe, Path]
) -> None:
    recipe, folder = street
    blinded(recipe, folder)
    done = build(recipe, rtx_options("fp16"), verification=Verification(frames, min_agreement=0.9))
    assert done.manifest.parity["graph"]["agreement"] >= 0.9
    assert read_record(folder / "street_nano.fp16.onnx")["frames"] == len(list(frames.iterdir()))


@pytest.mark.usefixtures("rtx")
def test_int8_with_fp16_around_it_is_rejected_with_the_way_out(
    frames: Path, street: tuple[LocalRecipe, Path], tmp_path: Path
) -> None:
    recipe, folder = street
    for number in range(2):  # ranges of a dark scene are too narrow for a street
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.full((270, 480, 3), 9, np.uint8))
    int8(recipe, tmp_path, folder)
    with pytest.raises(ParityError, match=r"int8-trt-fp16.onnx.* below the floor.*--fallback-precision fp32"):
        build(recipe, rtx_options("int8"), verification=Verification(frames, min_agreement=0.9))


@pytest.mark.usefixtures("rtx")
def test_the_next_precision_is_tried_and_the_manifest_records_it(
    frames: Path, street: tuple[LocalRecipe, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, folder = street
    monkeypatch.setattr(module, "make_fp16", lambda *_, **__: blinded(recipe, folder))
    done = build(recipe, rtx_options("fp16"), verification=Verification(frames, min_agreement=0.9, try_next=True))
    assert done.manifest.precision == "fp32"
    assert done.engine.name == "street_nano.fp32.rtx.engine"
    assert len(done.rejected) == 1
    assert "below the floor" in read_manifest(manifest_path(done.engine)).parity["rejected"][0]


@pytest.mark.usefixtures("rtx")
def test_a_graph_without_a_recipe_cannot_be_verified(tmp_path: Path) -> None:
    path = tmp_path / "plain.onnx"
    save(path, [node("Relu", "x", "y")], {"x": ("float32", (1, 5, 8, 8))}, {"y": (1, 5, 8, 8)})
    with pytest.raises(InputError, match=r"no recipe states its preprocessing.*edgevid inspect"):
        build(path, rtx_options("fp32"), verification=Verification("frames"))
    assert build(path, rtx_options("fp32")).manifest.layers["convolutions"] == {}
