"""What leaves the pipeline: overlay, records, events and their sinks, segments, review crops."""

from edgevid.output.blur import Blur
from edgevid.output.dataset import DatasetSink
from edgevid.output.delivery import RejectedError
from edgevid.output.frigate import FrigateSink
from edgevid.output.ground_grid import GridOverlay, draw_ground_grid
from edgevid.output.metrics import Metrics
from edgevid.output.mqtt import MqttSink
from edgevid.output.overlay import Overlay, contact_sheet
from edgevid.output.recordings import Recorder
from edgevid.output.records import as_json, read_events, read_header, read_jsonl
from edgevid.output.review import ReviewSink
from edgevid.output.server import KafkaSink, RedisSink, WebhookSink
from edgevid.output.sinks import (
    AnnotatedVideo,
    CsvSink,
    EventCsv,
    EventLines,
    EventSink,
    JsonLines,
    MotText,
    SegmentedSink,
    Sink,
)
from edgevid.output.tables import ParquetSink, SqliteSink, read_database
from edgevid.types import Detections, Result

from_supervision, to_supervision = Detections.from_supervision, Result.to_supervision

__all__ = ["AnnotatedVideo", "Blur", "CsvSink", "DatasetSink", "EventCsv", "EventLines", "EventSink", "FrigateSink",
           "GridOverlay", "JsonLines", "KafkaSink", "Metrics", "MotText", "MqttSink", "Overlay", "ParquetSink",
           "Recorder", "RedisSink", "RejectedError", "ReviewSink", "SegmentedSink", "Sink", "SqliteSink", "WebhookSink",
           "as_json", "contact_sheet", "draw_ground_grid", "from_supervision", "read_database", "read_events",
           "read_header", "read_jsonl", "to_supervision"]  # fmt: skip
