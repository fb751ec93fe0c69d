"""A whole run: frames through a pipeline into sinks, with counts, and every output finished at the end."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field

from edgevid.errors import EdgevidError, SourceError
from edgevid.output.sinks import Sink
from edgevid.pipeline import Pipeline
from edgevid.run.signals import uninterrupted
from edgevid.types import Frame, Reason, Result
from edgevid.zones import Event, ZoneMonitorLike

REMEMBER_S = 60.0
"""Objects not seen for so long are counted and forgotten: runs of months must not grow."""
EVENTS = 1000
"""The latest events that a summary keeps."""


@dataclass(slots=True)
class Summary:
    """What a run saw and kept silent about; of bounded size however long the run."""

    frames: int = 0
    ids: dict[int, int] = field(default_factory=dict)
    """Every track id of the last minute or two, with its last class label."""
    ended: Counter[int] = field(default_factory=Counter)
    """Objects by class label that are no longer in `ids`."""
    silences: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(task, reason) over all objects and frames; "OK" counts what was said."""
    track_speeds: Counter[str] = field(default_factory=Counter)
    """Reasons of the one speed that each ended track has; "OK" counts what was said."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Seconds spent in each stage."""
    events: deque[Event] = field(default_factory=lambda: deque(maxlen=EVENTS))
    """The latest events of zones and lines."""
    event_counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(kind, place) of all events."""
    interrupted: bool = False
    _seen: dict[int, float] = field(default_factory=dict)
    _swept: float = 0.0

    def add(self, result: Result) -> None:
        """Counts one result."""
        self.frames += 1
        for number, label in zip(result.tracks.ids.tolist(), result.tracks.labels.tolist(), strict=True):
            self.ids[number], self._seen[number] = label, result.time
        if result.time - self._swept > REMEMBER_S:
            self._sweep(result.time)
        for task, verdicts in result.verdicts.items():
            self.silences.update((task, Reason(r).name) for r in verdicts.reason.tolist())
        self.silences.update(("speed", Reason(r).name) for r in result.speeds.live.reason.tolist())
        self.track_speeds.update(Reason(r).name for r in result.speeds.track_speeds.reason.tolist())
        for stage, seconds in result.timings.items():
            self.seconds[stage] = self.seconds.get(stage, 0.0) + seconds

    def happened(self, events: Iterable[Event]) -> None:
        """Counts what happened in zones and on lines."""
        for event in events:
            self.events.append(event)
            self.event_counts[event.kind, event.place] += 1

    def objects(self) -> Counter[int]:
        """How many objects were seen so far, by class label."""
        total = Counter(dict(self.ended))  # copies: the run may go on in another thread
        total.update(list(self.ids.values()))
        return total

    def _sweep(self, time: float) -> None:
        self._swept = time
        for number in [i for i, seen in self._seen.items() if time - seen > REMEMBER_S]:
            self.ended[self.ids.pop(number)] += 1
            del self._seen[number]


def run(
    pipeline: Pipeline,
    frames: Iterable[Frame],
    sinks: Iterable[Sink] = (),
    *,
    zones: ZoneMonitorLike | None = None,
    limit: int | None = None,
    on_result: Callable[[Frame, Result], None] | None = None,
    before: Callable[[Frame], None] | None = None,
    summary: Summary | None = None,
) -> Summary:
    """Runs the source to its end, to `limit` frames or to Ctrl-C, and closes every sink in any case.

    `before` sees each frame before the pipeline does (site_resize.Resizing goes there); `summary` is
    filled as the run goes on, for programs that watch it. SourceError where a sink cannot write any more.
    """
    summary = Summary() if summary is None else summary
    with ExitStack() as stack:
        stack.callback(pipeline.close)
        sinks = list(sinks)
        for sink in sinks:
            stack.callback(sink.close)
        try:
            for frame in frames:
                if before is not None:
                    before(frame)
                result = pipeline.process(frame)
                summary.add(result)
                if zones is not None:
                    summary.happened(zones.update(result.tracks, result.time))
                with uninterrupted():  # a frame is in all records or in none
                    for sink in sinks:
                        _write(sink, frame, result)
                if on_result is not None:
                    on_result(frame, result)
                if limit is not None and summary.frames >= limit:
                    break
        except KeyboardInterrupt:
            summary.interrupted = True
    return summary


def _write(sink: Sink, frame: Frame, result: Result) -> None:
    """A full disk is told in a sentence, as anything else that a user can put right."""
    try:
        sink.write(frame, result)
    except EdgevidError:
        raise
    except OSError as error:
        where = getattr(sink, "path", None) or type(sink).__name__
        reason = error.strerror or str(error)
        raise SourceError(
            f"{where}: cannot be written any more: {reason}; make room, then start again"
        ) from None
