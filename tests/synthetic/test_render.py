"""Rendered images: marked, and they show what the scene holds where it is."""

from __future__ import annotations

import numpy as np
import pytest

from edgevid.pipeline import Pipeline
from edgevid.synthetic.render import RenderedDetector, RenderedStreet
from edgevid.synthetic.scene import ACTIONS, CLASSES, Camera, Mover, Scene, demo_street, drive
from edgevid.synthetic.shapes import Layer, rgba
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


@pytest.mark.parametrize(("pitch", "k1"), [(-3.0, 0.0), (0.0, 0.0), (16.0, 0.0), (12.0, -0.2)])
def test_the_road_lies_where_the_camera_projects_it(pitch: float, k1: float) -> None:
    camera = Camera(1280, 720, 930.0, 7.0, pitch, k1)
    image = RenderedStreet(Scene([], camera), seconds=1).render(0.0).astype(int)
    for y in (20.5, 24.0, 36.0):  # the line at the right edge of the road, and the asphalt next to it
        line, road = camera.project(np.array([[7.1, y, 0.0], [6.6, y, 0.0]])).astype(int)
        if line[1] < 720:
            assert image[line[1], line[0]].mean() > image[road[1], road[0]].mean() + 50
    horizon = int(360 - 930 * np.tan(np.radians(pitch)))
    sky = image[: max(1, horizon - 80), 600:680].mean((0, 1))
    assert sky[2] > sky[1] > sky[0]  # blue


def test_people_move_their_legs_with_the_way_they_walk() -> None:
    def legs(pace: float, time: float) -> np.ndarray:
        walker = Mover(1, "person", (0.0, 20.0 - pace * time), np.pi / 2, pace)
        scene = Scene([walker], Camera(1280, 720, 930.0, 7.0, 16.0))
        (x1, y1, x2, y2) = scene.at(time).boxes[0].astype(int)
        return RenderedStreet(scene, seconds=1).render(time)[(y1 + y2) // 2 : y2, x1:x2].astype(int)

    stride = 1.45 / 1.4  # seconds of two steps: afterwards the legs are where they were
    one, half, whole = (legs(1.4, 1.0 + k * stride) for k in (0.0, 0.25, 1.0))
    assert np.abs(one - whole).mean() < 0.2 * np.abs(one - half).mean()
    assert np.abs(legs(0.0, 1.0) - legs(0.0, 1.3)).max() == 0


def test_truth_tells_what_people_do() -> None:
    scene = demo_street(20.0)
    done = {ACTIONS[k] for time in (2.0, 8.0) for k in scene.at(time).actions if k >= 0}
    assert done == set(ACTIONS)
    truth = scene.at(2.0)
    assert ((truth.actions >= 0) == (truth.labels == 0)).all()


def test_an_edge_is_blended_by_the_share_of_the_pixel_that_is_covered() -> None:
    layer, image = Layer(8, 6), np.full((6, 8, 3), 100, np.uint8)
    under = rgba(image.reshape(-1, 3)).reshape(6, 8)
    square = np.array([[2.0, 1.0], [5.5, 1.0], [5.5, 4.0], [2.0, 4.0]])[[0, 1, 2, 3, 3, 3, 3, 3]]
    layer.paint(square[None], rgba(np.array([[200, 0, 60]])))
    layer.blend(image, under)
    assert (image[1:4, 2:5] == (200, 0, 60)).all()
    assert np.abs(image[1:4, 5].astype(int) - (150, 50, 80)).max() <= 1  # half of each pixel
    assert (image[:, 6:] == 100).all()
    assert (image[[0, 4, 5]] == 100).all()
    layer.paint(square[None], rgba(np.zeros((1, 3)), 0.5))  # a shadow: half of the light
    layer.blend(image, under)
    assert np.abs(image[2, 3].astype(int) - 50).max() <= 1


@pytest.mark.parametrize("kind", ["car", "truck", "bus", "person"])
@pytest.mark.parametrize("heading", [np.pi / 2, -np.pi / 2, 0.3])
def test_what_is_drawn_fills_its_true_box(kind: str, heading: float) -> None:
    camera = Camera(1280, 720, 930.0, 7.0, 16.0)
    for number in (1, 2, 3):
        scene = Scene([Mover(number, kind, (2.0, 22.0), heading, 0.0)], camera)
        drawn = RenderedStreet(scene, seconds=1).render(0.0).astype(int)
        changed = np.abs(drawn - RenderedStreet(Scene([], camera), seconds=1).render(0.0)).max(2) > 12
        x1, y1, x2, y2 = scene.at(0.0).boxes[0]
        rows, columns = np.nonzero(changed[:, : int(x2) + 1])  # the shadow reaches to the right
        wide, high = x2 - x1, y2 - y1
        # The box is that of the cuboid around the object: a car that drives away ends in its lower hood.
        assert -1.5 <= rows.min() - y1 <= (0.2 if kind == "car" else 0.1) * high
        assert abs(rows.max() - y2) <= 0.08 * high + 1
        assert -2 <= columns.min() - x1 <= (0.3 if kind == "person" else 0.08) * wide


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
