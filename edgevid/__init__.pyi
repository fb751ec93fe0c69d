from edgevid._version import __version__ as __version__
from edgevid.abstain import DriftMonitor, Policy, read_policy
from edgevid.actions import ClipBuffer, ClipSpec, load_recognizer
from edgevid.detect import Detector
from edgevid.errors import EdgevidError
from edgevid.health import CameraHealth
from edgevid.output import (
    AnnotatedVideo,
    CsvSink,
    JsonLines,
    MotText,
    Overlay,
    from_supervision,
    read_jsonl,
    to_supervision,
)
from edgevid.pipeline import Pipeline, RecognitionTask
from edgevid.run import Fleet, process
from edgevid.runtime import InputSpec, load_engine
from edgevid.site import Site, read_site
from edgevid.speed import (
    CameraCalibration,
    Displacement,
    SpeedEstimator,
    SpeedPolicy,
    make_calibration,
    read_calibration,
)
from edgevid.track import ByteTracker, OCSortTracker, Tracker
from edgevid.types import (
    Clips,
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
from edgevid.video import VideoWriter, open_video
from edgevid.zones import Line, Zone, ZoneMonitor

__all__ = [
    "AnnotatedVideo", "ByteTracker", "CameraCalibration", "CameraHealth", "ClipBuffer", "ClipSpec",
    "Clips", "CsvSink", "Detections", "Detector", "Displacement", "DriftMonitor", "EdgevidError", "Event", "Fleet",
    "Frame", "Header", "InputSpec", "JsonLines", "Line", "MotText", "OCSortTracker", "Overlay",
    "Pipeline", "Policy", "Reason", "RecognitionTask", "Result", "Scores", "Site", "SpeedEstimator",
    "SpeedPolicy", "SpeedReport", "Speeds", "Tracker", "Tracks", "Verdicts", "VideoWriter", "Zone",
    "ZoneMonitor", "__version__", "from_supervision", "load_engine", "load_recognizer",
    "make_calibration", "open_video", "process", "read_calibration", "read_jsonl", "read_policy",
    "read_site", "to_supervision",
]  # fmt: skip
