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
SHIPPED = ("street-nano", "street-small")


def test_they_are_there_small_and_need_no_address() -> None:
    shipped = [recipes()[name] for name in SHIPPED]
    assert sum(recipe.local.stat().st_size for recipe in shipped) < 8_000_000
    for recipe in shipped:
        assert recipe.source.url == ""
        assert recipe.names == ("person", "bicycle", "car", "motorcycle", "bus", "truck")
        assert len(recipe.decode.class_thresholds) == len(recipe.names)
        assert (recipe.path.parent / "CARD.md").read_text().count("must not") >= 1


def test_the_owners_of_the_pictures_are_named_beside_the_weights() -> None:
    notice = (recipes()[NAME].path.parents[1] / "NOTICE.txt").read_text()
    for owner in ("Kathmandu Road Dataset", "Open Images", "COCO 2017", "Udacity", "OpenDataCam", "CC BY 4.0"):
        assert owner in notice


@pytest.mark.parametrize("name", SHIPPED)
def test_a_batch_of_any_size_and_the_thresholds_of_the_classes(name: str) -> None:
    frames = [Frame(image, 0.0, n) for n, image in enumerate(np.zeros((3, 90, 160, 3), np.uint8))]
    detector = Detector.load(name, device="cpu")
    assert [len(found) for found in detector.detect(frames)] == [0, 0, 0]
    street = Frame(RenderedStreet(seconds=4).render(3.0), 3.0, 0)
    every, sure = Detector.load(name, score_threshold=0.05).detect([street])[0], detector.detect([street])[0]
    limits = np.array(detector.recipe.decode.class_thresholds)
    assert 0 < len(sure) <= (every.scores >= limits[every.labels]).sum() < len(every)
    assert (sure.scores >= limits[sure.labels]).all()


def test_without_network_and_mirror_it_is_the_one_that_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty = tmp_path / "mirror"
    empty.mkdir()
    monkeypatch.setenv("EDGEVID_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("EDGEVID_MODELS_MIRROR", str(empty))
    monkeypatch.setattr("edgevid.models.hub.find_recipe", lambda _: unreachable())
    assert resolve_model(None).name == "street-small"
    monkeypatch.setattr("edgevid.models.hub.default_threads", lambda: 1)
    assert resolve_model(None).name == "street-nano"


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
    detector = Detector.load("street-small", score_threshold=0.5)
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


@pytest.mark.parametrize("name", SHIPPED)
def test_it_finds_the_rendered_street_that_the_demo_shows(name: str) -> None:
    detector, street = Detector.load(name, score_threshold=0.4), RenderedStreet(seconds=20)
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


@pytest.mark.parametrize("name", SHIPPED)
def test_its_int8_files_are_made_of_the_committed_ranges_alone(tmp_path: Path, name: str) -> None:
    pytest.importorskip("onnx", reason="quantizing needs the extra build")
    from edgevid.optimize.quantize.quantizer import quantize

    ranges = Path(__file__).resolve().parents[2] / "calibration" / "int8" / f"{name}.toml"
    report = quantize(name, ranges=ranges, out=tmp_path, save_ranges=tmp_path / "again.toml")
    stem = name.replace("-", "_")
    files = [f"{stem}.int8-cpu.onnx", f"{stem}.int8-trt.onnx"]
    assert sorted(path.name for path in tmp_path.glob("*.onnx")) == files
    assert report.recipe.name == name
    street = RenderedStreet(seconds=4)
    frame = list(street)[40]
    plain = Detector.load(name, device="cpu", score_threshold=0.4).detect([frame])[0]
    recipe = resolve_model(name).with_local(tmp_path / files[0])
    small = Detector.load(recipe, device="cpu", score_threshold=0.4).detect([frame])[0]
    assert len(plain) >= 3
    found = iou(plain.boxes, small.boxes).max(axis=1) >= 0.5
    assert found.mean() >= 0.75
