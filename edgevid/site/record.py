"""The table [record] of a site file, and the recorder that it describes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from edgevid.files.fields import Positive
from edgevid.files.schema import Checked
from edgevid.output.recordings import CLIPPED, Recorder
from edgevid.types.event import EventKind

Recordings = Annotated[Path, Checked("a folder, relative to the site file", lambda path, base: base / path)]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordTable:
    """Recordings of the camera's own stream (docs/recordings.md)."""

    folder: Recordings
    """The folder of all cameras; each has one of its own in it."""
    continuous: bool = True
    """Whether all of the stream is recorded; else clips of events alone."""
    events: tuple[EventKind, ...] = CLIPPED
    """Kinds of events that get a clip."""
    pre_s: Positive = 5.0
    """Seconds of a clip before its event."""
    post_s: Positive = 5.0
    """Seconds of a clip after its event."""
    segment_s: Positive = 60.0
    """Length of the files of the continuous recording."""
    keep_days: Positive | None = None
    """Older files of this camera are deleted."""
    max_gb: Positive | None = None
    """Disk for this camera; the oldest files are deleted."""

    def recorder(self, camera: str, *, live: bool, unit: str = "km/h") -> Recorder:
        """The recorder of the table; SourceError where the folder cannot be made."""
        return Recorder(
            self.folder, camera=camera, continuous=self.continuous, events=self.events, pre_s=self.pre_s,
            post_s=self.post_s, segment_s=self.segment_s, keep_days=self.keep_days,
            max_bytes=round(1e9 * self.max_gb) if self.max_gb else None, live=live, unit=unit,
        )  # fmt: skip
