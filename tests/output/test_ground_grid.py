"""The ground grid: where it is drawn, and that the prepared grid looks like the drawn one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import shapely

from edgevid.errors import InputError
from edgevid.output.ground_grid import GridOverlay, GroundGrid, draw_ground_grid
from edgevid.speed.calibration import CameraCalibration, make_calibration
from edgevid.synthetic.scene import Camera
from edgevid.types import Detections, Event, Frame, Result, Tracks
from edgevid.zones import Line, Zone

METERS = np.array([[-7, 15], [7, 15], [7, 60], [-7, 60]], float)


@pytest.fixture(scope="module")
def calibration() -> CameraCalibration:
    pixels = Camera().project(np.column_stack([METERS, np.zeros(4)]))
    return make_calibration(pixels, METERS, (1920, 1080), region=shapely.box(0, 150, 1920, 1080))


def noise(width: int = 1920, height: int = 1080) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def test_the_grid_is_drawn_inside_the_region_only(calibration: CameraCalibration) -> None:
    plain = np.full((1080, 1920, 3), 60, np.uint8)
    drawn = draw_ground_grid(plain, calibration, cell_m=5)
    changed = (drawn != plain).any(2)
    assert changed.sum() > 3000
    assert not changed[:130].any()  # the region begins at row 150, labels stand a little above
    with pytest.raises(InputError, match="cell_m above 0"):
        draw_ground_grid(plain, calibration, cell_m=0)


@pytest.mark.parametrize("opacity", [0.25, 0.45])
def test_a_prepared_grid_looks_like_the_drawn_one(calibration: CameraCalibration, opacity: float) -> None:
    painted = noise()
    GroundGrid(calibration, (1920, 1080), opacity=opacity).paint(painted)
    drawn = draw_ground_grid(noise(), calibration, opacity=opacity)
    off = np.abs(painted.astype(int) - drawn)
    assert off.max() <= 5  # of 255: rounding, coarser in OpenCV 4
    assert off.mean() < 0.05


def test_the_overlay_draws_the_grid_once_for_each_size(
    calibration: CameraCalibration, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[tuple[int, int]] = []

    class Counted(GroundGrid):
        def __init__(self, calibration: CameraCalibration, size: tuple[int, int], **options: Any) -> None:
            sizes.append(size)
            super().__init__(calibration, size, **options)

    monkeypatch.setattr("edgevid.output.ground_grid.GroundGrid", Counted)
    overlay = GridOverlay(calibration)
    for n, size in enumerate([(1920, 1080), (1920, 1080), (960, 540), (960, 540), (640, 480)]):
        image = noise(*size)
        nothing = Result(n, n / 30, size, Detections.empty(), Tracks.empty())
        overlay.show_status = False
        drawn = overlay.draw(Frame(image, n / 30, n), nothing)
        changed = (drawn != image).any(2)
        assert changed.any() == (size != (640, 480))  # another aspect ratio is another view
        assert not changed[: int(100 * size[1] / 1080)].any()
    assert sizes == [(1920, 1080), (960, 540)]


def test_zones_and_lines_are_drawn_where_they_lie(calibration: CameraCalibration) -> None:
    yard = Zone("yard", [(100, 100), (300, 100), (300, 200), (100, 200)])
    gate = Line("gate", (400, 50), (400, 250))
    road = Zone("road", [(-3, 20), (3, 20), (3, 40), (-3, 40)], ground=True)
    size = (960, 540)
    frame = Frame(np.zeros((540, 960, 3), np.uint8), 0.0, 0)
    empty = Result(0, 0.0, size, Detections.empty(), Tracks.empty())
    drawn_on = (1920, 1080)  # twice the frame's size: half the coordinates
    plain = GridOverlay(calibration).draw(frame, empty)
    drawn = GridOverlay(calibration, shapes=[yard, gate, road], drawn_on=drawn_on).draw(frame, empty)
    changed = (drawn != plain).any(2)
    assert changed[100, 60:140].all()  # the zone's lower edge
    assert not changed[90, 100]  # its inside
    assert changed[30:120, 199:202].any(1).all()
    near = calibration.scaled_to(size).to_image(np.array([[3.0, 20.0], [3.0, 40.0]]))
    middle = near.mean(0).round().astype(int)
    assert changed[middle[1] - 1 : middle[1] + 2, middle[0] - 1 : middle[0] + 2].any()


def test_the_counts_of_lines_and_zones_are_those_of_the_events_so_far(monkeypatch: pytest.MonkeyPatch) -> None:
    yard, gate = Zone("yard", [(10, 10), (60, 10), (60, 60)]), Line("gate", (100, 5), (100, 90))
    overlay, shown = GridOverlay(None, shapes=[yard, gate]), []
    monkeypatch.setattr(
        "edgevid.output.ground_grid.Overlay.draw", lambda *_, counts=(), **__: shown.append(list(counts))
    )
    frame = Frame(np.zeros((100, 200, 3), np.uint8), 0.0, 0)

    def event(kind: Any, **values: Any) -> Event:
        return Event("1", kind, "", 0.0, "camera", "run", **values)

    steps = [
        (),
        (event("cross", place="gate", direction="forward"), event("enter", place="yard", count=2)),
        (event("cross", place="gate", direction="backward"), event("cross", place="gate", direction="forward")),
        (event("leave", place="yard", count=1), event("track-ended")),
    ]
    for events in steps:
        overlay.draw(frame, Result(0, 0.0, (200, 100), Detections.empty(), Tracks.empty(), events=events))
    assert shown == [
        ["yard: 0 inside", "gate: 0 forward, 0 backward"], ["yard: 2 inside", "gate: 1 forward, 0 backward"],
        ["yard: 2 inside", "gate: 2 forward, 1 backward"], ["yard: 1 inside", "gate: 2 forward, 1 backward"],
    ]  # fmt: skip


def test_an_arrow_points_forward() -> None:
    gate = Line("gate", (100, 20), (100, 180))  # downward: forward is to the left in the image
    frame = Frame(np.zeros((200, 200, 3), np.uint8), 0.0, 0)
    empty = Result(0, 0.0, (200, 200), Detections.empty(), Tracks.empty())
    drawn = GridOverlay(None, shapes=[gate]).draw(frame, empty)
    assert drawn[100, 80:95].any(1).all()
    assert not drawn[100, 105:120].any()
