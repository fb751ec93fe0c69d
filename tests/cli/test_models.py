"""`edgevid models`: list, get, verify, remove, with the real files served as a mirror."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from edgevid.cli.models import command
from edgevid.errors import InputError, SourceError
from edgevid.files.folders import CACHE
from edgevid.models.download import MIRROR
from edgevid.models.hub import entries, find_entry


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CACHE, str(tmp_path))
    monkeypatch.setenv(MIRROR, str(tmp_path / "no mirror"))
    monkeypatch.setenv("COLUMNS", "200")


def run(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(command, arguments)
    return done.exit_code, done.output


def test_list_names_every_recipe_and_sample() -> None:
    code, output = run("list")
    assert code == 0
    for name in entries():
        assert name in output
    assert "yolox-nano-416*" in output
    assert "YOLOX-S 640" in output


def test_a_narrow_list_keeps_whole_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    output = run("list")[1]
    for name in entries():
        assert name in output
    assert max(len(line) for line in output.splitlines() if "Downloads" not in line) <= 80


def test_a_model_is_downloaded_verified_damaged_and_removed(shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MIRROR, str(shared_data))
    name = "fastestdet-352"
    assert run("get", name)[0] == 0
    path = find_entry(name).local
    assert path is not None
    assert "fastestdet-352: verified" in run("verify")[1]
    path.write_bytes(b"damaged")
    code, output = run("verify", name)
    assert code == 1
    assert "expected SHA-256" in output
    assert "removed FastestDet.onnx" in run("remove", name)[1]
    assert not path.exists()
    assert "nothing to remove" in run("remove", name)[1]


def test_a_cache_that_is_a_file_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("x")
    monkeypatch.setenv(CACHE, str(tmp_path / "file"))
    with pytest.raises(InputError, match=f"{CACHE}: expected a folder, got the file .*/file"):
        CliRunner().invoke(command, ["get", "yolox-nano-416"], catch_exceptions=False)
    monkeypatch.setenv(CACHE, str(tmp_path / "file" / "below"))
    with pytest.raises(SourceError, match="file is a file, not a folder"):
        CliRunner().invoke(command, ["get", "yolox-nano-416"], catch_exceptions=False)
