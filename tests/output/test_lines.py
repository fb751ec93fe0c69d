"""JSON lines that were torn: left out and reported when read, cut off when continued."""

from __future__ import annotations

import logging
import os
import threading
from pathlib import Path

import pytest

from edgevid.errors import FileFormatError, SourceError
from edgevid.output import records
from edgevid.output.records import TextFile, last_lines, read_lines, whole_lines


@pytest.mark.parametrize("end", [b'{"n": 2', b"\0" * 5000, b'{"n": 2\0\0\0\0}\n', b'{"n"\0\0\0'])
def test_a_torn_or_zero_filled_end_is_left_out_and_reported(
    tmp_path: Path, end: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"n": 0}\n{"n": 1}\n' + end)
    with caplog.at_level(logging.WARNING, "edgevid"):
        assert [one["n"] for _, one in read_lines(path)] == [0, 1]
    assert "line 3 is torn" in caplog.text
    assert whole_lines(path) == 18
    with TextFile(path, append=True) as file:
        file.put('{"n": 3}\n')
    assert [one["n"] for _, one in read_lines(path)] == [0, 1, 3]


def test_a_line_that_is_whole_and_no_object_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("{}\n[]\n")
    with pytest.raises(FileFormatError, match="line 2: expected an object, got 'list'"):
        list(read_lines(tmp_path / "a.jsonl"))


@pytest.mark.parametrize("sync_s", [0, 0.01])
def test_lines_are_flushed_to_the_disk(tmp_path: Path, sync_s: float, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda handle: flushed.append(os.fstat(handle).st_size))
    with TextFile(tmp_path / "a.txt", sync_s=sync_s) as file:
        file.put("one\n")
        file.put("two\n")
    assert flushed[-1] == 8
    assert len(flushed) == 2 or sync_s


def test_a_disk_that_flushes_slowly_delays_no_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, flushed = threading.Event(), threading.Event()

    def slow(handle: int) -> None:
        begun.set()
        assert flushed.wait(30)

    monkeypatch.setattr(os, "fsync", slow)
    file = TextFile(tmp_path / "a.txt", sync_s=0.001)
    file.put("one\n")
    assert begun.wait(30)
    for _ in range(200):  # while the first flush goes on
        file.put("more\n")
    assert file.size == 1004
    end = threading.Thread(target=file.close)
    end.start()
    assert end.is_alive()  # the end waits until everything is on the disk
    flushed.set()
    end.join(30)
    assert not end.is_alive()


def test_a_failed_write_leaves_the_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = TextFile(tmp_path / "a.txt")
    file.put("one\n")
    write = os.write

    def half(handle: int, data: bytes) -> int:
        if bytes(data).endswith(b"wo\n"):
            write(handle, b"t")
            raise OSError(28, "No space left on device")
        return write(handle, data)

    monkeypatch.setattr(os, "write", half)
    with pytest.raises(OSError, match="No space"):
        file.put("two\n")
    file.put("six\n")
    file.close()
    assert (tmp_path / "a.txt").read_text() == "one\nsix\n"


def test_a_read_only_folder_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="cannot be written: No such file or directory; choose another place"):
        TextFile(tmp_path / "none" / "a.txt")
    (tmp_path / "a.txt").write_text("x" * 50)
    assert last_lines(tmp_path / "a.txt", 10) == "x" * 10


def test_a_line_without_an_end_is_not_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "MOST_LINE", 100)
    (tmp_path / "a.jsonl").write_text('{"n": 0}\n' + '{"a": "' + "x" * 200 + '"}\n')
    with pytest.raises(FileFormatError, match="line 2: expected less than 100 bytes"):
        list(read_lines(tmp_path / "a.jsonl"))
