"""A file from a mirror or its own address, pinned where no checksum is published."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from download_server import CONTENT, SHA, Server

from edgevid.errors import DownloadError
from edgevid.models.download import MIRROR, obtain
from edgevid.runtime.recipe import Source


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.stop()


@pytest.fixture(autouse=True)
def _no_mirror(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(MIRROR, raising=False)


def test_nothing_to_be_had_names_mirror_address_and_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MIRROR, str(tmp_path / "mirror"))
    source = Source(url="https://example.org/x/a.onnx", sha256=SHA, bytes=len(CONTENT))
    with pytest.raises(DownloadError) as caught:
        obtain(source, "a.onnx", tmp_path / "a.onnx")
    output = str(caught.value)
    for part in (MIRROR, "https://example.org/x/a.onnx", "a.onnx", "neither a folder", str(tmp_path / "a.onnx")):
        assert part in output


@pytest.mark.parametrize("name", ["a.onnx", "renamed.bin"])
def test_a_mirror_folder_is_searched_by_name_and_by_checksum(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    folder = tmp_path / "mirror" / "deep"
    folder.mkdir(parents=True)
    (folder / "other").write_bytes(b"\x01" * len(CONTENT))
    (folder / name).write_bytes(CONTENT)
    monkeypatch.setenv(MIRROR, str(tmp_path / "mirror"))
    source = Source(url="https://example.org/a.onnx", sha256=SHA, bytes=len(CONTENT))
    assert obtain(source, "a.onnx", tmp_path / "out" / "a.onnx").read_bytes() == CONTENT


def test_a_mirror_folder_with_another_file_of_that_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.onnx").write_bytes(b"something else")
    monkeypatch.setenv(MIRROR, str(tmp_path))
    with pytest.raises(DownloadError, match=r"holds no a\.onnx of SHA-256"):
        obtain(Source(sha256=SHA, bytes=len(CONTENT)), "a.onnx", tmp_path / "out" / "a.onnx")


@pytest.mark.parametrize("mode", ["good", "by hash"])
def test_a_mirror_address_is_tried_by_name_then_by_checksum(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    server.mode = mode
    monkeypatch.setenv(MIRROR, server.url + "/models/")
    source = Source(url="https://example.org/a.onnx", sha256=SHA, bytes=len(CONTENT))
    assert obtain(source, "a.onnx", tmp_path / "a.onnx").read_bytes() == CONTENT
    assert server.paths[0] == "/models/a.onnx"


def test_an_unpublished_checksum_is_pinned_by_the_first_download(server: Server, tmp_path: Path) -> None:
    source = Source(url=f"{server.url}/a.onnx")
    target = obtain(source, "a.onnx", tmp_path / "a.onnx")
    assert (tmp_path / "a.onnx.sha256").read_text().split() == [SHA, "a.onnx"]
    target.unlink()
    server.mode = "corrupt"
    with pytest.raises(DownloadError, match=f"expected SHA-256 {SHA}"):
        obtain(source, "a.onnx", tmp_path / "a.onnx")


def test_programs_that_need_one_file_at_once_download_it_once(server: Server, tmp_path: Path) -> None:
    server.mode = "slow"
    source, target = (Source(url=f"{server.url}/a.onnx", sha256=SHA, bytes=len(CONTENT)), tmp_path / "m" / "a.onnx")

    def get(number: int) -> bytes:
        time.sleep(0.1 * number)
        return obtain(source, "a.onnx", target).read_bytes()

    with ThreadPoolExecutor(3) as programs:
        assert list(programs.map(get, range(3))) == [CONTENT] * 3
    assert server.ranges == [None]  # one has downloaded it, the others waited
    assert list(target.parent.iterdir()) == [target]
