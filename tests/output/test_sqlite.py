"""SqliteSink: each event once, tracks as a view, versions, many writers, and errors in one sentence."""

from __future__ import annotations

import json
import re
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from event_samples import an_event
from result_samples import sample_result

from edgevid.cli.command_line import run_program
from edgevid.errors import InputError, SourceError
from edgevid.output import tables
from edgevid.output.tables import SqliteSink, read_database
from edgevid.types import Header
from edgevid.types.event import EVENT_FIELDS


def test_an_event_that_comes_twice_is_there_once_with_all_its_fields(tmp_path: Path) -> None:
    event = an_event(1, place="gate", track=4, class_name="car", box=(1.0, 2.0, 3.0, 4.0))
    with SqliteSink(tmp_path / "a.db") as sink:
        sink.open(Header("gate", run="gate-1"))
        sink.send([event, an_event(2)])
        sink.send([event])
    rows = read_database(tmp_path / "a.db")
    assert [row["id"] for row in rows] == [event.id, an_event(2).id]
    assert list(rows[0]) == list(EVENT_FIELDS)
    assert (rows[0]["place"], rows[0]["track"], json.loads(rows[0]["box"])) == ("gate", 4, [1, 2, 3, 4])
    assert rows[0]["label"] is None
    (run,) = read_database(tmp_path / "a.db", "SELECT * FROM runs")
    assert (run["run"], json.loads(run["header"])["camera"]) == ("gate-1", "gate")


def test_objects_have_their_speeds_and_verdicts(tmp_path: Path) -> None:
    with SqliteSink(tmp_path / "a.db", records=True) as sink:
        sink.open(Header("gate"))
        frame, result = sample_result()
        sink.write(frame, result)
    first, second = read_database(tmp_path / "a.db", "SELECT * FROM objects ORDER BY track")
    assert (first["speed_mps"], first["speed_sigma_mps"], second["speed_reason"]) == (10.0, 0.5, "OFF_PLANE")
    assert json.loads(first["verdicts"]) == {"action": "run", "action_confidence": 0.8}
    assert not hasattr(SqliteSink(tmp_path / "b.db"), "write")  # objects only where they are requested


@pytest.mark.parametrize("name", ["events", "Objects", "runs"])
def test_a_view_without_an_end_is_not_read(tmp_path: Path, name: str) -> None:
    with SqliteSink(tmp_path / "a.db") as sink:
        sink.send([an_event(1)])
    with sqlite3.connect(tmp_path / "a.db") as base:
        base.execute(f"DROP TABLE {name}")
        columns = ", ".join(f"n AS {column}" for column in EVENT_FIELDS)
        endless = "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t)"
        base.execute(f"CREATE VIEW {name} AS {endless} SELECT {columns} FROM t")
    base.close()
    with pytest.raises(InputError, match=f"a.db: expected the table {name}, got something else of its name"):
        read_database(tmp_path / "a.db", f"SELECT count(*) FROM {name}")
    assert run_program("edgevid", ["report", str(tmp_path / "a.db")]) == 2


def test_tracks_are_the_ended_ones(tmp_path: Path) -> None:
    ended = an_event(9, track=4, seconds=3.0, count=75, speed_mps=12.0)
    with SqliteSink(tmp_path / "a.db") as sink:
        sink.send([an_event(1), type(ended).of(ended.to_dict() | {"kind": "track-ended"})])
    (track,) = read_database(tmp_path / "a.db", "SELECT * FROM tracks")
    assert (track["first_s"], track["last_s"], track["frames"], track["speed_mps"]) == (6.0, 9.0, 75, 12.0)


def test_many_programs_begin_and_write_one_database(tmp_path: Path) -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[3])\n"
        "from event_samples import an_event\nfrom edgevid.output.tables import SqliteSink\n"
        "with SqliteSink(sys.argv[1]) as sink:\n"
        "    for n in range(20): sink.send([an_event(100 * int(sys.argv[2]) + n)])\n"
    )
    support = str(Path(__file__).resolve().parents[1] / "support")
    call = [sys.executable, "-c", code, str(tmp_path / "a.db")]
    programs = [subprocess.Popen([*call, str(number), support], cwd=tmp_path) for number in range(3)]
    assert [program.wait(timeout=60) for program in programs] == [0, 0, 0]
    assert len(read_database(tmp_path / "a.db")) == 60


@pytest.mark.parametrize("version", [1, 3])
def test_a_database_of_another_version_is_named(tmp_path: Path, version: int) -> None:
    SqliteSink(tmp_path / "a.db").close()
    with sqlite3.connect(tmp_path / "a.db") as base:
        base.execute(f"PRAGMA user_version = {version}")
    for call in (SqliteSink, read_database):
        with pytest.raises(InputError, match=f"a.db: expected a database of version 2, got {version}, of another edge"):
            call(tmp_path / "a.db")


def test_what_is_no_database_of_edgevid_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("no database at all, but text that is long enough to be read as one\n" * 9)
    with pytest.raises(SourceError, match="cannot be used as a database: file is not a database; check"):
        SqliteSink(tmp_path / "text.db")
    with sqlite3.connect(tmp_path / "other.db") as base:
        base.execute("CREATE TABLE a (b)")
    with pytest.raises(InputError, match="got one of another program"):
        SqliteSink(tmp_path / "other.db")
    with pytest.raises(SourceError, match="there is no such file"):
        read_database(tmp_path / "none.db")
    with pytest.raises(SourceError, match="does not exist; create it first"):
        SqliteSink(tmp_path / "none" / "a.db")


def test_the_page_names_every_table_and_column() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "events.md").read_text()
    for table, columns in re.findall(r"CREATE TABLE IF NOT EXISTS (\w+) \((.*?)\);", tables.SCRIPT, re.DOTALL):
        (row,) = re.findall(rf"\| `{table}` \|.*", page)
        if table == "runs":
            assert re.findall(r"(\w+) TEXT", columns) == re.findall(r"`(\w+)`", row)[1:]


def test_cameras_that_begin_at_one_moment_share_a_new_database(tmp_path: Path) -> None:
    begin, errors = threading.Barrier(6), list[Exception]()

    def camera() -> None:
        for n in range(5):
            begin.wait(20)
            try:
                SqliteSink(tmp_path / f"{n}.db").close()
            except Exception as error:
                errors.append(error)

    threads = [threading.Thread(target=camera) for _ in range(6)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert not errors
