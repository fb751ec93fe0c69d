"""`edgevid-demo` without network."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgevid import cli


def test_the_demo_shows_a_rendered_street_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without network and mirror, as on the first run of a fresh machine."""
    (tmp_path / "mirror").mkdir()
    monkeypatch.setenv("EDGEVID_MODELS_MIRROR", str(tmp_path / "mirror"))
    monkeypatch.setenv("EDGEVID_CACHE", str(tmp_path / "cache"))
    with pytest.raises(SystemExit) as stop:
        cli.demo_main(["--rendered", "--max-frames", "20", "--out", str(tmp_path / "demo")])
    assert stop.value.code == 0
    assert "rendered street" in capsys.readouterr().out
    assert {p.name for p in (tmp_path / "demo").iterdir()} == {"demo.mp4", "demo.jsonl", "contact-sheet.png"}
