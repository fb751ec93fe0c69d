"""The values that flow between the stages. Struct of arrays: frozen, slotted dataclasses of NumPy columns. Every column
always exists; row i means the same thing in each; `ids` joins tables; `table[mask]` gives the same type; iterating
yields small named rows of Python scalars. Ranks, dtypes and equal lengths are checked once, at construction."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TypeVar

from edgevid.types.event import Event, EventKind, Header, utc_seconds, utc_text
from edgevid.types.frame import Frame, FrameClock, Mask, as_frame, scale_between
from edgevid.types.peers import Hinted
from edgevid.types.result import DisplaySpeed, Result, SpeedReport, with_speeds
from edgevid.types.table import F32, F64, I32, I64, U8, Array, Table
from edgevid.types.tables import KMH, Clips, Detections, Reason, Scores, Speeds, Tracks, Verdicts, as_detections

__all__ = ["F32", "F64", "I32", "I64", "KMH", "U8", "Array", "Clips", "Closing", "Detections", "DisplaySpeed", "Event",
           "EventKind", "Frame", "FrameClock", "Header", "Hinted", "Mask", "Progress", "Reason", "Result", "Scores",
           "SpeedReport", "Speeds", "Table", "Tracks", "Verdicts", "as_detections", "as_frame", "scale_between",
           "utc_seconds", "utc_text", "with_speeds"]  # fmt: skip

C = TypeVar("C", bound="Closing")
Progress = Callable[[int, int, str], None]  # Called with what is done, its total, and a text


class Closing(ABC):
    """A context manager that closes itself."""

    @abstractmethod
    def close(self) -> None:
        """Frees what it holds."""

    def __enter__(self: C) -> C:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
