"""cuda_checks.py and trt_checks.py on a driver that works on the host, with each CUDA package."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from host_driver import CHECKS, SUPPORT, build_driver, is_installed

from edgevid.errors import InputError, MissingExtraError, ModelError
from edgevid.runtime import load as choose
from edgevid.runtime import load_engine
from edgevid.runtime.cuda import driver as cuda_driver
from edgevid.runtime.cuda import open as cuda


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("c++") or shutil.which("g++")
    if compiler is None:
        pytest.skip("no C++ compiler is at hand")
    work = tmp_path_factory.mktemp("driver")
    build_driver(compiler, work)
    return work


@pytest.mark.parametrize("backend", ["pycuda", "cuda-bindings"])
def test_all_checks_pass_on_the_host_driver(driver: Path, backend: str) -> None:
    if not is_installed({"pycuda": "pycuda", "cuda-bindings": "cuda.bindings"}[backend]):
        pytest.skip(f"{backend} is not installed")
    environment = {
        **os.environ,
        "LD_LIBRARY_PATH": f"{driver}:{os.environ.get('LD_LIBRARY_PATH', '')}",
        "EDGEVID_HOST_DRIVER": "1",
        "EDGEVID_CUDA": backend,
        "PYTHONPATH": f"{SUPPORT}:{os.environ.get('PYTHONPATH', '')}",
    }
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-x",
        "-p",
        "no:cacheprovider",
        *(str(SUPPORT / name) for name in CHECKS),
    ]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=SUPPORT)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert " passed" in done.stdout or "[100%]" in done.stdout


@pytest.fixture
def no_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda_driver, "gpus", lambda: ())
    monkeypatch.setattr(choose, "gpus", lambda: ())


@pytest.mark.usefixtures("no_device")
def test_without_a_driver_nothing_of_tensorrt_is_touched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some runtimes of TensorRT end the process there."""
    for package in ("tensorrt", "tensorrt_rtx"):
        monkeypatch.setitem(sys.modules, package, None)  # importing it would be another error
    (tmp_path / "net.engine").write_bytes(b"ftrt")
    with pytest.raises(ModelError, match=r"no NVIDIA driver was found.*device='cpu'"):
        load_engine(tmp_path / "net.engine")
    with pytest.raises(ModelError, match="no NVIDIA driver was found"):
        cuda.open_cuda("cuda:0")


def test_engine_files_that_cannot_be_taken(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="there is no such file"):
        load_engine(tmp_path / "gone.engine")
    (tmp_path / "net.plan").write_bytes(b"ftrt")
    with pytest.raises(InputError, match="runs on an NVIDIA device, not on device='cpu'"):
        load_engine(tmp_path / "net.plan", device="cpu")


def test_a_missing_package_is_the_pip_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    gpu = cuda_driver.Gpu(0, "Orin", "8.7")
    monkeypatch.setattr(cuda_driver, "gpus", lambda: (gpu,))
    monkeypatch.setattr(cuda.importlib.util, "find_spec", lambda name: None)
    monkeypatch.delenv("EDGEVID_CUDA", raising=False)
    with pytest.raises(
        MissingExtraError, match=r"cuda-bindings \(or pycuda\).*pip install 'edgevid\[tensorrt\]'"
    ):
        cuda.open_cuda()


@pytest.mark.parametrize("device", ["gpu", "cuda:x", "cuda:-1", ""])
def test_devices_that_are_none(device: str) -> None:
    with pytest.raises(InputError, match="device: expected"):
        load_engine("model.onnx", device=device)
    with pytest.raises(InputError, match="device: expected"):
        cuda_driver.gpu_of(device)
