"""A small state made by hand, for the viewer's tests: what is on the screen is known to the letter."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from edgevid.output.events import EventFinder
from edgevid.output.recordings import DATABASE
from edgevid.output.tables import SqliteSink
from edgevid.speed.calibration import CameraCalibration, make_calibration
from edgevid.types import (
    Detections,
    Event,
    Frame,
    Header,
    Reason,
    Result,
    Scores,
    SpeedReport,
    Speeds,
    Tracks,
    Verdicts,
)
from edgevid.video.images import to_jpeg
from edgevid.video.writer import VideoWriter
from edgevid.viewer.state import ViewerState
from edgevid.zones import Line, Zone, ZoneMonitor

SIZE = (640, 360)
NAMES = {"class": ("person", "car"), "action": ("walk", "wave")}
ZONE = Zone("crossing", [(60, 200), (300, 200), (300, 340), (60, 340)], debounce_s=0.0)
LINE = Line("gate", (400, 100), (400, 340))


def calibration() -> CameraCalibration:
    """10 pixels per meter, viewed from straight above."""
    meters = np.array([[0, 0], [50, 0], [50, 30], [0, 30.0]])
    return make_calibration(np.stack([70 + 10 * meters[:, 0], 345 - 10 * meters[:, 1]], 1), meters, SIZE)


def pixels(index: int) -> np.ndarray:
    image = np.empty((SIZE[1], SIZE[0], 3), np.uint8)
    image[:] = np.linspace(40, 110, SIZE[1], dtype=np.uint8)[:, None, None]
    image[300:320, (index * 8) % 600 : (index * 8) % 600 + 30] = (200, 160, 60)
    return image


def result(index: int, frame: Frame) -> Result:
    """A person in the zone, one who is too small, and a car at 52 ± 2 km/h that is not detected now."""
    x = 100 + (index % 100)
    boxes = [[x, 180, x + 50, 320], [330, 60, 345, 95], [430, 150, 560, 240]]
    ids, match = [1, 2, 7], [0, 1, -1]
    tracks = Tracks.of(
        ids=ids, boxes=boxes, scores=[0.91, 0.45, 0.8], labels=[0, 0, 1], match=match, age=[4, 1, 9],
        unseen=[0, 0, 0.2],
    )  # fmt: skip
    nan = float("nan")
    speeds = Speeds.of(
        ids=ids, mps=[nan, nan, 52.2 / 3.6], sigma=[nan, nan, 1.3 / 3.6], heading=[nan, nan, 90.0],
        time=[frame.time] * 3, reason=[Reason.UNCERTAIN, Reason.TOO_SHORT, Reason.OK],
    )  # fmt: skip
    verdicts = Verdicts.of(
        ids=ids, labels=[0, -1, -1], confidence=[0.83, 0.2, 0.0],
        reason=[Reason.OK, Reason.TOO_SMALL, Reason.NOT_MEASURED],
    )  # fmt: skip
    detections = Detections.of(boxes=boxes[:2], scores=[0.91, 0.45], labels=[0, 0])
    timings = {"detect": 0.012, "track": 0.0004, "recognize": 0.003, "policy": 0.0001, "speed": 0.0002}
    return Result(
        index, frame.time, SIZE, detections, tracks, SpeedReport(speeds),
        {"action": Scores.empty()}, {"action": verdicts}, NAMES, timings,
    )  # fmt: skip


def make_state(*, site_file: Path | None = None, live: bool = False, calibrated: bool = True,
               recordings: Path | None = None) -> Any:  # fmt: skip
    source = SimpleNamespace(live=live, size=SIZE, fps=25.0, dropped=0, events=[], lag_s=0.012)
    pipeline: Any = SimpleNamespace(names=NAMES, reset=lambda: None)
    ground = calibration() if calibrated else None
    monitor = ZoneMonitor((ZONE,), (LINE,), to_ground=ground.to_ground if ground else None, size=SIZE)
    made: Any = ViewerState(
        source, pipeline, title="yard.mp4", model="made by hand", notes=["A scene made for a test."],
        calibration=ground, monitor=monitor, site_file=site_file, recordings=recordings,
    )  # fmt: skip
    made.finder = EventFinder(Header("yard", run="yard-1", start=1769860800.0), made.add_event, made.source)
    return made


class Player:
    """Plays the scene from a thread, as a frame loop would."""

    def __init__(self, state: Any, fps: float = 10.0) -> None:
        self.state, self._fps = state, fps
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._play, daemon=True)

    def _frames(self):
        index = 0
        while not self._stop.is_set():
            yield Frame(pixels(index), index / self._fps, index)
            index += 1
            time.sleep(1 / self._fps)

    def _play(self) -> None:
        for frame in self.state.playback.play(self._frames()):
            play_one(self.state, frame)

    def __enter__(self) -> Player:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self.state.close()
        self._thread.join(5)


def play_one(state: Any, frame: Frame) -> None:
    one = result(frame.index, frame)
    state.finder.update(frame, one, state.update(one.tracks, one.time))
    state.observe(frame, one)


def make_recordings(folder: Path) -> list[Event]:
    """A folder of recordings with a clip, a file of the stream and snapshots; the events that name them."""
    names = {name: f"{number:08d}-20260131T12000{number}Z{name}" for number, name in
             enumerate((".mp4", "-event.mp4", "-7.jpg"))}  # fmt: skip
    (folder / "gate").mkdir(parents=True)
    for name in (".mp4", "-event.mp4"):
        with VideoWriter(folder / "gate" / names[name], fps=10) as writer:
            for n in range(60):
                writer.write(pixels(n), n / 10)
    for name in (names["-7.jpg"], names["-7.jpg"].replace(".jpg", "-drawn.jpg")):
        (folder / "gate" / name).write_bytes(to_jpeg(pixels(3)[:200, :260]))
    about = {"clip": f"gate/{names['-event.mp4']}", "snapshot": f"gate/{names['-7.jpg']}"}
    events = [
        Event("old-1", "cross", "2026-01-31T12:00:03.000Z", 3.0, "gate", "old", class_name="car",
              place="gate", direction="backward", speed_mps=20.0, speed_sigma_mps=0.5, track=7, **about),
        Event("old-2", "enter", "2026-01-31T12:00:05.000Z", 5.0, "yard", "old", class_name="person",
              place="crossing", track=8),
    ]  # fmt: skip
    with SqliteSink(folder / DATABASE) as sink:
        sink.send(events)
    return events
