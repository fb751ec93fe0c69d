"""Recordings: the camera's own packets, clips with what came before, snapshots, and limits that hold."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from edgevid.errors import InputError
from edgevid.output import SqliteSink, read_database
from edgevid.output.recordings import Recorder
from edgevid.output.recordings_folder import Named, RecordingsFolder, read_name
from edgevid.output.recordings_snapshot import BestMoments
from edgevid.run import run
from edgevid.types import Detections, Event, Frame, Header, Result, SpeedReport, Tracks
from edgevid.video.open import open_video
from edgevid.zones import ZoneEvent

FPS, GOP, START = 10, 10, 1769860800.0  # 2026-01-31T12:00:00Z


def coded_clip(path: Path, frames: int, *, codec: str = "mpeg4") -> Path:
    """`frames` images at 10 fps with a key frame each second."""
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=FPS)
        stream.width, stream.height, stream.gop_size = 64, 48, GOP
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        random = np.random.default_rng(0)
        for n in range(frames):
            image = random.integers(0, 255, (48, 64, 3)).astype(np.uint8)
            image[10:30, n % 30 : n % 30 + 20] = 255
            for packet in stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return path


def packets(path: Path) -> list[tuple[str, float, bool]]:
    """Hash, seconds and whether it is a key frame, of each packet."""
    with av.open(str(path)) as container:
        return [
            (hashlib.sha256(bytes(p)).hexdigest(), float(p.pts * p.time_base), p.is_keyframe)
            for p in container.demux(video=0)
            if p.size
        ]


class Mover:
    """A pipeline whose one object grows in the middle of the frame; it is sharp and whole."""

    names = {"class": ("car",)}  # noqa: RUF012

    def process(self, frame: Frame) -> Result:
        size = 8 + frame.index % 30
        boxes = [[10, 8, 10 + size, 8 + size]]
        tracks = Tracks.of(ids=[1], boxes=boxes, scores=[0.9], labels=[0], match=[0], age=[1.0], unseen=[0.0])
        found = Detections.of(boxes=boxes, scores=[0.9], labels=[0])
        return Result(frame.index, frame.time, frame.size, found, tracks, SpeedReport(), names=self.names)

    def resize(self, size: tuple[int, int]) -> None: ...
    def close(self) -> None: ...


class Crossings:
    """Zones with a crossing at these times."""

    def __init__(self, times: Sequence[float]) -> None:
        self._times = list(times)

    def update(self, tracks: Tracks, time: float) -> list[ZoneEvent]:
        due = [t for t in self._times if t <= time]
        self._times = [t for t in self._times if t > time]
        return [ZoneEvent(t, "cross", "gate", 1, 0, direction="forward") for t in due]

    def resize(self, size: tuple[int, int]) -> None: ...
    def reset(self) -> None: ...


def record(folder: Path, clip: Path, at: Sequence[float], **options: Any) -> list[Any]:
    """The events of a recorded run."""
    recorder = Recorder(folder, camera="gate", **options)
    events: list[Any] = []
    with open_video(clip, packets=recorder.tap) as video:
        sinks = [SqliteSink(folder / "events.db"), recorder]
        run(Mover(), video, sinks, zones=Crossings(at), on_event=events.append,
            header=Header("gate", start=START))  # fmt: skip
    return events


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return coded_clip(tmp_path_factory.mktemp("clips") / "clip.mp4", 300)


def test_the_continuous_recording_has_each_packet_once_as_it_came(tmp_path: Path, clip: Path) -> None:
    record(tmp_path, clip, [], segment_s=7)
    segments = sorted((tmp_path / "gate").glob("*Z.mp4"))
    names = [read_name(path.name) for path in segments]
    assert [one.utc - START for one in names if one] == [0, 7, 14, 21, 28]
    parts = [packets(path) for path in segments]
    assert [one[0] for part in parts for one in part] == [one[0] for one in packets(clip)]
    assert all(part[0][2] and abs(part[0][1]) < 0.01 for part in parts)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi"])
def test_a_clip_starts_at_the_key_frame_before_and_holds_the_event(tmp_path: Path, suffix: str) -> None:
    codec = "mjpeg" if suffix == ".mkv" else "mpeg4"
    source = coded_clip(tmp_path / f"source{suffix}", 300, codec=codec)
    events = record(tmp_path, source, [12.5], continuous=False, pre_s=2, post_s=3)
    crossing = next(one for one in events if one.kind == "cross")
    assert crossing.clip.startswith("gate/00000001-20260131T120012Z-event")
    got = [one[0] for one in packets(tmp_path / crossing.clip)]
    all_of_them = [one[0] for one in packets(source)]
    first = all_of_them.index(got[0])
    assert first == (105 if codec == "mjpeg" else 100)  # each JPEG is a key frame
    assert got == all_of_them[first:156]
    assert not [*(tmp_path / "gate").glob("*Z.mp4")]


@pytest.mark.parametrize("suffix", [".ts", ".h264"])
def test_units_of_a_stream_with_start_codes_are_the_same_in_mp4(tmp_path: Path, suffix: str) -> None:
    """MPEG-TS and RTP have Annex B (ITU-T H.264), MP4 has lengths in the place of start codes."""
    source = coded_clip(tmp_path / f"source{suffix}", 60, codec="libx264")
    record(tmp_path, source, [])
    (segment,) = (tmp_path / "gate").glob("*Z.mp4")
    units: list[list[bytes]] = [[], []]
    with av.open(str(source)) as container:
        for packet in container.demux(video=0):
            units[0] += filter(None, re.split(b"\0\0\0?\1", bytes(packet)))
    with av.open(str(segment)) as container:
        for packet in container.demux(video=0):
            data = bytes(packet)
            while data:
                end = 4 + int.from_bytes(data[:4], "big")
                units[1].append(data[4:end])
                data = data[end:]
    assert units[0] == units[1]
    with av.open(str(segment)) as container:
        assert sum(1 for _ in container.decode(video=0)) == 60


def test_overlapping_events_share_a_clip_and_others_do_not(tmp_path: Path, clip: Path) -> None:
    events = record(tmp_path, clip, [3.0, 5.5, 8.0, 20.0], pre_s=2, post_s=1)
    first, second, third, far = [one.clip for one in events if one.kind == "cross"]
    assert first == second == third != far
    seconds = [one[1] for one in packets(tmp_path / first)]
    assert (round(seconds[0], 2), round(seconds[-1], 2)) == (0.0, 8.0)  # from 1 s to 9 s
    assert len(packets(tmp_path / far)) == 31
    assert not [one for one in events if one.kind == "track-ended" and one.clip]


def test_an_event_at_the_very_start_and_one_at_the_end_have_what_there_is(tmp_path: Path, clip: Path) -> None:
    first, last = [one.clip for one in record(tmp_path, clip, [0.0, 29.9]) if one.kind == "cross"]
    assert [one[0] for one in packets(tmp_path / first)] == [one[0] for one in packets(clip)][:51]
    assert [one[0] for one in packets(tmp_path / last)] == [one[0] for one in packets(clip)][240:]


def test_the_snapshot_is_the_largest_moment_and_the_database_names_both(tmp_path: Path, clip: Path) -> None:
    from PIL import Image

    events = record(tmp_path, clip, [0.5, 25.0])
    crossing = next(one for one in events if one.kind == "cross")
    ended = next(one for one in events if one.kind == "track-ended")
    assert ended.snapshot == crossing.snapshot != ""
    plain = np.asarray(Image.open(tmp_path / crossing.snapshot))
    assert plain.shape == (48, 64, 3)
    drawn = np.asarray(Image.open(tmp_path / crossing.snapshot.replace(".jpg", "-drawn.jpg")))
    assert drawn.shape == plain.shape
    assert np.abs(drawn.astype(int) - plain).max() > 50
    rows = {row["id"]: row for row in read_database(tmp_path / "events.db")}
    assert rows[crossing.id]["clip"] == crossing.clip
    assert rows[ended.id]["snapshot"] == crossing.snapshot
    assert rows[ended.id]["clip"] is None


def test_an_event_of_an_object_that_is_gone_has_its_snapshot_at_once(tmp_path: Path) -> None:
    moments, mover = BestMoments(RecordingsFolder(tmp_path)), Mover()
    frame = Frame(np.random.default_rng(0).integers(0, 255, (48, 64, 3)).astype(np.uint8), 0.0, 0)
    moments.update(frame, mover.process(frame), lambda write: write())
    event = Event("r-1", "track-speed", "2026-01-31T12:00:00.000Z", 1.0, "gate", "r", track=1)
    assert (tmp_path / moments.name(event, START, lambda write: write())).stat().st_size > 100


def test_a_killed_program_leaves_files_that_play(tmp_path: Path, clip: Path) -> None:
    code = (
        "import os, signal, sys, time\nsys.path[:] = [p for p in sys.path if p] + sys.argv[3:]\n"
        "import test_recordings as t\nfrom edgevid.output.recordings import Recorder\n"
        "def die(event):\n"
        "    if event.time_s > 25: time.sleep(0.5); os.kill(os.getpid(), signal.SIGKILL)\n"
        "r = Recorder(sys.argv[1], camera='gate', segment_s=60)\n"
        "with t.open_video(sys.argv[2], packets=r.tap) as v:\n"
        "    t.run(t.Mover(), v, [r], zones=t.Crossings([20.0, 27.0]), on_event=die)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path), str(clip), str(Path(__file__).parent)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True)
    assert done.returncode == -9, done.stderr.decode()
    for path, least in (("00000001-*Z.mp4", 250), ("00000002-*-event.mp4", 60)):
        (found,) = (tmp_path / "gate").glob(path)
        with av.open(str(found)) as container:
            assert sum(1 for _ in container.decode(video=0)) >= least


def test_another_run_continues_the_numbers(tmp_path: Path, clip: Path) -> None:
    record(tmp_path, clip, [], segment_s=60)
    record(tmp_path, clip, [], segment_s=60)
    assert [int(p.name[:8]) for p in sorted((tmp_path / "gate").glob("*Z.mp4"))] == [1, 3]


def test_mistakes_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"recorded events: expected one of .*cross, .*, got 'crossing'"):
        Recorder(tmp_path, events=["crossing"])
    with pytest.raises(InputError, match="limits above 0"):
        Recorder(tmp_path, keep_days=0)
    with pytest.raises(InputError, match="expected seconds"):
        Recorder(tmp_path, pre_s=-1)


def test_names_are_read_back() -> None:
    assert read_name("00000012-19700101T000003Z-7-drawn.jpg") == Named(12, 3.0, "7-drawn")
    for name in ("clip.mp4", "00000012-20269931T120000Z.mp4", "12-20260131T120000Z.mp4", "events.db"):
        assert read_name(name) is None


# Limits.


class Camera:
    """Files of the size and at the times of a simulated clock; what a folder deletes is checked."""

    def __init__(self, path: Path, clock: list[float], **limits: Any) -> None:
        self.clock, self.path = clock, path
        self.folder = RecordingsFolder(path, now=lambda: self.clock[0], **limits)

    def file(self, size: int, kind: str = "") -> None:
        name = self.folder.name(self.clock[0], kind, ".mp4")
        file = self.folder.create(name)
        for _ in range(4):
            file.write(b"x" * (size // 4))
            self.check()
        file.close()

    def check(self) -> None:
        kept = sorted(p.name for p in self.path.iterdir())
        numbers = [int(name[:8]) for name in kept]
        assert numbers == list(range(numbers[0], numbers[-1] + 1))  # no newer one went before an older one


def on_disk(path: Path) -> int:
    return sum(p.stat().st_size for p in path.iterdir())


def test_weeks_of_recording_stay_within_gigabytes_whatever_the_clock_does(tmp_path: Path) -> None:
    clock = [START]
    camera = Camera(tmp_path / "gate", clock, max_bytes=20_000)
    for step in range(2 * 7 * 24 * 6):  # ten minutes each, for two weeks
        clock[0] += 600
        if step == 300:
            clock[0] = 30.0  # restarted without a clock, in 1970
            camera.folder.close()
            camera = Camera(tmp_path / "gate", clock, max_bytes=20_000)
        if step == 320:
            clock[0] = START + 320 * 600
        if step % 500 == 499:
            clock[0] -= 7200
        camera.file(1000 if step % 3 else 400, "" if step % 3 else "event")
        assert on_disk(camera.path) <= 20_000
        assert camera.folder.bytes == on_disk(camera.path)
    assert camera.folder.removed > 1700


def test_days_are_counted_by_names_and_an_unset_clock_deletes_nothing_new(tmp_path: Path) -> None:
    clock = [10.0]  # 1970
    camera = Camera(tmp_path / "gate", clock, keep_days=2)
    for _ in range(5):
        clock[0] += 600
        camera.file(100)
    clock[0] = START
    camera.file(100)
    assert len([*camera.path.iterdir()]) == 6  # as old as the first one with a date
    for path in camera.path.iterdir():
        os.utime(path, (0, 0))  # copied, or restored from a backup
    for _ in range(5 * 144):
        clock[0] += 600
        camera.file(100)
        camera.check()
    assert len([*camera.path.iterdir()]) == 2 * 144 + 1
    clock[0] = 50.0  # and in 1970 again: nothing is old then
    camera.file(100)
    assert len([*camera.path.iterdir()]) == 2 * 144 + 2


@pytest.mark.parametrize(
    "wrong", [START + 14 * 365 * 86400, 50.0, START - 5 * 365 * 86400], ids=["2040", "1970", "2021"]
)
@pytest.mark.parametrize("restarted", [False, True])
def test_a_clock_that_jumps_deletes_no_more_than_is_old(tmp_path: Path, wrong: float, restarted: bool) -> None:
    clock = [START]
    camera = Camera(tmp_path / "gate", clock, keep_days=3)
    for step in range(10 * 48):  # half an hour each, for ten days
        clock[0] = START + 1800 * step
        if 288 <= step < 300:  # for six hours of the seventh day
            clock[0] = wrong + 1800 * step
        if restarted and step in (288, 300):
            camera.folder.close()
            camera = Camera(tmp_path / "gate", clock, keep_days=3)
        camera.file(100)
        camera.check()
        if step > 170:
            assert len([*camera.path.iterdir()]) in range(144, 175)  # three days, and what had no time of its own
    assert len([*camera.path.iterdir()]) == 145


@pytest.mark.parametrize("step_s", [12 * 3600, 3650 * 86400, -6 * 3600, -20 * 86400], ids=str)
@pytest.mark.parametrize("keep_hours", [6, 24])
def test_a_clock_that_is_set_while_it_records_makes_nothing_older(
    tmp_path: Path, step_s: float, keep_hours: int
) -> None:
    clock, steady = [START], [1000.0]
    camera = Camera(tmp_path / "gate", clock, keep_days=keep_hours / 24, steady=lambda: steady[0])
    for step in range(2 * 96):  # half an hour each, for four days; two of them with the wrong clock
        clock[0], steady[0] = clock[0] + 1800, steady[0] + 1800
        if step in (2 * 26, 2 * 74):
            clock[0] += step_s if step == 2 * 26 else -step_s
        camera.file(100)
        camera.check()
        if step > 2 * keep_hours:
            assert len([*camera.path.iterdir()]) in range(2 * keep_hours, 2 * keep_hours + 5)


def test_a_board_without_a_battery_keeps_its_days_and_deletes_what_is_old(tmp_path: Path) -> None:
    clock, steady = [START], [5.0]
    for _ in range(12):  # started every twelve hours, in 1970, and told the time after ten minutes
        true, clock[0], steady[0] = clock[0], 20.0, 5.0
        camera = Camera(tmp_path / "gate", clock, keep_days=2, steady=lambda: steady[0])
        for step in range(24):
            steady[0] += 1800
            clock[0] = 20.0 + steady[0] if step < 1 else true + steady[0]
            camera.file(100)
        camera.folder.close()
    assert 0 <= len([*camera.path.iterdir()]) - 48 * 2 < 24


def test_what_is_old_goes_a_day_after_a_pause_and_while_nothing_new_comes(tmp_path: Path) -> None:
    clock = [START]
    camera = Camera(tmp_path / "gate", clock, keep_days=2)
    for _ in range(10):
        clock[0] += 3600
        camera.file(100)
    clock[0] += 30 * 86400  # switched off
    camera.folder.close()
    camera = Camera(tmp_path / "gate", clock, keep_days=2)
    for hour in range(80):  # no event, so no new file
        clock[0] += 3600
        camera.folder.remove_expired()
        assert len([*camera.path.iterdir()]) == (10 if hour < 24 else 0)


def test_a_full_disk_makes_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    capacity, write = 5000, os.write

    def limited(handle: int, data: Any) -> int:
        room = capacity - on_disk(tmp_path / "gate")
        if room <= 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(handle, data[:room])

    camera = Camera(tmp_path / "gate", [START])
    monkeypatch.setattr(os, "write", limited)
    for _ in range(30):
        camera.clock[0] += 60
        camera.file(1200)
    assert on_disk(tmp_path / "gate") <= capacity
    assert camera.folder.removed >= 26


def test_the_disk_keeps_room_for_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    camera = Camera(tmp_path / "gate", [START])
    for _ in range(10):
        camera.file(1000)

    def free(_: Any) -> Any:
        return shutil._ntuple_diskusage(10**10, 0, 10**8 if camera.folder.removed < 4 else 10**9)  # type: ignore[attr-defined]

    monkeypatch.setattr(shutil, "disk_usage", free)
    monkeypatch.setattr("edgevid.output.recordings_folder.EVERY", 1000)
    camera.file(1000)
    assert camera.folder.removed == 4


def test_a_run_goes_on_where_nothing_can_be_deleted(tmp_path: Path, clip: Path) -> None:
    events = record(tmp_path, clip, [3.0], max_bytes=3000)
    assert [one.kind for one in events] == ["cross", "track-ended"]
    assert on_disk(tmp_path / "gate") <= 3000


def test_files_of_earlier_runs_count_and_others_are_left_alone(tmp_path: Path) -> None:
    for number in (3, 4):
        (tmp_path / f"{number:08d}-20260131T120000Z.mp4").write_bytes(b"x" * 600)
    (tmp_path / "notes.txt").write_bytes(b"x" * 9000)
    folder = RecordingsFolder(tmp_path, max_bytes=1500)
    file = folder.create(folder.name(START, "event", ".mp4"))
    file.write(b"y" * 900)
    file.close()
    assert sorted(p.name[:8] for p in tmp_path.iterdir()) == ["00000004", "00000005", "notes.tx"]


def test_a_source_without_packets_is_encoded(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, camera="gate", pre_s=2, post_s=2, segment_s=10)
    random, events = np.random.default_rng(0), []
    images = [(n / FPS, random.integers(0, 255, (49, 64, 3)).astype(np.uint8)) for n in range(200)]
    with open_video(images) as video:
        run(Mover(), video, [recorder], zones=Crossings([0.0, 15.0]), on_event=events.append,
            header=Header("gate", start=START))  # fmt: skip
    first, clip = [one.clip for one in events if one.clip]
    assert round(packets(tmp_path / first)[-1][1], 1) == 2.0  # of the first frame, too
    seconds = [one[1] for one in packets(tmp_path / clip)]
    assert seconds[0] == 0.0
    assert 4.0 <= seconds[-1] <= 7.1  # from a key frame, which come each 3 s, at or before 13 s to 17 s
    parts = [packets(path) for path in sorted((tmp_path / "gate").glob("*Z.*"))]
    assert sum(map(len, parts)) == 200


def test_a_jump_of_the_stamps_begins_new_files_and_later_clips_are_whole(tmp_path: Path, clip: Path) -> None:
    from edgevid.video.packets import Coded, PacketTap

    coded: list[Coded] = []
    with open_video(clip, packets=PacketTap(coded.append)) as video:
        assert sum(1 for _ in video) == 300
    recorder = Recorder(tmp_path, camera="gate", pre_s=2, post_s=2)
    recorder.open(Header("gate", start=START))
    recorder.tap.layout = coded[0].layout
    for one in coded:
        if one.number >= 101:  # after a first packet of its own
            one.dts, one.pts = one.dts + 10**9, one.pts + 10**9
        recorder._queue_packet(one)
        if one.number == 155:
            while recorder._queue.qsize():
                time.sleep(0.001)
            event = recorder.annotate(Event("gate-1", "cross", "", 15.0, "gate", "gate"))
    recorder.close()
    assert [len(packets(path)) for path in sorted((tmp_path / "gate").glob("*Z.mp4"))] == [101, 190]
    got = packets(tmp_path / event.clip)
    assert [one[0] for one in got] == [one[0] for one in packets(clip)][130:171]
