"""Store: every form holds the same events, each once; torn ends, other files and damaged ones."""

from __future__ import annotations

import json
import logging
import resource
import sqlite3
from pathlib import Path

import pytest
from report_samples import FORMS, Day, write

from edgevid.errors import InputError, SourceError
from edgevid.output import SqliteSink
from edgevid.report import Store
from edgevid.types import Event

pytest.importorskip("duckdb")
COLUMNS = """id, kind, utc::VARCHAR, camera, run, place, track, class_name, direction, seconds, box,
    first_box, speed_mps"""


def a_day() -> Day:
    day = Day()
    day.vehicle(1, 10, 54.0)
    day.vehicle(2, 20, None, class_name='truck, "long"\n')
    day.add("stream-lost", 30, reason="away")
    return day


@pytest.mark.parametrize("form", FORMS)
def test_each_form_holds_the_same_events(tmp_path: Path, form: str) -> None:
    if not Path(form).suffix:
        pytest.importorskip("pyarrow")
    day = a_day()
    with Store([write(tmp_path / form, day)]) as store:
        rows = store.rows(f"SELECT {COLUMNS} FROM events ORDER BY id")
        runs = store.rows("SELECT run, camera, start_utc FROM runs")
        tracks = store.rows("SELECT track, last_s, first_s, speed_mps FROM tracks ORDER BY track")
    assert [row[:7] for row in rows] == [
        (e.id, e.kind, e.utc[:-1].replace("T", " ").removesuffix(".000"), "gate", e.run, e.place or None, e.track)
        for e in day.events
    ]
    assert rows[2][7:] == ('truck, "long"\n', "forward", None, [30, 40, 50, 60], None, None)
    assert rows[1][10:] == ([30, 40, 50, 60], [0, 0, 20, 20], pytest.approx(15.0))
    assert runs == ([] if form.endswith(".csv") else [(day.header.run, "gate", "2026-01-31T12:00:00.000Z")])
    assert tracks == [(1, 12.0, 8.0, pytest.approx(15.0)), (2, 22.0, 18.0, None)]


def test_an_event_in_several_files_is_there_once(tmp_path: Path) -> None:
    day, other = a_day(), Day("yard")
    other.vehicle(1, 5)
    paths = [write(tmp_path / "a.jsonl", day), write(tmp_path / "b.db", day, other), tmp_path / "a.jsonl"]
    with Store(paths) as store:
        counted = store.rows("SELECT camera, count(*), count(DISTINCT id) FROM events GROUP BY 1 ORDER BY 1")
        assert counted == [("gate", 5, 5), ("yard", 2, 2)]
        assert store.rows("SELECT count(*) FROM runs") == [(2,)]


def test_events_of_records_count_and_what_a_crash_left_is_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    day = a_day()
    events = [event.to_dict() for event in day.events]
    record = {"schema": "edgevid.result/3", "frame": 0, "time_s": 0.0, "utc": day.events[0].utc,
              "size": [64, 48], "objects": [{"id": 1, "box": [0, 0, 9, 9], "class": "car"}]}  # fmt: skip
    lines = [day.header.to_dict(), record, record | {"events": events[:2]}, *events[2:]]
    path = tmp_path / "it's [1].jsonl"  # no pattern, and no end of a text in SQL
    path.write_bytes("".join(json.dumps(one) + "\n" for one in lines).encode() + b"\0\0\0\n" + b'{"schema": "edgev')
    with caplog.at_level(logging.WARNING, "edgevid"), Store([path]) as store:
        assert store.rows("SELECT count(*), count(box) FROM events") == [(5, 4)]
    assert "2 lines are torn" in caplog.text


def test_objects_are_loaded_where_they_are_requested(tmp_path: Path) -> None:
    from result_samples import sample_result

    with SqliteSink(tmp_path / "a.db", records=True) as sink:
        day = a_day()
        sink.open(day.header)
        frame, result = sample_result()
        sink.write(frame, result)
        sink.send(day.events)
    with Store([tmp_path / "a.db"], objects=True) as store:
        assert store.rows("SELECT track, speed_mps FROM objects ORDER BY track")[0][1] == 10.0


