"""`edgevid quantize`: the files it lists, the floor, and its mistakes."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_classifier import classifier, noise_video
from tiny_detector import photos

from edgevid import cli
from edgevid.runtime.recipe import write_recipe


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A small classifier with its recipe, and noise.mp4 next to it."""
    recipe = classifier(tmp_path)
    write_recipe(recipe, tmp_path / "small.toml")
    noise_video(tmp_path / "noise.mp4")
    return recipe.local


def run(model: Path, *options: object) -> int:
    folder = model.parent
    given = ["--max-frames", 10, "--out", folder / "q", "--save-ranges", folder / "r.toml", *options]
    with pytest.raises(SystemExit) as stop:
        cli.main(["quantize", *map(str, [model, *given])])
    return int(stop.value.code or 0)


def test_the_command_lists_its_files(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = ("--data", model.with_name("noise.mp4"))
    assert run(model, *data, "--min-agreement", 0, "--fp16-fallback") == 0
    printed = capsys.readouterr().out
    assert "agreement (min 0.0%)" in printed
    assert "8 frames of noise.mp4" in printed
    for variant in ("int8-cpu", "int8-trt", "int8-trt-fp16"):
        assert f"small.{variant}.onnx" in printed
        assert (model.parent / "q" / f"small.{variant}.onnx").is_file()


def test_one_variant_from_stored_ranges_needs_no_frames(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(model, "--data", model.with_name("noise.mp4"), "--min-agreement", 0) == 0
    made = model.parent / "q" / "small.int8-trt.onnx"
    before = made.read_bytes()
    made.unlink()
    capsys.readouterr()
    assert run(model, "--ranges", model.with_name("r.toml"), "--variant", "int8-trt") == 0
    assert made.read_bytes() == before
    printed = capsys.readouterr().out
    assert "not measured" in printed
    assert "int8-cpu" not in printed


def test_frames_without_objects_verify_nothing_and_end_with_status_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The shipped detector finds nothing on plain images, so no agreement can be stated."""
    frames = photos(tmp_path / "photos", 5)
    options = ["--variant", "int8-trt", "--calibrator", "min-max", "--max-frames", "5"]
    places = ["--out", str(tmp_path / "q"), "--save-ranges", str(tmp_path / "r.toml")]
    with pytest.raises(SystemExit) as stop:
        cli.main(["quantize", "street-nano", "--data", str(frames), *options, *places])
    assert stop.value.code == 1
    assert "unverified: nothing detected" in " ".join(capsys.readouterr().out.split())


def test_an_fp16_graph_needs_no_frames(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(["quantize", str(model), "--precision", "fp16", "--out", str(model.parent / "q")])
    assert stop.value.code == 0
    assert "operators in FP16" in capsys.readouterr().out
    assert (model.parent / "q" / "small.fp16.onnx").is_file()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--precision", "int4"], "--precision: expected one of int8, fp16, got 'int4'"),
        (["--calibrator", "mse"], "expected one of min-max, percentile, entropy"),
        (["--variant", "int4"], "expected one of int8-cpu, int8-trt"),
        (["--min-agreement", "97"], "--min-agreement: expected 0 to 1"),
    ],
)
def test_each_mistake_is_one_sentence(
    options: list[str], words: str, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(model, "--data", model.with_name("noise.mp4"), *options) == 2
    assert words in " ".join(capsys.readouterr().err.split())
    assert not (model.parent / "q").exists()


@pytest.mark.parametrize("options", [[], ["--save-ranges", "kept.toml"], ["--out", "made"]])
def test_ranges_and_files_that_exist_stay_without_force(
    model: Path, options: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The committed ranges of a clone are those of the default name."""
    monkeypatch.chdir(model.parent)
    places = {"--save-ranges": "kept.toml", "--out": "made/small.int8-cpu.onnx"}
    kept = Path(places[options[0]] if options else "calibration/int8/small.toml")
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_text("kept")
    with pytest.raises(SystemExit) as stop:
        cli.main(["quantize", model.name, "--data", "nowhere.mp4", *options])
    assert stop.value.code == 2
    printed = " ".join(capsys.readouterr().err.split())
    assert f"{kept} exists; --force overwrites it" in printed
    assert kept.read_text() == "kept"
