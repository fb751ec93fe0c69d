"""Segments: named by their start, limited in their bytes."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest
from loop_samples import SquareDetector, frames_of

from edgevid.errors import InputError
from edgevid.output.records import read_jsonl
from edgevid.output.sinks import JsonLines, SegmentedSink
from edgevid.pipeline import Pipeline
from edgevid.run.loop import run
from edgevid.track import Tracker
from edgevid.types import Frame


def test_segments_are_named_by_their_start_and_the_oldest_are_deleted(tmp_path: Path) -> None:
    (tmp_path / "seen-20200101T000000Z.jsonl").write_text("x" * 3000)  # of an earlier run
    (tmp_path / "seen-notes.jsonl").write_text("mine")
    os.utime(tmp_path / "seen-20200101T000000Z.jsonl", (1, 1))
    limit = 9000  # two of 3.4 kB
    parts = SegmentedSink(tmp_path / "seen.jsonl", JsonLines, segment_s=1.0, max_disk_bytes=limit)
    run(Pipeline(SquareDetector(), Tracker()), frames_of((160, 120), each=35), [parts])
    names = [path.name for path in parts.segments]
    assert len(set(names)) == 4  # 3.5 seconds; the name of a deleted segment is not taken again
    assert all(re.fullmatch(r"seen-\d{8}T\d{6}Z(_\d+)?\.jsonl", name) for name in names)
    left = {path.name for path in tmp_path.iterdir()}
    assert "seen-20200101T000000Z.jsonl" not in left
    assert "seen-notes.jsonl" in left  # not one of ours
    assert parts.removed == 3
    kept = [path for path in parts.segments if path.exists()]
    assert [path.name for path in kept] == names[-2:]
    assert sum(len(list(read_jsonl(path))) for path in kept) >= 15


def test_a_clock_that_goes_back_deletes_nothing_newer_before_something_older(tmp_path: Path) -> None:
    for name in ("seen-20990101T000000Z_9", "seen-20990101T000000Z_10"):
        (tmp_path / f"{name}.jsonl").write_text("x" * 3000)
    os.utime(tmp_path / "seen-20990101T000000Z_10.jsonl", (1, 1))  # as a copy may have it
    parts = SegmentedSink(tmp_path / "seen.jsonl", JsonLines, segment_s=1.0, max_disk_bytes=9000)
    run(Pipeline(SquareDetector(), Tracker()), frames_of((160, 120), each=15), [parts])
    assert [path.name for path in parts.segments] == [f"seen-20990101T000000Z_{n}.jsonl" for n in (11, 12)]
    assert not (tmp_path / "seen-20990101T000000Z_9.jsonl").exists()


@pytest.mark.parametrize("wrong", [{"segment_s": 0.0}, {"segment_s": 1.0, "max_disk_bytes": 0}, {"max_disk_bytes": 9}])
def test_segments_of_nothing_are_refused(tmp_path: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="segments"):
        SegmentedSink(tmp_path / "x.jsonl", JsonLines, **wrong)


def test_frames_of_another_size_continue_in_a_file_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "seen-2.jsonl").write_text("kept")
    frames = [*frames_of((160, 120), each=2), *frames_of((80, 60), each=2)]
    sizes = [Frame(one.image, n / 10, n) for n, one in enumerate(frames)]
    parts = SegmentedSink(tmp_path / "seen.jsonl", JsonLines)
    run(Pipeline(SquareDetector(), Tracker()), sizes, [parts])
    assert [path.name for path in parts.segments] == ["seen.jsonl", "seen-3.jsonl"]
    assert (tmp_path / "seen-2.jsonl").read_text() == "kept"
