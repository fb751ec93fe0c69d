"""What leaves the pipeline: overlay, records, segments, review crops."""

from __future__ import annotations

from edgevid.output.ground_grid import GridOverlay, draw_ground_grid
from edgevid.output.interop import from_supervision, to_supervision
from edgevid.output.overlay import Overlay, contact_sheet
from edgevid.output.records import as_json, read_jsonl
from edgevid.output.review import ReviewSink
from edgevid.output.segments import SegmentedSink
from edgevid.output.sinks import AnnotatedVideo, CsvSink, JsonLines, MotText, Sink

__all__ = [
    "AnnotatedVideo", "CsvSink", "GridOverlay", "JsonLines", "MotText", "Overlay", "ReviewSink",
    "SegmentedSink", "Sink", "as_json", "contact_sheet", "draw_ground_grid", "from_supervision", "read_jsonl",
    "to_supervision",
]  # fmt: skip
