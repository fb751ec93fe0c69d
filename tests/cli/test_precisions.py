"""Reported failures of quantizing and building, end to end by the commands: each with its right result."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from conv_detector import conv_detector

from edgevid import cli
from edgevid.errors import ModelError
from edgevid.optimize.compare.run import precision_of
from edgevid.runtime.manifest import check, manifest_path, read_manifest
from edgevid.runtime.variants import read_record


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve images of colored blocks."""
    folder = tmp_path_factory.mktemp("my frames")
    for n in range(12):
        blocks = np.random.default_rng(n).integers(0, 255, (12, 16, 3), np.uint8)
        cv2.imwrite(str(folder / f"{n:03}.png"), np.kron(blocks, np.ones((8, 8, 1), np.uint8)))
    return folder


def edgevid(*words: object) -> int:
    """The exit status of a command."""
    with pytest.raises(SystemExit) as stop:
        cli.main([str(word) for word in words])
    return int(stop.value.code or 0)


def quantized(model: object, frames: Path, folder: Path, *more: object) -> int:
    return edgevid("quantize", model, "--data", frames, "--save-ranges", folder / "ranges.toml", *more)


@pytest.mark.parametrize("opset", [10, 11, 13, 17, 18, 20, 22, 25, 26, 28])
def test_every_opset_is_quantized(opset: int, frames: Path, tmp_path: Path) -> None:
    model = conv_detector(tmp_path / "m.onnx", opset=opset)
    assert quantized(model, frames, tmp_path) == 0
    assert edgevid("quantize", model, "--precision", "fp16", "--data", frames) == 0
    for variant in ("int8-cpu", "fp16"):
        assert edgevid("compare", model, tmp_path / f"build/m.{variant}.onnx", "--data", frames) == 0


@pytest.mark.parametrize("batch", [8, "n"])
def test_a_batch_and_open_axes_are_quantized(batch: int | str, frames: Path, tmp_path: Path) -> None:
    model = conv_detector(tmp_path / "m.onnx", batch=batch)
    assert quantized(model, frames, tmp_path) == 0
    assert edgevid("quantize", model, "--precision", "fp16", "--data", frames) == 0


