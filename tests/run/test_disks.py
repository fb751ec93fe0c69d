"""Disks that are full, read-only, failing or gone: a live run pauses that output with an event and goes on with it."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgevid.errors import SourceError
from edgevid.files.atomic import is_full, remedy
from edgevid.output.records import read_jsonl
from edgevid.output.sinks import AnnotatedVideo, JsonLines, SegmentedSink
from edgevid.run import loop
from edgevid.run.loop import run
from edgevid.types import Detections, Event, Frame, Result, Tracks


class Camera:
    """A source of small frames; the disk breaks and is mended between two of them."""

    def __init__(self, count: int, before: Any = lambda index: None, *, live: bool = True) -> None:
        self.count, self.before, self.live = count, before, live

    def __iter__(self) -> Iterator[Frame]:
        random = np.random.default_rng(0)
        for index in range(self.count):
            self.before(index)
            yield Frame(random.integers(0, 255, (64, 96, 3), dtype=np.uint8), index / 25, index)


class Nothing:
    """A pipeline that finds nothing."""

    names: dict[str, Any] = {"class": ("person",)}  # noqa: RUF012

    def process(self, frame: Frame) -> Result:
        return Result(frame.index, frame.time, frame.size, Detections.empty(), Tracks.empty(), names=self.names)

    def resize(self, size: tuple[int, int]) -> None: ...

    def close(self) -> None: ...


class Disk(JsonLines):
    """JSON lines on a disk that can break."""

    fault = 0

    def put(self, text: str) -> None:
        if self.fault:
            raise OSError(self.fault, os.strerror(self.fault))
        super().put(text)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 1 MB; skips where none may be mounted."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True).returncode:
        pytest.skip("mounts a small disk, which needs root")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


@pytest.mark.parametrize("fault", [errno.ENOSPC, errno.EROFS, errno.EIO, errno.ENODEV])
def test_a_live_run_pauses_an_output_whose_disk_fails_and_goes_on_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: int, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(loop, "AWAY_S", 0.0)
    caplog.set_level("INFO", logger="edgevid")
    sick, well, events = Disk(tmp_path / "a.jsonl"), JsonLines(tmp_path / "b.jsonl"), list[Event]()

    def break_and_mend(index: int) -> None:
        sick.fault = fault if 3 <= index < 7 else 0

    run(Nothing(), Camera(10, break_and_mend), [sick, well], on_event=events.append)
    assert [one["frame"] for one in read_jsonl(tmp_path / "a.jsonl")] == [0, 1, 2, 7, 8, 9]
    assert len([*read_jsonl(tmp_path / "b.jsonl")]) == 10
    (failed,) = [event for event in events if event.kind == "sink-failed"]
    assert os.strerror(fault) in failed.reason
    assert remedy(OSError(fault, "")) in failed.reason
    assert sum("tried again" in one for one in caplog.messages) == 1
    assert sum("takes results again" in one for one in caplog.messages) == 1


def test_a_recording_whose_disk_fails_ends_with_the_cause(tmp_path: Path) -> None:
    sick = Disk(tmp_path / "a.jsonl")

    def fail(index: int) -> None:
        sick.fault = errno.EROFS if index == 2 else 0

    with pytest.raises(SourceError, match=r"a\.jsonl: cannot be written: Read-only file system; the disk is mounted"):
        run(Nothing(), Camera(5, fail, live=False), [sick])


def test_a_file_that_is_deleted_while_it_is_written_is_no_silent_loss(tmp_path: Path) -> None:
    with JsonLines(tmp_path / "a.jsonl") as lines:
        lines.put("{}\n")
        (tmp_path / "a.jsonl").unlink()
        with pytest.raises(FileNotFoundError, match="it was deleted while it was written"):
            lines.put("{}\n")


def test_segments_make_room_within_their_own_limit_on_a_full_disk(small_disk: Path) -> None:
    def make(path: Path) -> Any:
        return AnnotatedVideo(path, fps=25)

    segments = SegmentedSink(small_disk / "seen.mp4", make, segment_s=0.4, max_disk_bytes=10**9)
    summary = run(Nothing(), Camera(400), [segments])
    assert summary.frames == 400
    assert segments.removed > 0
    assert not summary.event_counts["sink-failed", "SegmentedSink"]
    assert max(small_disk.iterdir(), key=lambda path: path.stat().st_mtime_ns) == segments.segments[-1]


def test_a_full_disk_that_is_emptied_is_written_again(small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "AWAY_S", 0.0)
    ballast = small_disk / "ballast"

    def fill(index: int) -> None:
        if index == 5:
            with pytest.raises(OSError, match="No space") as caught:
                ballast.write_bytes(bytes(10**6 + 10**5))
            assert is_full(caught.value)
        if index == 60:
            ballast.unlink()

    events = list[Event]()
    run(Nothing(), Camera(100, fill), [JsonLines(small_disk / "a.jsonl")], on_event=events.append)
    frames = [one["frame"] for one in read_jsonl(small_disk / "a.jsonl")]
    assert frames[:5] == [0, 1, 2, 3, 4]
    assert frames[-40:] == [*range(60, 100)]
    assert [event.kind for event in events].count("sink-failed") == 1
