"""From the camera's shutter to the finished result, over a real RTSP server on loopback at 25 fps.

    python benchmarks/field_latency.py                     60 s at a sustainable size, 600 s too slow
    python benchmarks/field_latency.py --fast 20 --slow 60

Each image carries its number, and the server logs when it was captured, so that the age of a result is
the true one: encoding, network, decoding, waiting and the pipeline. The second part gives the same camera to
a model that is made too slow (it sleeps): the age must not grow, and dropped frames must be counted.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from bench import conditions, save, table
from field_clip import camera_images
from rtsp_server import PACKAGES, Camera, gstreamer_python, number_of

from edgevid.detect.detector import Detector
from edgevid.pipeline import Pipeline
from edgevid.track import Tracker
from edgevid.types import Detections
from edgevid.video.live import LiveSource

SIZE, FPS, COUNT = (448, 252), 25, 250


class Shutter:
    """When the camera captured each image, read from the file that the server writes."""

    def __init__(self, path: Path) -> None:
        self._file = open(path)  # noqa: SIM115
        self._times: list[float] = []
        self._rest = ""

    def taken(self, number: int) -> float:
        """The moment of the newest image with this number, monotonic seconds."""
        *lines, self._rest = (self._rest + self._file.read()).split("\n")
        self._times += [float(line) for line in lines if line and line != "start"]
        return self._times[(len(self._times) - 1 - number) // COUNT * COUNT + number]


class Slow:
    """A detector that takes `seconds` longer than it would."""

    def __init__(self, detector: Detector, seconds: float) -> None:
        self._detector, self._seconds, self.names = detector, seconds, detector.names

    def detect(self, frames: Any) -> list[Detections]:
        """As the detector does, later."""
        time.sleep(self._seconds)
        return self._detector.detect(frames)


def measure(camera: Camera, shutter: Path, seconds: float, slow_s: float) -> dict[str, Any]:
    """Ages of results in ms over `seconds`; without the first two seconds (warm-up)."""
    detector = Detector.load("street-nano", threads=1, score_threshold=0.1)
    pipeline = Pipeline(Slow(detector, slow_s) if slow_s else detector, Tracker())
    ages: list[tuple[float, float, float]] = []
    with LiveSource(camera.uri, min_backoff_s=0.1) as source:
        clock, started, first = None, time.monotonic(), -1
        for frame in source:
            result = pipeline.process(frame)
            done = time.monotonic()
            clock = clock or Shutter(shutter)
            if done - started > 2:
                first = frame.index if first < 0 else first
                ages.append((done - started, done - clock.taken(number_of(frame)), result.timings["detect"]))
            if done - started > seconds + 2:
                break
        processed, decoded = len(ages), frame.index - first + 1
        figures = {"decoded": decoded, "processed": processed, "dropped": decoded - processed}
        figures |= {"dropped in total": source.dropped, "reconnections": source.reconnections}
    at, age, inference = (1000 * np.array(column) for column in zip(*ages, strict=True))
    minutes = [age[(at >= lo) & (at < lo + 60e3)] for lo in np.arange(2000, at[-1], 60e3)]
    return {
        "seconds": seconds,
        "age ms, median": round(float(np.median(age)), 1),
        "age ms, 95 %": round(float(np.percentile(age, 95)), 1),
        "age ms, longest": round(float(age.max()), 1),
        "inference ms, median": round(float(np.median(inference)), 1),
        "median age of each minute, ms": [round(float(np.median(m)), 1) for m in minutes if len(m) > 20],
        "growth of the age, ms/min": round(float(np.polyfit(at / 60e3, age, 1)[0]), 2),
        **figures,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fast", type=float, default=60.0, help="seconds of the sustainable part, 0: none")
    parser.add_argument("--slow", type=float, default=600.0, help="seconds of the too slow part, 0: none")
    arguments = parser.parse_args()
    if gstreamer_python() is None:
        raise SystemExit(f"needs GStreamer's RTSP server: {PACKAGES}")
    where = conditions()
    with tempfile.TemporaryDirectory() as scratch:
        title = camera_images(Path(scratch), COUNT, SIZE)
        parts = {}
        for name, seconds, slow_s in (("sustainable", arguments.fast, 0.0), ("too slow", arguments.slow, 0.15)):
            if not seconds:
                continue
            shutter = Path(scratch) / f"{name}.txt"
            with Camera(Path(scratch), SIZE, fps=FPS, clock=shutter) as camera:
                parts[name] = measure(camera, shutter, seconds, slow_s)
    if fast := parts.get("sustainable"):
        bar = 2 * 1000 / FPS + fast["inference ms, median"]
        fast |= {"limit: two frames + inference, ms": round(bar, 1), "met": fast["age ms, 95 %"] < bar}
    for name, part in parts.items():
        print(f"\n{name}\n" + table(["what", "figure"], [[k, str(v)] for k, v in part.items()]))
        file = "field_latency" if name == "sustainable" else "field_latency_slow"
        print(save(file, {"clip": title, "size": SIZE, "fps": FPS, name: part}, where))


if __name__ == "__main__":
    main()
