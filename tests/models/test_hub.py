"""Fetching models: a loopback server that resumes, breaks off, lies and refuses; mirrors; the choice."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from edgevid.errors import DownloadError, InputError
from edgevid.files.folders import CACHE
from edgevid.models import hub as store
from edgevid.models.download import fetch
from edgevid.models.hub import MIRROR, obtain, resolve_model
from edgevid.models.samples import get_sample, samples
from edgevid.runtime.recipe import Source

CONTENT = bytes(range(256)) * 4000
SHA = hashlib.sha256(CONTENT).hexdigest()


class Server:
    """Serves CONTENT at any path; `mode` says how it misbehaves; `ranges` remembers what was asked."""

    def __init__(self) -> None:
        self.mode, self.ranges, self.paths = "good", [], []  # type: ignore[var-annotated]
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: Any) -> None:
                pass

            def do_GET(self) -> None:
                outer.answer(self)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def answer(self, handler: Any) -> None:
        self.paths.append(handler.path)
        asked = handler.headers.get("Range")
        self.ranges.append(asked)
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and self.mode != "no ranges" else 0
        if self.mode == "absent" or (self.mode == "by hash" and not handler.path.endswith(SHA)):
            handler.send_error(404)
            return
        if start >= len(CONTENT):
            handler.send_error(416)
            return
        body = CONTENT[start:]
        if self.mode == "corrupt":
            body = b"\xff" + body[1:]
        handler.send_response(206 if start else 200)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        if self.mode == "slow":
            for n in range(0, len(body), 100_000):
                handler.wfile.write(body[n : n + 100_000])
                time.sleep(0.03)
            return
        handler.wfile.write(body[: len(body) // 2] if self.mode == "breaks off" else body)

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.stop()


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CACHE, str(tmp_path / "cache"))
    monkeypatch.delenv(MIRROR, raising=False)


def test_a_file_is_fetched_verified_and_reported(server: Server, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    target = fetch(
        f"{server.url}/a",
        tmp_path / "deep" / "a.onnx",
        sha256=SHA,
        size=len(CONTENT),
        progress=lambda done, total: told.append((done, total)),
    )
    assert target.read_bytes() == CONTENT
    assert told[-1] == (len(CONTENT), len(CONTENT))
    assert [p.name for p in target.parent.iterdir()] == ["a.onnx"]


def test_a_broken_transfer_is_kept_and_continued(server: Server, tmp_path: Path) -> None:
    target, server.mode = tmp_path / "a", "breaks off"
    with pytest.raises(DownloadError, match="run it again to continue"):
        fetch(f"{server.url}/a", target, sha256=SHA)
    half = len(CONTENT) // 2
    assert not target.exists()
    assert (tmp_path / "a.part").stat().st_size == half
    server.mode = "good"
    assert fetch(f"{server.url}/a", target, sha256=SHA).read_bytes() == CONTENT
    assert server.ranges == [None, f"bytes={half}-"]


def test_a_server_without_ranges_starts_again(server: Server, tmp_path: Path) -> None:
    (tmp_path / "a.part").write_bytes(CONTENT[:1000])
    server.mode = "no ranges"
    assert fetch(f"{server.url}/a", tmp_path / "a", sha256=SHA).read_bytes() == CONTENT


def test_a_stale_part_of_another_file_is_thrown_away(server: Server, tmp_path: Path) -> None:
    (tmp_path / "a.part").write_bytes(b"\xff" * 1000)
    assert fetch(f"{server.url}/a", tmp_path / "a", sha256=SHA).read_bytes() == CONTENT
    (tmp_path / "b.part").write_bytes(b"\xff" * (len(CONTENT) + 1))
    assert fetch(f"{server.url}/b", tmp_path / "b", sha256=SHA).read_bytes() == CONTENT


def test_a_complete_part_is_taken_as_it_is(server: Server, tmp_path: Path) -> None:
    (tmp_path / "a.part").write_bytes(CONTENT)
    assert fetch(f"{server.url}/a", tmp_path / "a", sha256=SHA).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("mode", "expected"),
    [({"sha256": "0" * 64}, "expected SHA-256 0000"), ({"sha256": SHA, "size": 7}, "expected 7 bytes")],
)
def test_another_file_than_expected_is_not_kept(
    server: Server, tmp_path: Path, mode: dict[str, Any], expected: str
) -> None:
    with pytest.raises(DownloadError, match=expected):
        fetch(f"{server.url}/a", tmp_path / "a", **mode)
    assert list(tmp_path.iterdir()) == []


def test_a_corrupted_answer_is_not_kept(server: Server, tmp_path: Path) -> None:
    server.mode = "corrupt"
    with pytest.raises(DownloadError, match="expected SHA-256"):
        fetch(f"{server.url}/a", tmp_path / "a", sha256=SHA)
    assert list(tmp_path.iterdir()) == []


def test_absent_files_and_servers_are_named(server: Server, tmp_path: Path) -> None:
    server.mode = "absent"
    with pytest.raises(DownloadError, match=r"/a: the server answers 404"):
        fetch(f"{server.url}/a", tmp_path / "a")
    server.stop()
    with pytest.raises(DownloadError, match="cannot be reached"):
        fetch(f"{server.url}/a", tmp_path / "a")


def test_nothing_to_be_had_names_mirror_address_and_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(MIRROR, str(tmp_path / "mirror"))
    source = Source(url="https://example.org/x/a.onnx", sha256=SHA, bytes=len(CONTENT))
    with pytest.raises(DownloadError) as caught:
        obtain(source, "a.onnx", tmp_path / "a.onnx")
    said = str(caught.value)
    for part in (MIRROR, "https://example.org/x/a.onnx", "a.onnx", "is no folder", str(tmp_path / "a.onnx")):
        assert part in said


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


def test_a_mirror_folder_with_another_file_of_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.onnx").write_bytes(b"something else")
    monkeypatch.setenv(MIRROR, str(tmp_path))
    with pytest.raises(DownloadError, match=r"holds no a\.onnx of SHA-256"):
        obtain(Source(sha256=SHA, bytes=len(CONTENT)), "a.onnx", tmp_path / "out" / "a.onnx")


@pytest.mark.parametrize("mode", ["good", "by hash"])
def test_a_mirror_address_is_asked_by_name_then_by_checksum(
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


def test_programs_that_want_one_file_at_a_moment_all_have_it(server: Server, tmp_path: Path) -> None:
    server.mode = "slow"
    source, target = (
        Source(url=f"{server.url}/a.onnx", sha256=SHA, bytes=len(CONTENT)),
        tmp_path / "m" / "a.onnx",
    )

    def want(number: int) -> bytes:
        time.sleep(0.1 * number)
        return obtain(source, "a.onnx", target).read_bytes()

    with ThreadPoolExecutor(3) as programs:
        assert list(programs.map(want, range(3))) == [CONTENT] * 3
    assert server.ranges == [None]  # one has brought it, the others waited
    assert list(target.parent.iterdir()) == [target]


def fake_engines(tmp_path: Path, url: str, name: str = "tiny", file: str = "tiny.onnx") -> Path:
    folder = tmp_path / "engines" / name
    folder.mkdir(parents=True)
    (folder / "recipe.toml").write_text(
        f'[model]\nname = "{name}"\ntask = "detect"\nfile = "{file}"\n'
        + (f'[source]\nurl = "{url}"\nsha256 = "{SHA}"\nbytes = {len(CONTENT)}\n' if url else "")
        + '[input]\nwidth = 32\nheight = 32\n[decode]\nkind = "yolo"\n[names]\nclasses = ["thing"]\n'
    )
    return folder


def test_a_named_model_is_fetched_once_and_then_offline(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = fake_engines(tmp_path, f"{server.url}/tiny.onnx")
    monkeypatch.setattr(store, "engines_folder", lambda: folder.parent)
    first = resolve_model("tiny")
    assert first.local == tmp_path / "cache" / "models" / "tiny" / "tiny.onnx"
    server.stop()
    assert resolve_model("tiny") == first
    assert resolve_model(folder).local == first.local
    assert resolve_model(folder / "recipe.toml").local == first.local


def test_the_default_falls_back_to_a_model_that_ships(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    folder = fake_engines(tmp_path, "http://127.0.0.1:9/never", store.DEFAULT_MODEL, "far.onnx")
    monkeypatch.setattr(store, "engines_folder", lambda: folder.parent)
    with pytest.raises(DownloadError, match=MIRROR):
        resolve_model(None)
    shipped = fake_engines(tmp_path / "x", "", "shipped", "near.onnx")
    (shipped / "near.onnx").write_bytes(CONTENT)
    shipped.rename(folder.parent / "shipped")
    assert resolve_model(None).name == "shipped"
    assert "which ships with edgevid" in caplog.text


def test_unknown_names_and_paths_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="did you mean 'yolox-nano-416'"):
        resolve_model("yolox-nano-417")
    with pytest.raises(InputError, match="neither a known name nor a file"):
        resolve_model(tmp_path / "gone.onnx")
    with pytest.raises(InputError, match="neither a known name nor a file"):
        resolve_model("gone.onnx")


def test_a_model_beside_its_recipe_needs_no_fetching(tmp_path: Path) -> None:
    folder = fake_engines(tmp_path, "http://127.0.0.1:9/never")
    (folder / "tiny.onnx").write_bytes(CONTENT)
    assert resolve_model(folder).local == folder / "tiny.onnx"
    assert resolve_model(folder / "tiny.onnx").name == "tiny"


def test_samples_come_through_the_mirror(shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MIRROR, str(shared_data))
    path = get_sample("car-detection")
    assert path.stat().st_size == samples()["car-detection"].source.bytes
    with pytest.raises(InputError, match="did you mean 'vtest'"):
        get_sample("vtst")


@pytest.mark.parametrize("name", ["yolox-nano-416", "picodet-s-320", "movenet-lightning-192"])
def test_models_come_through_the_mirror_whatever_their_file_is_called(
    shared_data: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(MIRROR, str(shared_data))
    recipe = resolve_model(name)
    assert recipe.local is not None
    assert recipe.local.stat().st_size == recipe.source.bytes
