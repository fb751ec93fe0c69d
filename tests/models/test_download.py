"""Downloads: resumed, verified, kept only when right."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from download_server import CONTENT, SHA, Server

from edgevid.errors import DownloadError
from edgevid.models.download import download


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
