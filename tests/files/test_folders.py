"""Where downloads and recipes lie."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgevid.errors import InputError
from edgevid.files.folders import cache_folder, camera_spool, engines_folder


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"EDGEVID_CACHE": "/a", "XDG_CACHE_HOME": "/b", "HOME": "/c"}, "/a"),
        ({"EDGEVID_CACHE": "~/a", "HOME": "/c"}, "/c/a"),
        ({"EDGEVID_CACHE": "", "XDG_CACHE_HOME": "/b", "HOME": "/c"}, "/b/edgevid"),
        ({"XDG_CACHE_HOME": "", "HOME": "/c"}, "/c/.cache/edgevid"),
        ({"HOME": "/c"}, "/c/.cache/edgevid"),
    ],
)
def test_the_cache_follows_the_environment(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], expected: str
) -> None:
    for name in ("EDGEVID_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert cache_folder() == Path(expected)


def test_a_cache_that_is_a_file_is_rejected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("x")
    monkeypatch.setenv("EDGEVID_CACHE", str(tmp_path / "file"))
    with pytest.raises(InputError, match=r"EDGEVID_CACHE: expected a folder, got the file \S+/file"):
        cache_folder()


@pytest.mark.parametrize(
    ("camera", "folder"),
    [
        ("gate", "gate"),
        ("gate/1", "gate-1-55266f93"),
        ("..", "5ec1f7e7"),
        ("", "e3b0c442"),
        ("../up", "up-8c722b8a"),
        ("x" * 300, f"{'x' * 80}-0d4e2ca9"),
        ("nul.mp4", "nul-mp4-9008a99d"),
        ("é" * 60, f"{'é' * 40}-f989aaf5"),
    ],
)
def test_a_spool_is_a_folder_below_those_of_spools(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, camera: str, folder: str
) -> None:
    monkeypatch.setenv("EDGEVID_SPOOL", str(tmp_path))
    assert camera_spool(camera) == tmp_path / folder


def test_the_recipes_folder_holds_the_shipped_detector() -> None:
    assert 'name = "street-nano"' in (engines_folder() / "street-nano" / "recipe.toml").read_text()
