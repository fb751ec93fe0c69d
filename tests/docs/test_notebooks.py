"""The notebooks run from first to last cell, print what they claim, and are in git without outputs."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))
EXPECTED = {
    "first_video": r"crosses (?:forward|backward)",
    "speed": r"median error [01]\.\d\d km/h, (?:[89]\d|100)% within",
    "abstain": r"\d\d\.\d% emitted, [0-4]\.\d% of them wrong",
}
"""What the outputs hold."""


def hook() -> ModuleType:
    spec = importlib.util.spec_from_file_location("notebooks_hook", ROOT / "docs" / "hooks" / "notebooks.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_notebook_is_executed() -> None:
    assert {path.stem for path in NOTEBOOKS} == set(EXPECTED)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path: Path) -> None:
    pytest.importorskip("cv2", reason="the notebooks draw with OpenCV: pip install 'edgevid[opencv]'")
    page, images = hook().as_page(hook().executed(path), path.stem)
    assert re.search(EXPECTED[path.stem], page)
    assert path.stem == "abstain" or images


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_in_git_has_no_outputs(path: Path) -> None:
    cells = [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]
    assert cells
    assert all(not cell["outputs"] and cell["execution_count"] is None for cell in cells)
