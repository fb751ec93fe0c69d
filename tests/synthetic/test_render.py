"""Rendered images: marked, and they show what the scene holds where it is."""

from __future__ import annotations

import numpy as np
import pytest

from edgevid.pipeline import Pipeline
from edgevid.synthetic.render import RenderedDetector, RenderedStreet
from edgevid.synthetic.scene import CLASSES, Camera, Scene
from edgevid.synthetic.street import drive
from edgevid.track import Tracker


def test_a_street_has_vehicles_and_people_who_are_tracked() -> None:
    with RenderedStreet(seconds=4) as source:
        pipeline = Pipeline(RenderedDetector(source), Tracker())
        results = [result for _, result in pipeline.run(source)]
    kinds = {CLASSES[k] for result in results for k in result.tracks.labels.tolist()}
    assert "person" in kinds
    assert "car" in kinds
    last = results[-1]
    truth = source.scene.at(last.time)
    assert len(last.tracks) >= 0.6 * len(truth.ids)


def test_rendered_images_are_marked_and_show_the_objects() -> None:
    source = RenderedStreet(seconds=1)
    truth, image = source.scene.at(0.5), source.render(0.5)
    assert (image[5:30, 10:260] > 240).all(2).sum() > 100  # the mark, in white
    empty = RenderedStreet(Scene([], source.scene.camera), seconds=1).render(0.5)
    for x1, y1, x2, y2 in truth.boxes.astype(int):
        assert (image[y1:y2, x1:x2] != empty[y1:y2, x1:x2]).any(2).mean() > 0.2


def test_a_rendered_source_has_the_size_and_the_times_of_its_frames() -> None:
    with RenderedStreet(seconds=0.5, fps=10) as source:
        frames = list(source)
    assert (source.fps, source.frame_count, source.decoded, source.live) == (10, 5, 5, False)
    assert [frame.time for frame in frames] == [0.0, 0.1, 0.2, 0.3, 0.4]
    assert [frame.index for frame in frames] == [0, 1, 2, 3, 4]
    assert {frame.size for frame in frames} == {source.size} == {(1280, 720)}


def test_the_same_moment_is_the_same_image() -> None:
    one, two = RenderedStreet(seconds=2), RenderedStreet(seconds=2)
    assert np.array_equal(one.render(1.0), two.render(1.0))
    assert not np.array_equal(one.render(1.0), one.render(1.2))


def test_a_nearer_vehicle_hides_a_farther_one() -> None:
    near, far = (drive(number, 0, towards=False, lane=0.0, near=y) for number, y in ((1, 15), (2, 30)))
    camera = Camera(640, 360, 465.0, 3.0, 5.0)
    alone = RenderedStreet(Scene([near], camera), seconds=1).render(0.0)
    for movers in ([near, far], [far, near]):
        both = RenderedStreet(Scene(movers, camera), seconds=1).render(0.0)
        x1, y1, x2, y2 = Scene([near], camera).at(0.0).boxes[0].astype(int)
        middle = (slice((y1 + y2) // 2, y2 - 4), slice((3 * x1 + x2) // 4, (x1 + 3 * x2) // 4))
        assert np.array_equal(both[middle], alone[middle])
        assert not np.array_equal(both, alone)


@pytest.mark.parametrize(("pitch", "horizon"), [(-3.0, 51), (0.0, 45), (16.0, 10)])
def test_the_horizon_is_where_the_pitch_puts_it(pitch: float, horizon: int) -> None:
    # 45 - 120 tan(pitch): above it lies sky, in which blue is strongest, below it grass, in which green is.
    image = RenderedStreet(Scene([], Camera(160, 90, 120.0, 5.0, pitch)), seconds=1).render(0.0)
    above, below = (image[rows, 130:].astype(int) for rows in (slice(horizon - 4, horizon - 1), horizon + 2))
    assert above[..., 2].mean() > above[..., 1].mean() + 3
    assert below[..., 2].mean() < below[..., 1].mean() - 20


def test_detections_without_a_model_are_those_of_their_frame() -> None:
    source = RenderedStreet(seconds=1, fps=5)
    detector = RenderedDetector(source)
    frames = list(source)
    found = detector.detect(frames[::-1])
    assert len(found) == 5
    for frame, detections in zip(frames[::-1], found, strict=True):
        assert detections is detector.detect([frame])[0]
        truth = source.scene.at(frame.time)
        assert abs(len(detections) - len(truth.ids)) <= 2
