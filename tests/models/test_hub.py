"""The choice of a model, and its file: downloaded, verified, removed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from download_server import CONTENT, SHA, Server

from edgevid.errors import DownloadError, InputError
from edgevid.files.folders import CACHE
from edgevid.models.download import MIRROR
from edgevid.models.hub import DEFAULT_MODEL, entries, get_file, remove, resolve_model, verify


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.stop()


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CACHE, str(tmp_path / "cache"))
    monkeypatch.delenv(MIRROR, raising=False)


def fake_engines(tmp_path: Path, url: str, name: str = "tiny", file: str = "tiny.onnx") -> Path:
    folder = tmp_path / "engines" / name
    folder.mkdir(parents=True)
    (folder / "recipe.toml").write_text(
        f'[model]\nname = "{name}"\ntask = "detect"\nfile = "{file}"\n'
        + (f'[source]\nurl = "{url}"\nsha256 = "{SHA}"\nbytes = {len(CONTENT)}\n' if url else "")
        + '[input]\nwidth = 32\nheight = 32\n[decode]\nkind = "yolo"\n[names]\nclasses = ["thing"]\n'
    )
    return folder


def use_engines(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setattr("edgevid.models.hub.engines_folder", lambda: folder)


def test_a_named_model_is_downloaded_once_and_then_used_offline(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = fake_engines(tmp_path, f"{server.url}/tiny.onnx")
    use_engines(monkeypatch, folder.parent)
    first = resolve_model("tiny")
    assert first.local == tmp_path / "cache" / "models" / SHA / "tiny.onnx"
    server.stop()
    assert resolve_model("tiny") == first
    assert resolve_model(folder).local == first.local
    assert resolve_model(folder / "recipe.toml").local == first.local


def test_the_default_falls_back_to_a_model_that_ships(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    folder = fake_engines(tmp_path, "http://127.0.0.1:9/never", DEFAULT_MODEL, "far.onnx")
    use_engines(monkeypatch, folder.parent)
    with pytest.raises(DownloadError, match=MIRROR):
        resolve_model(None)
    shipped = fake_engines(tmp_path / "x", "", "shipped", "near.onnx")
    (shipped / "near.onnx").write_bytes(CONTENT)
    shipped.rename(folder.parent / "shipped")
    assert resolve_model(None).name == "shipped"
    assert "which ships with edgevid" in caplog.text


def test_unknown_names_and_paths_are_rejected(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="did you mean 'yolox-nano-416'"):
        resolve_model("yolox-nano-417")
    with pytest.raises(InputError, match="neither a name nor a file"):
        resolve_model(tmp_path / "gone.onnx")
    with pytest.raises(InputError, match="neither a name nor a file"):
        resolve_model("gone.onnx")


def test_a_model_next_to_its_recipe_needs_no_download(tmp_path: Path) -> None:
    folder = fake_engines(tmp_path, "http://127.0.0.1:9/never")
    (folder / "tiny.onnx").write_bytes(CONTENT)
    assert resolve_model(folder).local == folder / "tiny.onnx"
    assert resolve_model(folder / "tiny.onnx").name == "tiny"


def test_samples_come_through_the_mirror(shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MIRROR, str(shared_data))
    path = get_file("car-detection")
    assert path.stat().st_size == entries()["car-detection"].source.bytes
    with pytest.raises(InputError, match="did you mean 'vtest'"):
        get_file("vtst")


@pytest.mark.parametrize("name", ["yolox-nano-416", "picodet-s-320", "movenet-lightning-192"])
def test_models_come_through_the_mirror_whatever_their_file_is_called(
    shared_data: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(MIRROR, str(shared_data))
    recipe = resolve_model(name)
    assert recipe.local.stat().st_size == recipe.source.bytes


def test_a_sample_is_downloaded_verified_and_removed(shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MIRROR, str(shared_data))
    path = get_file("one-by-one-person")
    assert path.name == "one-by-one-person-detection.mp4"
    assert verify("one-by-one-person") == "verified"
    assert remove("one-by-one-person") == [path]


def test_absent_files_and_unknown_names_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MIRROR, str(tmp_path / "no mirror"))
    with pytest.raises(DownloadError, match="edgevid models get yolox-s"):
        verify("yolox-s")
    with pytest.raises(InputError, match="did you mean 'yolox-tiny'"):
        get_file("yolox-tinny")
    with pytest.raises(DownloadError, match=MIRROR):
        get_file("yolox-tiny")


def test_a_first_download_without_checksum_is_pinned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name, file = "nanodet-plus-m-320", "nanodet-plus-m_320.onnx"
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    (mirror / file).write_bytes(b"as it came first")
    monkeypatch.setenv(MIRROR, str(mirror))
    path = get_file(name)
    assert verify(name) == "verified"  # against the pin
    path.write_bytes(b"something else")
    with pytest.raises(DownloadError, match="expected SHA-256"):
        verify(name)
    assert {p.name for p in remove(name)} == {file, f"{file}.sha256"}


def test_what_is_no_model_is_rejected() -> None:
    with pytest.raises(InputError, match="model: expected a name, a path or a recipe, got 5"):
        resolve_model(5)  # type: ignore[arg-type]
