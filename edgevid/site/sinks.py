"""The tables [[sink]] of a site file, and the sinks that they describe."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

from edgevid.errors import InputError
from edgevid.files.fields import Count, Positive
from edgevid.files.schema import Checked, Tagged, vars_of
from edgevid.output.dataset import DatasetSink
from edgevid.output.frigate import KINDS, FrigateSink
from edgevid.output.kafka import KafkaSink, Mechanism
from edgevid.output.lines import SYNC_S
from edgevid.output.mqtt import MqttSink
from edgevid.output.parquet import ParquetSink
from edgevid.output.redis import RedisSink
from edgevid.output.segments import SegmentedSink
from edgevid.output.server import EXAMPLES, server_of
from edgevid.output.sinks import CsvSink, EventCsv, EventLines, JsonLines, MotText
from edgevid.output.sqlite import SqliteSink
from edgevid.output.webhook import WebhookSink
from edgevid.types.event import EventKind


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
SERVERS: dict[str, Any] = {
    "mqtt": MqttSink, "webhook": WebhookSink, "redis": RedisSink, "kafka": KafkaSink, "frigate": FrigateSink,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class TextTable:
    """Objects of each frame as text; an existing file is continued."""

    type: Literal["jsonl", "csv", "mot"]
    """Records as JSON lines, rows as CSV, or MOTChallenge text (docs/records.md)."""
    path: Output
    """The file to write."""
    segment_s: Positive | None = None
    """Start new files after this many seconds."""
    max_disk_gb: Positive | None = None
    """With segment_s: disk for all of them; the oldest are deleted."""

    def sink(self, sync_s: float) -> Any:
        """The sink of the table."""
        kind: Any = {"jsonl": JsonLines, "csv": CsvSink, "mot": MotText}[self.type]
        make = partial(kind, append=True, sync_s=sync_s)
        if self.segment_s is None:
            return make(self.path)
        limit = round(self.max_disk_gb * 1e9) if self.max_disk_gb else None
        return SegmentedSink(self.path, make, segment_s=self.segment_s, max_disk_bytes=limit)


@dataclass(frozen=True, slots=True)
class EventsTable:
    """Events as text; an existing file is continued."""

    type: Literal["events"]
    """Events (docs/events.md)."""
    path: Output
    """The file to write: .jsonl, or .csv."""

    def sink(self, sync_s: float) -> Any:
        """The sink of the table."""
        return event_file(self.path, append=True)


@dataclass(frozen=True, slots=True)
class StoreTable:
    """Events, tracks and objects as tables."""

    type: Literal["sqlite", "parquet"]
    """A SQLite database, which many cameras may share, or a folder of Parquet files."""
    path: Output
    """The database, or the folder."""
    records: bool = False
    """Whether the objects of each frame are stored, too."""

    def sink(self, sync_s: float) -> Any:
        """The sink of the table."""
        return (SqliteSink if self.type == "sqlite" else ParquetSink)(self.path, records=self.records)


@dataclass(frozen=True, slots=True)
class DatasetTable:
    """Frames as images with boxes."""

    type: Literal["coco", "yolo"]
    """As COCO's or as YOLO's tools read them (docs/events.md)."""
    path: Output
    """The folder."""
    every_s: Positive = 1.0
    """Seconds between images; 0: only frames with events."""

    def sink(self, sync_s: float) -> Any:
        """The sink of the table."""
        return DatasetSink(self.path, self.type, every_s=self.every_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class _ServerTable:
    ca: File | None = None
    """PEM file with the issuer's certificate, where this machine does not trust it already."""

    def sink(self, sync_s: float) -> Any:
        """The sink of the table."""
        options = vars_of(self)
        return SERVERS[options.pop("type")](**options)


@dataclass(frozen=True, slots=True, kw_only=True)
class MqttTable(_ServerTable):
    """Events and states at a broker."""

    type: Literal["mqtt"]
    """An MQTT broker, and Home Assistant (docs/events.md)."""
    url: Annotated[str, _address("mqtt")]
    """The broker and the topic."""
    discovery: str = "homeassistant"
    """Home Assistant's discovery prefix; empty: there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookTable(_ServerTable):
    """Events as HTTP requests."""

    type: Literal["webhook"]
    """A web server that takes a POST per event (docs/events.md)."""
    url: Annotated[str, _address("webhook")]
    """Where to send them."""
    secret: str = ""
    """Signs each request; empty: they are not signed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisTable(_ServerTable):
    """Events as a Redis stream."""

    type: Literal["redis"]
    """A Redis stream (docs/events.md)."""
    url: Annotated[str, _address("redis")]
    """The server; the path is the number of a database."""
    stream: str = "edgevid"
    """The stream's key."""
    max_entries: Count = 1_000_000
    """The oldest beyond about this many are deleted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KafkaTable(_ServerTable):
    """Events as messages of a Kafka topic."""

    type: Literal["kafka"]
    """A Kafka topic (docs/events.md)."""
    url: Annotated[str, _address("kafka")]
    """A broker and the topic."""
    mechanism: Mechanism = "PLAIN"
    """SASL mechanism of the login in the address."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FrigateTable(_ServerTable):
    """Events in Frigate."""

    type: Literal["frigate"]
    """Frigate's event API (docs/events.md)."""
    url: Annotated[str, _address("frigate")]
    """Frigate's server: port 8971 with a login, or port 5000 without."""
    camera: str = ""
    """The camera's name in Frigate; empty: the same."""
    kinds: tuple[EventKind, ...] = KINDS
    """Kinds of events that become Frigate's."""
    duration_s: Positive = 20.0
    """How long Frigate's event goes on; 0: until the object is gone."""
    include_recording: bool = True
    """Whether Frigate keeps a clip of it."""


SinkTable = Annotated[
    TextTable | EventsTable | StoreTable | DatasetTable
    | MqttTable | WebhookTable | RedisTable | KafkaTable | FrigateTable,
    Tagged("type"),
]  # fmt: skip


def build_sinks(tables: Iterable[Any], *, sync_s: float = SYNC_S) -> list[Any]:
    """The sinks of a site's tables; SourceError where one cannot be written."""
    return [table.sink(sync_s) for table in tables]


def event_file(path: Path, *, append: bool = False) -> EventLines:
    """Events as CSV or as JSON lines, as the file's name says."""
    return (EventCsv if path.suffix.lower() == ".csv" else EventLines)(path, append=append)
