"""ParquetSink: files that are whole at any time, by event, by track, and by object and frame."""

from __future__ import annotations

from pathlib import Path

import pytest
from event_samples import an_event
from result_samples import sample_result

from edgevid.errors import MissingExtraError
from edgevid.output.tables import ParquetSink
from edgevid.types import Event, Header


def rows(folder: Path, kind: str) -> list[dict[str, object]]:
    parquet = pytest.importorskip("pyarrow.parquet", reason="needs pyarrow: pip install pyarrow")
    return [row for path in sorted(folder.glob(f"{kind}-*")) for row in parquet.read_table(path).to_pylist()]


def ended(number: int) -> Event:
    return Event.of(an_event(number, track=number).to_dict() | {"kind": "track-ended"})


def test_rows_are_events_tracks_and_objects(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="needs pyarrow: pip install pyarrow")
    with ParquetSink(tmp_path / "p", records=True) as sink:
        sink.open(Header("gate", run="gate-1"))
        sink.send([an_event(1, box=(1.0, 2.0, 3.0, 4.0)), ended(2)])
        sink.write(*sample_result())
        assert sink.held == 2
        assert not list((tmp_path / "p").glob("[!.]*"))  # none is there before it is whole
    events = rows(tmp_path / "p", "events")
    assert [row["id"] for row in events] == [an_event(1).id, an_event(2).id]
    assert events[0]["box"] == [1.0, 2.0, 3.0, 4.0]
    assert [row["track"] for row in rows(tmp_path / "p", "tracks")] == [2]
    objects = rows(tmp_path / "p", "objects")
    assert [row["speed_mps"] for row in objects] == [10.0, None]
    assert [row["action_reason"] for row in objects] == [None, "TOO_SMALL"]
    assert sink.held == 0


def test_a_new_set_of_files_begins_when_one_is_complete(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="needs pyarrow: pip install pyarrow")
    with ParquetSink(tmp_path, segment_s=0.0) as sink:
        for n in range(3):
            sink.send([an_event(n)])
            assert sink.held == 0
    assert len(list(tmp_path.glob("events-*"))) == 3
    assert [row["id"] for row in rows(tmp_path, "events")] == [an_event(n).id for n in range(3)]


def test_after_an_error_everything_that_is_held_must_come_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pyarrow", reason="needs pyarrow: pip install pyarrow")
    with ParquetSink(tmp_path) as sink:
        sink.send([an_event(0)])
        monkeypatch.setattr("edgevid.output.tables.ROW_GROUP", 1)

        def full(path: Path) -> None:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as disk:
            disk.setattr("edgevid.output.tables.atomic_path", full)
            with pytest.raises(OSError, match="No space"):
                sink.send([an_event(1)])
        assert sink.held == 0
        sink.send([an_event(0), an_event(1)])
    assert [row["id"] for row in rows(tmp_path, "events")] == [an_event(0).id, an_event(1).id]
    assert not list(tmp_path.glob(".*"))


def test_events_of_a_file_that_was_moved_before_the_kill_are_there_once(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="needs pyarrow: pip install pyarrow")
    for sent in ([an_event(0), ended(1)], [an_event(0), ended(1), ended(2)]):  # the kill: the first is not acknowledged
        with ParquetSink(tmp_path) as sink:
            sink.open(Header("camera"))
            sink.send(sent)
    assert [row["id"] for row in rows(tmp_path, "events")] == [an_event(n).id for n in range(3)]
    assert [row["track"] for row in rows(tmp_path, "tracks")] == [1, 2]


def test_events_of_a_file_that_was_moved_before_an_error_are_there_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pyarrow", reason="needs pyarrow: pip install pyarrow")
    from edgevid.files import atomic

    def full(new: Path, path: Path) -> None:
        if path.name.startswith("events"):
            raise OSError(28, "No space left on device")
        new.replace(path)

    with ParquetSink(tmp_path, segment_s=0.0) as sink:
        sink.open(Header("camera"))
        with monkeypatch.context() as disk:
            disk.setattr(atomic, "move_into_place", full)
            with pytest.raises(OSError, match="No space"):
                sink.send([ended(1)])
        assert len(rows(tmp_path, "tracks")) == 1
        assert sink.held == 0
        sink.send([ended(1), ended(2)])
    assert [row["id"] for row in rows(tmp_path, "events")] == [an_event(1).id, an_event(2).id]
    assert [row["track"] for row in rows(tmp_path, "tracks")] == [1, 2]


def test_a_start_deletes_what_killed_runs_left_and_nothing_that_is_written_now(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="needs pyarrow: pip install pyarrow")
    for camera in ("gate", "gate-2", "yard"):
        (tmp_path / f".events-{camera}-20260131T120000000Z.parquet.0123456789ab.part.parquet").touch()
    with ParquetSink(tmp_path) as yard, ParquetSink(tmp_path) as gate:
        yard.send([an_event(0)])
        gate.open(Header("gate"))
        gate.send([an_event(1)])
    assert sorted(row["id"] for row in rows(tmp_path, "events")) == [an_event(0).id, an_event(1).id]
    assert not [*tmp_path.glob(".*")]


def test_a_clock_that_was_set_back_replaces_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pyarrow", reason="needs pyarrow: pip install pyarrow")
    for number, utc in enumerate([1_790_000_000.0, 20.0, 20.0]):  # two starts without a clock, in 1970
        monkeypatch.setattr("edgevid.output.tables.clock.time", lambda utc=utc: utc)
        with ParquetSink(tmp_path) as sink:
            sink.open(Header("gate", start=utc))
            sink.send([an_event(number)])
    assert [row["id"] for row in rows(tmp_path, "events")] == [an_event(number).id for number in range(3)]


def test_without_pyarrow_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r"pip install \"edgevid\[parquet\]\""):
        ParquetSink(tmp_path)
