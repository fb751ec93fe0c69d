"""The loop: every sink gets every frame, sizes may change, counts stay small."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from loop_samples import SquareDetector, frames_of

from edgevid.errors import InputError, SourceError
from edgevid.output.records import read_header, read_jsonl
from edgevid.output.sinks import AnnotatedVideo, JsonLines, SegmentedSink
from edgevid.pipeline import Pipeline
from edgevid.run.loop import Summary, run
from edgevid.site.build import LoadedSite, build_zones
from edgevid.site.file import Site
from edgevid.synthetic.render import RenderedDetector, RenderedStreet
from edgevid.track import Tracker
from edgevid.types import Detections, Event, Frame, Reason, Result, SpeedReport, Speeds, Tracks
from edgevid.video.files import FileSource
from edgevid.video.open import open_video
from edgevid.zones import Line, Zone, ZoneMonitor

REPOSITORY = Path(__file__).resolve().parents[2]


def rendered(frames: int) -> tuple[RenderedStreet, Pipeline]:
    source = RenderedStreet(seconds=frames / 25)
    return source, Pipeline(RenderedDetector(source), Tracker())


def test_a_run_writes_every_sink_and_counts(tmp_path: Path) -> None:
    source, pipeline = rendered(30)
    sinks = [AnnotatedVideo(tmp_path / "a.mp4", fps=25), JsonLines(tmp_path / "a.jsonl")]
    zones = ZoneMonitor(lines=[Line("across", (0, 400), (1280, 400))])
    summary = run(pipeline, source, sinks, zones=zones)
    assert summary.frames == 30
    assert len(summary.ids) > 3
    assert sum(1 for _ in open_video(tmp_path / "a.mp4")) == 30
    assert [one["frame"] for one in read_jsonl(tmp_path / "a.jsonl")] == list(range(30))
    assert read_header(tmp_path / "a.jsonl")["names"]["class"] == list(pipeline.names["class"])
    assert "Event(" not in repr(summary)


def test_a_new_size_begins_new_objects_and_a_new_video_and_zones_go_on(tmp_path: Path) -> None:
    zone = Zone("middle", [(60, 40), (100, 40), (100, 80), (60, 80)])
    site = Site(zones=(zone,), lines=(Line("gate", (0, 0), (10, 0)),))
    pipeline, zones = Pipeline(SquareDetector(), Tracker()), build_zones(LoadedSite(site), (160, 120))
    lines, video = tmp_path / "seen.jsonl", SegmentedSink(tmp_path / "seen.mp4", AnnotatedVideo)
    summary = run(
        pipeline, frames_of((160, 120), (320, 240), (160, 80), (160, 120)), [JsonLines(lines), video],
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
        SquareDetector(), Tracker(), speed_estimator=SpeedEstimator(read_calibration(shared_calibration))
    )
    results: list[Result] = []
    run(
        pipeline, frames_of((640, 360), (640, 480), (320, 180)), on_result=lambda _, r: results.append(r),
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


def test_a_full_disk_is_one_sentence() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    with pytest.raises(SourceError, match="cannot be written: No space left on device; the disk is full"):
        run(Pipeline(SquareDetector(), Tracker()), frames_of((160, 120)), [JsonLines("/dev/full")])


def test_a_summary_of_months_stays_small_and_forgets_no_count() -> None:
    summary = Summary()
    for n in range(2000):
        ids, zero = [n], [0.0]
        tracks = Tracks.of(ids=ids, boxes=[[0, 0, 9, 9]], scores=zero, labels=[n % 2], match=ids, age=zero, unseen=zero)
        ended = Speeds.of(ids=ids, mps=zero, sigma=zero, heading=zero, time=zero, reason=[Reason.OK])
        summary.add(Result(n, float(n), (64, 48), Detections.empty(), tracks, SpeedReport(track_speeds=ended)))
        summary.add_event(Event(str(n), "cross", "", float(n), "camera", "run", place="gate"))
    assert len(summary.ids) < 130
    assert summary.objects() == {0: 1000, 1: 1000}
    assert len(summary.events) == 1000
    assert summary.event_counts["cross", "gate"] == 2000
    assert summary.track_speeds == {Reason.OK: 2000}


def test_a_crossing_is_counted_as_the_class_that_its_track_has_in_the_end() -> None:
    summary = Summary()
    for n, label in enumerate([0, 1, 1, 1]):
        zero = [0.0]
        tracks = Tracks.of(ids=[7], boxes=[[0, 0, 9, 9]], scores=zero, labels=[label], match=[0], age=zero, unseen=zero)
        summary.add(Result(n, n / 10, (64, 48), Detections.empty(), tracks, names={"class": ("car", "truck")}))
        if not n:
            for line in ("a", "b"):
                values = {"place": line, "direction": "forward", "track": 7, "class_name": "car"}
                summary.add_event(Event(line, "cross", "", 0.0, "camera", "run", **values))
            assert summary.crossings["a"]["forward"] == {"car": 1}
    assert summary.objects() == {1: 1}
    assert [summary.crossings[line] for line in "ab"] == [{"forward": {"truck": 1}, "backward": {}}] * 2


def test_a_sink_without_a_method_is_refused_before_the_first_frame() -> None:
    class OnlyWrites:
        def write(self, frame: Frame, result: Result) -> None:
            raise AssertionError("no frame is written")

    with pytest.raises(InputError, match=r"a sink: expected .*write\(frame.* got OnlyWrites without 'close'"):
        run(Pipeline(SquareDetector(), Tracker()), frames_of((160, 120)), [OnlyWrites()])  # type: ignore[list-item]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"frames": "road.mp4"}, r"expected frames, got 'road.mp4': open_video\(...\)"),
        ({"frames": Path("road.mp4")}, r"open_video\(...\)"),
        ({"frames": None}, r"open_video\(...\)"),
        ({"frames": [np.zeros((8, 8, 3), np.uint8)], "size": (4, 4)}, r"expected a Frame: .*, got ndarray"),
        ({"pipeline": SquareDetector()}, "a pipeline: .* got SquareDetector without 'process'"),
        ({"pipeline": Pipeline}, r"a pipeline: .*got the class Pipeline; write Pipeline\(\)"),
        ({"sinks": Summary()}, r"sinks: expected a list of sinks.*, got Summary"),
        ({"sinks": [JsonLines]}, r"a sink: expected an object, got the class JsonLines; write JsonLines\(\)"),
        ({"zones": [1]}, "a zone monitor: .* got list without 'update'"),
    ],
)
def test_what_a_run_cannot_use_is_rejected_with_what_it_expects(changed: Any, message: str) -> None:
    arguments = {"pipeline": Pipeline(SquareDetector(), Tracker()), "frames": frames_of((160, 120))} | changed
    with pytest.raises(InputError, match=message):
        run(**arguments)


def test_an_object_is_counted_by_the_class_of_most_of_its_frames() -> None:
    summary = Summary()
    for n, label in enumerate([2, 2, 7, 2, 7]):  # a car that ends as a truck
        tracks = Tracks.of(ids=[5], boxes=[[0, 0, 9, 9]], scores=[0.9], labels=[label], match=[0], age=[n],
                           unseen=[0])  # fmt: skip
        summary.add(Result(n, float(n), (64, 48), Detections.empty(), tracks))
    assert summary.objects() == {2: 1}
