"""Real detectors in each precision, by a real builder, its own log telling what was built; and the gate."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgevid import cli
from edgevid.errors import InputError, ParityError
from edgevid.models.hub import resolve_model
from edgevid.optimize.builder import layers as build_layers
from edgevid.optimize.builder.build import build
from edgevid.optimize.builder.options import BuildOptions
from edgevid.optimize.builder.verify import Verification, report_path
from edgevid.runtime.manifest import check, manifest_path, read_manifest
from edgevid.runtime.recipe import LocalRecipe, Recipe
from edgevid.runtime.variants import record_path, variant_path
from edgevid.synthetic.render import RenderedStreet

onnx = pytest.importorskip("onnx", reason="graphs are converted with onnx: pip install 'edgevid[build]'")
pytest.importorskip("tensorrt_rtx", reason="no builder here: pip install 'edgevid[tensorrt-rtx]'")

MODELS = {"yolox-nano-416": "yolox_nano_416.onnx", "nanodet-m-320": "nanodet_m_320.onnx", "street-nano": ""}


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few rendered images of a street."""
    folder = tmp_path_factory.mktemp("frames")
    for frame in list(RenderedStreet(seconds=4.0))[10::15]:
        cv2.imwrite(str(folder / f"{frame.index:03}.png"), frame.image[..., ::-1])
    return folder


@pytest.fixture(scope="module", params=MODELS)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Recipe, Path]:
    """A real detector and a folder for what is made of it."""
    folder = tmp_path_factory.mktemp(request.param) / "build"
    folder.mkdir()
    if file := MODELS[request.param]:
        from edgevid.models.catalog import find_recipe

        shared = request.getfixturevalue("shared_data")
        recipe = find_recipe(request.param)
        return recipe.with_local(Path(shutil.copy(shared / "models" / file, folder / recipe.file))), folder
    recipe = resolve_model(request.param)
    return recipe.with_local(Path(shutil.copy(recipe.local, folder))), folder


@pytest.fixture
def street(tmp_path: Path) -> tuple[LocalRecipe, Path]:
    """The shipped detector in a folder that keeps what is made of it too."""
    folder = tmp_path / "build"
    folder.mkdir()
    recipe = resolve_model("street-nano")
    return recipe.with_local(Path(shutil.copy(recipe.local, folder))), folder


def int8(recipe: Recipe, frames: Path, folder: Path) -> None:
    """The int8-trt variant from ranges of two frames: quick, and quantized everywhere."""
    from edgevid.optimize.quantize.quantizer import quantize

    quantize(
        recipe, frames, max_frames=2, min_agreement=0.0, variants=("int8-trt",), calibrator="min-max",
        out=folder, save_ranges=folder / "ranges.toml",
    )  # fmt: skip


def rtx(precision: str, **more: object) -> BuildOptions:
    return BuildOptions(precision=precision, backend="tensorrt-rtx", **more)  # type: ignore[arg-type]


def test_every_convolution_is_in_the_requested_precision(model: tuple[Recipe, Path], frames: Path) -> None:
    recipe, folder = model
    assert recipe.local is not None
    weights = onnx.load(recipe.local).graph.node
    convolutions = sum(n.op_type in ("Conv", "ConvTranspose") for n in weights)
    int8(recipe, frames, folder)
    sizes = {}
    for precision, kind in (("fp32", "Float"), ("fp16", "Half"), ("int8", "Int8")):
        done = build(recipe, rtx(precision))
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


def test_int8_in_float_surroundings_by_choice(frames: Path, street: tuple[LocalRecipe, Path]) -> None:
    recipe, folder = street
    int8(recipe, frames, folder)
    done = build(recipe, rtx("int8", fallback_precision="fp32"))
    assert done.manifest.graph == "street_nano.int8-trt.onnx"
    assert set(done.manifest.layers["convolutions"]) == {"Int8"}
    assert "--fallback-precision fp32" in done.manifest.rebuild_command()


def test_a_verified_engine_states_its_agreement(frames: Path, street: tuple[LocalRecipe, Path]) -> None:
    recipe, _ = street
    lines: list[str] = []
    verification = Verification(frames, min_agreement=0.9)
    done = build(recipe, rtx("fp16"), verification=verification, report=lines.append)
    parity = read_manifest(manifest_path(done.engine)).parity
    assert parity["graph"]["passed"] is True
    assert parity["graph"]["agreement"] >= 0.9
    assert parity["graph"]["frames"] == len(list(frames.iterdir()))
    assert parity["engine"].startswith("not run: no NVIDIA device here")
    assert parity["rejected"] == []
    assert any("comparing street_nano.fp16.onnx" in line for line in lines)