@pytest.mark.parametrize(
    ("name", "data", "error", "words"),
    [
        ("none.db", None, SourceError, "cannot be read: No such file"),
        ("empty.jsonl", b"", InputError, "an empty file"),
        ("a.mp4", b"\0\0\0\x18ftypmp42", InputError, "no event|expected events"),
        ("a.txt", b"hello\n", InputError, "got another file"),
        ("a.jsonl", b'{"schema": "edgevid.result/3", "frame": 0}\n', InputError, "expected events, got none"),
        ("a.parquet", b"PAR1PAR1PAR1", InputError, "expected files events-"),
        ("events-1.parquet", b"PAR1" + bytes(99), SourceError, "cannot be read as parquet"),
        ("cut.db", b"SQLite format 3\0" + bytes(3000), SourceError, "cut.db"),
    ],
    ids=["missing", "empty", "video", "text", "no events", "other parquet", "damaged parquet", "damaged database"],
)
def test_what_holds_no_events_is_one_sentence(
    tmp_path: Path, name: str, data: bytes | None, error: type[Exception], words: str
) -> None:
    if data is not None:
        (tmp_path / name).write_bytes(data)
    with pytest.raises(error, match=words) as caught:
        Store([tmp_path / name])
    assert "\n" not in str(caught.value)


def test_another_database_and_an_empty_folder_are_one_sentence(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "other.db") as base:
        base.execute("CREATE TABLE notes (text TEXT)")
    for path, words in ((tmp_path / "other.db", "edgevid"), (tmp_path, "expected files events-")):
        with pytest.raises((InputError, SourceError), match=words):
            Store([path])


def test_the_temporary_database_is_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    Store([write(tmp_path / "a.jsonl", a_day())]).close()
    with pytest.raises(InputError):
        Store([tmp_path / "temporary"])
    assert not list((tmp_path / "temporary").iterdir())


def test_a_full_disk_is_one_sentence(tmp_path: Path) -> None:
    """As a limit on the size of files has it."""
    path = write(tmp_path / "a.db", a_day())
    with SqliteSink(path) as sink:
        sink.send([Event(f"x-{n}", "cross", a_day().events[0].utc, 0.0, "gate", "x") for n in range(2000)])
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limit[1]))
    try:
        with pytest.raises(SourceError, match="free disk space") as caught:
            Store([path])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("UPDATE events SET kind = 'cross'", "expected one SELECT, got UPDATE"),
        ("SELECT 1; DROP TABLE events", "got SELECT and DROP"),
        ("COPY events TO 'stolen.csv'", "got COPY"),
        ("ATTACH 'other.db'", "got ATTACH"),
        ("SET enable_external_access = true", "got SET"),
        ("SELECT * FROM read_csv('secret.csv')", "disabled"),
        ("SELECT * FROM read_text('secret.csv')", "disabled"),
        ("SELECT * FROM 'secret.csv'", "does not exist|disabled"),
        ("SELECT speed FROM events", "speed"),
        ("SELEC 1", "syntax error"),
        ("", "got nothing"),
        ("SELECT CAST(kind AS INTEGER) FROM events", "Conversion Error"),
    ],
)  # fmt: skip
def test_a_query_only_reads_what_was_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sql: str, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "secret.csv").write_text("a,b\n1,2\n")
    write(tmp_path / "a.jsonl", a_day())
    with Store([tmp_path / "a.jsonl"]) as store, pytest.raises(InputError, match=words) as caught:
        list(store.query(sql)[1])
    assert "\n" not in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.jsonl", "secret.csv"]


def test_a_query_gives_names_and_rows(tmp_path: Path) -> None:
    with Store([write(tmp_path / "a.jsonl", a_day())]) as store:
        names, rows = store.query("SELECT kind, count(*) AS n FROM events GROUP BY kind ORDER BY kind")
        assert (names, list(rows)) == (["kind", "n"], [("cross", 2), ("stream-lost", 1), ("track-ended", 2)])


def test_a_column_of_a_strangers_database_is_no_sql(tmp_path: Path) -> None:
    stolen, path = tmp_path / "stolen.txt", tmp_path / "events.db"
    (tmp_path / "secret.txt").write_text("secret", encoding="utf-8")
    copy = f"COPY (SELECT content FROM read_text($${tmp_path}/secret.txt$$)) TO $${stolen}$$"
    name = f"""1 AS "x': $$VARCHAR$$}}, header = false); {copy}; --" """.replace('"', '""')
    script = f'CREATE TABLE events ("{name}" TEXT, id TEXT, clip BLOB); INSERT INTO events VALUES (1, 2, 3);'
    with sqlite3.connect(path) as base:
        base.executescript(f"{script} CREATE TABLE runs (run TEXT); PRAGMA application_id = 0x65647669; "
                           "PRAGMA user_version = 2")  # fmt: skip
    base.close()
    with Store([path]) as store:
        assert store.rows("SELECT id, clip FROM events") == [("2", None)]
    assert not stolen.exists()
