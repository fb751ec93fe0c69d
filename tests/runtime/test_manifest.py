"""The manifest next to an engine: read back as written, and every rejection is one clear sentence."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from onnx_models import constant_model, onnx

from edgevid.errors import FileFormatError, ModelError
from edgevid.runtime.device import Gpu
from edgevid.runtime.engine import InputSpec
from edgevid.runtime.manifest import Manifest, check, manifest_path, read_manifest, recipe_hash, write_manifest
from edgevid.runtime.recipe import Recipe
from edgevid.runtime.variants import model_digest

ORIN = Gpu(0, "Orin", "8.7")
ADA = Gpu(0, "NVIDIA RTX 4090", "8.9")
TURING = Gpu(0, "NVIDIA RTX 2080", "7.5")


@pytest.fixture
def engine(tmp_path: Path) -> tuple[Path, Manifest]:
    """An engine file, the model that it was built of, and its manifest."""
    path, model = tmp_path / "yolo.fp16.engine", tmp_path / "yolo.onnx"
    path.write_bytes(b"plan" * 100)
    model.write_bytes(b"onnx")
    manifest = Manifest(
        model="yolo",
        onnx=model.name,
        onnx_sha256=hashlib.sha256(b"onnx").hexdigest(),
        graph="yolo.fp16.onnx",
        graph_sha256="0" * 64,
        precision="fp16",
        backend="tensorrt",
        version="10.3.0",
        engine_sha256=hashlib.sha256(b"plan" * 100).hexdigest(),
        engine_bytes=400,
        gpu="Orin",
        capability="8.7",
        cuda="12.6",
        options={"batch": [1, 1, 1], "version_compatible": False, "hardware_compatibility": "none"},
        parity={"engine": "not run: no frames were given"},
    )
    return path, manifest


def with_options(manifest: Manifest, **options: object) -> Manifest:
    return dataclasses.replace(manifest, options={**manifest.options, **options})


def accepts(engine: Path, manifest: Manifest, gpu: Gpu, version: str) -> bool:
    try:
        check(engine, manifest, gpu=gpu, version=version)
    except ModelError:
        return False
    return True


def test_it_is_read_back_as_it_was_written(engine: tuple[Path, Manifest]) -> None:
    path, manifest = engine
    write_manifest(manifest, manifest_path(path))
    assert read_manifest(manifest_path(path)) == manifest
    assert manifest_path(path).name == "yolo.fp16.engine.json"
    assert list(path.parent.glob("*.part")) == []


def test_the_engine_of_this_device_version_and_model_is_accepted(engine: tuple[Path, Manifest]) -> None:
    path, manifest = engine
    check(path, manifest, gpu=ORIN, version="10.3.0", model=path.with_name("yolo.onnx"))


def test_another_device_is_rejected_with_the_rebuild_command(engine: tuple[Path, Manifest]) -> None:
    path, manifest = engine
    with pytest.raises(ModelError) as reported:
        check(path, manifest, gpu=ADA, version="10.3.0")
    assert "built for Orin (compute capability 8.7), this is NVIDIA RTX 4090 (compute capability 8.9)" in str(
        reported.value
    )
    assert str(reported.value).endswith("edgevid build yolo --precision fp16 --backend tensorrt --data VIDEO")


def test_another_version_is_rejected(engine: tuple[Path, Manifest]) -> None:
    path, manifest = engine
    with pytest.raises(ModelError, match=r"built by TensorRT 10.3.0, here is 10.13.3.9.*edgevid build yolo"):
        check(path, manifest, gpu=ORIN, version="10.13.3.9")


@pytest.mark.parametrize(
    ("built", "here", "taken"),
    [
        ("10.3.0", "10.13.3.9", True),  # newer, same major
        ("10.13.3.9", "10.3.0", False),  # older
        ("10.16.1", "11.4.0.106", True),  # the one step across majors that NVIDIA supports
        ("11.0.0", "12.0.0", False),
        ("10.9.0", "10.10.0", True),  # compared as numbers, not as text
    ],
)
def test_version_compatible_engines_run_with_newer_versions_only(
    engine: tuple[Path, Manifest], built: str, here: str, taken: bool
) -> None:
    path, manifest = engine
    manifest = with_options(dataclasses.replace(manifest, version=built), version_compatible=True)
    assert accepts(path, manifest, ORIN, here) is taken
    assert "--version-compatible" in manifest.rebuild_command()


@pytest.mark.parametrize(
    ("hardware", "gpu", "taken"),
    [
        ("none", Gpu(0, "Orin", "8.7"), True),
        ("none", Gpu(0, "Orin Nano", "8.7"), False),  # TensorRT binds to the model of device
        ("same-capability", Gpu(0, "Orin Nano", "8.7"), True),
        ("same-capability", ADA, False),
        ("ampere+", ADA, True),
        ("ampere+", TURING, False),
        ("ampere+", Gpu(0, "Thor", "11.0"), True),  # 11 is more than 8, as a number
    ],
)
def test_hardware_compatibility_is_checked(engine: tuple[Path, Manifest], hardware: str, gpu: Gpu, taken: bool) -> None:
    path, manifest = engine
    assert accepts(path, with_options(manifest, hardware_compatibility=hardware), gpu, "10.3.0") is taken


def test_rtx_engines_run_from_8_0_or_where_they_were_built_for(engine: tuple[Path, Manifest]) -> None:
    path, manifest = engine
    rtx = dataclasses.replace(manifest, backend="tensorrt-rtx", version="1.7.1.116", gpu="", capability="")
    assert accepts(path, rtx, ADA, "1.7.1.116")
    assert not accepts(path, rtx, TURING, "1.7.1.116")
    assert accepts(path, dataclasses.replace(rtx, compute_capabilities=("7.5",)), TURING, "1.7.1.116")
    assert not accepts(path, dataclasses.replace(rtx, compute_capabilities=("7.5",)), ADA, "1.7.1.116")
    assert not accepts(path, with_options(rtx, version_compatible=True), ADA, "1.8.0")


def test_a_changed_model_is_rejected(engine: tuple[Path, Manifest]) -> None:
    path, manifest = engine
    model = path.with_name("yolo.onnx")
    model.write_bytes(b"another")
    with pytest.raises(ModelError, match=f"of another yolo.onnx than {model} is now.*edgevid build {model}"):
        check(path, manifest, gpu=ORIN, version="10.3.0", model=model)


def test_exchanged_weights_in_another_file_are_rejected(engine: tuple[Path, Manifest]) -> None:
    path, manifest = engine
    inside = path.with_name("inside.onnx")
    constant_model(inside, {"a": np.arange(400, dtype=np.float32)[None]})
    model = path.with_name(manifest.onnx)
    where = f"{model.name}.data"
    onnx.save(onnx.load(inside), model, save_as_external_data=True, location=where, size_threshold=100)
    manifest = dataclasses.replace(manifest, onnx_sha256=model_digest(model))
    check(path, manifest, gpu=None, version=None, model=model)
    data = model.with_name(where)
    data.write_bytes((-np.frombuffer(data.read_bytes(), np.float32)).tobytes())
    with pytest.raises(ModelError, match=r"of another yolo\.onnx"):
        check(path, manifest, gpu=None, version=None, model=model)


def test_a_recipe_that_feeds_the_model_differently_is_rejected(engine: tuple[Path, Manifest]) -> None:
    path, manifest = engine
    recipe = Recipe("yolo", "detect", "yolo.onnx", path, input=InputSpec(64, 64))
    manifest = dataclasses.replace(manifest, recipe_sha256=recipe_hash(recipe))
    prose = dataclasses.replace(recipe, summary="another word")
    check(path, manifest, gpu=ORIN, version="10.3.0", recipe=prose)
    other = dataclasses.replace(recipe, input=InputSpec(64, 64, color="BGR"))
    with pytest.raises(ModelError, match="recipe yolo has other preprocessing or decoding"):
        check(path, manifest, gpu=ORIN, version="10.3.0", recipe=other)


def test_a_damaged_a_cut_and_a_missing_engine_are_rejected(engine: tuple[Path, Manifest]) -> None:
    path, manifest = engine
    path.write_bytes(b"plan" * 99 + b"plaN")
    with pytest.raises(ModelError, match=r"damaged or replaced.*edgevid build yolo"):
        check(path, manifest, gpu=ORIN, version="10.3.0")
    path.write_bytes(b"plan")
    with pytest.raises(ModelError, match="expected 400 bytes, got 4"):
        check(path, manifest, gpu=ORIN, version="10.3.0")
    path.unlink()
    with pytest.raises(ModelError, match="no such file"):
        check(path, manifest, gpu=ORIN, version="10.3.0")


def test_the_rebuild_command_repeats_the_options(engine: tuple[Path, Manifest]) -> None:
    _, manifest = engine
    asked = with_options(
        manifest,
        batch=[1, 4, 8],
        hardware_compatibility="ampere+",
        workspace_mb=512,
        optimization_level=0,
        tf32=True,
        shapes={"x": [[1, 8], [2, 8], [4, 8]]},
    )
    assert asked.rebuild_command("my model.onnx") == (
        "edgevid build 'my model.onnx' --precision fp16 --backend tensorrt --batch 1,4,8 "
        "--hardware-compatibility ampere+ --workspace 512 --optimization-level 0 --tf32 --shape x=1x8,2x8,4x8"
    )
    rtx = dataclasses.replace(manifest, backend="tensorrt-rtx", compute_capabilities=("7.5",))
    assert rtx.rebuild_command() == (
        "edgevid build yolo --precision fp16 --backend tensorrt-rtx --compute-capability 7.5"
    )


@pytest.mark.parametrize(
    ("change", "reported"),
    [
        ({"format": 1}, "format: expected 2"),
        ({"backend": "onnx"}, "backend: expected one of .tensorrt., .tensorrt-rtx."),
        ({"engine_bytes": "many"}, "engine_bytes: expected a whole number"),
        ({"engine_sha256": None}, "engine_sha256: expected a text"),
    ],
)
def test_a_manifest_with_a_mistake_names_its_key(
    engine: tuple[Path, Manifest], change: dict[str, object], reported: str
) -> None:
    path, manifest = engine
    write_manifest(manifest, manifest_path(path))
    values = json.loads(manifest_path(path).read_text())
    values.update(change)
    manifest_path(path).write_text(json.dumps(values))
    with pytest.raises(FileFormatError, match=reported):
        read_manifest(manifest_path(path))


def test_a_manifest_that_is_no_json_or_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(FileFormatError, match="expected JSON"):
        read_manifest(tmp_path / "a.json")
    (tmp_path / "a.json").write_text("[]")
    with pytest.raises(FileFormatError, match="a JSON object"):
        read_manifest(tmp_path / "a.json")
    with pytest.raises(FileFormatError, match="readable file"):
        read_manifest(tmp_path / "b.json")
