"""What Detector.predict takes, and the names of its settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from detector_outputs import anchors, engine, recipe
from video_clips import write_clip

from edgevid.detect.detector import Detector
from edgevid.detect.predict import frames_of, settings_of
from edgevid.errors import InputError
from edgevid.runtime.engine import InputSpec
from edgevid.runtime.recipe import Decode
from edgevid.types import Frame
from edgevid.video.images import ArraySource

BLUE = np.zeros((8, 8, 3), np.uint8)
BLUE[..., 0] = 200  # as OpenCV has it


def test_every_kind_of_source_gives_frames(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", [0.0, 0.1])
    frame = Frame(BLUE, 0.0, 0)
    assert [f.size for f in frames_of([clip, BLUE, [frame]])] == [(64, 48), (64, 48), (8, 8), (8, 8)]
    assert [f.image[0, 0].tolist() for f in frames_of([BLUE, frame])] == [[0, 0, 200], [200, 0, 0]]
    assert len(list(frames_of(image for image in (BLUE, BLUE)))) == 2


@pytest.mark.parametrize("source", [[3], None, [[1, 2]], BLUE / 255])
def test_what_is_no_image_is_rejected(source: Any) -> None:
    with pytest.raises(InputError, match="image: expected"):
        list(frames_of(source))


def test_settings_of_a_call_do_not_outlast_it() -> None:
    rows = anchors([8, 8, 8, 8, 0.9, 0.1], [24, 24, 8, 8, 0.3, 0.1], [16, 8, 8, 8, 0.1, 0.6])
    detector = Detector(engine({"o": rows}), recipe(Decode("yolo", layout="rows", nms_iou=0.5)))
    image = np.zeros((32, 32, 3), np.uint8)
    assert len(detector(image)) == 3
    assert len(detector(image, conf=0.5)) == 2
    assert detector(image, classes=["car"]).labels.tolist() == [1]
    assert len(detector(image, max_det=1, iou=0.7, verbose=False)) == 1
    assert [len(found) for found in detector.predict([image] * 20, score_threshold=0.8)] == [1] * 20
    assert len(detector(image)) == 3


def test_color_reaches_the_model() -> None:
    seen: list[list[float]] = []

    def answer(inputs: Any) -> Any:
        seen.append(inputs["images"][0, :, 16, 16].tolist())
        return {"o": anchors([0.0] * 6)}

    fake = engine({"o": anchors([0.0] * 6)})
    fake._function = answer
    detector = Detector(fake, recipe(Decode("end-to-end")))
    detector(BLUE)
    detector.predict([BLUE])
    detector.detect([Frame.from_bgr(BLUE)])
    assert seen == [[0, 0, 200]] * 3


@pytest.mark.parametrize("size", [64, (32, 64), [32, 64]])
def test_the_size_of_the_model_itself_is_taken(size: Any) -> None:
    assert settings_of({"imgsz": size, "conf": 0.5}, InputSpec(64, 32)) == {"score_threshold": 0.5}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"imgsz": 640}, r"one size, here 32x64 \(height x width\), got 640"),
        ({"save": True}, r"save: not a setting of one call; edgevid\.process"),
        ({"device": 0}, r"device: not a setting of one call; state it once: Detector\(model, device="),
        ({"score_treshold": 0.5}, r"did you mean 'score_threshold'"),
    ],
)
def test_settings_that_cannot_change_in_a_call_are_answered(given: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        settings_of(given, InputSpec(64, 32))


def test_settings_of_other_types_are_answered_in_words() -> None:
    rows = anchors([8, 8, 8, 8, 0.9, 0.1], [24, 24, 8, 8, 0.3, 0.1], [16, 8, 8, 8, 0.1, 0.6])
    detector = Detector(engine({"o": rows}), recipe(Decode("yolo", layout="rows", nms_iou=0.5)))
    assert detector(source=BLUE, classes=0).labels.tolist() == [0, 0]
    assert len(detector(one for one in (BLUE, BLUE))) == 2
    assert len(detector(BLUE, imgsz=np.array([32, 32]))) == len(detector(BLUE))
    with pytest.raises(InputError, match=r"score_threshold: expected 0 to 1, got '0\.5'"):
        detector(BLUE, conf="0.5")
    with pytest.raises(InputError, match=r"got 32x64; .* --size 32x64"):
        detector(BLUE, imgsz=(32, 64))


def test_the_address_of_an_image_is_one_image_and_a_camera_needs_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    class Camera(ArraySource):
        live, codec = True, "images"

        def __init__(self, uri: str, give_up_s: float | None = None) -> None:
            super().__init__([BLUE] * 3)
            assert give_up_s in (None, 10)

    monkeypatch.setattr("edgevid.detect.predict.open_video", Camera)
    assert len(list(frames_of("http://gate/now.jpg", stream=False))) == 1
    assert len(list(frames_of(["http://gate/now.jpg"] * 2, stream=False))) == 2
    assert len(list(frames_of("http://gate/now.jpg", stream=True))) == 3
    Camera.codec = "h264"
    with pytest.raises(InputError, match=r"rtsp://\*\*\*:\*\*\*@gate: a camera has no end; pass stream=True"):
        list(frames_of("rtsp://me:pw@gate", stream=False))
