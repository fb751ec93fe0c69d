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

__version__ = "0.1.0"

if TYPE_CHECKING:
    from edgevid.actions import (
        load_recogniser,
    )
    from edgevid.clips import (
        ClipBuffer,
        ClipSpec,
    )
    from edgevid.detect import (
        Detector,
    )
    from edgevid.errors import (
        EdgevidError,
    )
    from edgevid.ground_history import (
        Interval,
    )
    from edgevid.ground_speed import (
        SpeedMeter,
        SpeedReport,
    )
    from edgevid.ground_survey import (
        Survey,
        read_survey,
    )
    from edgevid.health import (
        CameraHealth,
    )
    from edgevid.overlay import (
        Overlay,
    )
    from edgevid.pipeline import (
        Pipeline,
        Recognition,
    )
    from edgevid.records import (
        AnnotatedVideo,
        JsonLines,
        MotText,
        read_jsonl,
    )
    from edgevid.runtime import (
        load_engine,
    )
    from edgevid.site import (
        Site,
        read_site,
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
    from edgevid.video import (
        open_video,
    )
    from edgevid.zones import (
        Line,
        Zone,
        ZoneMonitor,
    )

_HOMES = {
    "AnnotatedVideo": "records",
    "ByteTracker": "track",
    "CameraHealth": "health",
    "ClipBuffer": "clips",
    "ClipSpec": "clips",
    "Clips": "types",
    "Detections": "types",
    "Detector": "detect",
    "EdgevidError": "errors",
    "Frame": "types",
    "InputSpec": "types",
    "Interval": "ground_history",
    "JsonLines": "records",
    "Line": "zones",
    "MotText": "records",
    "OCSortTracker": "track",
    "Overlay": "overlay",
    "Pipeline": "pipeline",
    "Reason": "types",
    "Recognition": "pipeline",
    "Result": "types",
    "Scores": "types",
    "Site": "site",
    "SpeedMeter": "ground_speed",
    "SpeedReport": "ground_speed",
    "Speeds": "types",
    "Survey": "ground_survey",
    "Tracker": "track",
    "Tracks": "types",
    "Verdicts": "types",
    "Zone": "zones",
    "ZoneMonitor": "zones",
    "load_engine": "runtime",
    "load_recogniser": "actions",
    "open_video": "video",
    "read_jsonl": "records",
    "read_site": "site",
    "read_survey": "ground_survey",
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
