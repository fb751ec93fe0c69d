"""Real exports of Ultralytics' models give the boxes, masks, key points and angles that Ultralytics reads.

A selection of the grid of benchmarks/exports.py, whose result is committed next to it.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest

ultralytics = pytest.importorskip("ultralytics", reason="Ultralytics exports the models of these tests")

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"
sys.path.insert(0, str(FOLDER))
try:
    exports: Any = importlib.import_module("exports")
finally:
    sys.path.remove(str(FOLDER))


@pytest.mark.parametrize("case", exports.QUICK, ids=lambda case: f"{case.config}-{case.classes}-{case.input}")
def test_an_export_is_read_as_by_ultralytics(tmp_path: Path, case: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = exports.compare(case, tmp_path)
    assert found.accepted, found


def test_a_difference_is_not_accepted() -> None:
    exact = exports.Difference(3)
    for wrong in ({"boxes": 0}, {"unmatched": 1}, {"box_px": 0.01}, {"score": 1e-4}, {"mask_pixels": 1}):
        assert not dataclasses.replace(exact, **wrong).accepted, wrong
    assert exact.accepted


def test_the_whole_grid_was_accepted() -> None:
    rows = json.loads(exports.RESULT.read_text())["rows"]
    assert len(rows) == len(exports.grid())
    assert [row for row in rows if not row["accepted"]] == []
