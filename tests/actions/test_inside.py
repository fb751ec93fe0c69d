"""What is recognized inside objects: it is found by a detector, aligned by key points, or by its box alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
import pytest
from fake_engine import FakeEngine

from edgevid.abstain.policy import Policy
from edgevid.actions.clip_buffer import ClipBuffer
from edgevid.actions.clip_spec import ClipSpec
from edgevid.actions.inside import FACE, Aligner, InsideRecognizer
from edgevid.actions.recognizer import no_scores
from edgevid.detect.detector import Detector
from edgevid.errors import InputError
from edgevid.evaluate.actions.extract import crop_video
from edgevid.runtime import Recipe, TensorSpec
from edgevid.runtime.engine import InputSpec
from edgevid.runtime.recipe import Decode
from edgevid.site.build import build_recognition
from edgevid.site.check import check_site
from edgevid.site.file import RecognizerChoice, read_site
from edgevid.types import U8, Array, Clips, Frame, Reason, Scores, Tracks
from edgevid.video.open import FrameSeeker

SIDE, F32 = 64, np.dtype(np.float32)
SPEC = ClipSpec(steps=1, rate_hz=4, width=32, height=32, stride_s=0.25, context=1.0)
COLORS = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 0], [0, 255, 255]], np.uint8)
TURN = np.exp(0.4j)  # of the face in the images, radians by 0.4


def points(points: int = 5) -> Array:
    """(5, 2) where the key points of a face lie in an image that shows one."""
    moved = (FACE[:points] @ (1, 1j) - 0.5 - 0.6j) * 30 * TURN + 32 + 34j
    return np.stack([moved.real, moved.imag], 1)


def face() -> U8:
    """An image with five colored dots at the key points."""
    image = np.full((SIDE, SIDE, 3), 40, np.uint8)
    for (x, y), color in zip(points().round().astype(int), COLORS, strict=True):
        image[y - 2 : y + 3, x - 2 : x + 3] = color
    return image


class FacesOf(FakeEngine):
    """Answers as a YuNet does: a face in images that have some color, none in gray ones. `runs` are batch sizes."""

    def __init__(self, keypoints: int) -> None:
        self.keypoints, self.runs = keypoints, list[int]()
        specs = [TensorSpec(n, (-1, 64, last), F32) for n, last in (("c", 1), ("o", 1), ("b", 4), ("k", 2 * keypoints))]
        image = TensorSpec("images", (-1, 3, SIDE, SIDE), F32)
        super().__init__((image,), tuple(specs[: 3 + bool(keypoints)]), self.answer)

    def answer(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        images = inputs["images"]
        self.runs.append(len(images))
        found = {spec.name: np.zeros((len(images), 64, spec.shape[2]), np.float32) for spec in self.outputs}
        for n in np.flatnonzero(np.ptp(images, axis=1).max((1, 2)) > 100):
            found["c"][n, 0] = found["o"][n, 0] = 0.9
            found["b"][n, 0] = [32 / 8, 34 / 8, np.log(32 / 8), np.log(24 / 8)]
            if self.keypoints:
                found["k"][n, 0] = points(self.keypoints).ravel() / 8
        return found


def detector(keypoints: int = 5, **clip: object) -> Detector:
    decode = Decode("yunet", strides=(8,), keypoints=keypoints, keypoint_values=2, nms_iou=0.5)
    spec = InputSpec(SIDE, SIDE, std=(1.0, 1.0, 1.0))
    tables = {"clip": {"context": 1.0, **clip}}
    recipe = Recipe("faces", "detect", "f.onnx", Path("f"), input=spec, decode=decode, names=("face",), tables=tables)
    return Detector(FacesOf(keypoints), recipe)


class Remembers:
    """A recognizer that keeps its clips, and is sure of the first class."""

    names, spec, reset = ("a", "b"), SPEC, lambda self: None

    def recognize(self, clips: Clips) -> Scores:
        self.clips = clips
        if not len(clips):
            return no_scores(self.names)
        return Scores.of(ids=clips.ids, values=[[0.9, 0.1]] * len(clips), times=np.nanmax(clips.times, 1))


def test_key_points_come_to_the_places_of_the_template() -> None:
    gray = np.full((SIDE, SIDE, 3), 90, np.uint8)
    crops, boxes = Aligner(detector(), SPEC)([face(), gray])
    for (x, y), color in zip((32 * FACE).round().astype(int), COLORS, strict=True):
        assert np.abs(crops[0, y, x].astype(int) - color).max() < 60
    np.testing.assert_allclose(boxes[0], [16, 22, 48, 46], atol=1e-3)
    assert np.isnan(boxes[1]).all()
    assert not crops[1].any()


@pytest.mark.parametrize("keypoints", [0, 3])
def test_without_the_template_s_key_points_the_box_is_cropped(keypoints: int) -> None:
    """It is widened to the aspect of the crop: y from 18 to 50."""
    crops, _ = Aligner(detector(keypoints), SPEC)([face()])
    np.testing.assert_allclose(crops[0], face()[18:50, 16:48], atol=1)


def test_an_object_without_a_face_is_not_measured() -> None:
    """Two objects side by side in frames of 128x64; both go into one batch, the gray one gives no scores."""
    frame = Frame(np.concatenate([np.full_like(face(), 90), face()], 1), 0.0, 0)
    tracks = Tracks.of(ids=[4, 7], boxes=[[0, 0, 64, 64], [64, 0, 128, 64]], scores=[1, 1], labels=[0, 0], match=[0, 1],
                       age=[0, 0], unseen=[0, 0])  # fmt: skip
    inner, faces = Remembers(), detector()
    inside, policy = InsideRecognizer(inner, faces), Policy(inner.names)
    assert (inside.spec.width, inside.spec.rate_hz, inside.names) == (SIDE, SPEC.rate_hz, inner.names)
    scores = inside.recognize(ClipBuffer(inside.spec).update(frame, tracks))
    assert faces.engine.runs == [2]  # type: ignore[attr-defined]
    assert (scores.ids.tolist(), inner.clips.pixels.shape) == ([7], (1, 1, 32, 32, 3))
    np.testing.assert_allclose(inner.clips.boxes, [[[80, 22, 112, 46]]], atol=1e-3)  # in frame pixels
    verdicts = policy.update(scores, tracks, 0.0)
    assert [Reason(v) for v in verdicts.reason] == [Reason.NOT_MEASURED, Reason.OK]
    assert len(inside.recognize(Clips.empty(pixels=np.zeros((0, 1, SIDE, SIDE, 3), np.uint8)))) == 0


def test_only_a_part_of_each_object_is_searched() -> None:
    inside = InsideRecognizer(Remembers(), detector(region=[0.0, 0.0, 1.0, 0.5], width=48, height=48, min_side=30.0))
    assert (inside.spec.region, inside.spec.width, inside.spec.min_side) == ((0, 0, 1, 0.5), 48, 30)
    assert (inside.spec.steps, inside.spec.stride_s) == (SPEC.steps, SPEC.stride_s)


def test_labeled_images_of_objects_are_searched_as_objects_in_frames_are(tmp_path: Path) -> None:
    """The same part of an object, whether it is cut out of a frame or stands in a labeled image of its own."""
    align = Aligner(detector(region=[0.0, 0.0, 1.0, 0.5], context=0.5), SPEC)
    noise = np.random.default_rng(0).integers(0, 255, (96, 64, 3), np.uint8)
    (tmp_path / "1.png").write_bytes(cv2.imencode(".png", noise[:, :, ::-1])[1].tobytes())
    frame = Frame(np.pad(noise, ((20, 20), (30, 30), (0, 0))), 0.0, 0)
    tracks = Tracks.of(ids=[1], boxes=[[30, 20, 94, 116]], scores=[1], labels=[0], match=[0], age=[0], unseen=[0])
    live = ClipBuffer(align.searched).update(frame, tracks).pixels[0]
    np.testing.assert_array_equal(crop_video(tmp_path / "1.png", align.searched)[0], live)


def test_a_site_recognizes_faces_inside_people(
    tmp_path: Path, shared_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """YuNet finds the face of a squatting man, and the site's task has its own name."""
    monkeypatch.setenv("EDGEVID_MODELS_MIRROR", str(shared_data / "models"))
    monkeypatch.setenv("EDGEVID_CACHE", str(tmp_path / "cache"))
    (tmp_path / "hall.toml").write_text(
        '[[recognize]]\ntask = "emotion"\nmodel = "emotion-mini-xception-64"\ninside = "yunet"\nclasses = ["person"]\n'
        '[detect]\nmodel = "street-nano"\n'
    )
    (choice,) = read_site(tmp_path / "hall.toml").recognizers
    task = build_recognition(choice, names=("car", "person"), threads=1)
    clip = shared_data / "actions" / "falls_gmdcsa24" / "s3_adl_07.mp4"
    with FrameSeeker(clip) as seeker:
        frame = Frame(seeker.at(1.2).image, 0.0, 0)
    tracks = Tracks.of(ids=[1, 2], boxes=[[275, 137, 418, 342]] * 2, scores=[1, 1], labels=[1, 0], match=[0, 1],
                       age=[0, 0], unseen=[0, 0])  # fmt: skip
    scores = task.recognizer.recognize(task.clips.update(frame, tracks))
    assert scores.ids.tolist() == [1]
    findings = {one.subject: one for one in check_site(tmp_path / "hall.toml", source=str(clip), watch_s=0.1)}
    assert "emotion-mini-xception-64 inside what yunet finds" in findings["recognizer emotion"].state
    with pytest.raises(InputError, match="expected classes among car, person, got 'persn'"):
        build_recognition(RecognizerChoice("emotion", choice.model, classes=("persn",)), names=("car", "person"))
