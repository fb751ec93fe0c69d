"""edgevid: on-device video analytics that abstains when uncertain.

    from edgevid import Detector, Pipeline, Tracker, open_video

    with open_video("gate.mp4") as video:  # or "rtsp://...", a camera's number, a folder of images
        pipeline = Pipeline(Detector.load(), Tracker())
        for frame, result in pipeline.run(video):
            print(f"{result.time:.2f} s: {[int(track.id) for track in result.tracks]}")

`open_video` yields `Frame`s. The stages of a `Pipeline` are a `Detector`, a `Tracker` (or `ByteTracker`,
`OCSortTracker`) and, optionally, a `SpeedEstimator` on a calibrated camera (`read_calibration`),
`CameraHealth`, and a `RecognitionTask` for the action of each object (`ClipBuffer`, `load_recognizer`,
`Policy`). A `Result` holds tables: `Detections`, `Tracks`, `Speeds`, `Scores`, `Verdicts`, with a `Reason`
for each abstention.
`Overlay` draws it; `AnnotatedVideo`, `JsonLines`, `CsvSink` and `MotText` write it; a `ZoneMonitor`
counts on it.
`read_site` reads the configuration of one camera. Every error is an `EdgevidError`.

The names are loaded when first used, so that `import edgevid` takes milliseconds; __init__.pyi has their types.
"""

from __future__ import annotations

from edgevid._version import __version__ as __version__

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing takes milliseconds, in which a program does not handle signals yet
    from typing import Any

_ROOMS = {
    "abstain": "DriftMonitor Policy read_policy",
    "actions": "ClipBuffer ClipSpec load_recognizer",
    "detect": "Detector",
    "errors": "EdgevidError",
    "health": "CameraHealth",
    "output": "AnnotatedVideo CsvSink JsonLines MotText Overlay from_supervision read_jsonl to_supervision",
    "pipeline": "Pipeline RecognitionTask",
    "run": "Fleet process",
    "runtime": "InputSpec load_engine",
    "site": "Site read_site",
    "speed": "CameraCalibration Displacement SpeedEstimator SpeedPolicy make_calibration read_calibration",
    "track": "ByteTracker OCSortTracker Tracker",
    "types": "Clips Detections Event Frame Header Reason Result Scores SpeedReport Speeds Tracks Verdicts",
    "video": "VideoWriter open_video",
    "zones": "Line Zone ZoneMonitor",
}
_HOMES = {name: room for room, names in _ROOMS.items() for name in names.split()}

__all__ = sorted([*_HOMES, "__version__"])


def __getattr__(name: str) -> Any:
    import importlib

    if name not in _HOMES:
        if name.startswith("_"):
            raise AttributeError(f"module 'edgevid' has no attribute {name!r}")
        raise importlib.import_module("edgevid.types.peers").unknown_attribute("edgevid", name, __all__)
    value = getattr(importlib.import_module(f"edgevid.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
