"""A fleet: cameras share engines and take fair turns; what befalls one leaves the others alone."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from loop_samples import SquareDetector

from edgevid import Fleet
from edgevid.abstain import Policy
from edgevid.errors import InputError
from edgevid.output.sinks import JsonLines
from edgevid.pipeline import Pipeline
from edgevid.run import fleet as room
from edgevid.run.engines import HUNG_S, Turns
from edgevid.run.loop import run
from edgevid.site import LoadedSite, Site, build_pipeline, load_site
from edgevid.synthetic.render import RenderedStreet
from edgevid.types import Event, Verdicts
from edgevid.video.open import open_video
from edgevid.video.writer import VideoWriter


@pytest.fixture(autouse=True)
def own_spool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEVID_SPOOL", str(tmp_path / "spool"))
    monkeypatch.setattr(room, "WAITS_S", (0.05, 0.1))
    monkeypatch.setattr(room, "LOOK_S", 0.1)


@pytest.fixture
def clip(tmp_path: Path) -> Callable[..., Path]:
    """Makes a video of a square that moves."""

    def make(name: str = "clip", frames: int = 12, speed: int = 4) -> Path:
        path = tmp_path / f"{name}.mp4"
        with VideoWriter(path, fps=25) as video:
            for n in range(frames):
                image = np.full((96, 160, 3), 60, np.uint8)
                image[30:60, 10 + speed * n : 40 + speed * n] = 230
                video.write(image, n / 25)
        return path

    return make


@pytest.fixture
def squares(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cameras without a model."""
    monkeypatch.setattr(room, "build_pipeline", lambda *_, **__: Pipeline(SquareDetector()))


def until(true: Callable[[], Any], seconds: float = 10.0) -> bool:
    end = time.monotonic() + seconds
    while not true() and time.monotonic() < end:
        time.sleep(0.01)
    return bool(true())


def site_file(folder: Path, name: str, source: object, more: str = "") -> Path:
    path = folder / f"{name}.toml"
    path.write_text(f'source = "{source}"\n[detect]\nmodel = "street-nano"\n{more}')
    return path


class Running:
    """A fleet that runs in a thread of its own."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet, self.thread = fleet, threading.Thread(target=fleet.run)

    def __enter__(self) -> Fleet:
        self.thread.start()
        return self.fleet

    def __exit__(self, *_: object) -> None:
        self.fleet.close()
        self.thread.join(20)
        assert not self.thread.is_alive()


class Live:
    """A live source that always has a frame, from a file's first one."""

    live, waiting, dropped, lag_s, newest_at, size, events = True, False, 0, 0.0, 0.0, (160, 96), ()

    def __init__(self, uri: str, **_: Any) -> None:
        self.uri, self.closed, self.count = uri, threading.Event(), 0

    def wait(self, seconds: float | None = None) -> bool:
        return True

    def now(self) -> float:
        return self.count / 25

    def ready(self) -> bool:
        return not self.closed.wait(0.002)

    def take(self) -> Any:
        from edgevid.types import Frame

        self.count += 1
        return Frame(np.full((96, 160, 3), 60, np.uint8), self.count / 25, self.count)

    def close(self) -> None:
        self.closed.set()

    def __enter__(self) -> Live:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@pytest.fixture
def lives(monkeypatch: pytest.MonkeyPatch, squares: None) -> None:
    """Every address is such a source."""
    monkeypatch.setattr(room, "open_video", Live)


def test_results_of_a_camera_equal_those_of_a_run_of_its_own_to_the_bit(tmp_path: Path) -> None:
    frames = list(RenderedStreet(seconds=0.32))
    clips = {f"c{n}": tmp_path / f"c{n}.mp4" for n in range(3)}
    for n, path in enumerate(clips.values()):
        with VideoWriter(path, fps=25) as video:
            for frame in frames[n : n + 6]:
                video.write(frame.image, frame.time)
    sites = [Site(source=str(path), name=name, model="street-nano", score=0.1, classes=("all",))
             for name, path in clips.items()]  # fmt: skip
    got: dict[str, list[Any]] = {name: [] for name in clips}
    fleet = Fleet(sites, on_result=lambda camera, _, result: got[camera.name].append(result))
    summaries = fleet.run()
    assert {name: one.frames for name, one in summaries.items()} == dict.fromkeys(clips, 6)
    assert len({id(camera.pipeline.detector.engine) for camera in fleet.cameras}) == 1
    for site in sites:
        with open_video(site.source) as video:
            own: list[Any] = []
            pipeline = build_pipeline(load_site(site), video.size, threads=2)
            run(pipeline, video, on_result=lambda _, result: own.append(result))  # noqa: B023
        assert len(own) == len(got[site.name]) == 6
        assert sum(len(one.detections) for one in own) > 5
        for one, other in zip(own, got[site.name], strict=True):
            assert (one.time, one.frame_index) == (other.time, other.frame_index)
            for table in ("detections", "tracks"):
                ours, theirs = getattr(one, table), getattr(other, table)
                assert ours.boxes.tobytes() == theirs.boxes.tobytes()
                assert ours.scores.tobytes() == theirs.scores.tobytes()