@pytest.mark.parametrize("inside", [False, True])
def test_weights_in_another_file_are_read(
    inside: bool, frames: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From outside of the model's folder and from inside, with its bare name."""
    path = conv_detector(tmp_path / "m.onnx", external=True)
    assert (tmp_path / "m.onnx.data").stat().st_size > 10_000
    if inside:
        monkeypatch.chdir(tmp_path)
    model = "m.onnx" if inside else path
    assert quantized(model, frames, tmp_path) == 0
    assert edgevid("quantize", model, "--precision", "fp16") == 0
    assert edgevid("compare", model, tmp_path / "build/m.fp16.onnx", "--data", frames) == 0
    assert {p.name for p in (tmp_path / "build").glob("*.onnx*")} == {
        "m.int8-cpu.onnx", "m.int8-trt.onnx", "m.fp16.onnx",
    }  # fmt: skip


def test_a_missing_file_of_weights_is_named(frames: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = conv_detector(tmp_path / "m.onnx", external=True)
    (tmp_path / "m.onnx.data").unlink()
    assert quantized(path, frames, tmp_path) == 2
    assert "m.onnx.data" in capsys.readouterr().err


def test_an_engine_of_exchanged_weights_is_not_taken(tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx", reason="no builder here: pip install 'edgevid[tensorrt-rtx]'")
    path = conv_detector(tmp_path / "m.onnx", external=True)
    assert edgevid(
        "build", path, "--precision", "fp32", "--skip-verification", "--backend", "tensorrt-rtx"
    ) == 0  # fmt: skip
    engine = tmp_path / "build" / "m.fp32.rtx.engine"
    manifest = read_manifest(manifest_path(engine))
    check(engine, manifest, gpu=None, version=None, model=path)
    data = tmp_path / "m.onnx.data"
    data.write_bytes((-np.frombuffer(data.read_bytes(), np.float32)).tobytes())
    with pytest.raises(ModelError, match=r"another m.onnx than .* is now") as stop:
        check(engine, manifest, gpu=None, version=None, model=path)
    assert edgevid(*suggested(str(stop.value))) == 0
    check(engine, read_manifest(manifest_path(engine)), gpu=None, version=None, model=path)


def test_what_is_quantized_or_fp16_already_is_an_error(
    frames: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = conv_detector(tmp_path / "m.onnx")
    assert quantized(model, frames, tmp_path) == 0
    assert edgevid("quantize", model, "--precision", "fp16") == 0
    for variant, what in (("int8-cpu", "is quantized already"), ("fp16", "is FP16 already")):
        again = (tmp_path / f"build/m.{variant}.onnx").rename(tmp_path / f"{variant}.onnx")
        assert quantized(again, frames, tmp_path, "--force") == 2
        assert what in " ".join(capsys.readouterr().err.split())


def suggested(text: str) -> Sequence[str]:
    """The words of the `edgevid` command with which a message ends."""
    found = re.search(r": edgevid (.*)", " ".join(text.split()))
    assert found is not None, text
    return shlex.split(found[1])


def test_what_overflows_in_fp16_is_rejected_and_the_way_out_works(
    frames: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Activations reach 1.2e6: in FP16 every answer is NaN, in float32 all of them agree."""
    monkeypatch.setenv("COLUMNS", "1000")
    model = conv_detector(tmp_path / "my model.onnx", gain=3e5)
    half = tmp_path / "build" / "my model.fp16.onnx"
    assert edgevid("quantize", model, "--precision", "fp16") == 0
    capsys.readouterr()
    assert edgevid("compare", model, half, "--data", frames) == 1
    text = capsys.readouterr().out
    assert "NaN or infinite values" in text
    assert "rounded to float16" in text
    command = suggested(text.partition("rejected:")[2])
    assert command[:2] == ["quantize", str(model)]
    assert edgevid(*command) == 0
    assert "agreement" in capsys.readouterr().out
    kept = read_record(half)["fp32_nodes"]
    assert any(name.startswith("Conv:c1") and "reaches" in why for name, why in kept.items())
    assert edgevid("compare", model, half, "--data", frames) == 0


def test_a_model_that_overflows_everywhere_is_built_in_fp32(
    frames: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The FP16 graph has no convolution in FP16: making it again would not help."""
    pytest.importorskip("tensorrt_rtx", reason="no builder here: pip install 'edgevid[tensorrt-rtx]'")
    monkeypatch.setenv("COLUMNS", "1000")
    model = conv_detector(tmp_path / "m.onnx", gain=3e5)
    build = ["build", model, "--precision", "fp16", "--backend", "tensorrt-rtx", "--data", frames]
    assert edgevid(*build) == 1
    text = capsys.readouterr().err
    assert "all convolutions stay in FP32" in text
    assert "--precision fp32" in text
    assert edgevid(*build, "--try-next") == 0
    assert (tmp_path / "build" / "m.fp32.rtx.engine").is_file()


def test_fp16_is_recognized_by_its_weights(tmp_path: Path) -> None:
    model = conv_detector(tmp_path / "m.onnx")
    assert edgevid("quantize", model, "--precision", "fp16") == 0
    other = (tmp_path / "build/m.fp16.onnx").rename(tmp_path / "other.onnx")
    assert precision_of(other) == "fp16"
    assert precision_of(model) == "fp32"


def test_the_command_for_a_missing_variant_works_as_printed(
    frames: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model given by its path, with a blank in it, and no recipe."""
    monkeypatch.setenv("COLUMNS", "1000")
    monkeypatch.chdir(tmp_path)
    model = conv_detector(tmp_path / "hint" / "my model.onnx")
    run = ["run", frames, "--model", model, "--precision", "int8", "--max-frames", 1]
    assert edgevid(*run) == 2
    words = suggested(capsys.readouterr().err.replace("VIDEO|FOLDER", shlex.quote(str(frames))))
    assert words[0] == "quantize"
    assert edgevid(*words) == 0
    assert edgevid(*run) == 0
