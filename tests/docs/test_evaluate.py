"""docs/evaluate.md: its blocks run, in their order, in an empty folder."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from walk_through import DOCS, walk_through

PAGE = DOCS / "evaluate.md"


def test_the_walk_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    tracking, detection, compared, counts, alarms, same, _, abstain = walk_through(PAGE)
    shown = re.search(r"prints\n\n```\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert shown is not None
    assert shown[1] in tracking
    assert json.loads((tmp_path / "tracking.json").read_text())["metrics"]["HOTA"]["value"] > 0.6
    assert "HOTA" in (tmp_path / "tracking.html").read_text()
    assert "AP50" in detection
    assert re.search(r"HOTA .* real", compared)
    assert re.search(r"car +forward +30 +20.2 to 42.8 +32 +-6.2 +yes", counts)
    assert "66.7 %" in alarms
    assert re.search(r"in both +40", same)
    assert re.search(r"promise +held", abstain)
