"""Atomic writes: the old file or the new one, nothing between, and nothing left over."""

from __future__ import annotations

import os
import resource
import stat
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edgevid.errors import SourceError
from edgevid.files.atomic import (
    atomic_path,
    check_file,
    check_folder,
    make_folder,
    move_into_place,
    quarantine,
    write_atomic,
)

NOBODY = 65534


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """No file of this process may grow beyond `size` bytes: as on a full disk, a write fails."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@contextmanager
def without_privileges() -> Iterator[None]:
    """Permissions apply, for root too."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(user)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_text_and_bytes_are_written_whole_and_folders_made(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "c.toml"
    write_atomic(path, "größe")
    assert path.read_bytes() == "größe".encode()
    write_atomic(path, b"\x00\xff")
    assert path.read_bytes() == b"\x00\xff"
    assert names(path.parent) == ["c.toml"]


def test_readers_get_the_old_file_until_the_new_one_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    write_atomic(path, "old")
    with atomic_path(path) as new:
        new.write_text("ne")
        assert path.read_text() == "old"
        assert new.parent == path.parent  # a rename within one file system
        assert new.suffix == ".toml"  # writers choose their format by it
    assert path.read_text() == "ne"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_error_keeps_the_old_file_and_leaves_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "c.toml"
    write_atomic(path, "old")

    def fail() -> None:
        with atomic_path(path) as new:
            new.write_text("half of the ne")
            raise error

    with pytest.raises(error):
        fail()
    assert path.read_text() == "old"
    assert names(tmp_path) == ["c.toml"]


def test_a_full_disk_keeps_the_old_file_and_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    write_atomic(path, "old")
    with largest_file(1000), pytest.raises(OSError, match="File too large"):
        write_atomic(path, b"x" * 5000)
    assert path.read_text() == "old"
    assert names(tmp_path) == ["c.toml"]


def test_a_read_only_folder_keeps_the_old_file_and_leaves_nothing() -> None:
    with tempfile.TemporaryDirectory() as name:  # pytest's own folders are closed to other users
        folder = Path(name)
        write_atomic(folder / "c.toml", "old")
        folder.chmod(0o555)
        with without_privileges(), pytest.raises(SourceError, match="cannot be written: Permission denied"):
            write_atomic(folder / "c.toml", "new")
        folder.chmod(0o755)
        assert (folder / "c.toml").read_text() == "old"
        assert names(folder) == ["c.toml"]


def test_a_folder_in_its_place_stays(tmp_path: Path) -> None:
    (tmp_path / "c.toml").mkdir()
    with pytest.raises(SourceError, match=r"c\.toml: cannot be written: it is a folder; choose a file name"):
        write_atomic(tmp_path / "c.toml", "new")
    assert names(tmp_path) == ["c.toml"]


