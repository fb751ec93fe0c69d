"""`edgevid archive`: what it prints, and its exit status."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from edgevid.cli import app
from edgevid.cli import archive as module

pytest.importorskip("pyarrow", reason="pyarrow is not installed")


def test_failures_are_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LINE_S", 0.0)
    monkeypatch.setenv("COLUMNS", "300")
    (tmp_path / "list.txt").write_text("gone.mp4\n")
    command = ["archive", str(tmp_path / "list.txt"), "--out", str(tmp_path / "out"), "--model", "street-nano"]
    done = CliRunner().invoke(app(), [*command, "--workers", "1"])
    assert done.exit_code == 1
    assert "1 of 1 videos, 0 fps, ? left" in done.stderr
    assert "failed: 1" in done.stdout
    assert f"{tmp_path}/gone.mp4  there is no such file; check the path" in done.stdout
    again = CliRunner().invoke(app(), command)
    assert (again.exit_code, again.stderr) == (1, "")
    assert again.stdout == done.stdout
