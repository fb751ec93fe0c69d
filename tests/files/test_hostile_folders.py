"""What the author of a file or a folder may try: pipes and devices among the files, names that lead elsewhere, values
that are computed without an end, and images that take minutes to decode."""

from __future__ import annotations

import json
import os
import resource
import sqlite3
import struct
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from edgevid.errors import EdgevidError, InputError, SourceError
from edgevid.insight.review import Review
from edgevid.output.tables import SqliteSink, read_database
from edgevid.report.forget import Selection, forget
from edgevid.report.store import Report, Store
from edgevid.types import Event
from edgevid.video.images import MOST_BYTES, ImageSource, read_image, to_jpeg
from edgevid.video.packets import DamageDetector

STEM = "20260101T000000000-1"
ABOUT = {"task": "action", "source": "gate.mp4", "reason": "LOW_CONFIDENCE", "names": ["run"], "scores": [0.5],
         "track": 1, "time_s": 1.0, "crop": f"{STEM}.jpg"}  # fmt: skip


def pipe(path: Path) -> None:
    os.mkfifo(path)


def zero(path: Path) -> None:
    path.symlink_to("/dev/zero")


def circle(path: Path) -> None:
    path.symlink_to(path.name)


READERS: dict[str, tuple[str, Callable[[Path], Any]]] = {
    "images": ("a.jpg", ImageSource),
    "crops to review": (f"{STEM}.json", Review),
    "crops to forget": (f"{STEM}.json", lambda folder: forget([folder], Selection(track=1))),
    "Parquet": ("events-a.parquet", lambda folder: Store([folder])),
}


@pytest.mark.parametrize("made", [pipe, zero, circle])
@pytest.mark.parametrize("name", READERS)
def test_what_is_no_file_in_a_folder_is_left_out(tmp_path: Path, name: str, made: Callable[[Path], None]) -> None:
    if name == "Parquet":
        pytest.importorskip("duckdb", reason="the extra 'report' is not installed")
    file, read = READERS[name]
    made(tmp_path / file)
    begun = time.process_time()
    if name == "crops to forget":
        assert read(tmp_path) == {tmp_path: {}}
    else:
        with pytest.raises(EdgevidError, match=r"decoded|expected verdicts|expected files"):
            read(tmp_path)
    assert time.process_time() - begun < 5


@pytest.mark.parametrize("name", ["../secret.jpg", "/etc/hostname", "review.db"])
def test_the_description_of_a_crop_names_no_other_file(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "crops"
    folder.mkdir()
    (tmp_path / "secret.jpg").write_bytes(to_jpeg(np.zeros((32, 32, 3), np.uint8)))
    (folder / f"{STEM}.json").write_text(json.dumps(ABOUT | {"crop": name, "film": name}))
    with Review(folder) as review:
        (item,) = review.rows("SELECT crop, film FROM items")
    assert all("/" not in (kept or "") for kept in item.values())
    assert forget([folder], Selection(track=1), dry_run=False) == {folder: {"crops": 1}}
    assert (tmp_path / "secret.jpg").exists()
    assert (folder / "review.db").exists()
    assert not (folder / f"{STEM}.json").exists()


@pytest.mark.parametrize("text", ["", "[]", "{", '{"a":' * 100_000, '{"source": [], "time_s": "x"}'])
def test_a_description_of_a_crop_that_is_none_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / f"{STEM}.json").write_text(text)
    with pytest.raises(InputError, match=f"{STEM}.json: expected what describes a crop"):
        forget([tmp_path], Selection(track=1))


def changed_database(folder: Path, sql: str) -> Path:
    """A database with one event, changed by a stranger's statement."""
    path = folder / "a.db"
    with SqliteSink(path) as sink:
        sink.send([Event("gate-1-1", "track-ended", "2026-01-01T00:00:00.000Z", 1.0, "gate", "gate-1")])
    with closing(sqlite3.connect(path)) as base, base:
        base.execute(sql)
    return path


def test_a_column_that_is_computed_is_not_read(tmp_path: Path) -> None:
    """400 MB for each row of a file of 28 kB."""
    path = changed_database(tmp_path, "ALTER TABLE events ADD COLUMN more TEXT AS (hex(zeroblob(200000000)))")
    with pytest.raises(InputError, match="expected the table events, got something else"):
        read_database(path)


@pytest.mark.skipif(not hasattr(sqlite3.Connection, "setlimit"), reason="Python 3.10 has no limits of SQLite")
def test_a_row_without_measure_is_not_read(tmp_path: Path) -> None:
    path = changed_database(tmp_path, "UPDATE events SET camera = hex(zeroblob(20000000))")
    with pytest.raises(SourceError, match="too big"):
        read_database(path)


def test_events_without_a_time_are_no_traceback(tmp_path: Path) -> None:
    pytest.importorskip("duckdb", reason="the extra 'report' is not installed")
    (tmp_path / "a.jsonl").write_text('{"schema":"edgevid.event/1","id":"1","kind":"x","camera":"c"}\n')
    with Store([tmp_path / "a.jsonl"]) as store, pytest.raises(InputError, match="expected events of up to ten years"):
        Report(store)


def many_scans(side: int, scans: int) -> bytes:
    """A gray progressive JPEG, of some 50 bytes for each scan of all of its blocks."""

    def segment(mark: int, data: bytes) -> bytes:
        return struct.pack(">BBH", 0xFF, mark, len(data) + 2) + data

    blocks = (side // 8) ** 2
    bits = "0" + "1" * 14  # one code: a run of 32,767 blocks without a coefficient
    bits *= blocks // 32767 + 1
    run = int(bits + "1" * (-len(bits) % 8), 2).to_bytes(-(-len(bits) // 8), "big").replace(b"\xff", b"\xff\0")
    head = b"\xff\xd8" + segment(0xDB, b"\0" + b"\1" * 64)
    head += segment(0xC2, struct.pack(">BHHB3B", 8, side, side, 1, 1, 17, 0))
    head += segment(0xC4, b"\0\1" + bytes(15) + b"\0") + segment(0xC4, b"\x10\1" + bytes(15) + b"\xe0")
    first = segment(0xDA, bytes([1, 1, 0, 0, 0, 0])) + bytes(blocks // 8 + 1)
    return head + first + (segment(0xDA, bytes([1, 1, 0, 1, 63, 0])) + run) * scans + b"\xff\xd9"


def test_a_jpeg_of_thousands_of_scans_is_not_decoded(tmp_path: Path) -> None:
    """1 MB of it took a minute."""
    path = tmp_path / "a.jpg"
    path.write_bytes(many_scans(64, 100))
    assert read_image(path) is not None
    path.write_bytes(many_scans(7992, 10_000))
    begun = time.process_time()
    assert read_image(path) is None
    with av.open(str(path)) as container:  # as a camera may send it
        detector = DamageDetector(container.streams.video[0], live=True)
        assert [detector.decode(packet) for packet in container.demux()] == [[], []]
    assert detector.failed == 1
    assert time.process_time() - begun < 5


def test_an_image_of_gigabytes_is_not_read(tmp_path: Path) -> None:
    """Only its first part, which may be all of the image."""
    with (tmp_path / "a.jpg").open("wb") as file:
        file.truncate(20 * MOST_BYTES)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert read_image(tmp_path / "a.jpg") is None
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 3 * MOST_BYTES / 1024
