"""docs/abstain.md: its blocks run, in their order, in an empty folder."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from walk_through import DOCS, walk_through

from edgevid.abstain.file import read_policy

PAGE = DOCS / "abstain.md"


def test_the_walk_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("sklearn")
    monkeypatch.chdir(tmp_path)
    emitted = walk_through(PAGE)
    assert len(emitted) == 6
    assert "parents" in emitted[4]
    assert "of the unknown" in emitted[5]
    assert read_policy(tmp_path / "policy" / "levels.toml").settings.tree.keys() == {"round", "open", "straight"}
    assert "guaranteed" in emitted[1]
    assert "production scores differ" in emitted[2]
    assert "not certified" in emitted[3]
    assert "2 abstained: low confidence" in capsys.readouterr().out
    assert read_policy(tmp_path / "policy" / "digits.toml").made["certified_risk"] == 0.05


def test_the_example_file_reads(tmp_path: Path) -> None:
    (block,) = re.findall(r"```toml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    path = tmp_path / "p.toml"
    path.write_text(block.replace('"..."', f'"{"a" * 64}"'))
    read = read_policy(path)
    assert read.settings.per_class == {"run": 0.8}
    assert read.settings.stale_s == 3
