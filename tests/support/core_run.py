"""Runs detector, tracker, speeds, zones and records on FOLDER/street.mp4, and says whether cv2 was loaded.

A program of its own: it runs where OpenCV is blocked or absent.
"""

import sys
from pathlib import Path

from edgevid import (
    Detector,
    JsonLines,
    MotText,
    Pipeline,
    SpeedEstimator,
    Tracker,
    Zone,
    ZoneMonitor,
    open_video,
    read_calibration,
    read_jsonl,
)
from edgevid.kernels import BACKEND
from edgevid.run.loop import run

folder = Path(sys.argv[1])
speed = SpeedEstimator(read_calibration(folder / "street.toml"))
zones = ZoneMonitor([Zone("all", [(0, 0), (1280, 0), (1280, 720), (0, 720)])])
with open_video(str(folder / "street.mp4")) as source:
    sinks = [JsonLines(folder / "street.jsonl"), MotText(folder / "street.txt")]
    pipeline = Pipeline(Detector.load("street-nano"), Tracker(), speed_estimator=speed)
    summary = run(pipeline, source, sinks, zones=zones)
records = list(read_jsonl(folder / "street.jsonl"))
assert len(records) == 25
assert any("speed" in row for record in records for row in record["objects"]), records[-1]
assert "enter" in {event.kind for event in summary.events}, summary.events
assert (folder / "street.txt").read_text()
assert BACKEND == "numpy" or "lap" not in sys.modules
print("without OpenCV" if sys.modules.get("cv2") is None else "with OpenCV")
