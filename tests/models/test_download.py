"""Downloads: resumed, verified, kept only when right."""

from __future__ import annotations

import fcntl
import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from download_server import CONTENT, SHA, Server

from edgevid.errors import DownloadError
from edgevid.files.folders import CACHE
from edgevid.models import download as downloads
from edgevid.models.download import download, obtain
from edgevid.models.hub import cached_file, get_model
from edgevid.runtime.recipe import Recipe, Source


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CACHE, str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.stop()


def test_a_file_is_downloaded_verified_and_reported(server: Server, tmp_path: Path) -> None:
    reported: list[tuple[int, int]] = []
    target = download(
        f"{server.url}/a",
        tmp_path / "deep" / "a.onnx",
        sha256=SHA,
        size=len(CONTENT),
        progress=lambda done, total: reported.append((done, total)),
    )
    assert target.read_bytes() == CONTENT
    assert reported[-1] == (len(CONTENT), len(CONTENT))
    assert [p.name for p in target.parent.iterdir()] == ["a.onnx"]


def test_a_broken_transfer_is_kept_and_resumed(server: Server, tmp_path: Path) -> None:
    target, server.mode = tmp_path / "a", "breaks off"
    with pytest.raises(DownloadError, match="run it again to resume"):
        download(f"{server.url}/a", target, sha256=SHA)
    half = len(CONTENT) // 2
    assert not target.exists()
    assert (tmp_path / "a.part").stat().st_size == half
    server.mode = "good"
    assert download(f"{server.url}/a", target, sha256=SHA).read_bytes() == CONTENT
    assert server.ranges == [None, f"bytes={half}-"]


def test_a_server_without_ranges_starts_again(server: Server, tmp_path: Path) -> None:
    (tmp_path / "a.part").write_bytes(CONTENT[:1000])
    server.mode = "no ranges"
    assert download(f"{server.url}/a", tmp_path / "a", sha256=SHA).read_bytes() == CONTENT


def test_a_stale_part_of_another_file_is_thrown_away(server: Server, tmp_path: Path) -> None:
    (tmp_path / "a.part").write_bytes(b"\xff" * 1000)
    assert download(f"{server.url}/a", tmp_path / "a", sha256=SHA).read_bytes() == CONTENT
    (tmp_path / "b.part").write_bytes(b"\xff" * (len(CONTENT) + 1))
    assert download(f"{server.url}/b", tmp_path / "b", sha256=SHA).read_bytes() == CONTENT


def test_a_complete_part_is_taken_as_it_is(server: Server, tmp_path: Path) -> None:
    (tmp_path / "a.part").write_bytes(CONTENT)
    assert download(f"{server.url}/a", tmp_path / "a", sha256=SHA).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("mode", "expected"),
    [({"sha256": "0" * 64}, "expected SHA-256 0000"), ({"sha256": SHA, "size": 7}, "expected 7 bytes")],
)
def test_another_file_than_expected_is_not_kept(
    server: Server, tmp_path: Path, mode: dict[str, Any], expected: str
) -> None:
    with pytest.raises(DownloadError, match=expected):
        download(f"{server.url}/a", tmp_path / "a", **mode)
    assert list(tmp_path.iterdir()) == []


def test_a_corrupted_answer_is_not_kept(server: Server, tmp_path: Path) -> None:
    server.mode = "corrupt"
    with pytest.raises(DownloadError, match="expected SHA-256"):
        download(f"{server.url}/a", tmp_path / "a", sha256=SHA)
    assert list(tmp_path.iterdir()) == []


def test_absent_files_and_servers_are_named(server: Server, tmp_path: Path) -> None:
    server.mode = "absent"
    with pytest.raises(DownloadError, match=r"/a: the server responds 404"):
        download(f"{server.url}/a", tmp_path / "a")
    server.stop()
    with pytest.raises(DownloadError, match="cannot be reached"):
        download(f"{server.url}/a", tmp_path / "a")


