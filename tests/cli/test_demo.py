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


def test_without_a_network_the_files_of_a_mirror_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mirror").mkdir()
    monkeypatch.setenv("EDGEVID_MODELS_MIRROR", str(tmp_path / "mirror"))
    monkeypatch.setenv("EDGEVID_CACHE", str(tmp_path / "cache"))
    with pytest.raises(SystemExit) as stop:
        cli.demo_main(["--out", str(tmp_path / "made"), "--max-frames", "2"])
    assert stop.value.code == 0
    notes = " ".join(capsys.readouterr().err.split())
    assert "put vtest.avi and yolox_nano.onnx into a folder or any of its subfolders" in notes
    assert (tmp_path / "made" / "demo.mp4").is_file()
