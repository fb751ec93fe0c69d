"""Engines built for real by TensorRT-RTX, which needs no device, in each precision, and their manifests."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest
from builder_samples import blinded, int8, rtx_options
from onnx_models import onnx

from edgevid.errors import ModelError
from edgevid.models.hub import find_recipe, resolve_model
from edgevid.optimize.builder import engine as module
from edgevid.optimize.builder.build import _check_precision, build, make_plan
from edgevid.optimize.builder.options import BuildOptions, Verification, read_shapes
from edgevid.runtime.manifest import check, manifest_path, read_manifest
from edgevid.runtime.recipe import LocalRecipe, Recipe
from edgevid.runtime.variants import record_path, variant_path


@pytest.mark.usefixtures("rtx")
def test_open_axes_become_a_profile_and_the_manifest_tells_it(small: Path) -> None:
    shapes = dict([read_shapes("x=1x3x16x16,2x3x32x32,4x3x64x64")])
    phases: list[str] = []
    done = build(
        small, rtx_options(shapes=shapes), progress=lambda step, steps, phase: phases.append(phase)
    )  # fmt: skip
    assert done.engine == small.parent / "build" / "small.fp32.rtx.engine"
    assert "Building engine" in phases
    manifest = read_manifest(manifest_path(done.engine))
    assert manifest == done.manifest or manifest.engine_sha256 == done.manifest.engine_sha256
    assert manifest.layers["convolutions"] == {"Float": 1}
    assert manifest.options["shapes"] == {"x": [[1, 3, 16, 16], [2, 3, 32, 32], [4, 3, 64, 64]]}
    assert manifest.parity["engine"] == "not run: verification was skipped, no frames were given"
    assert manifest.version.split(".")[0] == "1"
    check(done.engine, manifest, gpu=None, version=manifest.version, model=small)
    assert sorted(p.name for p in done.engine.parent.iterdir()) == [
        "small.fp32.rtx.engine",
        "small.fp32.rtx.engine.json",
    ]


@pytest.mark.usefixtures("rtx")
def test_an_fp16_engine_of_an_fp32_graph_cannot_pass(small: Path) -> None:
    """A failure without an error elsewhere: FP16 is requested, the graph has none."""
    plan = make_plan(small, rtx_options(shapes=dict([read_shapes("x=1x3x16x16")])))
    built = module.build_engine(small, plan.options, "tensorrt-rtx")
    expected = make_plan(small, rtx_options("fp16"))
    with pytest.raises(ModelError, match=r"expected fp16.*none in Half.*'Float': 1"):
        _check_precision(expected, built)


def test_a_plan_needs_no_tensorrt(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: None)
    plan = make_plan(small, BuildOptions(precision="fp32", workspace_mb=512, version_compatible=True))
    lines = dict(plan.lines(Verification(data="clip.mp4", min_agreement=0.98)))
    assert lines["backend"] == "TensorRT (not installed)"
    assert lines["workspace"] == "at most 512 MB"
    assert lines["compatibility"] == "this and newer versions, this device"
    assert "100 frames of clip.mp4, minimum 0.98" in lines["verification"]
    assert lines["engine"].endswith("build/small.fp32.engine")
    assert lines["timing cache"].endswith("timing.new.cache")


def test_int8_without_its_graph_is_the_command_that_makes_it(small: Path) -> None:
    with pytest.raises(ModelError, match=r"edgevid quantize .*small.onnx --data"):
        build(small, BuildOptions(precision="int8", backend="tensorrt-rtx"))


MODELS = {"yolox-nano-416": "yolox_nano_416.onnx", "nanodet-m-320": "nanodet_m_320.onnx", "street-nano": ""}


@pytest.fixture(scope="module", params=MODELS)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Recipe, Path]:
    """A real detector and a folder for what is made of it."""
    folder = tmp_path_factory.mktemp(request.param) / "build"
    folder.mkdir()
    if file := MODELS[request.param]:
        shared = request.getfixturevalue("shared_data")
        recipe = find_recipe(request.param)
        return recipe.with_local(Path(shutil.copy(shared / "models" / file, folder / recipe.file))), folder
    recipe = resolve_model(request.param)
    return recipe.with_local(Path(shutil.copy(recipe.local, folder))), folder


@pytest.mark.usefixtures("rtx")
def test_every_convolution_is_in_the_requested_precision(model: tuple[Recipe, Path], frames: Path) -> None:
    recipe, folder = model
    assert recipe.local is not None
    weights = onnx.load(recipe.local).graph.node
    convolutions = sum(n.op_type in ("Conv", "ConvTranspose") for n in weights)
    int8(recipe, frames, folder)
    sizes = {}
    for precision, kind in (("fp32", "Float"), ("fp16", "Half"), ("int8", "Int8")):
        done = build(recipe, rtx_options(precision))
        found = read_manifest(manifest_path(done.engine))
        assert found.layers["convolutions"] == {kind: convolutions}, precision
        assert found.backend == "tensorrt-rtx"
        assert found.onnx_sha256 == hashlib.sha256(recipe.local.read_bytes()).hexdigest()
        assert (found.calibration_sha256 != "") == (precision == "int8")
        check(done.engine, found, gpu=None, version=found.version, model=recipe.local, recipe=recipe)
        sizes[precision] = found.engine_bytes
    assert sizes["fp16"] < sizes["fp32"]
    graph = variant_path(recipe, "int8-trt-fp16", folder=folder)
    assert found.graph == graph.name


@pytest.mark.usefixtures("rtx")
def test_int8_in_float_surroundings_by_choice(frames: Path, street: tuple[LocalRecipe, Path]) -> None:
    recipe, folder = street
    int8(recipe, frames, folder)
    done = build(recipe, rtx_options("int8", fallback_precision="fp32"))
    assert done.manifest.graph == "street_nano.int8-trt.onnx"
    assert set(done.manifest.layers["convolutions"]) == {"Int8"}
    assert "--fallback-precision fp32" in done.manifest.rebuild_command()


@pytest.mark.usefixtures("rtx")
def test_a_variant_of_another_model_is_not_built(frames: Path, street: tuple[LocalRecipe, Path]) -> None:
    recipe, folder = street
    path = blinded(recipe, folder)
    record = json.loads(record_path(path).read_text())
    record_path(path).write_text(json.dumps({**record, "source_sha256": "0" * 64}))
    with pytest.raises(Exception, match=r"made of another file.*edgevid quantize street-nano"):
        build(recipe, rtx_options("fp16"))