@pytest.mark.parametrize("name", ["file/c.toml", "file/a/b/c.toml"])
def test_nothing_is_written_below_a_file(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("old")
    for write in (check_file, check_folder, make_folder, lambda path: write_atomic(path, "new")):
        with pytest.raises(SourceError, match=r"c\.toml: cannot be written: \S+/file is a file, not"):
            write(tmp_path / name)
    assert (tmp_path / "file").read_text() == "old"


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("old")
    for check in (check_folder, make_folder):
        with pytest.raises(SourceError, match="file: cannot be written: it is a file; choose a") as caught:
            check(tmp_path / "file")
        assert caught.value.strerror == "it is a file"
    make_folder(tmp_path / "a" / "b")
    check_folder(tmp_path / "a" / "b")
    check_folder(tmp_path / "a" / "b" / "c" / "d")
    check_file(tmp_path / "a" / "b" / "c" / "d")
    assert names(tmp_path / "a" / "b") == []


def test_a_name_that_the_disk_rejects_is_an_edgevid_error(tmp_path: Path) -> None:
    for write in (make_folder, lambda path: write_atomic(path, "new")):
        with pytest.raises(SourceError, match="File name too long; choose another path"):
            write(tmp_path / ("x" * 300))


@pytest.mark.parametrize("bits", [0o600, 0o640, 0o755])
def test_the_mode_of_a_replaced_file_stays(tmp_path: Path, bits: int) -> None:
    path = tmp_path / "site.toml"
    path.write_text("old")
    path.chmod(bits)
    write_atomic(path, "new")
    assert (path.read_text(), mode(path)) == ("new", bits)


def test_no_other_user_may_read_a_private_file_while_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "site.toml"
    path.write_text("a password")
    path.chmod(0o600)
    with atomic_path(path) as new:
        new.write_text("another password")
        assert mode(new) == 0o600


@pytest.mark.parametrize(("mask", "bits"), [(0o022, 0o644), (0o077, 0o600)])
def test_a_new_file_has_the_mode_of_the_umask(tmp_path: Path, mask: int, bits: int) -> None:
    with umask(mask):
        write_atomic(tmp_path / "new", "x")
    assert mode(tmp_path / "new") == bits


def test_a_symbolic_link_keeps_pointing_to_its_file(tmp_path: Path) -> None:
    target, link = tmp_path / "store" / "real.toml", tmp_path / "site.toml"
    target.parent.mkdir()
    target.write_text("old")
    link.symlink_to(Path("store") / "real.toml")
    write_atomic(link, "new")
    assert link.is_symlink()
    assert target.read_text() == link.read_text() == "new"
    assert names(tmp_path) == ["site.toml", "store"]
    assert names(target.parent) == ["real.toml"]


def test_a_link_to_no_file_yet_makes_it(tmp_path: Path) -> None:
    link = tmp_path / "site.toml"
    link.symlink_to("later.toml")
    write_atomic(link, "new")
    assert link.is_symlink()
    assert (tmp_path / "later.toml").read_text() == "new"


def test_temporary_names_differ(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "a") as one, atomic_path(tmp_path / "a") as two:
        assert one != two
        one.write_text("first")
        two.write_text("second")
        assert len(names(tmp_path)) == 2
    assert (tmp_path / "a").read_text() == "first"  # its block ended last
    assert names(tmp_path) == ["a"]


def test_writers_at_once_leave_one_whole_file(tmp_path: Path) -> None:
    path, contents = tmp_path / "state.json", [bytes([65 + n]) * 100_000 for n in range(4)]
    start, found = threading.Barrier(5), set[bytes]()

    def write(content: bytes) -> None:
        start.wait()
        for _ in range(20):
            write_atomic(path, content)

    write_atomic(path, contents[0])
    threads = [threading.Thread(target=write, args=(content,)) for content in contents]
    for thread in threads:
        thread.start()
    start.wait()
    while any(thread.is_alive() for thread in threads):
        found.add(path.read_bytes())
    for thread in threads:
        thread.join()
    assert found <= set(contents)
    assert path.read_bytes() in contents
    assert names(tmp_path) == ["state.json"]


def test_the_umask_of_the_process_is_never_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It belongs to all threads: two that read it by setting it could leave 0o022 in place of 0o077."""
    calls: list[int] = []
    monkeypatch.setattr(os, "umask", calls.append)
    write_atomic(tmp_path / "new", "x")
    write_atomic(tmp_path / "new", "y")
    assert calls == []


def test_a_finished_file_is_moved_over_the_old_one(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old")
    (tmp_path / "b").write_text("new")
    move_into_place(tmp_path / "b", tmp_path / "a")
    assert (tmp_path / "a").read_text() == "new"
    assert names(tmp_path) == ["a"]


def test_a_damaged_file_is_quarantined_next_to_its_place(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    for content in ("first", "second"):
        path.write_text(content)
        aside = quarantine(path, ".bad")
        assert aside == tmp_path / "state.json.bad"
        assert aside.read_text() == content
        assert not path.exists()


@pytest.mark.skipif(os.getuid() != 0, reason="only root may give a file away")
def test_the_owner_of_a_replaced_file_stays(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("old")
    os.chown(path, 12345, 12345)
    write_atomic(path, "new")
    assert (path.read_text(), path.stat().st_uid, path.stat().st_gid) == ("new", 12345, 12345)
