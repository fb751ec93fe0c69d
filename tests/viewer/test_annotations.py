"""Zones and lines that are edited in the viewer: sent, parsed, rejected with a reason."""

from __future__ import annotations

import copy

import numpy as np
import pytest

from edgevid.errors import InputError
from edgevid.speed.calibration import make_calibration
from edgevid.types import Tracks
from edgevid.viewer.annotations import from_json, grid_json, to_json
from edgevid.zones import Line, Zone, ZoneMonitor

SIZE = (640, 360)
GATE = Zone("gate", [(10, 10), (100, 10), (100, 80)], dwell_s=5.0, direction=90.0)
COUNT = Line("count", (0, 200), (640, 200))


def calibration():
    """10 pixels per meter, y from the bottom up."""
    meters = np.array([[0, 0], [40, 0], [40, 30], [0, 30.0]])
    pixels = np.stack([100 + 10 * meters[:, 0], 340 - 10 * meters[:, 1]], 1)
    return make_calibration(pixels, meters, SIZE)


def test_what_was_sent_comes_back_as_it_was() -> None:
    sent = to_json((GATE,), (COUNT,), None)
    assert sent[0]["points"] == [[10, 10], [100, 10], [100, 80]]
    assert sent[0]["dwell_s"] == 5.0
    zones, lines = from_json(sent, SIZE, None, ((GATE,), (COUNT,)))
    assert zones == (GATE,)
    assert lines == (COUNT,)


def test_annotations_in_meters_are_sent_in_pixels_and_keep_their_meters_unless_moved() -> None:
    zone = Zone("bay", [(1 / 3, 0), (10, 0), (10, 10)], ground=True)
    sent = to_json((zone,), (), calibration())
    assert sent[0]["points"][1] == pytest.approx([200, 340], abs=0.01)
    zones, _ = from_json(sent, SIZE, calibration(), ((zone,), ()))
    assert zones[0].points[0][0] == 1 / 3  # not the rounded pixels' meters
    sent[0]["points"][1] = [210, 340]
    zones, _ = from_json(sent, SIZE, calibration(), ((zone,), ()))
    assert zones[0].points[1] == pytest.approx((11, 0), abs=1e-6)


def test_a_renamed_zone_keeps_its_meters_and_what_the_page_does_not_show() -> None:
    zone = Zone("bay", [(1 / 3, 0), (10, 0), (10, 10)], ground=True, max_occupancy=4)
    sent = to_json((zone,), (), calibration())
    sent[0] |= {"previous_name": "bay", "name": "dock"}
    zones, _ = from_json(sent, SIZE, calibration(), ((zone,), ()))
    assert zones[0].name == "dock"
    assert zones[0].points == zone.points
    assert zones[0].max_occupancy == 4


def test_a_zone_can_change_between_pixels_and_meters() -> None:
    sent = to_json((Zone("a", [(100, 340), (200, 340), (200, 240)]),), (), calibration())
    sent[0]["ground"] = True
    zones, _ = from_json(sent, SIZE, calibration(), ((Zone("a", [(100, 340), (200, 340), (200, 240)]),), ()))
    assert zones[0].points[2] == pytest.approx((10, 10), abs=1e-6)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"name": ""}, "name: expected"),
        ({"name": "a\nb"}, "printable"),
        ({"name": "x" * 61}, "1 to 60"),
        ({"name": 5}, "name"),
        ({"kind": "circle"}, "kind"),
        ({"points": [[0, 0], [10, 10]]}, "at least 3 points"),
        ({"points": [[0, 0], [50, 50], [50, 0], [0, 50]]}, "does not cross itself"),
        ({"points": [[0, 0], [1e9, 0], [5, 5]]}, "far outside"),
        ({"points": [[0, 0], [float("nan"), 0], [5, 5]]}, "points"),
        ({"points": [[0, 0], [True, 0], [5, 5]]}, "points"),
        ({"points": "everywhere"}, "points"),
        ({"points": [[0, 0]] * 65}, "2 to 64"),
        ({"dwell_s": -1}, "dwell_s"),
        ({"direction": 1000}, "direction"),
        ({"stopped_s": "long"}, "stopped_s"),
        ({"ground": True}, "calibrated"),
    ],
)
def test_a_mistake_is_rejected_with_a_reason(change: dict, expected: str) -> None:
    sent = copy.deepcopy(to_json((GATE,), (), None))
    sent[0] |= change
    with pytest.raises(InputError, match=expected):
        from_json(sent, SIZE, None, ((GATE,), ()))