def test_the_camera_whose_last_result_is_oldest_goes_first() -> None:
    now = [0.0]
    turns, order = Turns(1, now=lambda: now[0]), []
    begin, go = threading.Event(), {name: threading.Event() for name in "abc"}

    def camera(name: str, weight: float) -> None:
        begin.wait()
        go[name].wait()
        with turns.turn(name, weight):
            order.append(name)
            now[0] += 1.0

    turns._last = {"a": 8.0, "b": 5.0, "c": 6.5}
    now[0] = 10.0
    with turns.turn("d"):  # all wait meanwhile: a for 2 s, b for 5 s, c for 3.5 s, which counts twice
        threads = [threading.Thread(target=camera, args=(name, 2.0 if name == "c" else 1.0)) for name in "abc"]
        for thread, name in zip(threads, "abc", strict=True):
            thread.start()
            go[name].set()
        begin.set()
        assert until(lambda: len(turns._waiting) == 3)
    for thread in threads:
        thread.join()
    assert order == ["c", "b", "a"]


def test_in_overload_cameras_get_equal_shares_and_weights_change_them() -> None:
    now = [0.0]
    turns, counts = Turns(1, now=lambda: now[0]), Counter[str]()

    def camera(name: str, weight: float) -> None:
        while sum(counts.values()) < 400:
            with turns.turn(name, weight):
                now[0] += 0.01
                counts[name] += 1
                until(lambda: len(turns._waiting) == 3 or sum(counts.values()) >= 397, 1.0)  # all want the next one

    threads = [threading.Thread(target=camera, args=item) for item in (("a", 1), ("b", 1), ("c", 1), ("d", 3))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(counts[name] for name in "abc") - min(counts[name] for name in "abc") <= 4
    assert counts["d"] > 1.4 * counts["a"]


def test_a_camera_that_hangs_keeps_no_turn_from_others() -> None:
    now = [0.0]
    turns = Turns(1, now=lambda: now[0])
    with turns.turn("hangs"):
        now[0] += HUNG_S + 1
        with turns.turn("other"):
            assert turns.working() == 1
    assert turns.working() == 0


def test_a_camera_says_how_its_verdicts_drift(
    clip: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Monitor:
        def __init__(self) -> None:
            self.rows = 0

        def update(self, verdicts: Verdicts) -> None:
            self.rows += len(verdicts)

        def report(self) -> SimpleNamespace:
            return SimpleNamespace(description=f"{self.rows} verdicts")

    names = SquareDetector.names
    monkeypatch.setattr(
        room, "build_pipeline",
        lambda *_, **__: Pipeline(SquareDetector(), class_policy=Policy(names, threshold=0)),
    )  # fmt: skip
    monkeypatch.setattr(LoadedSite, "drift_monitors", lambda _: {"class": Monitor()})
    with caplog.at_level("INFO", "edgevid"):
        summary = Fleet([Site(source=str(clip()), name="a")]).run()["a"]
    (note,) = summary.notes
    assert int(note.removeprefix("class: ").removesuffix(" verdicts")) >= 10
    assert f"a: {note}" in caplog.messages


class Bomb:
    """A sink that raises at every result."""

    def write(self, frame: Any, result: Any) -> None:
        raise ValueError("no space on rtsp://me:secret@nas/disk")

    def close(self) -> None:
        pass


def test_a_sink_that_raises_is_left_out_and_its_camera_goes_on(
    tmp_path: Path, clip: Any, squares: None
) -> None:  # fmt: skip
    events: list[Event] = []
    lines = {name: JsonLines(tmp_path / f"{name}.jsonl") for name in "ab"}
    fleet = Fleet(
        [Site(source=str(clip()), name=name) for name in "ab"], on_event=events.append,
        sinks=lambda camera: [*([Bomb()] if camera.name == "a" else []), lines[camera.name]],
    )  # fmt: skip
    assert {name: one.frames for name, one in fleet.run().items()} == {"a": 12, "b": 12}
    failed = [event for event in events if event.kind == "sink-failed"]
    assert [(one.camera, one.place) for one in failed] == [("a", "Bomb")]
    assert failed[0].reason == "ValueError: no space on rtsp://***:***@nas/disk"
    for name in "ab":
        assert sum('"edgevid.result' in line for line in (tmp_path / f"{name}.jsonl").read_text().splitlines()) == 12


def test_one_camera_raises_starts_again_and_leaves_the_others_alone(
    monkeypatch: pytest.MonkeyPatch, lives: None
) -> None:  # fmt: skip
    class Fails(Pipeline):
        def process(self, frame: Any, timestamp: Any = None) -> Any:
            if frame.index == 3:
                raise ZeroDivisionError("of the pipeline")
            return super().process(frame)

    monkeypatch.setattr(
        room, "build_pipeline",
        lambda loaded, *_, **__: (Fails if loaded.site.name == "bad" else Pipeline)(SquareDetector()),
    )  # fmt: skip
    events: list[Event] = []
    with Running(Fleet([Site(source=f"rtsp://{n}", name=n) for n in ("bad", "good")], on_event=events.append)) as fleet:
        assert until(lambda: sum(event.kind == "camera-failed" for event in events) >= 3)
        bad, good = fleet.cameras
        assert bad.failures >= 3
        assert "ZeroDivisionError" in bad.detail
        assert (good.failures, good.status().state) == (0, "running")
        frames = good.summary.frames
        assert until(lambda: good.summary.frames > frames + 10)
        assert "2 cameras: " in fleet.line()
        assert "bad failed: ZeroDivisionError: of the pipeline" in fleet.line() or bad.state != "failed"
    assert {event.camera for event in events if event.kind == "camera-failed"} == {"bad"}


def test_wrongly_configured_cameras_are_events_and_the_others_end_well(tmp_path: Path, clip: Any) -> None:
    good = site_file(tmp_path, "good", clip())
    unreadable = tmp_path / "unreadable.toml"
    unreadable.write_text("source = [\n")
    unknown = site_file(tmp_path, "unknown", clip(), "[camera]\nsped_limit_kmh = 3\n")
    no_video = site_file(tmp_path, "no-video", tmp_path / "absent.mp4")
    events: list[Event] = []
    fleet = Fleet([good, unreadable, unknown, no_video], on_event=events.append)
    assert fleet.run()["good"].frames == 12
    failed = {event.camera: event.reason for event in events if event.kind == "camera-failed"}
    assert sorted(failed) == ["no-video", "unknown", "unreadable"]
    assert "sped_limit_kmh" in failed["unknown"]
    assert "there is no such file" in failed["no-video"]
    assert {camera.name: camera.state for camera in fleet.cameras}["good"] == "ended"


def test_cameras_come_and_go_and_only_what_changed_restarts(tmp_path: Path, lives: None) -> None:
    for name in ("a", "b"):
        site_file(tmp_path, name, f"rtsp://{name}")
    (tmp_path / "calibration.toml").write_text("[image]\nwidth = 3\n")  # something else
    with Running(Fleet(tmp_path)) as fleet:
        assert until(lambda: [camera.name for camera in fleet.cameras] == ["a", "b"])
        a, b = fleet.cameras
        site_file(tmp_path, "c", "rtsp://c")
        assert until(lambda: [camera.name for camera in fleet.cameras] == ["a", "b", "c"])
        site_file(tmp_path, "b", "rtsp://other")
        assert until(lambda: fleet.cameras[1] is not b and fleet.cameras[1].summary.frames > 0)
        assert b.state == "stopped"
        assert fleet.cameras[1].source.uri == "rtsp://other"
        (tmp_path / "c.toml").unlink()
        assert until(lambda: [camera.name for camera in fleet.cameras] == ["a", "b"])
        (tmp_path / "b.toml").write_text("source = [")  # unreadable: it runs as before
        now = fleet.cameras[1]
        frames = now.summary.frames
        assert until(lambda: now.summary.frames > frames + 150)
        assert fleet.cameras == [a, now]
        assert a.failures == 0


def test_two_cameras_of_one_name_get_two(tmp_path: Path, lives: None) -> None:
    for folder in ("north", "south"):
        (tmp_path / folder).mkdir()
        site_file(tmp_path / folder, "gate", f"rtsp://{folder}")
    with Running(Fleet([tmp_path / "north", tmp_path / "south"])) as fleet:
        assert until(lambda: [camera.name for camera in fleet.cameras] == ["gate", "gate-2"])


def test_a_fleet_of_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected site files"):
        Fleet(tmp_path)
