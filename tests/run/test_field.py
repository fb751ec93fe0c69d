"""In the field: what the field scripts show at length, in short; and the parts that they lean on."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from rtsp_server import PACKAGES, gstreamer_python

from edgevid import cli
from edgevid.errors import EdgevidError, FileFormatError, InputError, SourceError, masked
from edgevid.output.records import read_jsonl
from edgevid.output.segments import SegmentedSink
from edgevid.output.sinks import AnnotatedVideo, JsonLines
from edgevid.pipeline import Pipeline
from edgevid.run.loop import Summary, run
from edgevid.run.watchdog import Watchdog, notify
from edgevid.site.build import build_zones
from edgevid.site.file import Site, read_site
from edgevid.site.load import LoadedSite
from edgevid.track import Tracker
from edgevid.types import Detections, Frame, Reason, Result, SpeedReport, Speeds, Tracks
from edgevid.video.files import FileSource
from edgevid.video.open import open_video
from edgevid.zones import Event, Line, Zone, ZoneMonitor

REPOSITORY = Path(__file__).resolve().parents[2]


def script(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_WAIT_POLICY": "passive"}
    return subprocess.run(
        [sys.executable, str(REPOSITORY / "benchmarks" / name), *arguments],
        capture_output=True, text=True, env=environment,
    )  # fmt: skip


def test_a_running_program_survives_its_camera_and_tells_nobody_the_password(tmp_path: Path) -> None:
    if gstreamer_python() is None:
        pytest.skip(f"needs GStreamer's RTSP server: {PACKAGES}")
    done = script("field_rtsp.py", "--short", "--restarts", "2", "--json", str(tmp_path / "found.json"))
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["recoveries"] == 2
    assert found["freezes noticed"] == 1
    assert found["alive at the end"] is True
    assert found["exit status after Ctrl-C"] == 0
    assert found["records"] == found["images in them"] > 5
    assert found["files searched for credentials"] >= 5
    assert found["files with credentials"] == []
    assert "hunter2" not in done.stdout + done.stderr


def test_damaged_files_are_refused_in_a_sentence_or_read_as_far_as_they_are_good(tmp_path: Path) -> None:
    done = script("field_fuzz.py", "--count", "300", "--json", str(tmp_path / "found.json"))
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["files"] == 300
    assert found["findings"] == []
    assert set(found["outcomes"]) == {
        "container",
        "image",
        "recipe",
        "site",
        "calibration",
        "policy",
        "records",
    }


def test_a_killed_program_leaves_readable_records(tmp_path: Path) -> None:
    done = script(
        "field_kill.py", "--kills", "2", "--longest", "2", "--rendered", "--json", str(tmp_path / "f")
    )
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "f").read_text())
    assert found["kills"] == 2
    assert found["lines read back"] >= found["lines on disk before"] > 0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[[zone]]\nname = 'z'\npoints = true", "zone 1.points: expected points"),
        ("[[zone]]\nname = 'z'\npoints = [[0, 0], [1e9, 0], [9, 9]]", "each less than 1e\\+06"),
        ("[[zone]]\nname = 'z'\npoints = [[0, 0], [nan, 0], [9, 9]]", "each less than 1e\\+06"),
        (f"[camera]\nsize = [{'9' * 400}, 1]", "more than 64 bits"),
        ("[camera]\nsize = [0, 9]", "camera.size: expected .width, height. in pixels"),
        (f"source = {'[' * 3000}", "expected TOML"),
    ],
)
def test_what_the_fuzzer_found_is_refused(tmp_path: Path, text: str, expected: str) -> None:
    (tmp_path / "site.toml").write_text(text)
    with pytest.raises(FileFormatError, match=expected):
        read_site(tmp_path / "site.toml")


def test_records_that_are_no_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "seen.jsonl").write_bytes(b'{"schema": "\xff"}\n')
    with pytest.raises(FileFormatError, match="line 1: expected JSON"):
        list(read_jsonl(tmp_path / "seen.jsonl"))
    with pytest.raises(SourceError, match="cannot be read"):
        list(read_jsonl(tmp_path / "gone.jsonl"))


class Square:
    """A detector that sees one object in the middle of every image."""

    names = ("thing",)

    def detect(self, frames: Any) -> list[Detections]:
        made = []
        for frame in frames:
            w, h = frame.size
            box = np.array([[0.4 * w, 0.4 * h, 0.6 * w, 0.6 * h]], np.float32)
            made.append(Detections(box, np.array([0.9], np.float32), np.array([0], np.int32)))
        return made


def pictures(*sizes: tuple[int, int], each: int = 10) -> list[Frame]:
    """`each` frames of each (width, height), a tenth of a second apart."""
    frames = [np.full((h, w, 3), 90, np.uint8) for w, h in sizes for _ in range(each)]
    return [Frame(image, n / 10, n) for n, image in enumerate(frames)]


def test_a_new_size_begins_new_objects_and_a_new_video_and_zones_go_on(tmp_path: Path) -> None:
    zone = Zone("middle", [(60, 40), (100, 40), (100, 80), (60, 80)])
    site = Site(zones=(zone,), lines=(Line("gate", (0, 0), (10, 0)),))
    pipeline, zones = Pipeline(Square(), Tracker()), build_zones(LoadedSite(site), (160, 120))
    lines, video = tmp_path / "seen.jsonl", SegmentedSink(tmp_path / "seen.mp4", AnnotatedVideo)
    summary = run(
        pipeline, pictures((160, 120), (320, 240), (160, 80), (160, 120)), [JsonLines(lines), video],
        zones=zones, size=(160, 120),
    )  # fmt: skip
    ids = [line["objects"][0]["id"] for line in read_jsonl(lines) if line["objects"]]
    assert sorted(set(ids)) == ids[:: len(ids) // 4][:4] == [1, 2, 3, 4]  # never one twice
    # In the twice larger image the zone lies where it lay; in another aspect it is not watched.
    assert summary.event_counts["enter", "middle"] == 3
    assert summary.size_changes == 3
    assert [path.name for path in video.segments] == ["seen.mp4", "seen-2.mp4", "seen-3.mp4", "seen-4.mp4"]
    for path, size in zip(video.segments, ((160, 120), (320, 240), (160, 80), (160, 120)), strict=True):
        with FileSource(path) as played:
            assert played.size == size
            assert len(list(played)) == 10


def test_in_another_view_speeds_are_silent_with_the_reason(shared_calibration: Path) -> None:
    from edgevid.speed.calibration_file import read_calibration
    from edgevid.speed.estimator import SpeedEstimator

    pipeline = Pipeline(
        Square(), Tracker(), speed_estimator=SpeedEstimator(read_calibration(shared_calibration))
    )
    results: list[Result] = []
    run(
        pipeline, pictures((640, 360), (640, 480), (320, 180)), on_result=lambda _, r: results.append(r),
        size=(640, 360),
    )  # fmt: skip
    reasons = [set(r.speeds.live.reason.tolist()) for r in results if len(r.tracks)]
    assert Reason.CAMERA_MOVED not in set.union(*reasons[:8])
    assert {Reason.CAMERA_MOVED} in reasons[9:]
    assert isinstance(pipeline.speed_estimator, SpeedEstimator)
    assert pipeline.speed_estimator.calibration.size == (320, 180)


@pytest.fixture
def shared_calibration() -> Path:
    return REPOSITORY / "calibration" / "camera" / "gantry_road.toml"


def test_zones_are_scaled_from_the_size_they_were_drawn_on() -> None:
    site = Site(zones=(Zone("z", [(0, 0), (9, 0), (9, 9)]),), size=(640, 360))
    monitor = build_zones(LoadedSite(site), (1280, 720))
    assert monitor is not None
    assert monitor.scale == (0.5, 0.5)
    with pytest.raises(InputError, match="drawn on 640x360, the stream is 640x480"):
        build_zones(LoadedSite(site), (640, 480))


def test_segments_are_named_by_their_start_and_the_oldest_are_deleted(tmp_path: Path) -> None:
    (tmp_path / "seen-20200101T000000Z.jsonl").write_text("x" * 3000)  # of an earlier run
    (tmp_path / "seen-notes.jsonl").write_text("mine")
    os.utime(tmp_path / "seen-20200101T000000Z.jsonl", (1, 1))
    parts = SegmentedSink(tmp_path / "seen.jsonl", JsonLines, segment_s=1.0, max_disk_bytes=3000)
    run(Pipeline(Square(), Tracker()), pictures((160, 120), each=35), [parts])
    names = [path.name for path in parts.segments]
    assert len(names) == 4  # 3.5 seconds
    assert all(re.fullmatch(r"seen-\d{8}T\d{6}Z(_\d+)?\.jsonl", name) for name in names)
    left = {path.name for path in tmp_path.iterdir()}
    assert "seen-20200101T000000Z.jsonl" not in left
    assert "seen-notes.jsonl" in left  # not one of ours
    assert parts.removed >= 1
    kept = [path for path in parts.segments if path.exists()]
    assert kept[-1].name == names[-1]
    assert sum(len(list(read_jsonl(path))) for path in kept) >= 10


@pytest.mark.parametrize(
    "wrong", [{"segment_s": 0.0}, {"segment_s": 1.0, "max_disk_bytes": 0}, {"max_disk_bytes": 9}]
)
def test_segments_of_nothing_are_refused(tmp_path: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="segments"):
        SegmentedSink(tmp_path / "x.jsonl", JsonLines, **wrong)


def test_a_full_disk_is_one_sentence() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    with pytest.raises(SourceError, match="cannot be written: No space left on device; if"):
        run(Pipeline(Square(), Tracker()), pictures((160, 120)), [JsonLines("/dev/full")])


def test_a_summary_of_months_stays_small_and_forgets_no_count() -> None:
    summary = Summary()
    for n in range(2000):
        ids, zero = [n], [0.0]
        tracks = Tracks.of(
            ids=ids, boxes=[[0, 0, 9, 9]], scores=zero, labels=[n % 2], match=ids, age=zero, unseen=zero
        )
        ended = Speeds.of(ids=ids, mps=zero, sigma=zero, heading=zero, time=zero, reason=[Reason.OK])
        summary.add(
            Result(n, float(n), (64, 48), Detections.empty(), tracks, SpeedReport(track_speeds=ended))
        )
        summary.add_events([Event(float(n), "cross", "gate", n, 0)])
    assert len(summary.ids) < 130
    assert summary.objects() == {0: 1000, 1: 1000}
    assert len(summary.events) == 1000
    assert summary.event_counts["cross", "gate"] == 2000
    assert summary.track_speeds == {Reason.OK: 2000}


def test_systemd_hears_that_the_run_is_ready_lives_and_stops(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert notify("READY=1") is False  # nobody asked
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "n"))
        listener.settimeout(10)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "n"))
        monkeypatch.setenv("WATCHDOG_USEC", "60000")
        source = SimpleNamespace(live=False, dropped=0, corrupted=0)
        with Watchdog(source, Summary(), every_s=0.0):
            said = [listener.recv(4096).decode() for _ in range(3)]
        while said[-1] != "STOPPING=1":
            said.append(listener.recv(4096).decode())
    assert said[0].startswith("READY=1")
    assert "WATCHDOG=1" in said


def test_a_run_that_hangs_is_not_alive_and_one_that_waits_is() -> None:
    source, summary = SimpleNamespace(live=True, waiting=False, dropped=3, corrupted=0), Summary()
    watch = Watchdog(source, summary)
    assert watch.alive()  # models may load
    summary.frames = 1
    assert watch.alive()
    assert not watch.alive()
    source.waiting = True  # the camera is away: that is not the program's fault
    assert watch.alive()
    vars(source).update(now=lambda: 30.0, newest_at=10.0, lag_s=0.04, reconnections=2)
    line = watch.line()
    assert "dropped 3 since" in line
    assert "lag 40 ms; reconnected 2; no frame for 20 s" in line


@pytest.mark.parametrize(
    "mistyped",
    [
        "rtsp:/admin:hunter2@gate/1",
        "RTSP://admin:hunter2@gate/1",
        "rtsp:admin:hunter2@gate",
        "https:/u:hunter2@x",
    ],
)
def test_a_mistyped_address_shows_no_password_either(
    mistyped: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "hunter2" not in masked(mistyped)
    if mistyped.islower():
        with pytest.raises(EdgevidError) as caught:
            open_video(mistyped)
        assert "hunter2" not in str(caught.value)
    (tmp_path / "site.toml").write_text(f'source = ["{mistyped}"]')
    with pytest.raises(SystemExit):
        cli.main(["run", "--site", str(tmp_path / "site.toml")])
    printed = "".join(capsys.readouterr())
    assert "expected a text" in printed
    assert "hunter2" not in printed


def test_zones_scaled_by_nothing_watch_nothing() -> None:
    monitor = ZoneMonitor([Zone("z", [(0, 0), (99, 0), (99, 99), (0, 99)], debounce_s=0)])
    monitor.scale = None
    boxes = np.array([[10, 10, 20, 20]], np.float32)
    tracks = Tracks(
        ids=np.array([1]), boxes=boxes, scores=np.ones(1, np.float32), labels=np.zeros(1, np.int32),
        match=np.zeros(1, np.int32), age=np.ones(1, np.float32),
        unseen=np.zeros(1, np.float32),
    )  # fmt: skip
    assert monitor.update(tracks, 0.0) == []
    monitor.scale = (1.0, 1.0)
    assert [event.kind for event in monitor.update(tracks, 0.1)] == ["enter"]


def test_a_sink_without_a_method_is_refused_before_the_first_frame() -> None:
    class OnlyWrites:
        def write(self, frame: Frame, result: Result) -> None:
            raise AssertionError("no frame is written")

    with pytest.raises(InputError, match=r"a sink: expected .*write\(frame.* got OnlyWrites without 'close'"):
        run(Pipeline(Square(), Tracker()), pictures((160, 120)), [OnlyWrites()])  # type: ignore[list-item]
