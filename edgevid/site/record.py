"""The table [record] of a site file, and the recorder that it describes."""

from dataclasses import dataclass

from edgevid.files.fields import Positive
from edgevid.files.schema import vars_of
from edgevid.output.recordings import CLIPPED, Recorder
from edgevid.site.sinks import Folder
from edgevid.types.event import EventKind


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordTable:
    """Recordings of the camera's own stream (docs/recordings.md)."""

    folder: Folder
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
        options = vars_of(self)
        max_gb = options.pop("max_gb")
        size = round(1e9 * max_gb) if max_gb else None
        return Recorder(**options, camera=camera, max_bytes=size, live=live, unit=unit)
