"""The overlay of a rendered street: ground truth in white where it lies."""

from __future__ import annotations

import dataclasses

import numpy as np
from result_samples import sample_result

from edgevid.output.ground_grid import TruthOverlay
from edgevid.output.labels import INK
from edgevid.output.overlay import Overlay
from edgevid.synthetic.scene import Camera, Scene, drive
from edgevid.types import Frame

CAMERA = Camera(640, 360, 465.0, 7.0, 16.0)


def moment(time: float) -> tuple[Frame, TruthOverlay, np.ndarray]:
    """A gray frame, the overlay of a scene with one car at 54 km/h from 1 s on, and what it adds."""
    frame, result = sample_result(0, (640, 360))
    frame = Frame(frame.image, time, 0)
    result = dataclasses.replace(result, time=time)
    scene = Scene([drive(1, 54, towards=True, lane=1.75, begin=1.0, far=40)], CAMERA)
    overlay = TruthOverlay(scene)
    plain = Overlay().draw(frame, result, notes=("white: ground truth",))
    return frame, overlay, (overlay.draw(frame, result) != plain).any(2)


def test_the_contact_point_and_the_speed_are_drawn_where_the_object_is() -> None:
    frame, overlay, added = moment(1.5)
    x1, _, x2, y2 = overlay._scene.at(1.5).boxes[0]
    x, y = int((x1 + x2) / 2), int(y2)
    assert added[y - 2 : y + 3, x - 2 : x + 3].all()
    rows, columns = np.nonzero(added)
    assert x - 5 <= columns.min() < x  # the point, then the text to its right
    assert x + 40 < columns.max() < x + 90
    assert y - 5 <= rows.min()
    assert rows.max() < y + 20
    assert (overlay.draw(frame, sample_result(0, (640, 360))[1])[y, x] == INK).all()


def test_where_there_is_no_object_only_the_note_is_added() -> None:
    frame, overlay, added = moment(0.5)
    assert not added.any()
    result = sample_result(0, (640, 360))[1]
    assert (overlay.draw(frame, result) != Overlay().draw(frame, result)).any()  # "white: ground truth"
    assert (frame.image == 90).all()  # the frame itself is not drawn on
