"""The tables [[sink]], [record] and [track] of a site file, and what they describe."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Ge

from edgevid.errors import FieldError, InputError
from edgevid.files.fields import Count, Positive, Share
from edgevid.files.schema import Checked, Tagged, checked, vars_of
from edgevid.output.dataset import DatasetSink
from edgevid.output.frigate import KINDS, FrigateSink
from edgevid.output.mqtt import MqttSink
from edgevid.output.recordings import CLIPPED
from edgevid.output.records import SYNC_S
from edgevid.output.server import EXAMPLES, KafkaSink, Mechanism, RedisSink, WebhookSink, server_of
from edgevid.output.sinks import CsvSink, EventCsv, EventLines, JsonLines, MotText, SegmentedSink
from edgevid.output.tables import ParquetSink, SqliteSink
from edgevid.track import ByteTracker, OCSortTracker, Tracker
from edgevid.types import EventKind

Kind = Literal["default", "bytetrack", "oc-sort"]
Number = Annotated[float, Ge(0)]
TRACKERS: dict[str, type[ByteTracker]] = {"default": Tracker, "bytetrack": ByteTracker, "oc-sort": OCSortTracker}


def _existing(path: Path, folder: Path) -> Path:
    if not (folder / path).is_file():
        raise ValueError
    return folder / path


def _address(kind: str) -> Checked:
    def check(url: str, _: Path) -> str:
        try:
            server_of(url, kind)
        except InputError:
            raise ValueError from None  # the key, what is expected and what came are said already
        return url

    return Checked(f"an address such as {EXAMPLES[kind]}", check)


File = Annotated[Path, Checked("an existing file, relative to the site file", _existing)]
Folder = Annotated[Path, Checked("a folder, relative to the site file", lambda path, folder: folder / path)]
Output = Annotated[Path, Checked("a path, relative to the site file", lambda path, folder: folder / path)]
SERVERS: dict[str, Any] = {"mqtt": MqttSink, "webhook": WebhookSink, "redis": RedisSink, "kafka": KafkaSink,
                           "frigate": FrigateSink}  # fmt: skip


@dataclass(frozen=True, slots=True)
class TextTable:
    """Objects of each frame as text; an existing file is continued."""

    type: Literal["jsonl", "csv", "mot"]  # Records as JSON lines, rows as CSV, or MOTChallenge text (docs/records.md)
    path: Output  # The file to write
    segment_s: Positive | None = None  # Start new files after this many seconds
    max_disk_gb: Positive | None = None  # With segment_s: disk for all of them; the oldest are deleted

    def __post_init__(self) -> None:
        if self.max_disk_gb is not None and self.segment_s is None:
            raise FieldError("sink", "segment_s", "seconds, such as 600, as max_disk_gb deletes old segments", None)

    def sink(self, sync_s: float, append: bool = True) -> Any:
        kind: Any = {"jsonl": JsonLines, "csv": CsvSink, "mot": MotText}[self.type]
        make = partial(kind, append=append, sync_s=sync_s)
        if self.segment_s is None:
            return make(self.path)
        limit = round(self.max_disk_gb * 1e9) if self.max_disk_gb else None
        return SegmentedSink(self.path, make, segment_s=self.segment_s, max_disk_bytes=limit)


@dataclass(frozen=True, slots=True)
class EventsTable:
    """Events as text; an existing file is continued."""

    type: Literal["events"]  # Events (docs/events.md)
    path: Output  # The file to write: .jsonl, or .csv

    def sink(self, sync_s: float, append: bool = True) -> Any:
        return (EventCsv if self.path.suffix.lower() == ".csv" else EventLines)(self.path, append=append)


@dataclass(frozen=True, slots=True)
class StoreTable:
    """Events, tracks and objects as tables."""

    type: Literal["sqlite", "parquet"]  # A SQLite database, which many cameras may share, or a folder of Parquet files
    path: Output  # The database, or the folder
    records: bool = False  # Whether the objects of each frame are stored, too

    def sink(self, sync_s: float, append: bool = True) -> Any:
        return (SqliteSink if self.type == "sqlite" else ParquetSink)(self.path, records=self.records)


@dataclass(frozen=True, slots=True)
class DatasetTable:
    """Frames as images with boxes."""

    type: Literal["coco", "yolo"]  # As COCO's or as YOLO's tools read them (docs/events.md)
    path: Output  # The folder
    every_s: Positive = 1.0  # Seconds between images; 0: only frames with events

    def sink(self, sync_s: float, append: bool = True) -> Any:
        return DatasetSink(self.path, self.type, every_s=self.every_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class _ServerTable:
    ca: File | None = None  # PEM file with the issuer's certificate, where this machine does not trust it already

    def sink(self, sync_s: float, append: bool = True) -> Any:
        options = vars_of(self)
        return SERVERS[options.pop("type")](**options)


@dataclass(frozen=True, slots=True, kw_only=True)
class MqttTable(_ServerTable):
    """Events and states at a broker."""

    type: Literal["mqtt"]  # An MQTT broker, and Home Assistant (docs/events.md)
    url: Annotated[str, _address("mqtt")]  # The broker and the topic
    discovery: str = "homeassistant"  # Home Assistant's discovery prefix; empty: there is none


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookTable(_ServerTable):
    """Events as HTTP requests."""

    type: Literal["webhook"]  # A web server that takes a POST per event (docs/events.md)
    url: Annotated[str, _address("webhook")]  # Where to send them
    secret: str = ""  # Signs each request; empty: they are not signed


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisTable(_ServerTable):
    """Events as a Redis stream."""

    type: Literal["redis"]  # A Redis stream (docs/events.md)
    url: Annotated[str, _address("redis")]  # The server; the path is the number of a database
    stream: str = "edgevid"  # The stream's key
    max_entries: Count = 1_000_000  # The oldest beyond about this many are deleted


@dataclass(frozen=True, slots=True, kw_only=True)
class KafkaTable(_ServerTable):
    """Events as messages of a Kafka topic."""

    type: Literal["kafka"]  # A Kafka topic (docs/events.md)
    url: Annotated[str, _address("kafka")]  # A broker and the topic
    mechanism: Mechanism = "PLAIN"  # SASL mechanism of the login in the address


@dataclass(frozen=True, slots=True, kw_only=True)
class FrigateTable(_ServerTable):
    """Events in Frigate."""

    type: Literal["frigate"]  # Frigate's event API (docs/events.md)
    url: Annotated[str, _address("frigate")]  # Frigate's server: port 8971 with a login, or port 5000 without
    camera: str = ""  # The camera's name in Frigate; empty: the same
    kinds: tuple[EventKind, ...] = KINDS  # Kinds of events that become Frigate's
    duration_s: Positive = 20.0  # How long Frigate's event goes on; 0: until the object is gone
    include_recording: bool = True  # Whether Frigate keeps a clip of it


SinkTable = Annotated[TextTable | EventsTable | StoreTable | DatasetTable | MqttTable | WebhookTable | RedisTable
                      | KafkaTable | FrigateTable, Tagged("type")]  # fmt: skip


def build_sinks(tables: Iterable[Any], *, sync_s: float = SYNC_S, append: bool = True) -> list[Any]:
    """The sinks of a site's tables; existing text is continued, or with `append` off replaced. SourceError where one
    cannot be written."""
    return [table.sink(sync_s, append) for table in tables]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordTable:
    """Recordings of the camera's own stream (docs/recordings.md)."""

    folder: Folder  # The folder of all cameras; each has one of its own in it
    continuous: bool = True  # Whether all of the stream is recorded; else clips of events alone
    events: tuple[EventKind, ...] = CLIPPED  # Kinds of events that get a clip
    pre_s: Positive = 5.0  # Seconds of a clip before its event
    post_s: Positive = 5.0  # Seconds of a clip after its event
    segment_s: Positive = 60.0  # Length of the files of the continuous recording
    keep_days: Positive | None = None  # Older files of this camera are deleted
    max_gb: Positive | None = None  # Disk for this camera; the oldest files are deleted


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackTable:
    """The tracker and its settings (docs/tracking.md); None leaves a setting as the tracker has it."""

    tracker: Kind = "default"  # Which tracker: the default one, ByteTrack or OC-SORT
    track_high_thresh: Share | None = None  # Scores from here on are matched first; None: the site's score
    track_low_thresh: Share | None = None  # Scores from here on continue an object
    new_track_thresh: Share | None = None  # Scores from here on start an object; None: 0.1 above the site's score
    lost_after_s: Number | None = None  # Seconds without a detection until an object is removed
    coast_s: Number | None = None  # Seconds without a detection for which an object is still reported
    confirm_after_s: Number | None = None  # Seconds that a new object must last until it is reported
    class_aware: bool | None = None  # Whether an object only matches detections of its class
    match_thresh: Share | None = None  # Largest cost of a match in the first stage
    second_match_thresh: Share | None = None  # Largest cost of a match of a low score
    new_match_thresh: Share | None = None  # Largest cost of the second match of a new object
    position_noise: Number | None = None  # How irregularly objects move; more follows the detections closer
    reach: Number | None = None  # By how many sizes per second between two frames boxes are grown
    score_weight: Number | None = None  # What a difference of scores costs
    momentum: Number | None = None  # Weight of the direction of travel (OC-SORT)
    observation_centric: bool | None = None  # OC-SORT's re-update and recovery
    common_shift: bool | None = None  # Whether what most objects do at once is the camera's motion
    height_overlap: bool | None = None  # Whether the overlap of heights weighs that of boxes
    observed_boxes: bool | None = None  # Whether boxes are reported as detected, or filtered

    def build(self, score: float) -> ByteTracker:
        """The tracker, for a site whose detections count from `score` on."""
        own: dict[str, Any] = {"track_high_thresh": score, "new_track_thresh": min(1.0, score + 0.1)}
        own |= {key: value for key, value in vars_of(self).items() if value is not None and key != "tracker"}
        return TRACKERS[self.tracker](**own)

    def replaced(self, tracker: str | None, given: Iterable[str]) -> TrackTable:
        """The table with the options --tracker and --track KEY=VALUE in the place of its own keys. FileFormatError
        names each mistake."""
        texts = (text.partition("=") for text in given)
        changed = {name: _value(text) for name, _, text in texts} | ({"tracker": tracker} if tracker else {})
        checked(TrackTable, changed, Path("--track"))
        return replace(self, **changed)


def _value(text: str) -> Any:
    """The flag or number of a text; the text where it is neither."""
    with suppress(ValueError):
        return {"true": True, "false": False}[text] if text in ("true", "false") else float(text)
    return text
