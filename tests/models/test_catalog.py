"""`edgevid models`: list, get, verify, remove, with the real files served as a mirror."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from edgevid.cli import app
from edgevid.errors import DownloadError, InputError
from edgevid.files.folders import CACHE
from edgevid.models import catalog as models
from edgevid.models.hub import MIRROR


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CACHE, str(tmp_path))
    monkeypatch.setenv(MIRROR, str(tmp_path / "no mirror"))
    monkeypatch.setenv("COLUMNS", "200")


def run(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app(), ["models", *arguments])
    return done.exit_code, done.output


def test_list_names_every_recipe_and_sample() -> None:
    code, said = run("list")
    assert code == 0
    for name in models.entries():
        assert name in said
    assert "yolox-nano-416*" in said
    assert "YOLOX-S 640" in said


def test_a_narrow_list_keeps_whole_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    said = run("list")[1]
    assert "emotion-mini-xception-64" in said
    assert max(len(line) for line in said.splitlines()) <= 80


def test_a_model_is_got_verified_spoiled_and_removed(
    shared_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(MIRROR, str(shared_data))
    name = "fastestdet-352"
    assert run("get", name)[0] == 0
    path = models.entry(name).local
    assert path is not None
    assert models.verify(name) == "right"
    assert run("verify")[0] == 0
    path.write_bytes(b"spoiled")
    code, said = run("verify", name)
    assert code == 1
    assert "expected SHA-256" in said
    assert "removed FastestDet.onnx" in run("remove", name)[1]
    assert not path.exists()
    assert "nothing was here" in run("remove", name)[1]


def test_a_sample_is_got_and_removed(shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MIRROR, str(shared_data))
    path = models.get("one-by-one-person")
    assert path.name == "one-by-one-person-detection.mp4"
    assert models.verify("one-by-one-person") == "right"
    assert models.remove("one-by-one-person") == [path]


def test_what_is_absent_or_unknown_is_said() -> None:
    with pytest.raises(DownloadError, match="edgevid models get yolox-s"):
        models.verify("yolox-s")
    with pytest.raises(InputError, match="did you mean 'yolox-tiny'"):
        models.get("yolox-tinny")
    with pytest.raises(DownloadError, match=MIRROR):
        models.get("yolox-tiny")


def test_a_first_download_without_checksum_is_pinned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name, file = "nanodet-plus-m-320", "nanodet-plus-m_320.onnx"
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    (mirror / file).write_bytes(b"as it came first")
    monkeypatch.setenv(MIRROR, str(mirror))
    path = models.get(name)
    assert models.verify(name) == "right"  # against the pin
    path.write_bytes(b"something else")
    with pytest.raises(DownloadError, match="expected SHA-256"):
        models.verify(name)
    assert {p.name for p in models.remove(name)} == {file, f"{file}.sha256"}
