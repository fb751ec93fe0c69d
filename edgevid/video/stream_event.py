"""What happens to a live stream: a row of its list of events."""

from typing import Literal, NamedTuple

Kind = Literal["connected", "lost", "stalled", "resized", "jumped", "retimed", "skipped", "ended"]


class StreamEvent(NamedTuple):
    """Something that happened to the stream."""

    time: float
    """Seconds on the source's clock."""
    kind: Kind
    """Lost: the stream ended or could not be opened; stalled: no frame came for too long; jumped: its time
    stamps did; retimed: frames are timed by their arrival, or by their stamps again; skipped: segments were
    gone before they were read; ended: a file or recording is at its end."""
    detail: str
