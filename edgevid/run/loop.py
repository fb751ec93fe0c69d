"""A whole run: frames through a pipeline into sinks, with counts, and every output finished at the end."""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from edgevid.errors import EdgevidError, InputError, SourceError, check_part, check_type, shown
from edgevid.output.sinks import Sink, as_sink
from edgevid.run.signals import uninterrupted
from edgevid.types import Frame, Reason, Result
from edgevid.zones import Event, ZoneMonitorLike

log = logging.getLogger("edgevid")
FORGET_AFTER_S = 60.0
"""Objects that were not tracked for this long are counted and forgotten: runs of months must not grow."""
MAX_EVENTS = 1000
"""The latest events that a summary keeps."""


class PipelineLike(Protocol):
    """What runs: a Pipeline, or a wrapper of one."""

    def process(self, frame: Frame) -> Result: ...
    def resize(self, size: tuple[int, int]) -> None: ...
    def close(self) -> None: ...


@dataclass(slots=True)
class Summary:
    """Counts of a run: frames, objects, abstentions, events, time; of bounded size however long the run."""

    frames: int = 0
    size: tuple[int, int] | None = None
    """(width, height) of the latest frame."""
    size_changes: int = 0
    """How often the frames changed their size."""
    ids: dict[int, int] = field(default_factory=dict)
    """Every track id of the last minute or two, with the class label of most of its frames."""
    ended: Counter[int] = field(default_factory=Counter)
    """Objects by class label that are no longer in `ids`."""
    reasons: Counter[tuple[str, Reason]] = field(default_factory=Counter)
    """(task, reason) over all objects and frames: abstentions, and OK for what was emitted."""
    track_speeds: Counter[Reason] = field(default_factory=Counter)
    """Reasons of the one speed of each track that ended; OK for those emitted."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Seconds spent in each stage."""
    events: deque[Event] = field(default_factory=lambda: deque(maxlen=MAX_EVENTS))
    """The latest events of zones and lines."""
    event_counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(kind, place) of all events."""
    interrupted: bool = False
    _last_time: dict[int, float] = field(default_factory=dict)
    _labels: dict[int, Counter[int]] = field(default_factory=dict)
    _swept: float = 0.0

    def add(self, result: Result) -> None:
        """Counts one result."""
        self.frames += 1
        for number, label in zip(result.tracks.ids.tolist(), result.tracks.labels.tolist(), strict=True):
            counts = self._labels.setdefault(number, Counter())
            counts[label] += 1
            self.ids[number], self._last_time[number] = max(counts, key=counts.__getitem__), result.time
        if result.time - self._swept > FORGET_AFTER_S:
            self._sweep(result.time)
        for task, verdicts in result.verdicts.items():
            self.reasons.update((task, Reason(r)) for r in verdicts.reason.tolist())
        self.reasons.update(("speed", Reason(r)) for r in result.speeds.live.reason.tolist())
        self.track_speeds.update(Reason(r) for r in result.speeds.track_speeds.reason.tolist())
        for stage, seconds in result.timings.items():
            self.seconds[stage] = self.seconds.get(stage, 0.0) + seconds

    def add_events(self, events: Iterable[Event]) -> None:
        """Counts events of zones and lines."""
        for event in events:
            self.events.append(event)
            self.event_counts[event.kind, event.place] += 1

    def objects(self) -> Counter[int]:
        """How many objects were tracked so far, by class label."""
        total = Counter(dict(self.ended))  # copies: the run may go on in another thread
        total.update(list(self.ids.values()))
        return total

    def _sweep(self, time: float) -> None:
        self._swept = time
        for number in [i for i, last in self._last_time.items() if time - last > FORGET_AFTER_S]:
            self.ended[self.ids.pop(number)] += 1
            del self._last_time[number], self._labels[number]


def run(
    pipeline: PipelineLike,
    frames: Iterable[Frame],
    sinks: Iterable[Sink | Callable[[Frame, Result], Any]] = (),
    *,
    zones: ZoneMonitorLike | None = None,
    size: tuple[int, int] | None = None,
    max_frames: int | None = None,
    on_result: Callable[[Frame, Result], None] | None = None,
    summary: Summary | None = None,
) -> Summary:
    """Runs the source to its end, to `max_frames` or to Ctrl-C, and closes every sink in any case.

    A sink is an object with `write(frame, result)` and `close()`, or a function of frame and result.

    `size` is the (width, height) that pipeline and zones were built for (None: the first frame's); they are
    resized when the frames change theirs. `summary` is filled as the run goes on, for programs that watch it.

    InputError where pipeline, zones or a sink lacks a method; SourceError where a sink cannot write any more.
    """
    sinks = _checked(pipeline, frames, sinks, zones)
    summary = Summary() if summary is None else summary
    summary.size = size
    with ExitStack() as stack:
        stack.callback(pipeline.close)
        for sink in sinks:
            stack.callback(sink.close)
        try:
            for frame in frames:
                check_type(frame, Frame, "run", "a Frame: Frame(image, time, index)")
                _resize(pipeline, zones, frame, summary)
                result = pipeline.process(frame)
                summary.add(result)
                if zones is not None:
                    summary.add_events(zones.update(result.tracks, result.time))
                with uninterrupted():  # a frame is in all records or in none
                    for sink in sinks:
                        _write(sink, frame, result)
                if on_result is not None:
                    on_result(frame, result)
                if max_frames is not None and summary.frames >= max_frames:
                    break
        except KeyboardInterrupt:
            summary.interrupted = True
    return summary


def _checked(
    pipeline: object,
    frames: object,
    sinks: Iterable[Sink | Callable[[Frame, Result], Any]],
    zones: ZoneMonitorLike | None,
) -> list[Sink]:
    """The sinks, once everything that `run` takes was checked."""
    check_part(pipeline, PipelineLike, "a pipeline")
    if isinstance(frames, (str, Path)) or not isinstance(frames, Iterable):
        raise InputError(f"run: expected frames, got {shown(frames)}: open_video(...) opens a video's frames")
    check_type(sinks, Iterable, "run: sinks", "a list of sinks, such as [JsonLines('a.jsonl')]")
    parts = [as_sink(sink) for sink in sinks]
    for sink in parts:
        check_part(sink, Sink, "a sink")
    if zones is not None:
        check_part(zones, ZoneMonitorLike, "a zone monitor")
    return parts


def _resize(pipeline: PipelineLike, zones: ZoneMonitorLike | None, frame: Frame, summary: Summary) -> None:
    """Tells pipeline and zones about a new size before they get the frame."""
    before, summary.size = summary.size, frame.size
    if before is None or before == frame.size:
        return
    summary.size_changes += 1
    log.warning("the frames changed from %dx%d to %dx%d: tracks end, new ids follow", *before, *frame.size)
    pipeline.resize(frame.size)
    if zones is not None:
        zones.resize(frame.size)


def _write(sink: Sink, frame: Frame, result: Result) -> None:
    """Writes; a full disk becomes a sentence that says what to do."""
    try:
        sink.write(frame, result)
    except EdgevidError:
        raise
    except OSError as error:
        where = getattr(sink, "path", None) or type(sink).__name__
        if isinstance(error, BrokenPipeError) and str(where) == "-":
            raise  # the reader of standard output has ended: no error of the run
        reason = error.strerror or str(error)
        raise SourceError(
            f"{where}: cannot be written: {reason}; if the disk is full, free space and restart"
        ) from None
