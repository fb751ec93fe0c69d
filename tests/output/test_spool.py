"""Spool: in order, from where each sink was, whole after a kill, bounded."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edgevid.errors import SourceError
from edgevid.output.delivery import Spool


def lines(start: int, end: int) -> list[bytes]:
    return [b'{"n": %05d}\n' % n for n in range(start, end)]


def test_a_sink_continues_where_its_last_run_ended(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "gate")
    away, there = spool.position("away"), spool.position("there")
    spool.append(lines(0, 10))
    assert there.take(4) == lines(0, 4)
    assert there.take(99) == lines(4, 10)
    assert away.take(3) == lines(0, 3)
    away.acknowledge(1)  # of three, one is not safe yet
    there.acknowledge(0)
    spool.close()
    spool = Spool(tmp_path / "gate")
    away, there = spool.position("away"), spool.position("there")
    spool.append(lines(10, 12))
    assert away.take(99) == lines(2, 10)
    assert away.take(99) == lines(10, 12)
    assert there.take(99) == lines(10, 12)
    away.acknowledge(0)
    there.acknowledge(0)
    spool.close()
    assert list((tmp_path / "gate").iterdir()) == []  # nothing waits: nothing stays


def test_what_was_taken_and_not_acknowledged_comes_again(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "gate")
    position = spool.position("a")
    spool.append(lines(0, 4))
    position.take(2)
    position.acknowledge(0)
    position.take(2)
    position.rewind()
    assert position.take(9) == lines(2, 4)


@pytest.mark.parametrize("torn", [b'{"n": 00', b"\0" * 300])
def test_a_torn_end_is_cut_off_and_the_rest_delivered(tmp_path: Path, torn: bytes) -> None:
    spool = Spool(tmp_path / "gate")
    spool.position("a").acknowledge(0)
    spool.append(lines(0, 3))
    (path,) = (tmp_path / "gate").glob("*.jsonl")
    os.close(spool._lock)  # as after a kill: nothing else is closed
    path.write_bytes(path.read_bytes() + torn)
    spool = Spool(tmp_path / "gate")
    position = spool.position("a")
    spool.append(lines(3, 5))
    assert position.take(9) + position.take(9) == lines(0, 5)


def test_a_second_program_has_a_folder_of_its_own(tmp_path: Path) -> None:
    first, second = Spool(tmp_path / "gate"), Spool(tmp_path / "gate")
    assert [spool.folder.name for spool in (first, second)] == ["gate", "gate-2"]


def test_the_size_is_bounded_and_what_is_lost_is_counted(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "gate", max_bytes=1600)
    position = spool.position("away")
    for n in range(0, 1000, 5):
        spool.append(lines(n, n + 5))
    assert sum(path.stat().st_size for path in spool.folder.glob("*.jsonl")) <= 1800
    found = []
    while more := position.take(50):
        found += more
    assert found == lines(position.dropped, 1000)
    assert position.dropped > 800


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SourceError, match=r"cannot be written: .* is a file"):
        Spool(tmp_path / "file" / "gate")
