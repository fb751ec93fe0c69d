"""Blur: what is pixelated, where, and that nothing else and no one else's memory changes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgevid.errors import InputError
from edgevid.output.blur import Blur, pixelate
from edgevid.types import Detections, Frame, Result, Tracks
from edgevid.video.frames import _to_rgb

NAMES = ("person", "car")
FACES = Path(__file__).resolve().parents[3] / "shared" / "data" / "models" / "yunet_n_dynamic.onnx"


def noise(time: float = 0.0) -> Frame:
    return Frame(np.random.default_rng(1).integers(0, 255, (96, 128, 3)).astype(np.uint8), time, 0)


def result(boxes: list[list[float]], labels: list[int], *, match: int = 0, time: float = 0.0) -> Result:
    n = len(boxes)
    tracks = Tracks.of(
        ids=range(1, n + 1), boxes=boxes, scores=[0.9] * n, labels=labels, match=[match] * n, age=[1.0] * n,
        unseen=[0.0] * n,
    )  # fmt: skip
    return Result(0, time, (128, 96), Detections.empty(), tracks, names={"class": NAMES})


def colors(image: np.ndarray) -> int:
    return len(np.unique(image.reshape(-1, 3), axis=0))


def test_a_few_blocks_stay_of_an_object_and_the_rest_stays_as_it_was() -> None:
    frame, before = noise(), noise().image
    Blur(("person",), NAMES).write(frame, result([[20, 30, 60, 70], [80, 10, 120, 40]], [0, 1]))
    assert colors(frame.image[30:70, 20:60]) <= 9
    assert np.array_equal(frame.image[:, 70:], before[:, 70:])
    assert np.array_equal(frame.image[:20], before[:20])


def test_a_predicted_box_and_one_of_a_moment_ago_are_blurred_too() -> None:
    blur = Blur(("person",), NAMES)
    frame = noise()
    blur.write(frame, result([[20, 30, 60, 70]], [0], match=-1))
    assert colors(frame.image[30:70, 20:60]) <= 9
    for time, hidden in ((0.4, True), (0.6, False)):  # the detector has missed it
        frame = noise(time)
        blur.write(frame, result([], [], time=time))
        assert (colors(frame.image[30:70, 20:60]) <= 9) is hidden
    blur.write(noise(5.0), result([[20, 30, 60, 70]], [0], time=5.0))
    frame = noise(1.0)
    blur.write(frame, result([], [], time=1.0))  # the file starts again
    assert colors(frame.image[30:70, 20:60]) > 1000


def test_an_untracked_detection_is_blurred() -> None:
    frame, one = noise(), result([], [])
    found = Detections.of(boxes=[[20, 30, 60, 70]], scores=[0.15], labels=[0])
    Blur(("person",), NAMES).write(frame, Result(0, 0.0, one.size, found, one.tracks, names=one.names))
    assert colors(frame.image[30:70, 20:60]) <= 9


def test_the_decoder_keeps_its_planes_and_all_readers_get_the_blur() -> None:
    planes = tuple(np.random.default_rng(2).integers(16, 235, s).astype(np.uint8)
                   for s in ((96, 128), (48, 64), (48, 64)))  # fmt: skip
    kept = [plane.copy() for plane in planes]
    frame = Frame.from_yuv420(planes, 0.0, 0, to_rgb=_to_rgb)  # type: ignore[arg-type]
    sharp = frame.image
    pixelate(frame, [np.array([20.0, 30, 60, 70])])
    assert all(np.array_equal(a, b) for a, b in zip(planes, kept, strict=True))
    assert colors(frame.image[32:68, 22:58]) <= 16
    assert frame.planes is not None
    assert len(np.unique(frame.planes[0][30:70, 20:60])) <= 9
    assert np.array_equal(frame.image[:16], sharp[:16])


def test_boxes_at_the_border_and_beyond_are_no_error() -> None:
    frame = noise()
    pixelate(frame, np.array([[-50, -50, 10, 10], [120, 90, 400, 300], [500, 500, 600, 600], [np.nan] * 4,
                              [5, 5, 5, 5]]))  # fmt: skip
    assert colors(frame.image[:10, :10]) <= 9


def test_plates_and_faces_without_models_of_their_own() -> None:
    box = [[20, 20, 60, 80]]
    frame, before = noise(), noise().image
    Blur(("plate",), NAMES).write(frame, result(box, [1]))
    assert colors(frame.image[50:80, 20:60]) <= 9
    assert np.array_equal(frame.image[20:38], before[20:38])
    frame = noise()
    Blur(("face",), NAMES).write(frame, result(box, [0]))
    assert colors(frame.image[20:44, 20:60]) <= 9
    assert np.array_equal(frame.image[50:], before[50:])


def test_what_the_detector_does_not_find_cannot_be_blurred() -> None:
    for words, found, message in (
        (("persons",), (), "expected names among person, car, face, plate, got 'persons'.*did you mean 'person'"),
        (("person",), ("car",), "got 'person', which the detector does not find"),
        (("plate",), ("person",), "expected a detector of vehicles"),
        (("face",), ("car",), "got 'person'"),
    ):
        with pytest.raises(InputError, match=message):
            Blur(words, NAMES, found=found)


@pytest.mark.skipif(not FACES.exists(), reason="needs ../shared")
def test_faces_of_a_clip_are_found_and_gone_after_the_blur() -> None:
    from edgevid.output.blur import _Faces
    from edgevid.video.open import FrameSeeker

    clip = FACES.parents[1] / "videos" / "felix_exercise.avi"
    with FrameSeeker(clip) as seeker:
        frame = seeker.at(3.0)
    faces = _Faces(FACES)
    assert len(faces.find(frame)) > 0
    with Blur(("face",), ("person",), face_model=FACES) as blur:
        blur.write(frame, Result(0, frame.time, frame.size, Detections.empty(), Tracks.empty()))
    assert len(faces.find(frame)) == 0
