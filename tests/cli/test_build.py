"""`edgevid build`: what it prints and writes, and its exit status."""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path

import pytest
from builder_samples import blinded, rtx_options, small_model, street_frames

from edgevid import cli
from edgevid.models.hub import resolve_model
from edgevid.optimize.builder.options import read_shapes
from edgevid.runtime.manifest import Manifest, manifest_path


@pytest.fixture
def rtx() -> None:
    pytest.importorskip("tensorrt_rtx", reason="no builder here: pip install 'edgevid[tensorrt-rtx]'")


@pytest.fixture
def small(tmp_path: Path) -> Path:
    return small_model(tmp_path / "small.onnx")


@pytest.fixture
def frames(tmp_path: Path) -> Path:
    (tmp_path / "frames").mkdir()
    return street_frames(tmp_path / "frames")


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
        cli.build_main([*arguments, "--shape", "x=1x3x16x16", "--compute-capability", "8.6,8.9", "--out", str(out)])
    assert stop.value.code == 0
    printed = capsys.readouterr().out
    assert "1 in Float (from the builder's log)" in printed
    assert "compute capability 8.6, 8.9" in printed
    assert json.loads(manifest_path(out).read_text())["compute_capabilities"] == ["8.6", "8.9"]


def test_the_command_takes_every_option_of_a_rebuild_command(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    common = {
        "batch": (1, 4, 8),
        "shapes": dict([read_shapes("x=1x3x16x16")]),
        "workspace_mb": 512,
        "optimization_level": 5,
        "version_compatible": True,
        "tf32": True,
    }
    chosen = [
        rtx_options(backend="tensorrt", hardware_compatibility="ampere+", **common),
        rtx_options(compute_capabilities=("8.6", "8.9"), **common),
        rtx_options("int8", fallback_precision="fp32", **common),
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


@pytest.mark.usefixtures("rtx")
def test_the_command_is_red_and_exits_1_below_the_floor(
    frames: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from edgevid.optimize.builder import build as module

    recipe = resolve_model("street-nano")
    assert recipe.local is not None
    for file in (recipe.local, recipe.path):
        shutil.copy(file, tmp_path)
    local = recipe.with_local(tmp_path / recipe.file)
    (tmp_path / "build").mkdir()
    monkeypatch.setattr(module, "make_fp16", lambda *_, **__: blinded(local, tmp_path / "build"))
    arguments = [str(local.local), "--backend", "tensorrt-rtx", "--data", str(frames), "--min-agreement", "0.9"]
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
