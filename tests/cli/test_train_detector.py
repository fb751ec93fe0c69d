"""`edgevid train label`, `rendered` and `detector`: from videos to a detector file."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="training needs torch: pip install 'edgevid[train]'")
pytest.importorskip("onnx", reason="export needs onnx")

from detector_samples import squares  # noqa: E402

from edgevid.cli import main  # noqa: E402
from edgevid.detect.detector import Detector  # noqa: E402
from edgevid.learn.detector.data import load  # noqa: E402
from edgevid.learn.detector.network import CLASSES  # noqa: E402
from edgevid.models.hub import recipes  # noqa: E402
from edgevid.runtime.recipe import read_recipe  # noqa: E402
from edgevid.types import Frame  # noqa: E402


def train(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str]:
    """Exit status and everything printed."""
    with pytest.raises(SystemExit) as stop:
        main(["train", *map(str, words)])
    shown = capsys.readouterr()
    return int(stop.value.code or 0), " ".join((shown.out + shown.err).split())


def test_a_video_is_labeled_by_detectors(street_clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Twelve seconds, a frame every four: three images and their labels, all of one clip."""
    data = tmp_path / "data"
    status, printed = train(
        capsys, "label", street_clip, "--data", data, "--models", "street-nano", "--every", 4
    )  # fmt: skip
    assert status == 0
    assert printed.startswith("street: ")
    samples = load(data, CLASSES)
    assert (len(samples), {sample.clip for sample in samples}) == (3, {"street"})
    counted = sum(int(n) for n in printed.replace(",", "").split() if n.isdigit())
    assert counted == sum(int((sample.weights > 0).sum()) for sample in samples) > 0


def test_rendered_images_are_never_of_the_street_that_the_demo_shows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, printed = train(
        capsys, "rendered", "--data", tmp_path, "--scenes", 1, "--frames", 2, "--seed", 7
    )  # fmt: skip
    assert (status, "written 2 images to" in printed) == (0, True)
    assert len(list((tmp_path / "images").glob("rendered*.jpg"))) == 2
    status, printed = train(capsys, "rendered", "--data", tmp_path, "--scenes", 3, "--seed", 6)
    assert status == 2
    assert "--seed: expected seeds without 8, the street of edgevid-demo, got 6 to 8" in printed


def test_a_detector_is_trained_written_and_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, out = squares(tmp_path / "squares", 4), tmp_path / "out"
    status, printed = train(
        capsys, "detector", data, "--out", out, "--steps", 1, "--batch", 2, "--processes", 1, "--name", "mine"
    )  # fmt: skip
    assert status == 0
    assert "mine.onnx" in printed
    assert {path.name for path in out.iterdir()} == {"checkpoint.pt", "mine.onnx", "recipe.toml"}
    recipe = read_recipe(out / "recipe.toml")
    assert (recipe.name, recipe.task, recipe.names) == ("mine", "detect", CLASSES)
    assert torch.load(out / "checkpoint.pt", weights_only=True)["step"] == 1
    image = load(data, CLASSES)[0].image
    assert len(Detector.load(out / "recipe.toml", device="cpu").detect([Frame(image, 0.0, 0)])) == 1


def test_a_shipped_detector_is_fine_tuned_and_the_gain_on_held_out_clips_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, out = squares(tmp_path / "squares", 4), tmp_path / "out"
    options = ("--steps", 1, "--batch", 2, "--processes", 1, "--name", "mine", "--out", out)
    status, printed = train(capsys, "detector", data, "--from", "street-nano", *options)
    assert status == 0, printed
    assert "AP50 on 2 images of 1 held-out clips" in printed
    assert "street-nano" in printed
    assert read_recipe(out / "recipe.toml").input == recipes()["street-nano"].input
    status, printed = train(capsys, "detector", data, "--from", "fastestdet-352.onnx", *options)
    assert status == 2


def test_a_folder_without_labeled_images_is_a_mistake(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, printed = train(capsys, "detector", tmp_path / "nowhere", "--out", tmp_path / "out")
    assert status == 2
    assert "nowhere" in printed
    assert "expected" in printed


@pytest.mark.parametrize("name", ["file", "file/below"])
def test_a_data_folder_that_is_a_file_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    (tmp_path / "file").write_text("x")
    for words in (("rendered",), ("label", tmp_path / "no-video.mp4")):
        status, printed = train(capsys, *words, "--data", tmp_path / name)
        assert status == 2
        assert f"{name}: cannot be written: " in printed
