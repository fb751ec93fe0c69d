"""What users of supervision, Ultralytics, trackers and OpenCV write first, and edgevid's line for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from edgevid.errors import InputError, UnknownAttributeError, did_you_mean

_DRAW = "draw it: edgevid.Overlay().draw(frame, result), or edgevid.process('in.mp4', 'out.mp4')"
_TO_SUPERVISION = "use result.tracks.xyxy, or result.to_supervision() for what takes supervision.Detections"
_VIDEO = "write edgevid.process('in.mp4', 'out.mp4', callback)"
_RUN = "use Pipeline(detector).run('clip.mp4'), which yields (frame, result)"
_EXPORT = "export a checkpoint with `edgevid export model.pt --data VIDEO`"
_WITH_SUPERVISION = "use supervision's with result.to_supervision()"
_ARRAY = "use frame.image (RGB) or frame.bgr, both (H, W, 3) arrays"

HABITS: Mapping[str, Mapping[str, str]] = {
    "Result": {
        "boxes": "use result.tracks.boxes, result.detections.boxes, or result.to_supervision()",
        **dict.fromkeys(("plot", "show", "save", "save_crop", "visualize"), _DRAW),
        **dict.fromkeys(("xyxy", "confidence", "class_id", "tracker_id", "data", "mask"), _TO_SUPERVISION),
        **dict.fromkeys(("orig_img", "orig_shape"), "a result holds no pixels: run yields (frame, result)"),
        **dict.fromkeys(("to_df", "summary", "tojson", "to_json"), "use to_dicts() or to_pandas()"),
        **dict.fromkeys(("masks", "keypoints"), "use result.detections.masks or result.detections.keypoints"),
        "obb": "use result.detections.rotated",
        "probs": "use result.scores and result.verdicts",
        "speed": "use result.timings for the seconds of each stage, result.speeds for speeds in m/s",
    },
    "_Boxed": dict.fromkeys(
        ("data", "metadata", "mask", "area", "box_area", "get_anchors_coordinates", "is_empty", "merge"),
        "use to_supervision() for what takes supervision.Detections",
    ),
    "Detections": {
        "xywh": "boxes are x1, y1, x2, y2",
        "conf": "use scores or confidence",
        "cls": "use labels or class_id",
        "id": "use Tracker().update(detections, time).ids",
        **dict.fromkeys(("with_nms", "with_nmm"), "duplicates are suppressed: Detector(nms_iou=0.5)"),
        **dict.fromkeys(("plot", "show", "save"), _DRAW),
        **dict.fromkeys(
            ("to_df", "to_dicts", "to_pandas", "to_polars", "to_json", "tojson", "summary"),
            "use [row._asdict() for row in detections], or a Pipeline's result.to_dicts() or to_pandas()",
        ),
    },
    "Tracks": {"id": "use ids or tracker_id", "conf": "use scores", "cls": "use labels"},
    "Boxes": {
        "xyxy": "boxes is the (N, 4) array itself",
        **dict.fromkeys(("conf", "cls", "id"), "use detections.scores, detections.labels, tracks.ids"),
        **dict.fromkeys(("xywh", "xyxyn", "xywhn"), "boxes are x1, y1, x2, y2 in frame pixels"),
        **dict.fromkeys(("cpu", "numpy"), "boxes is a NumPy array"),
    },
    "Detector": {
        "track": _RUN,
        **dict.fromkeys(("infer", "forward"), "call detector(image) or detector.predict(source)"),
        "model": "use detector.names, detector.recipe or detector.engine",
        "train": "use `edgevid train detector`",
        "val": "use `edgevid compare`",
        "export": _EXPORT,
        **dict.fromkeys(("to", "cuda", "half", "cpu"), "use Detector(model, device=..., precision=...)"),
        "task": "use detector.recipe.task",
        "device": "use detector.engine",
        "info": "use `edgevid inspect`",
        **dict.fromkeys(("fuse", "eval", "warmup"), "nothing to do: an exported model is ready to run"),
    },
    "ByteTracker": {
        "update_with_tensors": "use update(Detections.of(boxes=..., scores=..., labels=...), time)",
        **dict.fromkeys(("tracks", "tracked_tracks", "tracked_stracks"), "use what update returns"),
    },
    "Pipeline": {
        **dict.fromkeys(("track", "predict"), _RUN.replace("Pipeline(detector)", "pipeline")),
        **dict.fromkeys(("start", "join"), "use edgevid.run.run(pipeline, open_video(source), sinks)"),
    },
    "SourceBase": {
        **dict.fromkeys(("read", "grab", "retrieve"), "write `for frame in open_video(source)`, and frame.bgr"),
        "isOpened": "open_video raises SourceError where nothing can be read",
        "release": "use close(), or `with open_video(source) as video`",
        **dict.fromkeys(("get", "set", "width", "height", "resolution_wh"), "use size, fps and frame_count"),
        "total_frames": "use frame_count",
    },
    "Frame": dict.fromkeys(("shape", "dtype", "copy", "astype", "tobytes"), _ARRAY),
    "edgevid": {
        "YOLO": "use Detector('model.onnx'); " + _EXPORT,
        "ByteTrack": "use ByteTracker or Tracker",
        **dict.fromkeys(("ByteTrackTracker", "SORTTracker", "BoTSORTTracker"), "use ByteTracker or Tracker"),
        "OCSORTTracker": "use OCSortTracker",
        "process_video": _VIDEO,
        **dict.fromkeys(("VideoSink", "InferencePipeline"), _VIDEO),
        **dict.fromkeys(
            ("get_video_frames_generator", "VideoCapture", "VideoInfo"),
            "use open_video(source): it yields frames, and has size, fps and frame_count",
        ),
        **dict.fromkeys(("LineZone", "PolygonZone"), "use ZoneMonitor, Line, Zone, or " + _WITH_SUPERVISION),
        **dict.fromkeys(
            ("BoxAnnotator", "LabelAnnotator", "TraceAnnotator", "BoundingBoxAnnotator"),
            "use Overlay().draw(frame, result), or " + _WITH_SUPERVISION,
        ),
        **dict.fromkeys(("JSONSink", "CSVSink"), "use JsonLines, or CsvSink, whose header is CSVSink's"),
        "ViewTransformer": "use make_calibration(pixels, meters, size).to_ground(points)",
    },
}
"""By class (or this package) and attribute: what to write."""


def unknown_attribute(owner: str, name: str, known: list[str], where: str = "") -> UnknownAttributeError:
    """The error for an attribute that `owner` lacks: the next step, or the similar name."""
    hint = HABITS.get(owner, {}).get(name)
    tail = f": {hint}" if hint else did_you_mean(name, [k for k in known if not k.startswith("_")])
    return UnknownAttributeError(f"{where or owner} has no attribute {name!r}{tail}")


LOUD = {("Result", "boxes")}
"""What raises InputError, no AttributeError: supervision's from_ultralytics would take it for no objects."""


class Hinted:
    """Base of classes whose missing attributes are answered with edgevid's line for the habit."""

    __slots__ = ()

    if not TYPE_CHECKING:  # a type checker would take every attribute for known

        def __getattr__(self, name: str) -> Any:
            owner = type(self)
            if name.startswith("_"):
                raise UnknownAttributeError(f"{owner.__name__} has no attribute {name!r}")
            kinds = [c.__name__ for c in owner.__mro__ if name in HABITS.get(c.__name__, ())]
            error = unknown_attribute((kinds or [owner.__name__])[0], name, dir(owner), owner.__name__)
            raise InputError(str(error)) if (owner.__name__, name) in LOUD else error


class Boxes(np.ndarray, Hinted):
    """An array of boxes that answers `.xyxy` and the like; what is computed from it is the same array."""
