"""docs/coming_from.md: every block and every cell of the column "edgevid" runs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_detector
from result_samples import sample_result
from video_clips import write_clip

from edgevid.track import FIXED, PEERS
from edgevid.types.peers import habits

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "coming_from.md").read_text()
ROWS = re.findall(r"^\| [^|]* \| `([^|`]+)` \| [^|]*\|$", PAGE, re.MULTILINE)
"""The second cell of each row of three."""


@pytest.fixture
def names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The names that the page's blocks leave behind, and a result."""
    cv2 = pytest.importorskip("cv2")
    pytest.importorskip("supervision")
    monkeypatch.chdir(tmp_path)
    cv2.imwrite("bus.jpg", np.full((360, 640, 3), 90, np.uint8))
    write_clip(tmp_path / "clip.mp4", [n / 25 for n in range(5)], width=640, height=360)
    tiny_detector.model(tmp_path / "model.onnx", tiny_detector.PERSON, tiny_detector.CAR)
    (tmp_path / "model.toml").write_text(tiny_detector.RECIPE.replace("tiny.onnx", "model.onnx"))
    made: dict[str, Any] = {"__name__": "coming_from"}
    for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
        exec(compile(block, "coming_from.md", "exec"), made)
    return {**made, "result": sample_result()[1], "image": sample_result()[0].bgr}


def test_every_row_of_the_page_runs(names: dict[str, Any]) -> None:
    assert len(ROWS) >= 30
    for cell in ROWS:
        given = eval(compile(cell, "coming_from.md", "eval"), dict(names))
        assert given is not None or cell == "tracker.reset()", cell


def test_every_parameter_that_is_taken_stands_on_the_page() -> None:
    assert len(PEERS) > 15
    for name in PEERS:
        assert f"`{name}`" in PAGE or name.endswith("_assoc"), name
    assert all(f"`{name}=" in PAGE for name in FIXED if name != "mot20")
    assert {"with_reid", "gmc_method", "iou", "delta_t"} <= set(habits()["tracker"])