def blinded(recipe: Recipe, folder: Path) -> Path:
    """An "FP16" variant that detects nothing: its output is zero everywhere."""
    assert recipe.local is not None
    made = onnx.load(recipe.local)
    out = made.graph.output[0].name
    for node in made.graph.node:
        node.output[:] = [name + "_before" if name == out else name for name in node.output]
    made.graph.initializer.append(onnx.numpy_helper.from_array(np.zeros(1, np.float32), "nothing"))
    made.graph.node.append(onnx.helper.make_node("Mul", [out + "_before", "nothing"], [out]))
    path = variant_path(recipe, "fp16", folder=folder)
    onnx.save(made, path)
    digests = {"source_sha256": recipe.local, "sha256": path}
    record = {key: hashlib.sha256(file.read_bytes()).hexdigest() for key, file in digests.items()}
    record_path(path).write_text(json.dumps(record))
    return path


def test_below_the_floor_nothing_is_built_and_the_figures_stay(
    frames: Path, street: tuple[LocalRecipe, Path]
) -> None:
    recipe, folder = street
    blinded(recipe, folder)
    with pytest.raises(ParityError, match=r"street_nano.fp16.onnx.* below the floor"):
        build(recipe, rtx("fp16"), verification=Verification(frames, min_agreement=0.9))
    assert not list(folder.glob("*.engine"))
    found = json.loads(report_path(folder / "street_nano.fp16.rtx.engine").read_text())
    assert found["passed"] is False
    assert found["agreement"] < 0.1


def test_int8_with_fp16_around_it_is_rejected_with_the_way_out(
    frames: Path, street: tuple[LocalRecipe, Path]
) -> None:
    recipe, folder = street
    int8(recipe, frames, folder)
    with pytest.raises(ParityError, match=r"int8-trt-fp16.onnx.* below the floor.*--fallback-precision fp32"):
        build(recipe, rtx("int8"), verification=Verification(frames, min_agreement=1.0))


def test_the_next_precision_is_tried_and_the_manifest_records_it(
    frames: Path, street: tuple[LocalRecipe, Path]
) -> None:
    recipe, folder = street
    blinded(recipe, folder)
    done = build(
        recipe,
        rtx("fp16"),
        verification=Verification(frames, min_agreement=0.9, try_next=True),
    )
    assert done.manifest.precision == "fp32"
    assert done.engine.name == "street_nano.fp32.rtx.engine"
    assert len(done.rejected) == 1
    assert "below the floor" in read_manifest(manifest_path(done.engine)).parity["rejected"][0]


def test_a_variant_of_another_model_is_not_built(frames: Path, street: tuple[LocalRecipe, Path]) -> None:
    recipe, folder = street
    path = blinded(recipe, folder)
    record = json.loads(record_path(path).read_text())
    record_path(path).write_text(json.dumps({**record, "source_sha256": "0" * 64}))
    with pytest.raises(Exception, match=r"made of another file.*edgevid quantize street-nano"):
        build(recipe, rtx("fp16"))


def test_a_graph_without_a_recipe_cannot_be_verified(tmp_path: Path) -> None:
    from onnx_models import node, save

    path = tmp_path / "plain.onnx"
    save(path, [node("Relu", "x", "y")], {"x": ("float32", (1, 3, 8, 8))}, {"y": (1, 3, 8, 8)})
    with pytest.raises(InputError, match=r"no recipe states its preprocessing.*edgevid inspect"):
        build(path, rtx("fp32"), verification=Verification("frames"))
    assert build(path, rtx("fp32")).manifest.layers["convolutions"] == {}


def test_the_command_is_red_and_exits_1_below_the_floor(
    frames: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = resolve_model("street-nano")
    assert recipe.local is not None
    for file in (recipe.local, recipe.path):
        shutil.copy(file, tmp_path)
    local = recipe.with_local(tmp_path / recipe.file)
    (tmp_path / "build").mkdir()
    blinded(local, tmp_path / "build")
    arguments = [
        str(local.local),
        "--backend",
        "tensorrt-rtx",
        "--data",
        str(frames),
        "--min-agreement",
        "0.9",
    ]
    with pytest.raises(SystemExit) as stop:
        cli.build_main(arguments)
    assert stop.value.code == 1
    assert "rejected:" in capsys.readouterr().err
    with pytest.raises(SystemExit) as stop:
        cli.build_main([*arguments, "--try-next"])
    assert stop.value.code == 0
    printed = capsys.readouterr()
    assert "Trying fp32" in " ".join(printed.err.split())
    assert "the graph is the ONNX model itself" in printed.out
    assert "not run: no NVIDIA device" in printed.out


def test_the_log_is_read_the_same_for_a_kernel_that_is_named_twice() -> None:
    """Only kernels that do the products count; two of them that differ are not guessed about."""
    line = (
        "Name: Conv_{}_myl0, LayerType: correlation, Inputs: [ {{ Datatype: {} }} ], Outputs: [], "
        "Metadata: [ONNX Layer: c]"
    )
    one = build_layers.kernels([line.format(1, "Half")])
    two = build_layers.kernels([line.format(1, "Half") + "\n" + line.format(2, "Float")])
    assert build_layers.convolution_types(one, ["c"]) == {"c": "Half"}
    assert build_layers.convolution_types(two, ["c"]) == {"c": "?"}
