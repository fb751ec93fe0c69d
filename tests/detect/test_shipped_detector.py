"""The detector that ships with edgevid: there without a network, small, and able to see."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgevid.detect.detector import Detector
from edgevid.kernels import iou
from edgevid.models.hub import recipes, resolve_model
from edgevid.synthetic.render import RenderedStreet
from edgevid.types import Frame
from edgevid.video.open import open_video

NAME = "street-nano"


def test_it_is_there_small_and_needs_no_address() -> None:
    recipe = recipes()[NAME]
    assert recipe.source.url == ""
    assert recipe.local.stat().st_size < 4_000_000
    assert recipe.names == ("person", "bicycle", "car", "motorcycle", "bus", "truck")
    assert (recipe.path.parent / "CARD.md").read_text().count("must not") >= 1


def test_without_network_and_mirror_it_is_the_one_that_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty = tmp_path / "mirror"
    empty.mkdir()
    monkeypatch.setenv("EDGEVID_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("EDGEVID_MODELS_MIRROR", str(empty))
    monkeypatch.setattr("edgevid.models.hub.find_recipe", lambda _: unreachable())
    assert resolve_model(None).name == NAME


def unreachable() -> object:
    """The default's recipe, with an address where no server answers."""
    import dataclasses

    recipe = recipes()["yolox-nano-416"]
    source = dataclasses.replace(recipe.source, url="http://127.0.0.1:9/model.onnx")
    return dataclasses.replace(recipe, source=source)


def test_a_gray_image_holds_nothing() -> None:
    gray = Frame(np.full((360, 640, 3), 128, np.uint8), 0.0, 0)
    assert len(Detector.load(NAME).detect([gray])[0]) == 0


def test_it_sees_people_and_cars_in_scenes_it_never_learned(shared_data: Path) -> None:
    detector = Detector.load(NAME, score_threshold=0.5)
    seen = {}
    for file, expected in (
        ("intel_one-by-one-person-detection.mp4", "person"),
        ("vehicle_counting_tf_input.mp4", "car"),
    ):
        label = detector.names.index(expected)
        with open_video(shared_data / "videos" / file) as video:
            counts = [
                int((detector.detect([frame])[0].labels == label).sum()) for frame in video if frame.index % 20 == 0
            ]
        seen[expected] = float(np.mean(np.array(counts) > 0))
    assert seen["person"] > 0.4  # a person is there in about two thirds of the images
    assert seen["car"] > 0.7


def test_it_finds_the_rendered_street_that_the_demo_shows() -> None:
    detector, street = Detector.load(NAME, score_threshold=0.5), RenderedStreet(seconds=20)
    right = detected = there = found = 0
    for time in np.arange(1.0, 20.0, 2.0):
        seen = detector.detect([Frame(street.render(float(time)), float(time), 0)])[0]
        truth = street.scene.at(float(time))
        boxes = truth.boxes.astype(np.float32)
        overlap = iou(seen.boxes, boxes) * ((seen.labels[:, None] == 0) == (truth.labels[None] == 0))
        right, detected = right + int((overlap.max(1) > 0.5).sum()), detected + len(seen)
        near = boxes[:, 3] - boxes[:, 1] > 60  # those that are easy to find, hidden ones among them
        found, there = found + int((overlap[:, near].max(0) > 0.5).sum()), there + int(near.sum())
    assert there > 30
    assert right > 0.8 * detected
    assert found > 0.7 * there


def test_its_int8_files_are_made_of_the_committed_ranges_alone(tmp_path: Path) -> None:
    pytest.importorskip("onnx", reason="quantizing needs the extra build")
    from edgevid.optimize.quantize.quantizer import quantize

    ranges = Path(__file__).resolve().parents[2] / "calibration" / "int8" / f"{NAME}.toml"
    report = quantize(NAME, ranges=ranges, out=tmp_path, save_ranges=tmp_path / "again.toml")
    assert sorted(path.name for path in tmp_path.glob("*.onnx")) == [
        "street_nano.int8-cpu.onnx",
        "street_nano.int8-trt.onnx",
    ]
    assert report.recipe.name == NAME
    street = RenderedStreet(seconds=4)
    frame = list(street)[40]
    plain = Detector.load(NAME, device="cpu").detect([frame])[0]
    recipe = resolve_model(NAME).with_local(tmp_path / "street_nano.int8-cpu.onnx")
    small = Detector.load(recipe, device="cpu").detect([frame])[0]
    assert len(plain) >= 3
    found = iou(plain.boxes, small.boxes).max(axis=1) >= 0.5
    assert found.mean() >= 0.75
