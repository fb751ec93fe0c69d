"""Records: a result as plain JSON values, and JSON lines that survive and are read again. docs/records.md."""

import errno
import json
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from edgevid.errors import FileFormatError, InputError, SourceError, log
from edgevid.files.atomic import claim, flush_to_disk
from edgevid.types import Closing, Event, Reason, Result
from edgevid.types.event import EVENT_SCHEMA, HEADER_SCHEMA, utc_text
from edgevid.types.rows import object_rows, speed_rows

SYNC_S = 1.0


class TextFile(Closing):
    """A text file whose lines are written one by one, and are on the disk after `sync_s` seconds at most. "-" is
    standard output. `append` continues an existing file, and cuts off a torn last line before."""

    def __init__(self, path: str | Path, *, append: bool = False, sync_s: float = SYNC_S) -> None:
        """SourceError where the file cannot be written, or another program writes it; `sync_s` 0: each line, before the
        next frame."""
        self.path, self._sync_s = Path(path), sync_s
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
            self._handle = os.dup(1) if str(path) == "-" else claim(self.path, os.open(path, flags, 0o666))
            if str(path) != "-" and self.path.is_file():
                os.ftruncate(self._handle, whole_lines(self.path) if append else 0)
        except SourceError:
            raise
        except OSError as error:
            raise SourceError(f"{path}: cannot be written: {error.strerror}; choose another place") from None
        self._written, self._over = threading.Event(), threading.Event()
        self._failure: OSError | None = None
        self._thread = threading.Thread(target=self._sync, name="edgevid-sync", daemon=True)
        if sync_s > 0:
            self._thread.start()

    @property
    def size(self) -> int:
        """Bytes in the file, of earlier runs too."""
        return os.fstat(self._handle).st_size

    def put(self, text: str) -> None:
        """Appends whole lines. OSError where the disk is full; the file then ends as before."""
        failure, self._failure = self._failure, None
        if failure is None and not os.fstat(self._handle).st_nlink:
            failure = FileNotFoundError(errno.ENOENT, "it was deleted while it was written")
        if failure is not None:
            raise failure
        before = self.size
        try:
            view = memoryview(text.encode(errors="backslashreplace"))
            while view:
                view = view[os.write(self._handle, view) :]
        except OSError:
            with suppress(OSError):  # a pipe or device
                os.ftruncate(self._handle, before)
            raise
        if self._sync_s > 0:
            self._written.set()
        else:
            flush_to_disk(self._handle)

    def close(self) -> None:
        """Closes the file, with everything on the disk."""
        if self._over.is_set():
            return
        self._over.set()
        self._written.set()
        if self._sync_s > 0:
            self._thread.join()
        os.close(self._handle)

    def _sync(self) -> None:
        while not self._over.is_set():
            self._written.wait()
            self._over.wait(self._sync_s)
            self._written.clear()
            try:
                flush_to_disk(self._handle)
            except OSError as error:
                self._failure = error


def whole_lines(path: Path) -> int:
    """The bytes of the whole lines that a file begins with: without a torn or zero-filled end."""
    size = 0
    with path.open("rb") as file:
        for text in file:
            if not text.endswith(b"\n") or b"\0" in text:
                break
            size += len(text)
    return size


