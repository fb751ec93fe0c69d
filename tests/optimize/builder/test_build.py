"""Engines built for real by TensorRT-RTX, which needs no device, and everything that a build rejects."""

from __future__ import annotations

import json
import os
import shlex
import signal
import sys
from pathlib import Path

import pytest
from onnx_models import node, save

from edgevid import cli
from edgevid.errors import InputError, MissingExtraError, ModelError
from edgevid.optimize.builder import engine as build_engine
from edgevid.optimize.builder import layers as build_layers
from edgevid.optimize.builder.build import build, make_plan
from edgevid.optimize.builder.options import BuildOptions, read_batch, read_shapes
from edgevid.optimize.builder.verify import Verification
from edgevid.runtime.manifest import Manifest, check, manifest_path, read_manifest

import numpy as np  # isort: skip


@pytest.fixture
def rtx() -> None:
    pytest.importorskip("tensorrt_rtx", reason="no builder here: pip install 'edgevid[tensorrt-rtx]'")


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """One convolution of 3 to 8 channels and a ReLU, of open batch, height and width."""
    weights = np.random.default_rng(0).normal(size=(8, 3, 3, 3)).astype(np.float32)
    path = tmp_path / "small.onnx"
    save(
        path,
        [node("Conv", "x w", "c", name="first", pads=[1, 1, 1, 1]), node("Relu", "c", "y")],
        {"x": ("float32", ("n", 3, "h", "w"))},
        {"y": ("n", 8, "h", "w")},
        w=weights,
    )
    return path


FP32 = BuildOptions(precision="fp32", backend="tensorrt-rtx")


def options(**more: object) -> BuildOptions:
    return BuildOptions(**{"precision": "fp32", "backend": "tensorrt-rtx", **more})  # type: ignore[arg-type]


