"""Crops of labeled videos."""

from __future__ import annotations

import numpy as np

from edgevid.evaluate.actions.extract import whole_frame
from edgevid.types import Frame, Tracks


def test_the_whole_frame_is_one_object() -> None:
    found: Tracks = whole_frame(Frame(np.zeros((48, 64, 3), np.uint8), 0.0, 0))
    assert found.boxes.tolist() == [[0, 0, 64, 48]]