def last_lines(path: Path, size: int = 1_000_000) -> str:
    """The end of a text file."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - size))
        return file.read().decode(errors="replace")


MOST_LINE = 1 << 26  # Bytes


def read_lines(path: str | Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """The number and the object of each JSON line. What a power failure or a kill left of a line (cut off at the end of
    the file, or filled with zeros) is left out, and reported by a warning. FileFormatError names any other line that is
    no JSON object; SourceError without a readable file."""
    try:
        file = open(path, "rb")  # noqa: SIM115
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {error.strerror}; check the path") from None
    with file:
        for number, text in enumerate(iter(lambda: file.readline(MOST_LINE), b""), 1):
            if len(text) == MOST_LINE:
                raise FileFormatError(path, f"line {number}", expected=f"less than {MOST_LINE:,} bytes", got="more")
            if not text.endswith(b"\n") or b"\0" in text:
                log.warning("%s: line %d is torn (%d bytes): left out", path, number, len(text))
                continue
            try:
                one = json.loads(text)
            except (ValueError, RecursionError) as error:  # no JSON, no UTF-8, a number of a million digits
                raise FileFormatError(path, f"line {number}", expected="JSON", got=str(error)) from None
            if not isinstance(one, dict):
                raise FileFormatError(path, f"line {number}", expected="an object", got=type(one).__name__)
            yield number, one


orjson_dumps: Callable[[Any], bytes] | None = None
with suppress(ImportError):
    import orjson

    orjson_dumps = orjson.dumps

SCHEMA = "edgevid.result/3"
_encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False, ensure_ascii=False).encode


def as_json(result: Result) -> dict[str, Any]:
    """The result as plain JSON values; abstained values carry their reason, and no number is NaN."""
    utc = {"utc": utc_text(result.utc)} if result.utc == result.utc else {}  # NaN outside of a run
    line: dict[str, Any] = {"schema": SCHEMA, "frame": result.frame_index, "time_s": round(result.time, 4), **utc,
                            "size": list(result.size), "objects": object_rows(result)}  # fmt: skip
    if result.events:
        line["events"] = [event.to_dict() for event in result.events]
    for key in ("smoothed", "track_speeds"):
        if len(table := getattr(result.speeds, key)):
            line[key] = speed_rows(table)
    line |= {key: True for key in ("damaged", "gated") if getattr(result, key)}
    if result.image is not Reason.OK:
        line["image"] = result.image.name
    line["timings_ms"] = {stage: round(1000 * seconds, 3) for stage, seconds in result.timings.items()}
    return line


def as_line(result: Result) -> str:
    """The result as one line of a record; orjson writes it where it is installed, in less time. InputError where a box,
    score or age of a track is NaN or infinite."""
    tracks = result.tracks
    for name in ("boxes", "scores", "age"):
        if not np.isfinite(values := getattr(tracks, name)).all():
            row = int(np.nonzero(~np.isfinite(values))[0][0])
            raise InputError(f"record: expected finite {name}, got {values[row]} for track {tracks.ids[row]}")
    return json_line(as_json(result))


def json_line(values: Any) -> str:
    """Plain values as one line of JSON; bytes of names that are no UTF-8 as escapes."""
    if orjson_dumps:
        with suppress(TypeError):
            return orjson_dumps(values).decode() + "\n"
    return _encode(values).encode(errors="backslashreplace").decode() + "\n"


def read_jsonl(path: str | Path) -> Iterator[Mapping[str, Any]]:
    """The objects of a JSON-lines record, one per frame. Torn and zero-filled lines are left out and reported by a
    warning. FileFormatError names the line that is damaged or has another schema; SourceError without a readable
    file."""
    for number, one in read_lines(path):
        if (schema := one.get("schema")) in (HEADER_SCHEMA, EVENT_SCHEMA):
            continue
        if schema != SCHEMA:
            raise FileFormatError(path, f"line {number}: schema", expected=SCHEMA, got=schema)
        yield one


def read_events(path: str | Path) -> Iterator[Event]:
    """The events of JSON lines, of events or of records; errors as of `read_jsonl`."""
    for number, one in read_lines(path):
        found = [one] if one.get("schema") == EVENT_SCHEMA else one.get("events", ())
        try:
            yield from map(Event.of, found)
        except (TypeError, AttributeError) as error:
            raise FileFormatError(path, f"line {number}", expected=EVENT_SCHEMA, got=str(error)) from None


def read_header(path: str | Path) -> Mapping[str, Any]:
    """The latest header of JSON lines, {} where there is none; errors as of `read_jsonl`."""
    return next((one for _, one in reversed([*read_lines(path)]) if one.get("schema") == HEADER_SCHEMA), {})


def record_schema(event: dict[str, Any]) -> dict[str, Any]:
    """The JSON Schema of a record, one line as `as_json` makes it; `event` is the schema of an event."""
    schema: dict[str, Any] = json.loads(Path(__file__).with_name("record_schema.json").read_text(encoding="utf-8"))
    schema["properties"]["schema"]["const"], schema["properties"]["events"]["items"] = SCHEMA, event
    return schema
