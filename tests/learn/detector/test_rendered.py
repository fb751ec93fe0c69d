"""Rendered training images: boxes that hold what was drawn, and what is hidden left out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgevid.learn.detector.data import load, read_labels
from edgevid.learn.detector.label import label_text, occluded_share, random_camera, write_rendered
from edgevid.synthetic.render import RenderedStreet
from edgevid.synthetic.scene import CLASSES, Camera, Mover, Scene


def two_cars(gap_m: float) -> Scene:
    """A car behind another on the camera's axis, `gap_m` meters farther away."""
    near = Mover(1, "car", (0.0, 20.0), np.pi / 2, 0.0)
    far = Mover(2, "car", (0.0, 20.0 + gap_m), np.pi / 2, 0.0)
    return Scene([far, near], Camera(1280, 720, 1000.0, 1.5, 0.0))


def test_occluded_boxes_are_ignored() -> None:
    truth = two_cars(30.0).at(0.0)
    share = dict(zip(truth.ids.tolist(), occluded_share(truth).tolist(), strict=True))
    assert share[1] == 0.0
    assert share[2] > 0.95  # at the height of its roof the near car hides the far one wholly
    assert label_text(truth).count("car") == 1
    side_by_side = Scene([Mover(1, "car", (-4.0, 20.0), 1.57, 0.0), Mover(2, "car", (4.0, 20.0), 1.57, 0.0)], Camera())
    assert label_text(side_by_side.at(0.0)).count(" 1.00") == 2


def test_small_boxes_are_ignored_regions() -> None:
    far = Scene([Mover(1, "car", (0.0, 150.0), np.pi / 2, 0.0)], Camera(1280, 720, 900.0, 5.0, 6.0))
    x1, y1, x2, y2, weight = map(float, label_text(far.at(0.0)).split()[1:])
    assert max(x2 - x1, y2 - y1) < 12
    assert weight == -1


def test_rendered_images_of_a_street_are_samples_of_one_clip(tmp_path: Path) -> None:
    assert write_rendered(tmp_path, scenes=2, frames=2, seed=100) == 4
    samples = load(tmp_path, CLASSES)
    assert len(samples) == 4
    assert {p.clip for p in samples} == {"rendered000", "rendered001"}
    assert sum(len(p.boxes) for p in samples) >= 4
    again = tmp_path / "again"
    write_rendered(again, scenes=2, frames=2, seed=100)
    for path in sorted((tmp_path / "labels").glob("*.txt")):
        assert (again / "labels" / path.name).read_text() == path.read_text()


def test_a_labeled_box_holds_the_drawn_car(tmp_path: Path) -> None:
    scene = Scene([Mover(1, "car", (0.0, 20.0), -np.pi / 2, 0.0)], Camera(1280, 720, 1000.0, 6.0, 15.0))
    empty = RenderedStreet(Scene([], scene.camera), seconds=1).render(0.0).astype(int)
    drawn = RenderedStreet(scene, seconds=1).render(0.0).astype(int)
    rows, columns = np.nonzero((drawn - empty).max(2) > 40)
    (tmp_path / "a.txt").write_text(label_text(scene.at(0.0)))
    x1, y1, x2, y2 = read_labels(tmp_path / "a.txt", CLASSES)[0][0].tolist()
    # The light paint fills the box; only the shadow, which is darker than the road, reaches out of it.
    assert x1 == pytest.approx(columns.min(), abs=0.1 * (x2 - x1))
    assert x2 == pytest.approx(columns.max(), abs=0.1 * (x2 - x1))
    assert y1 == pytest.approx(rows.min(), abs=0.05 * (y2 - y1))
    assert y2 == pytest.approx(rows.max(), abs=0.15 * (y2 - y1))


def test_cameras_are_drawn_from_the_stated_ranges() -> None:
    random = np.random.default_rng(0)
    for camera in (random_camera(random) for _ in range(50)):
        assert 4 <= camera.height_m <= 12
        assert 6 <= camera.pitch <= 28
        assert 600 <= camera.focal <= 1500
