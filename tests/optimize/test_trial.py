"""A draft tried on frames: what no good detector shows is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx_models import constant_model

from edgevid.models.draft import draft_recipe
from edgevid.optimize.trial import Trial, try_out
from edgevid.types import Frame

NAMES = {"names": "['person', 'car', 'bus']"}


def trial(folder: Path, *rows: list[float], frames: int = 4) -> Trial:
    """A detector that finds these boxes (x1, y1, x2, y2, score, label in 64 x 64) in every frame."""
    output = np.zeros((1, 300, 6), np.float32)
    output[0, : len(rows)] = rows or [[0, 0, 0, 0, 0.01, 0]]
    path = constant_model(folder / "m.onnx", {"o": output}, image=(1, 3, 64, 64), metadata=NAMES)
    images = [Frame(np.full((128, 128, 3), 90, np.uint8), k / 10, k) for k in range(frames)]
    return try_out(draft_recipe(path), images)


def test_boxes_are_counted_and_drawn(tmp_path: Path) -> None:
    made = trial(tmp_path, [8, 8, 32, 32, 0.9, 1], [4, 4, 24, 40, 0.8, 0], [5, 5, 20, 30, 0.7, 1])
    assert made.objects == (("car", 8), ("person", 4))
    assert made.findings == ()
    assert len(made.images) == 4
    assert (made.images[0][16:20, 16:64] != 90).any()


@pytest.mark.parametrize(
    ("rows", "finding"),
    [
        ([], "nothing was found on 4 frames above a score of 0.25"),
        ([[0, 0, 64, 64, 0.9, 1]], "4 of 4 boxes cover the whole frame"),
        ([[k, k, 20 + k, 30, 0.5 + k / 50, 2] for k in range(3)], "all 12 boxes are of the class 'bus', of 3"),
        ([[k, k, 20 + k, 30, 0.5, k % 3] for k in range(3)], "all 12 scores are 0.5"),
        ([[k % 40, 0, 20 + k % 40, 30, 0.5 + k / 999, k % 3] for k in range(300)], "each frame has 300 boxes"),
    ],
)
def test_what_no_good_detector_shows_is_named(tmp_path: Path, rows: list[list[float]], finding: str) -> None:
    assert finding in " ".join(trial(tmp_path, *rows).findings)


def test_nan_is_a_finding(tmp_path: Path) -> None:
    output = np.full((1, 300, 6), np.nan, np.float32)
    path = constant_model(tmp_path / "m.onnx", {"o": output}, image=(1, 3, 64, 64), metadata=NAMES)
    made = try_out(draft_recipe(path), [Frame(np.zeros((64, 64, 3), np.uint8), 0.0, 0)])
    assert made.images == ()
    assert "gives NaN instead of boxes" in made.findings[0]
