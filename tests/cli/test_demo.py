"""`edgevid-demo` without network."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from edgevid import cli
from edgevid.cli.demo import ContactSheet


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


@pytest.mark.parametrize(("frames", "shown"), [(1, 1), (5, 5), (20, 6), (500, 6), (5000, 6)])
def test_the_contact_sheet_is_full(frames: int, shown: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In each of six cells a moment, evenly apart, as soon as there are six frames."""
    sheet = ContactSheet(tmp_path / "sheet.png", min(frames, 500), "km/h")
    monkeypatch.setattr(sheet, "_overlay", SimpleNamespace(draw=lambda frame, result: np.full((2, 3, 3), result)))
    found: list[int] = []
    monkeypatch.setattr("edgevid.output.contact_sheet", lambda images: found.extend(i[0, 0, 0] for i in images))
    monkeypatch.setattr("edgevid.cli.demo.write_image", lambda *_: None)
    for n in range(frames):
        sheet.write(SimpleNamespace(index=n), n)
    sheet.close()
    assert len(found) == shown
    assert max(np.diff(found), default=0) <= 2 * min(np.diff(found), default=0)


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