@pytest.mark.parametrize("items", [None, "x", {}, [None], [[]], [{}] * 65])
def test_malformed_input_is_rejected_too(items: object) -> None:
    with pytest.raises(InputError):
        from_json(items, SIZE, None, ((), ()))


def test_two_annotations_cannot_have_one_name() -> None:
    with pytest.raises(InputError, match="different names"):
        from_json(to_json((GATE,), (), None) * 2, SIZE, None, ((GATE,), ()))


def test_above_the_horizon_there_is_no_ground() -> None:
    meters = np.array([[-5, 5], [5, 5], [5, 60], [-5, 60.0]])
    pixels = np.array([[100, 350], [540, 350], [340, 150], [300, 150.0]])
    tilted = make_calibration(pixels, meters, SIZE)
    sent = [{"kind": "line", "name": "sky", "ground": True, "points": [[10, 5], [600, 5]]}]
    with pytest.raises(InputError, match="horizon"):
        from_json(sent, SIZE, tilted, ((), ()))


def test_the_grid_lies_where_the_meters_are() -> None:
    lines = {line["label"]: line["points"] for line in grid_json(calibration()) if line["label"]}
    assert grid_json(None) == []
    ys = {label: points[0][1] for label, points in lines.items() if points[0][1] == points[-1][1]}
    assert any(y == pytest.approx(340 - 10 * float(label[:-2]), abs=0.05) for label, y in ys.items())


def track(x: float, y: float) -> Tracks:
    box = [[x - 5, y - 20, x + 5, y]]
    return Tracks.of(ids=[1], boxes=box, scores=[1], labels=[0], match=[0], age=[1], unseen=[0])


def test_annotations_that_did_not_change_go_on_counting() -> None:
    """Across y = 200 downwards, then another zone is edited: the count stays, the object stays inside."""
    room = Zone("room", [(0, 100), (640, 100), (640, 350), (0, 350)], debounce_s=0.0)
    monitor = ZoneMonitor((room, GATE), (COUNT,))
    monitor.update(track(300, 150), 0.0)
    monitor.update(track(300, 250), 0.1)
    (key,) = monitor.counts
    moved = Zone("gate", [(20, 10), (100, 10), (100, 80)])
    other = monitor.changed((room, moved), (COUNT,))
    assert other.counts == monitor.counts == {key: 1}
    assert other.occupancy() == {"room": 1, "gate": 0}
    assert other.update(track(300, 260), 0.2) == []
    assert monitor.changed((room,), (Line("count", (0, 210), (640, 210)),)).counts == {}


def test_annotations_drawn_on_another_size_lie_where_they_were_drawn() -> None:
    """Drawn on 1280x720, sent for 640x360: ZoneMonitor.scale is 2."""
    zone = Zone("gate", [(20, 20), (200, 20), (200, 160)])
    sent = to_json((zone,), (), None, (2.0, 2.0))
    assert sent[0]["points"] == [[10, 10], [100, 10], [100, 80]]
    zones, _ = from_json(sent, SIZE, None, ((zone,), ()), (2.0, 2.0))
    assert zones[0].points == zone.points
    sent[0]["points"][0] = [11, 10]
    zones, _ = from_json(sent, SIZE, None, ((zone,), ()), (2.0, 2.0))
    assert zones[0].points[0] == (22, 20)
