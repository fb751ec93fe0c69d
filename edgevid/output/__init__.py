"""What leaves the pipeline: overlay, records, segments, review crops."""

from __future__ import annotations

from edgevid.output.ground_grid import GridOverlay, draw_ground_grid
from edgevid.output.overlay import Overlay, contact_sheet
from edgevid.output.review import ReviewSink
from edgevid.output.segments import SegmentedSink
from edgevid.output.sinks import AnnotatedVideo, JsonLines, MotText, Sink, read_jsonl, to_supervision

__all__ = [
    "AnnotatedVideo",
    "GridOverlay",
    "JsonLines",
    "MotText",
    "Overlay",
    "ReviewSink",
    "SegmentedSink",
    "Sink",
    "contact_sheet",
    "draw_ground_grid",
    "read_jsonl",
    "to_supervision",
]