@pytest.mark.parametrize("size", [len(CONTENT), 0])
def test_a_download_stops_at_the_size_that_the_recipe_states(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(downloads, "MOST_BYTES", 2_000_000)
    server.mode = "endless"
    with pytest.raises(DownloadError, match=r"expected \d+ bytes at most, more came: stopped"):
        download(f"{server.url}/a", tmp_path / "a", sha256=SHA, size=size)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("mode", ["drips", "header drips"])
def test_a_server_that_sends_next_to_nothing_counts_as_gone(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    monkeypatch.setattr(downloads, "STALL_S", 0.3)
    server.mode = mode
    with pytest.raises(DownloadError, match=r"fewer than 32 kB came in 0.3 s; run it again to resume"):
        download(f"{server.url}/a", tmp_path / "a", sha256=SHA)


@pytest.mark.parametrize("where", ["file:///etc/hostname", "ftp://127.0.0.1/a", "data:text/plain,x"])
def test_a_server_leads_to_no_other_scheme(server: Server, tmp_path: Path, where: str) -> None:
    server.mode = f"leads to {where}"
    with pytest.raises(DownloadError, match=r"302|unknown url type|cannot be reached"):
        download(f"{server.url}/a", tmp_path / "a")
    assert not list(tmp_path.iterdir())


def test_https_does_not_become_http() -> None:
    request = urllib.request.Request("https://example.org/a")
    with pytest.raises(urllib.error.URLError, match="it leads from https to http, which is rejected"):
        downloads._Redirects().redirect_request(request, None, 302, "", {}, "http://example.org/a")


def test_a_recipe_with_a_known_name_has_no_file_of_another(server: Server, tmp_path: Path) -> None:
    """Files in the cache have the place of their SHA-256, or of their address."""
    known = Recipe("street", "detect", "a.onnx", tmp_path / "r", source=Source(url=f"{server.url}/a", sha256=SHA))
    strangers = [
        replace(known, source=Source(url="http://127.0.0.1:9/b", sha256="0" * 64)),
        replace(known, source=Source(url="http://127.0.0.1:9/b")),
        replace(known, source=Source()),
    ]
    assert get_model(known).local.read_bytes() == CONTENT
    for stranger in strangers:
        with pytest.raises(DownloadError):
            get_model(stranger)
    unpublished = replace(known, source=Source(url=f"{server.url}/a"))
    assert len({cached_file(one) for one in (known, unpublished, *strangers)}) == 5


@pytest.mark.parametrize("left", [b"", CONTENT[:1000], b"another file"])
def test_what_is_in_the_cache_is_verified_each_time(server: Server, tmp_path: Path, left: bytes) -> None:
    recipe = Recipe("street", "detect", "a.onnx", tmp_path / "r", source=Source(url=f"{server.url}/a", sha256=SHA))
    for source in (recipe.source, Source(url=f"{server.url}/b")):
        one = replace(recipe, source=source)
        path = get_model(one).local
        path.write_bytes(left)
        assert get_model(one).local.read_bytes() == CONTENT


def test_half_a_file_next_to_its_recipe_is_refused(tmp_path: Path) -> None:
    recipe = Recipe("street", "detect", "a.onnx", tmp_path / "recipe.toml", source=Source(sha256=SHA))
    (tmp_path / "a.onnx").write_bytes(CONTENT[:1000])
    with pytest.raises(DownloadError, match=r"a.onnx: expected SHA-256 \w+, got \w+; copy it again"):
        get_model(recipe)
    (tmp_path / "a.onnx").write_bytes(CONTENT)
    assert get_model(recipe).local == tmp_path / "a.onnx"


def test_a_lock_that_is_held_for_nothing_ends_in_a_sentence(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloads, "STALL_S", 0.1)
    handle = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    try:
        with pytest.raises(DownloadError, match="another program holds its lock and does nothing; end it"):
            obtain(Source(url=f"{server.url}/a"), "a", tmp_path / "a")
    finally:
        os.close(handle)
    monkeypatch.setattr(downloads, "STALL_S", 30.0)
    assert obtain(Source(url=f"{server.url}/a"), "a", tmp_path / "a").read_bytes() == CONTENT