@pytest.mark.usefixtures("rtx")
def test_open_axes_become_a_profile_and_the_manifest_tells_it(small: Path) -> None:
    shapes = dict([read_shapes("x=1x3x16x16,2x3x32x32,4x3x64x64")])
    phases: list[str] = []
    done = build(
        small, options(shapes=shapes), progress=lambda phase, step, steps: phases.append(phase)
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
def test_open_axes_that_nothing_fixes_are_an_error(small: Path) -> None:
    with pytest.raises(InputError, match=r"input 'x'.*dynamic axes.*--shape x=1x3x1x1"):
        build(small, FP32)
    with pytest.raises(InputError, match="--shape: x: expected one that fits"):
        build(small, options(shapes=dict([read_shapes("x=1x4x16x16")])))
    assert not (small.parent / "build").exists() or not list((small.parent / "build").iterdir())


@pytest.mark.usefixtures("rtx")
def test_a_batch_that_the_model_lacks_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "one.onnx"
    save(path, [node("Relu", "x", "y")], {"x": ("float32", (2, 3, 8, 8))}, {"y": (2, 3, 8, 8)})
    with pytest.raises(InputError, match=r"--batch: got \(1, 4, 8\), but the model's batch is fixed at 2"):
        build(path, options(batch=(1, 4, 8)))
    assert build(path, options(batch=(2, 2, 2))).manifest.options["batch"] == [2, 2, 2]


@pytest.mark.usefixtures("rtx")
def test_what_the_parser_rejects_is_quoted(tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_text("no model")
    with pytest.raises(ModelError, match=r"text.onnx"):
        build_engine.build_engine(tmp_path / "text.onnx", FP32, "tensorrt-rtx")
    with pytest.raises(ModelError, match="expected an ONNX file"):
        build_engine.build_engine(tmp_path / "gone.onnx", FP32, "tensorrt-rtx")
    path = tmp_path / "odd.onnx"
    save(path, [node("Det", "x", "y")], {"x": ("float32", (2, 4, 4))}, {"y": (2,)})
    with pytest.raises(ModelError, match=r"odd.onnx: TensorRT's parser rejects it: Det"):
        build_engine.build_engine(path, FP32, "tensorrt-rtx")


@pytest.mark.usefixtures("rtx")
def test_ctrl_c_stops_the_build_and_leaves_nothing(small: Path) -> None:
    def interrupt(phase: str, done: int, steps: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(small, options(shapes=dict([read_shapes("x=1x3x16x16")])), progress=interrupt)
    assert not list(small.parent.rglob("*.engine*"))


@pytest.mark.usefixtures("rtx")
def test_the_signal_itself_stops_the_build_too(small: Path) -> None:
    before = signal.getsignal(signal.SIGINT)

    def interrupt(phase: str, done: int, steps: int) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        build(small, options(shapes=dict([read_shapes("x=1x3x16x16")])), progress=interrupt)
    assert signal.getsignal(signal.SIGINT) is before
    assert not list(small.parent.rglob("*.engine*"))


@pytest.mark.usefixtures("rtx")
def test_an_fp16_engine_of_an_fp32_graph_cannot_pass(small: Path) -> None:
    """A failure without an error elsewhere: FP16 is requested, the graph has none."""
    plan = make_plan(small, options(shapes=dict([read_shapes("x=1x3x16x16")])))
    built = build_engine.build_engine(small, plan.options, "tensorrt-rtx")
    from edgevid.optimize.builder.build import _check_precision

    expected = make_plan(small, options(precision="fp16"))
    with pytest.raises(ModelError, match=r"expected fp16.*none in Half.*'Float': 1"):
        _check_precision(expected, built)


def test_a_plan_needs_no_tensorrt(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build_engine.importlib.util, "find_spec", lambda name: None)
    plan = make_plan(small, BuildOptions(precision="fp32", workspace_mb=512, version_compatible=True))
    lines = dict(plan.lines(Verification(data="clip.mp4", min_agreement=0.98)))
    assert lines["backend"] == "TensorRT (not installed)"
    assert lines["workspace"] == "at most 512 MB"
    assert lines["compatibility"] == "this and newer versions, this device"
    assert "100 frames of clip.mp4, minimum agreement 0.98" in lines["verification"]
    assert lines["engine"].endswith("build/small.fp32.engine")
    assert lines["timing cache"].endswith("timing.new.cache")


def test_an_absent_backend_is_the_pip_line(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("tensorrt", "tensorrt_rtx"):
        monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setattr(build_engine.importlib.util, "find_spec", lambda name: None)
    for backend in ("tensorrt", "tensorrt-rtx"):
        with pytest.raises((MissingExtraError, ModuleNotFoundError), match=r"edgevid\[" + backend + r"\]"):
            build(small, BuildOptions(precision="fp32", backend=backend))
    monkeypatch.setattr(build_engine, "gpus", list)
    with pytest.raises(MissingExtraError, match=r"tensorrt-rtx\].*edgevid\[tensorrt\]"):
        build_engine.load_backend("tensorrt")  # a machine without a device learns what builds there


def test_a_backend_that_does_not_load_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where the Python package is there and TensorRT's libraries are not."""
    (tmp_path / "tensorrt.py").write_text(
        "raise ImportError('libnvinfer.so.11: cannot open shared object file: No such file or directory')"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "tensorrt", raising=False)
    with pytest.raises(ModelError, match=r"installed, but does not load: libnvinfer.so.11.*LD_LIBRARY_PATH"):
        build_engine.load_backend("tensorrt")


@pytest.mark.parametrize(("version", "got"), [("8.5.2", "8.5.2"), ("12.0.0", "12.0.0")])
def test_a_version_out_of_range_is_an_error(version: str, got: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Package:
        __version__ = version
        Builder = object

    monkeypatch.setitem(sys.modules, "tensorrt", Package)  # type: ignore[arg-type]
    with pytest.raises(ModelError, match=f"expected 10.3 to 11.x, got {got}"):
        build_engine.load_backend("tensorrt")


def test_tensorrt_without_a_device_names_where_to_build(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Package:
        __version__ = "10.13.3"
        Builder = object

    monkeypatch.setitem(sys.modules, "tensorrt", Package)  # type: ignore[arg-type]
    monkeypatch.setattr(build_engine, "gpus", lambda: ())
    with pytest.raises(ModelError, match=r"no NVIDIA driver was found.*--backend tensorrt-rtx"):
        build_engine.build_engine(small, BuildOptions(precision="fp32", backend="tensorrt"), "tensorrt")


def test_int8_without_its_graph_is_the_command_that_makes_it(small: Path) -> None:
    with pytest.raises(ModelError, match=r"edgevid quantize .*small.onnx --data"):
        build(small, BuildOptions(precision="int8", backend="tensorrt-rtx"))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"precision": "fp8"}, "--precision: expected one of fp32, fp16, int8"),
        ({"backend": "onnx"}, "--backend: expected one of auto"),
        ({"batch": (2, 1, 4)}, "MIN <= OPT <= MAX"),
        ({"workspace_mb": 0}, "--workspace: expected at least 1 MB"),
        ({"optimization_level": 6}, "--optimization-level: expected 0 to 5"),
        ({"hardware_compatibility": "any"}, "--hardware-compatibility: expected one of none"),
        ({"compute_capabilities": ("9.0",)}, "--compute-capability: expected some of 7.5"),
        ({"shapes": {"x": ((2,), (1,), (1,))}}, "--shape: x"),
    ],
)
def test_options_out_of_range(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        options(**wrong)


def test_choices_of_the_other_backend() -> None:
    with pytest.raises(InputError, match="only TensorRT-RTX builds for other devices"):
        options(compute_capabilities=("8.6",)).check_backend("tensorrt")
    with pytest.raises(InputError, match="select others with --compute-capability"):
        options(hardware_compatibility="ampere+").check_backend("tensorrt-rtx")


@pytest.mark.parametrize("text", ["x", "1,2", "a,b,c"])
def test_batches_and_shapes_that_are_none(text: str) -> None:
    with pytest.raises(InputError, match="--batch: expected"):
        read_batch(text)
    with pytest.raises(InputError, match="--shape: expected"):
        read_shapes(text)


def test_the_account_of_kernels_is_read() -> None:
    """Shapes shortened from what TensorRT-RTX 1.7 logs of a quantized convolution and its neighbors."""
    message = (
        "Engine Layer Information:\n"
        "Name: __myl_Roun_myl0_1, LayerType: kgen, Inputs: [ { Name: x, Datatype: Float } ], Constants: [], "
        "Outputs: [ { Name: q, Datatype: Int8 } ], StreamId: 0, "
        "Metadata: [ONNX Layer: Conv_1][ONNX Layer: Quant_1]\n"
        "Name: Conv_1_myl0_4, LayerType: correlation, Inputs: [ { Name: q, Datatype: Int8 } ], "
        "Constants: [ { Name: w, Datatype: Int8 }, { Name: s, Datatype: Float } ], "
        "Outputs: [ { Name: y, Datatype: Float } ], StreamId: 0, Metadata: [ONNX Layer: Conv_1]\n"
        "Name: __myl_CorrSilu_2, LayerType: runtime_fusion, Inputs: [ { Name: y, Datatype: Half } ], "
        "Outputs: [ { Name: z, Datatype: Half } ], Metadata: [ONNX Layer: Conv_2][ONNX Layer: Sigmoid_3]\n"
        "Name: wait, LayerType: wait, Inputs: [], Constants: [], Outputs: [], Metadata: \n"
    )
    found = build_layers.kernels(["chatter", message])
    types = build_layers.convolution_types(found, ["Conv_1", "Conv_2", "Conv_9"])
    assert types == {"Conv_1": "Int8", "Conv_2": "Half", "Conv_9": "?"}
    assert build_layers.tally(types) == {"Int8": 1, "Half": 1, "?": 1}


def test_the_command_needs_data_or_skip_verification(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.build_main([str(small), "--precision", "fp32"])
    assert stop.value.code == 2
    assert "--skip-verification" in " ".join(capsys.readouterr().err.split())


def test_the_command_prints_its_plan(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(["build", str(small), "--precision", "fp32", "--batch", "1,4,8", "--dry-run"])
    assert stop.value.code == 0
    printed = capsys.readouterr().out
    assert "Nothing is built" in printed
    assert "MIN 1, OPT 4, MAX 8" in printed
    assert not (small.parent / "build").exists()


@pytest.mark.usefixtures("rtx")
def test_the_command_builds_and_reports(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = small.parent / "elsewhere" / "mine.engine"
    arguments = [str(small), "--precision", "fp32", "--backend", "tensorrt-rtx", "--skip-verification"]
    with pytest.raises(SystemExit) as stop:
        cli.build_main(
            [*arguments, "--shape", "x=1x3x16x16", "--compute-capability", "8.6,8.9", "--out", str(out)]
        )
    assert stop.value.code == 0
    printed = capsys.readouterr().out
    assert "1 in Float (from the builder's log)" in printed
    assert "compute capability 8.6, 8.9" in printed
    assert json.loads(manifest_path(out).read_text())["compute_capabilities"] == ["8.6", "8.9"]


def test_the_command_takes_every_option_of_a_rebuild_command(
    small: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = {
        "batch": (1, 4, 8),
        "shapes": dict([read_shapes("x=1x3x16x16")]),
        "workspace_mb": 512,
        "optimization_level": 5,
        "version_compatible": True,
        "tf32": True,
    }
    chosen = [
        options(backend="tensorrt", hardware_compatibility="ampere+", **common),
        options(compute_capabilities=("8.6", "8.9"), **common),
        options(precision="int8", fallback_precision="fp32", **common),
    ]
    for one in chosen:
        manifest = Manifest(
            "small", small.name, "0", small.name, "0", one.precision, one.backend, "10.3.0", "0", 1,
            compute_capabilities=one.compute_capabilities, options=one.as_dict(),
        )  # fmt: skip
        with pytest.raises(SystemExit) as stop:
            cli.main([*shlex.split(manifest.rebuild_command(small))[1:], "--dry-run"])
        assert stop.value.code == 0
        assert "at most 512 MB" in capsys.readouterr().out
