"""forget: no byte of what is selected is left, all else is as it was, and a dry run changes nothing."""

from __future__ import annotations

import fcntl
import json
import os
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from report_samples import FORMS, NOON, Day, write

from edgevid.errors import InputError, SourceError
from edgevid.output import SqliteSink, read_database
from edgevid.output.delivery import Spool, Worker
from edgevid.report import Selection, Store, forget


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.jsonl", b'{"schema": "edgevid.event/1", "utc": "soon", "track": "x"}\n'),
     ("b.jsonl", b'{"schema": "edgevid.header/1"}\n'), ("events-c.parquet", b"PAR1junk")],
)  # fmt: skip
def test_a_damaged_file_is_one_sentence_and_nothing_is_deleted(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    whole = write(tmp_path / "whole.jsonl", *two_cameras())
    before = whole.read_bytes()
    with pytest.raises(SourceError, match=rf"{name}: cannot be read, so nothing was deleted: .*; leave it out"):
        forget([whole, tmp_path / name], Selection(camera="gate", after=0.0), dry_run=False)
    assert whole.read_bytes() == before


@pytest.fixture(autouse=True)
def _spool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEVID_SPOOL", str(tmp_path / "spool"))


def two_cameras() -> tuple[Day, Day]:
    """Track 1 has the class "Zebra1" and track 2 "Zebra2", each at ten seconds times its number."""
    days = Day("gate"), Day("yard")
    for day in days:
        for track in (1, 2):
            day.vehicle(track, 10.0 * track, 50.0, class_name=f"Zebra{track}-{day.header.camera}")
    return days


def bytes_of(path: Path) -> bytes:
    """All bytes of a file, of those next to it (a database's log), or of a folder."""
    files = path.rglob("*") if path.is_dir() else path.parent.glob(path.name + "*")
    found = b""
    for file in files:
        if file.suffix == ".parquet":  # compressed: its texts
            import pyarrow.parquet

            found += str(pyarrow.parquet.read_table(file).to_pydict()).encode()
        elif file.is_file():
            found += file.read_bytes()
    return found


SELECTIONS = {
    "camera": (Selection(camera="gate"), {b"Zebra1-yard", b"Zebra2-yard"}),
    "run": (Selection(run=f"yard-{NOON:.0f}"), {b"Zebra1-gate", b"Zebra2-gate"}),
    "track": (Selection(track=2), {b"Zebra1-gate", b"Zebra1-yard"}),
    "track of a camera": (Selection(camera="gate", track=2), {b"Zebra1-gate", b"Zebra1-yard", b"Zebra2-yard"}),
    "before": (Selection(before=NOON + 15), {b"Zebra2-gate", b"Zebra2-yard"}),
    "after": (Selection(after=NOON + 15), {b"Zebra1-gate", b"Zebra1-yard"}),
    "all": (Selection(after=0.0), set()),
}
NAMES = {f"Zebra{track}-{camera}".encode() for track in (1, 2) for camera in ("gate", "yard")}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", SELECTIONS)
def test_no_byte_is_left_and_all_else_stays(tmp_path: Path, form: str, name: str) -> None:
    if not Path(form).suffix:
        pytest.importorskip("pyarrow")
    selection, kept = SELECTIONS[name]
    path = write(tmp_path / "data" / form, *two_cameras()) if (tmp_path / "data").mkdir() is None else tmp_path
    before = bytes_of(path)
    assert all(word in before for word in NAMES)
    dry = forget([path], selection)
    assert bytes_of(path) == before
    assert forget([path], selection, dry_run=False) == dry
    assert dry[path]["events"] == 2 * (4 - len(kept))
    assert {word for word in NAMES if word in bytes_of(path)} == kept
    if kept and form != "day.csv":
        pytest.importorskip("duckdb")
        with Store([path]) as store:
            assert store.rows("SELECT count(*) FROM events") == [(2 * len(kept),)]
    assert not any(forget([path], selection)[path].values()) if path.exists() else not kept


def test_what_stays_of_a_file_is_byte_for_byte_as_it_was(tmp_path: Path) -> None:
    for form in ("day.jsonl", "day.csv"):
        path = write(tmp_path / form, *two_cameras())
        path.chmod(0o640)
        lines = path.read_bytes().splitlines(keepends=True)
        forget([path], Selection(track=2), dry_run=False)
        assert path.read_bytes() == b"".join(line for line in lines if b"Zebra2" not in line)
        assert path.stat().st_mode & 0o777 == 0o640


def test_of_records_frames_go_by_time_and_objects_by_track(tmp_path: Path) -> None:
    day, _ = two_cameras()
    objects = [{"id": track, "box": [0, 0, 9, 9], "class": f"Zebra{track}", "score": 0.5} for track in (1, 2)]
    frames: list[Any] = [
        {"schema": "edgevid.result/3", "frame": n, "time_s": 10.0 * n,
         "utc": f"2026-01-31T12:00:{10 * n:02d}.000Z", "size": [64, 48], "objects": objects,
         "smoothed": [{"id": 2, "time_s": 1.0, "mps": 3.0}],
         "events": [event.to_dict() for event in day.events]}
        for n in range(3)
    ]  # fmt: skip
    path = tmp_path / "records.jsonl"
    text = "".join(json.dumps(one) + "\n" for one in [day.header.to_dict(), *frames])
    path.write_text(text)
    assert dict(forget([path], Selection(track=2), dry_run=False)[path]) == {"objects": 3, "events": 6, "smoothed": 3}
    assert b"Zebra2" not in path.read_bytes()
    read = [json.loads(line) for line in path.read_text().splitlines()]
    assert [len(one["objects"]) for one in read[1:]] == [1, 1, 1]
    path.write_text(text)
    assert dict(forget([path], Selection(before=NOON + 15), dry_run=False)[path]) == {"frames": 2}
    assert [json.loads(line).get("frame") for line in path.read_text().splitlines()] == [None, 2]
    assert dict(forget([path], Selection(camera="gate"), dry_run=False)[path]) == {"frames": 1, "runs": 1}
    assert not path.exists()


def test_objects_and_runs_of_a_database_go_too(tmp_path: Path) -> None:
    from result_samples import sample_result

    day, _ = two_cameras()
    with SqliteSink(tmp_path / "a.db", records=True) as sink:
        sink.open(day.header)
        sink.write(*sample_result())
        sink.send(day.events)
    assert forget([tmp_path / "a.db"], Selection(camera="gate"), dry_run=False)[tmp_path / "a.db"] == {
        "runs": 1, "events": 4, "objects": 2,
    }  # fmt: skip
    assert read_database(tmp_path / "a.db", "SELECT * FROM objects") == []
    assert b"rtsp://gate" not in bytes_of(tmp_path / "a.db")


def test_a_database_that_is_read_meanwhile_is_reported(tmp_path: Path) -> None:
    path = write(tmp_path / "a.db", *two_cameras())
    with sqlite3.connect(path) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM events").fetchone()
        with pytest.raises(SourceError, match="end it, then forget again"):
            forget([path], Selection(track=2), dry_run=False)
        reader.rollback()
    reader.close()
    forget([path], Selection(track=1), dry_run=False)
    assert b"Zebra" not in bytes_of(path)


def test_a_file_that_a_run_writes_to_is_left_alone(tmp_path: Path) -> None:
    base, path = write(tmp_path / "a.db", *two_cameras()), write(tmp_path / "a.jsonl", *two_cameras())
    with path.open("a"), pytest.raises(InputError, match="a run is writing to it; end it first"):
        forget([base, path], Selection(track=2), dry_run=False)
    assert b"Zebra2" in bytes_of(base)  # nothing was changed
    forget([base, path], Selection(track=2), dry_run=False)
    assert b"Zebra2" not in bytes_of(base) + bytes_of(path)


def test_events_that_wait_in_the_spool_go_and_the_others_arrive_in_order(tmp_path: Path) -> None:
    folder = tmp_path / "spool" / "gate"
    day, _ = two_cameras()
    lines = [json.dumps(event.to_dict()).encode() + b"\n" for event in day.events]
    spool = Spool(folder)
    fast, slow = Worker(None, "fast", spool, {}), Worker(None, "slow", spool, {})
    spool.append(lines[:2])
    fast.take(3)
    fast.acknowledge(0)
    slow.take(1)
    slow.acknowledge(0)
    spool.append(lines[2:])
    with pytest.raises(InputError, match="a run of this camera is writing"):
        forget([], Selection(track=1))
    spool.close()
    assert forget([], Selection(track=9)) == {}
    assert dict(forget([], Selection(track=1), dry_run=False)[folder]) == {"events that wait for sinks": 2}
    assert b"Zebra1" not in bytes_of(folder)
    again = Spool(folder)
    for name in ("fast", "slow"):
        position = Worker(None, name, again, {})
        assert [line for _, line in position.take(9)] == lines[2:]
        assert position.dropped == 0
    again.close()


def test_crops_go_by_time_track_and_the_source_of_a_camera(tmp_path: Path) -> None:
    folder = tmp_path / "crops"
    folder.mkdir()
    for number, (source, track) in enumerate([("rtsp://gate/1", 1), ("rtsp://gate/1", 2), ("rtsp://yard/1", 2)]):
        name = f"20260131T120000000-action-{number:06d}"
        about = {"task": "action", "track": track, "source": source, "time_s": 10.0 * track, "crop": f"{name}.jpg"}
        (folder / f"{name}.json").write_text(json.dumps(about))
        (folder / f"{name}.jpg").write_bytes(b"crop")
    base = write(tmp_path / "a.db", *two_cameras())
    left = lambda: sorted(int(path.stem[-1]) for path in folder.glob("*.jpg"))  # noqa: E731
    assert forget([folder], Selection(camera="gate"))[folder] == {}  # no database says which source is its
    assert forget([folder, base], Selection(camera="gate", track=2), dry_run=False)[folder] == {"crops": 1}
    assert left() == [0, 2]
    assert forget([folder], Selection(after=NOON + 15), dry_run=False)[folder] == {"crops": 1}
    assert left() == [0]
    assert len(list(folder.iterdir())) == 2


def test_recordings_go_by_camera_and_time(tmp_path: Path) -> None:
    names = ["gate/00000001-20260131T120000Z.mp4", "gate/00000002-20260131T121000Z-event.mp4",
             "gate/00000003-20260131T121000Z-7.jpg", "yard/00000001-20260131T120000Z.mkv"]  # fmt: skip
    for name in names:
        (tmp_path / "recordings" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "recordings" / name).write_bytes(b"video")
    folder = tmp_path / "recordings"
    left = lambda: sorted(str(path.relative_to(folder)) for path in folder.glob("*/*"))  # noqa: E731
    assert forget([folder], Selection(camera="gate"))[folder] == {"videos": 2, "snapshots": 1}
    assert forget([folder], Selection(track=7), dry_run=False)[folder] == {"snapshots": 1}
    assert left() == [names[0], names[1], names[3]]
    assert forget([folder], Selection(camera="gate", before=NOON + 60), dry_run=False)[folder] == {"videos": 1}
    assert left() == names[1::2]
    with (folder / names[3]).open("ab"), pytest.raises(InputError, match="a run is writing to it"):
        forget([folder], Selection(camera="yard"), dry_run=False)


def test_other_files_are_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "records.csv").write_text("x_min,y_min\n1,2\n")
    with sqlite3.connect(tmp_path / "other.db") as base:
        base.execute("CREATE TABLE notes (text TEXT)")
    for name in ("records.csv", "other.db", "none.jsonl"):
        with pytest.raises((InputError, SourceError), match=name):
            forget([tmp_path / name], Selection(track=1))


def test_leases_tell_whether_a_file_is_written_here(tmp_path: Path) -> None:
    """What `forget` relies on; a file system without leases would make other tests fail."""
    (tmp_path / "a").write_text("a")
    handle = os.open(tmp_path / "a", os.O_RDONLY)
    fcntl.fcntl(handle, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    os.close(handle)
