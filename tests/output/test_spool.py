"""Spool: in order, from where each sink was, whole after a kill, bounded."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from edgevid.errors import SourceError
from edgevid.output.delivery import EVENTS, Spool, Worker


def lines(start: int, end: int) -> list[bytes]:
    return [b'{"n": %d}\n' % n for n in range(start, end)]


def reader(spool: Spool, name: str) -> Worker:
    """How far a sink is, whose thread does not run."""
    return Worker(None, name, spool, {})


def taken(position: Worker, limit: int) -> list[bytes]:
    return [line for _, line in position.take(limit)]


def test_a_sink_continues_where_its_last_run_ended(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "gate")
    away, there = reader(spool, "away"), reader(spool, "there")
    spool.append(lines(0, 10))
    assert taken(there, 4) == lines(0, 4)
    assert taken(there, 99) == lines(4, 10)
    assert taken(away, 3) == lines(0, 3)
    away.acknowledge(1)  # of three, one is not safe yet
    there.acknowledge(0)
    spool.close()
    spool = Spool(tmp_path / "gate")
    away, there = reader(spool, "away"), reader(spool, "there")
    spool.append(lines(10, 12))
    assert taken(away, 99) == lines(2, 12)
    assert taken(there, 99) == lines(10, 12)
    away.acknowledge(0)
    there.acknowledge(0)
    spool.close()
    assert list((tmp_path / "gate").iterdir()) == []  # nothing waits: nothing stays


def test_what_was_taken_and_not_acknowledged_comes_again(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "gate")
    position = reader(spool, "a")
    spool.append(lines(0, 4))
    position.take(2)
    position.acknowledge(0)
    position.take(2)
    position.taken = position.acknowledged
    assert taken(position, 9) == lines(2, 4)


@pytest.mark.parametrize("torn", [b'{"n": 00', b"\0" * 300])
def test_after_a_kill_what_was_written_is_delivered_and_a_torn_end_is_not(tmp_path: Path, torn: bytes) -> None:
    spool = Spool(tmp_path / "gate")
    reader(spool, "a").acknowledge(0)
    spool.append(lines(0, 3))
    shutil.copytree(tmp_path / "gate", tmp_path / "killed")  # what is on the disk now
    spool.close()
    with (tmp_path / "killed" / f"{EVENTS}-wal").open("ab") as log:
        log.write(torn)
    spool = Spool(tmp_path / "killed")
    position = reader(spool, "a")
    spool.append(lines(3, 5))
    assert taken(position, 9) == lines(0, 5)
    spool.close()


def test_a_second_program_has_a_folder_of_its_own(tmp_path: Path) -> None:
    first, second = Spool(tmp_path / "gate"), Spool(tmp_path / "gate")
    assert [spool.folder.name for spool in (first, second)] == ["gate", "gate-2"]


def test_the_size_is_bounded_and_what_is_lost_is_counted_once(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "gate", max_bytes=200_000)
    position = reader(spool, "away")
    for n in range(0, 50_000, 500):
        spool.append(lines(n, n + 500))
    ((size,),) = spool.rows("SELECT bytes FROM state")
    assert size < 220_000
    for _ in range(2):  # tried twice
        position.taken = position.acknowledged
        assert taken(position, 99_999) == lines(position.dropped, 50_000)
    assert position.dropped > 25_000
    spool.close()


def test_what_every_sink_has_is_deleted(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "gate")
    positions = [reader(spool, name) for name in ("a", "b")]
    for n in range(0, 9000, 500):
        spool.append(lines(n, n + 500))
        for position in positions:
            position.take(999)
            position.acknowledge(0)
    ((left,),) = spool.rows("SELECT count(*) FROM events")
    assert left <= 1000
    assert [position.dropped for position in positions] == [0, 0]
    spool.close()


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SourceError, match=r"cannot be written: .* is a file"):
        Spool(tmp_path / "file" / "gate")
