"""docs/abstain.md: its blocks run, in their order, in an empty folder."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from edgevid.abstain.file import read_policy
from edgevid.cli import app

PAGE = Path(__file__).resolve().parents[2] / "docs" / "abstain.md"


def test_the_walk_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("sklearn")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    emitted = []
    for kind, block in re.findall(r"```(python|sh)\n(.*?)```", PAGE.read_text(), re.DOTALL):
        if kind == "python":
            exec(compile(block, str(PAGE), "exec"), names)
            continue
        for line in block.strip().splitlines():
            program, *arguments = shlex.split(line)
            done = CliRunner().invoke(app(), arguments)
            assert (program, done.exit_code) == ("edgevid", 0), f"{line}: {done.output} {done.exception}"
            emitted.append(done.output)
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
