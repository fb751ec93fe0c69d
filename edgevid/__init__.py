"""edgevid: on-device video analytics that knows when to be silent.

    from edgevid import Detector, Pipeline, Tracker, open_video

    with open_video("gate.mp4") as video:  # or "rtsp://...", a camera's number, a folder of images
        pipeline = Pipeline(Detector.load(), Tracker())
        for frame, result in pipeline.run(video):
            print(f"{result.time:.2f} s: {[int(track.id) for track in result.tracks]}")

`open_video` gives `Frame`s. The stages of a `Pipeline` are a `Detector`, a `Tracker` (or `ByteTracker`,
`OCSortTracker`) and, where wanted, a `SpeedEstimator` over a calibrated ground (`read_calibration`), `CameraHealth`,
and a `RecognitionTask` of what each object does (`ClipBuffer`, `load_recognizer`). A `Result` holds tables:
`Detections`, `Tracks`, `Speeds`, `Scores`, `Verdicts`, with a `Reason` for each silence. `Overlay` draws it;
`AnnotatedVideo`, `JsonLines` and `MotText` write it; a `ZoneMonitor` counts on it. `read_site` reads all of a
camera from one file. Every error is an `EdgevidError`.

The names are loaded when first used, so that `import edgevid` costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from edgevid._version import __version__ as __version__

if TYPE_CHECKING:
    from edgevid.abstain import ClassPolicy, Policy, SpeedPolicy, read_policy
    from edgevid.actions import ClipBuffer, ClipSpec, load_recognizer
    from edgevid.detect import Detector
    from edgevid.errors import EdgevidError
    from edgevid.health import CameraHealth
    from edgevid.output import AnnotatedVideo, JsonLines, MotText, Overlay, read_jsonl, to_supervision
    from edgevid.pipeline import Pipeline, RecognitionTask
    from edgevid.runtime import load_engine
    from edgevid.site import Site, read_site
    from edgevid.speed import (
        CameraCalibration,
        Interval,
        SpeedEstimator,
        make_calibration,
        read_calibration,
    )
    from edgevid.track import ByteTracker, OCSortTracker, Tracker
    from edgevid.types import (
        Clips,
        Detections,
        Frame,
        InputSpec,
        Reason,
        Result,
        Scores,
        SpeedReport,
        Speeds,
        Tracks,
        Verdicts,
    )
    from edgevid.video import VideoWriter, open_video
    from edgevid.zones import Event, Line, Zone, ZoneMonitor

_HOMES = {
    "AnnotatedVideo": "output",
    "ByteTracker": "track",
    "CameraCalibration": "speed",
    "CameraHealth": "health",
    "ClassPolicy": "abstain",
    "ClipBuffer": "actions",
    "ClipSpec": "actions",
    "Clips": "types",
    "Detections": "types",
    "Detector": "detect",
    "EdgevidError": "errors",
    "Event": "zones",
    "Frame": "types",
    "InputSpec": "types",
    "Interval": "speed",
    "JsonLines": "output",
    "Line": "zones",
    "MotText": "output",
    "OCSortTracker": "track",
    "Overlay": "output",
    "Pipeline": "pipeline",
    "Policy": "abstain",
    "Reason": "types",
    "RecognitionTask": "pipeline",
    "Result": "types",
    "Scores": "types",
    "Site": "site",
    "SpeedEstimator": "speed",
    "SpeedPolicy": "abstain",
    "SpeedReport": "types",
    "Speeds": "types",
    "Tracker": "track",
    "Tracks": "types",
    "Verdicts": "types",
    "VideoWriter": "video",
    "Zone": "zones",
    "ZoneMonitor": "zones",
    "load_engine": "runtime",
    "load_recognizer": "actions",
    "make_calibration": "speed",
    "open_video": "video",
    "read_calibration": "speed",
    "read_jsonl": "output",
    "read_policy": "abstain",
    "read_site": "site",
    "to_supervision": "output",
}
"""Public names, sorted, and the rooms that hold them."""

__all__ = [
    "AnnotatedVideo",
    "ByteTracker",
    "CameraCalibration",
    "CameraHealth",
    "ClassPolicy",
    "ClipBuffer",
    "ClipSpec",
    "Clips",
    "Detections",
    "Detector",
    "EdgevidError",
    "Event",
    "Frame",
    "InputSpec",
    "Interval",
    "JsonLines",
    "Line",
    "MotText",
    "OCSortTracker",
    "Overlay",
    "Pipeline",
    "Policy",
    "Reason",
    "RecognitionTask",
    "Result",
    "Scores",
    "Site",
    "SpeedEstimator",
    "SpeedPolicy",
    "SpeedReport",
    "Speeds",
    "Tracker",
    "Tracks",
    "Verdicts",
    "VideoWriter",
    "Zone",
    "ZoneMonitor",
    "__version__",
    "load_engine",
    "load_recognizer",
    "make_calibration",
    "open_video",
    "read_calibration",
    "read_jsonl",
    "read_policy",
    "read_site",
    "to_supervision",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'edgevid' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"edgevid.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
