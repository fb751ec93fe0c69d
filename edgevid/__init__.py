"""edgevid: on-device video analytics that knows when to be silent.

    from edgevid import Detector, Pipeline, Tracker, open_video

    with open_video("gate.mp4") as video:  # or "rtsp://...", a camera's number, a folder of pictures
        pipeline = Pipeline(Detector.load(), Tracker())
        for frame, result in pipeline.run(video):
            print(f"{result.time:.2f} s: {[int(track.id) for track in result.tracks]}")

`open_video` gives `Frame`s. The stages of a `Pipeline` are a `Detector`, a `Tracker` (or `ByteTracker`,
`OCSortTracker`) and, where wanted, a `SpeedMeter` over a surveyed ground (`read_survey`), `CameraHealth`,
and a `Recognition` of what each object does (`ClipBuffer`, `load_recogniser`). A `Result` holds tables:
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
    from edgevid.actions import (
        load_recogniser,
    )
    from edgevid.actions.clips import (
        ClipBuffer,
        ClipSpec,
    )
    from edgevid.detect.detector import (
        Detector,
    )
    from edgevid.errors import (
        EdgevidError,
    )
    from edgevid.health.monitor import (
        CameraHealth,
    )
    from edgevid.output.overlay import (
        Overlay,
    )
    from edgevid.output.sinks import (
        AnnotatedVideo,
        JsonLines,
        MotText,
        read_jsonl,
    )
    from edgevid.pipeline import (
        Pipeline,
        Recognition,
    )
    from edgevid.runtime import (
        load_engine,
    )
    from edgevid.site.file import (
        Site,
        read_site,
    )
    from edgevid.speed.calibration import (
        Survey,
        read_survey,
    )
    from edgevid.speed.displacement import (
        Interval,
    )
    from edgevid.speed.estimator import (
        SpeedMeter,
        SpeedReport,
    )
    from edgevid.track import (
        ByteTracker,
        OCSortTracker,
        Tracker,
    )
    from edgevid.types import (
        Clips,
        Detections,
        Frame,
        InputSpec,
        Reason,
        Result,
        Scores,
        Speeds,
        Tracks,
        Verdicts,
    )
    from edgevid.video.open import (
        open_video,
    )
    from edgevid.zones import (
        Line,
        Zone,
        ZoneMonitor,
    )

_HOMES = {
    "AnnotatedVideo": "output.sinks",
    "ByteTracker": "track",
    "CameraHealth": "health.monitor",
    "ClipBuffer": "actions.clips",
    "ClipSpec": "actions.clips",
    "Clips": "types",
    "Detections": "types",
    "Detector": "detect.detector",
    "EdgevidError": "errors",
    "Frame": "types",
    "InputSpec": "types",
    "Interval": "speed.displacement",
    "JsonLines": "output.sinks",
    "Line": "zones",
    "MotText": "output.sinks",
    "OCSortTracker": "track",
    "Overlay": "output.overlay",
    "Pipeline": "pipeline",
    "Reason": "types",
    "Recognition": "pipeline",
    "Result": "types",
    "Scores": "types",
    "Site": "site.file",
    "SpeedMeter": "speed.estimator",
    "SpeedReport": "speed.estimator",
    "Speeds": "types",
    "Survey": "speed.calibration",
    "Tracker": "track",
    "Tracks": "types",
    "Verdicts": "types",
    "Zone": "zones",
    "ZoneMonitor": "zones",
    "load_engine": "runtime",
    "load_recogniser": "actions",
    "open_video": "video.open",
    "read_jsonl": "output.sinks",
    "read_site": "site.file",
    "read_survey": "speed.calibration",
}
"""Public names, sorted, and the modules that hold them."""

__all__ = [
    "AnnotatedVideo",
    "ByteTracker",
    "CameraHealth",
    "ClipBuffer",
    "ClipSpec",
    "Clips",
    "Detections",
    "Detector",
    "EdgevidError",
    "Frame",
    "InputSpec",
    "Interval",
    "JsonLines",
    "Line",
    "MotText",
    "OCSortTracker",
    "Overlay",
    "Pipeline",
    "Reason",
    "Recognition",
    "Result",
    "Scores",
    "Site",
    "SpeedMeter",
    "SpeedReport",
    "Speeds",
    "Survey",
    "Tracker",
    "Tracks",
    "Verdicts",
    "Zone",
    "ZoneMonitor",
    "__version__",
    "load_engine",
    "load_recogniser",
    "open_video",
    "read_jsonl",
    "read_site",
    "read_survey",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'edgevid' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"edgevid.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
