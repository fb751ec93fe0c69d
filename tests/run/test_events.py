"""The events of a whole run: those of the rendered street, whose truth is known, the same in every sink."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Sequence
from importlib import util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from event_samples import SlowToAccept
from loop_samples import SquareDetector, frames_of
from rtsp_server import PACKAGES, Camera, gstreamer_python, numbered

from edgevid.detect.detector import Detector
from edgevid.errors import InputError, SourceError
from edgevid.output.records import read_events, read_header, read_jsonl
from edgevid.output.sinks import EventCsv, EventLines, JsonLines
from edgevid.output.tables import ParquetSink, SqliteSink, read_database
from edgevid.pipeline import Pipeline
from edgevid.run.loop import Summary, run
from edgevid.synthetic.render import RenderedStreet
from edgevid.synthetic.scene import CLASSES
from edgevid.track import Tracker
from edgevid.types import Detections, Event, Frame, Header, Result
from edgevid.video.live import LiveSource
from edgevid.video.open import open_video
from edgevid.zones import Line, Zone, ZoneMonitor

REPOSITORY = Path(__file__).resolve().parents[2]
GATE = Line("gate", (0, 400), (1280, 400))


class TrueDetector:
    """The true boxes of the street, without misses and false positives."""

    names = CLASSES

    def __init__(self, street: RenderedStreet) -> None:
        self.street = street

    def detect(self, frames: Sequence[Frame]) -> list[Detections]:
        truths = [self.street.scene.at(frame.time) for frame in frames]
        return [Detections.of(boxes=t.boxes, scores=t.labels * 0 + 0.9, labels=t.labels) for t in truths]


def crossings_in_truth(street: RenderedStreet) -> Counter[tuple[str, str]]:
    """(class, direction) of every true object whose lowest point steps over the line."""
    before: dict[int, bool] = {}
    found: Counter[tuple[str, str]] = Counter()
    for time in street.times:
        truth = street.scene.at(time)
        for i, label, box in zip(truth.ids.tolist(), truth.labels.tolist(), truth.boxes, strict=True):
            below = bool(box[3] >= GATE.start[1])
            side = int(below) - int(before.get(i, below))
            before[i] = below
            if side:
                found[CLASSES[label], "forward" if side > 0 else "backward"] += 1
    return found


def test_every_sink_has_the_events_that_happened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    street, found = RenderedStreet(seconds=12), list[Event]()
    blank = np.zeros((*street.size[::-1], 3), np.uint8)
    monkeypatch.setattr(street, "render", lambda time: blank)  # events come from boxes, which are those of the truth
    zone = Zone("middle", [(200, 200), (1000, 200), (1000, 700), (200, 700)], dwell_s=1, max_occupancy=4)
    sinks = [JsonLines(tmp_path / "r.jsonl"), EventLines(tmp_path / "e.jsonl"), EventCsv(tmp_path / "e.csv"),
             SqliteSink(tmp_path / "e.db"), SlowToAccept()]  # fmt: skip
    summary = run(
        Pipeline(TrueDetector(street), Tracker()), street, sinks, zones=ZoneMonitor([zone], [GATE]),
        on_event=found.append, header=Header("gate"),
    )  # fmt: skip
    crossed = Counter((e.class_name, e.direction) for e in found if e.kind == "cross")
    assert crossed == crossings_in_truth(street)
    assert sum(crossed.values()) > 5
    ids = [event.id for event in found]
    assert len(set(ids)) == len(ids) > 50
    assert {"enter", "leave", "dwell", "occupancy-above", "track-ended"} <= {event.kind for event in found}
    assert list(read_events(tmp_path / "r.jsonl")) == list(read_events(tmp_path / "e.jsonl")) == found
    assert [line.split(",")[0] for line in (tmp_path / "e.csv").read_text().splitlines()[1:]] == ids
    assert [row["id"] for row in read_database(tmp_path / "e.db", "SELECT id FROM events ORDER BY rowid")] == ids
    assert sinks[-1].ids == ids  # type: ignore[attr-defined]
    assert summary.event_counts.total() == len(ids)
    assert summary.notes == []
    assert read_header(tmp_path / "e.jsonl")["camera"] == read_header(tmp_path / "r.jsonl")["camera"] == "gate"
    assert {"utc", "events"} <= set().union(*read_jsonl(tmp_path / "r.jsonl"))


@pytest.mark.skipif(util.find_spec("pyarrow") is None, reason="needs pyarrow: pip install pyarrow")
def test_every_sink_has_the_events_of_a_real_clip(tmp_path: Path, shared_data: Path) -> None:
    clip = shared_data / "videos" / "intel_car-detection.mp4"
    found, stores = list[Event](), [EventLines(tmp_path / "e.jsonl"), SqliteSink(tmp_path / "e.db")]
    sinks: list[Any] = [*stores, SlowToAccept(failures=3), ParquetSink(tmp_path / "pq")]
    zones = ZoneMonitor(lines=[Line("across", (0, 250), (768, 250)), Line("down", (384, 0), (384, 432))])
    with open_video(clip) as video:
        run(Pipeline(Detector.load("street-nano"), Tracker()), video, sinks, zones=zones, max_frames=300,
            on_event=found.append)  # fmt: skip
    ids = [event.id for event in found]
    assert len(ids) >= 3
    assert list(read_events(tmp_path / "e.jsonl")) == found
    query = "SELECT id FROM events ORDER BY rowid"
    assert [row["id"] for row in read_database(tmp_path / "e.db", query)] == ids == sinks[2].ids
    from pyarrow import parquet

    files = sorted((tmp_path / "pq").glob("events-*"))
    assert [one for path in files for one in parquet.read_table(path)["id"].to_pylist()] == ids


def test_a_sink_that_hangs_does_not_stop_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgevid.output.delivery.DRAIN_S", 0.2)
    monkeypatch.setattr("edgevid.output.delivery.random.uniform", lambda low, high: 0.01)
    away, summary = SlowToAccept(failures=10**9), Summary()
    zones = ZoneMonitor([Zone("all", [(0, 0), (160, 0), (160, 120), (0, 120)])])
    run(Pipeline(SquareDetector(), Tracker()), frames_of((160, 120)), [away], zones=zones, summary=summary,
        header=Header("away"))  # fmt: skip
    assert summary.frames == 10
    assert summary.notes == ["slow: 3 events wait for the camera's next run (the server is away)"]


def test_kills_lose_no_event_and_double_none(tmp_path: Path) -> None:
    script = str(REPOSITORY / "benchmarks" / "sinks.py")
    call = [sys.executable, script, "--only", "kills", "--kills", "3", "--json", str(tmp_path / "found.json")]
    done = subprocess.run(call, capture_output=True, text=True, env={**os.environ, "OMP_WAIT_POLICY": "passive"})
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "found.json").read_text())["kills"]
    assert found["events"] > 3
    assert set(found["lost"].values()) == set(found["twice"].values()) == {0}
    assert set(found["other order"].values()) == {False}
    assert found["gaps"] == 0


def test_a_spool_that_cannot_be_written_is_one_sentence_before_the_first_frame(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("EDGEVID_SPOOL", str(tmp_path / "file" / "spool"))
    with pytest.raises(SourceError, match=r"spool .* is a file"):
        run(Pipeline(SquareDetector(), Tracker()), frames_of((160, 120)), [SlowToAccept()])


def test_a_sink_without_close_is_rejected_with_what_it_expects() -> None:
    class OnlySends:
        def send(self, events: object) -> None:
            raise AssertionError

    with pytest.raises(InputError, match=r"a sink: expected .*send\(events.* got OnlySends without 'close'"):
        run(Pipeline(SquareDetector(), Tracker()), frames_of((160, 120)), [OnlySends()])  # type: ignore[list-item]


def test_a_camera_that_is_pulled_and_plugged_in_again_is_in_every_sink(tmp_path: Path) -> None:
    if gstreamer_python() is None:
        pytest.skip(f"needs GStreamer's RTSP server: {PACKAGES}")
    numbered((np.full((120, 160, 3), n, np.uint8) for n in range(60)), tmp_path)
    lost, found = threading.Event(), list[Event]()

    def note(event: Event) -> None:
        found.append(event)
        if event.kind == "stream-lost":
            lost.set()

    with (
        Camera(tmp_path, (160, 120)) as camera,
        LiveSource(camera.uri, stall_s=2.0, min_backoff_s=0.2, max_backoff_s=0.5, give_up_s=60) as video,
    ):
        sinks = [EventLines(tmp_path / "e.jsonl"), SqliteSink(tmp_path / "e.db")]

        def pull(_: Frame, result: Result) -> None:
            if result.frame_index > 10 and not lost.is_set():
                camera.kill()
            if any(event.kind == "stream-back" for event in found):
                video.close()

        def plug() -> None:
            assert lost.wait(60)
            camera.start((160, 120))

        threading.Thread(target=plug, daemon=True).start()
        run(Pipeline(SquareDetector(), Tracker()), video, sinks, on_event=note, on_result=pull)
    stream = [event for event in read_events(tmp_path / "e.jsonl") if event.kind.startswith("stream")]
    assert [event.kind for event in stream] == ["stream-lost", "stream-back"]
    assert stream[1].seconds is not None
    assert 0 < stream[1].seconds < 60
    query = "SELECT id FROM events WHERE kind LIKE 'stream%' ORDER BY rowid"
    assert [row["id"] for row in read_database(tmp_path / "e.db", query)] == [event.id for event in stream]
    assert "hunter2" not in (tmp_path / "e.jsonl").read_text()
