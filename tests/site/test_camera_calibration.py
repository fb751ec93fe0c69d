"""Calibrations from text: pairs, regions, and the image of the grid."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from road_camera import LATTICE, SIZE, pixels_of

from edgevid.errors import FileFormatError
from edgevid.site.camera_calibration import draw_calibration, parse_pairs, parse_region, read_pairs
from edgevid.speed.calibration import make_calibration
from edgevid.speed.calibration_report import examine


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("u,v,X,Y\n", "got 'none'"),
        ("1,2,3,4\n1,2,3\n", "line 2"),
        ("1,2,3,4\n1,2,x,4\n", "line 2"),
        ("1,2,3,nan\n", "line 1"),
    ],
)
def test_a_wrong_line_of_pairs_is_named(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "pairs.csv").write_text(text)
    with pytest.raises(FileFormatError, match=words):
        read_pairs(tmp_path / "pairs.csv")


def test_parts_that_are_empty_are_empty() -> None:
    assert parse_region(" ") is None
    assert parse_pairs([])[0].shape == (0, 2)


def test_outliers_are_drawn_red() -> None:
    image = pixels_of(LATTICE)
    image[7] += [40, 0]
    made = make_calibration(image, LATTICE, SIZE)
    drawn = draw_calibration(np.zeros((1080, 1920, 3), np.uint8), made, examine(made))
    u, v = np.round(image[7]).astype(int)
    assert tuple(drawn[v, u]) == (255, 96, 84)
    u, v = np.round(image[1]).astype(int)
    assert tuple(drawn[v, u]) == (120, 230, 160)
