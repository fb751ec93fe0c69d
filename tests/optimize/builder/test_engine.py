"""The builder driven for real by TensorRT-RTX, which needs no device, and everything that it rejects."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest
from builder_samples import rtx_options
from onnx_models import node, save

from edgevid.errors import InputError, MissingExtraError, ModelError
from edgevid.optimize.builder import engine as module
from edgevid.optimize.builder.build import build
from edgevid.optimize.builder.options import BuildOptions, read_shapes


@pytest.mark.usefixtures("rtx")
def test_open_axes_that_nothing_fixes_are_an_error(tmp_path: Path) -> None:
    path = tmp_path / "five.onnx"
    save(path, [node("Relu", "x", "y")], {"x": ("float32", ("n", 5, "h", "w"))}, {"y": ("n", 5, "h", "w")})
    with pytest.raises(InputError, match=r"input 'x'.*dynamic axes.*--shape x=1x5x1x1"):
        build(path, rtx_options())
    with pytest.raises(InputError, match="--shape: x: expected one that fits"):
        build(path, rtx_options(shapes=dict([read_shapes("x=1x4x16x16")])))
    assert not (tmp_path / "build").exists() or not list((tmp_path / "build").iterdir())


@pytest.mark.usefixtures("rtx")
def test_a_batch_that_the_model_lacks_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "one.onnx"
    save(path, [node("Relu", "x", "y")], {"x": ("float32", (2, 3, 8, 8))}, {"y": (2, 3, 8, 8)})
    with pytest.raises(InputError, match=r"--batch: got \(1, 4, 8\), but the model's batch is fixed at 2"):
        build(path, rtx_options(batch=(1, 4, 8)))
    assert list(build(path, rtx_options(batch=(2, 2, 2))).manifest.options["batch"]) == [2, 2, 2]


@pytest.mark.usefixtures("rtx")
def test_what_the_parser_rejects_is_quoted(tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_text("no model")
    with pytest.raises(ModelError, match=r"text.onnx"):
        module.build_engine(tmp_path / "text.onnx", rtx_options(), "tensorrt-rtx")
    with pytest.raises(ModelError, match="expected an ONNX file"):
        module.build_engine(tmp_path / "gone.onnx", rtx_options(), "tensorrt-rtx")
    path = tmp_path / "odd.onnx"
    save(path, [node("Det", "x", "y")], {"x": ("float32", (2, 4, 4))}, {"y": (2,)})
    with pytest.raises(ModelError, match=r"odd.onnx: TensorRT's parser rejects it: Det"):
        module.build_engine(path, rtx_options(), "tensorrt-rtx")


@pytest.mark.usefixtures("rtx")
def test_ctrl_c_stops_the_build_and_leaves_nothing(small: Path) -> None:
    def interrupt(done: int, steps: int, phase: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(small, rtx_options(shapes=dict([read_shapes("x=1x3x16x16")])), progress=interrupt)
    assert not list(small.parent.rglob("*.engine*"))


@pytest.mark.usefixtures("rtx")
def test_the_signal_itself_stops_the_build_too(small: Path) -> None:
    before = signal.getsignal(signal.SIGINT)

    def interrupt(done: int, steps: int, phase: str) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        build(small, rtx_options(shapes=dict([read_shapes("x=1x3x16x16")])), progress=interrupt)
    assert signal.getsignal(signal.SIGINT) is before
    assert not list(small.parent.rglob("*.engine*"))


def test_an_absent_backend_is_the_pip_line(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("tensorrt", "tensorrt_rtx"):
        monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: None)
    for backend in ("tensorrt", "tensorrt-rtx"):
        with pytest.raises((MissingExtraError, ModuleNotFoundError), match=r"edgevid\[" + backend + r"\]"):
            build(small, BuildOptions(precision="fp32", backend=backend))
    monkeypatch.setattr(module, "gpus", list)
    with pytest.raises(MissingExtraError, match=r"tensorrt-rtx\].*edgevid\[tensorrt\]"):
        module.load_backend("tensorrt")  # a machine without a device learns what builds there


def test_a_backend_that_does_not_load_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the Python package is there and TensorRT's libraries are not."""
    (tmp_path / "tensorrt.py").write_text(
        "raise ImportError('libnvinfer.so.11: cannot open shared object file: No such file or directory')"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "tensorrt", raising=False)
    with pytest.raises(ModelError, match=r"installed, but does not load: libnvinfer.so.11.*LD_LIBRARY_PATH"):
        module.load_backend("tensorrt")


@pytest.mark.parametrize(("version", "got"), [("8.5.2", "8.5.2"), ("12.0.0", "12.0.0")])
def test_a_version_out_of_range_is_an_error(version: str, got: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Package:
        __version__ = version
        Builder = object

    monkeypatch.setitem(sys.modules, "tensorrt", Package)  # type: ignore[arg-type]
    with pytest.raises(ModelError, match=f"expected 10.3 to 11.x, got {got}"):
        module.load_backend("tensorrt")


def test_tensorrt_without_a_device_names_where_to_build(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Package:
        __version__ = "10.13.3"
        Builder = object

    monkeypatch.setitem(sys.modules, "tensorrt", Package)  # type: ignore[arg-type]
    monkeypatch.setattr(module, "gpus", lambda: ())
    with pytest.raises(ModelError, match=r"no NVIDIA driver was found.*--backend tensorrt-rtx"):
        module.build_engine(small, BuildOptions(precision="fp32", backend="tensorrt"), "tensorrt")
