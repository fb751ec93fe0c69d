"""Real engines on a real device. Elsewhere these skip; EDGEVID_REQUIRE=trt turns that into failures."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from device_memory import free_memory

from edgevid.detect.detector import Detector
from edgevid.detect.preprocess import Preprocessor, letterbox_rectangle
from edgevid.errors import InputError, ModelError
from edgevid.models.hub import resolve_model
from edgevid.optimize.builder.build import BuildResult, build
from edgevid.optimize.builder.options import BuildOptions
from edgevid.runtime import load_engine
from edgevid.runtime.cuda.open import open_cuda
from edgevid.runtime.manifest import manifest_path, read_manifest, write_manifest
from edgevid.runtime.recipe import LocalRecipe
from edgevid.synthetic.render import RenderedStreet
from edgevid.types import Frame


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LocalRecipe:
    """The shipped detector in a folder of its own."""
    recipe = resolve_model("street-nano")
    folder = tmp_path_factory.mktemp("gpu")
    return recipe.with_local(Path(shutil.copy(recipe.local, folder)))


@pytest.fixture(scope="module")
def built(model: LocalRecipe, device_backend: str) -> dict[str, BuildResult]:
    """FP32 and FP16 engines of it."""
    make = {p: BuildOptions(precision=p, backend=device_backend) for p in ("fp32", "fp16")}
    return {precision: build(model, options) for precision, options in make.items()}


@pytest.fixture
def frame() -> Frame:
    image = np.random.default_rng(0).integers(0, 256, (540, 960, 3), np.uint8)
    return Frame(image, 0.0, 0)


def images(model: LocalRecipe, frame: Frame) -> np.ndarray:
    assert model.input is not None
    return Preprocessor(model.input)([frame])[0].copy()


@pytest.mark.parametrize(("precision", "near"), [("fp32", 1e-3), ("fp16", 2e-2)])
def test_an_engine_answers_as_onnx_runtime_does(
    built: dict[str, BuildResult], model: LocalRecipe, frame: Frame, precision: str, near: float
) -> None:
    x = images(model, frame)
    with load_engine(model, device="cpu") as reference:
        name = reference.inputs[0].name
        expected = {k: v.copy() for k, v in reference.run({name: x}).items()}
    with load_engine(model, device="cuda:0", precision=precision) as engine:
        assert type(engine).__name__ == "TrtEngine"
        for _ in range(4):  # step by step, recorded, replayed
            given = engine.run({name: x})
            for output, value in expected.items():
                scale = max(float(np.abs(value).max()), 1.0)
                assert float(np.abs(given[output] - value).max()) <= near * scale


def test_frames_letterboxed_on_the_device_give_the_same(
    built: dict[str, BuildResult], model: LocalRecipe, frame: Frame
) -> None:
    assert model.input is not None
    with load_engine(model, device="cuda:0", precision="fp16") as engine:
        name = engine.inputs[0].name
        expected = {k: v.copy() for k, v in engine.run({name: images(model, frame)}).items()}
        rectangles = [letterbox_rectangle(frame.size, model.input)]
        given = engine.run_frames([frame], rectangles, model.input, name=name)  # type: ignore[attr-defined]
        for output, value in expected.items():
            assert np.array_equal(given[output], value)


def test_a_wrong_version_or_a_damaged_file_is_rejected(built: dict[str, BuildResult], tmp_path: Path) -> None:
    path = Path(shutil.copy(built["fp16"].engine, tmp_path))
    manifest = read_manifest(manifest_path(built["fp16"].engine))
    write_manifest(manifest, manifest_path(path))
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(ModelError, match="edgevid build"):
        load_engine(path)


def test_a_hundred_loads_free_all_memory(built: dict[str, BuildResult], model: LocalRecipe, frame: Frame) -> None:
    x = images(model, frame)

    def use() -> None:
        with load_engine(built["fp16"].engine) as engine:
            engine.run({engine.inputs[0].name: x})

    with open_cuda() as cuda:
        for _ in range(3):
            use()
        free = free_memory(cuda)
        for _ in range(30):
            use()
        assert free_memory(cuda) >= free - (32 << 20)


def test_a_detector_runs_on_it(built: dict[str, BuildResult], model: LocalRecipe) -> None:
    frames = list(RenderedStreet(seconds=0.12))
    by_cpu = Detector(load_engine(model, device="cpu"), model)
    by_device = Detector(load_engine(model, device="cuda:0", precision="fp32"), model)
    for a, b in zip(by_cpu.detect(frames), by_device.detect(frames), strict=True):
        assert len(a) == len(b)
        assert np.allclose(a.boxes, b.boxes, atol=1.0)


def test_next_to_torch(built: dict[str, BuildResult], model: LocalRecipe, frame: Frame) -> None:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("this torch has no CUDA")
    x = images(model, frame)
    a = torch.arange(1000, device="cuda")
    with load_engine(built["fp16"].engine) as engine:
        engine.run({engine.inputs[0].name: x})
        assert int((a + 1).sum()) == 500500
        engine.run({engine.inputs[0].name: x})
    assert int((a + 1).sum()) == 500500


def test_other_devices_are_errors(device_backend: str, model: LocalRecipe) -> None:
    with pytest.raises(ModelError, match="no device has this number"):
        load_engine(model, device="cuda:63")
    with pytest.raises(InputError, match="device: expected"):
        load_engine(model, device="gpu")


def test_requiring_tensorrt_turns_the_skips_into_failures() -> None:
    """Where there is neither device nor TensorRT: a skip must not count as a pass."""
    from edgevid.runtime.device import gpus

    if gpus():
        pytest.skip("there is a device here")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__, "-k", "hundred_loads"]
    environment = {**os.environ, "EDGEVID_REQUIRE": "trt"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=Path(__file__).parent)
    assert done.returncode == 1
    assert "EDGEVID_REQUIRE=trt, but no NVIDIA driver was found" in done.stdout
