"""A whole run: frames through a pipeline into sinks, with counts, and every output finished at the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field

from edgevid.pipeline import Pipeline
from edgevid.records import Sink
from edgevid.types import Frame, Reason, Result
from edgevid.zones import Event, ZoneMonitor


@dataclass(slots=True)
class Summary:
    """What a run saw and kept silent about."""

    frames: int = 0
    ids: dict[int, int] = field(default_factory=dict)
    """Every track id with its last class label."""
    silences: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(task, reason) over all objects and frames; "OK" counts what was said."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Seconds spent in each stage."""
    events: list[Event] = field(default_factory=list)
    interrupted: bool = False

    def add(self, result: Result) -> None:
        """Counts one result."""
        self.frames += 1
        for number, label in zip(result.tracks.ids, result.tracks.labels, strict=True):
            self.ids[int(number)] = int(label)
        for task, verdicts in result.verdicts.items():
            self.silences.update((task, Reason(r).name) for r in verdicts.reason.tolist())
        self.silences.update(("speed", Reason(r).name) for r in result.speeds.reason.tolist())
        for stage, seconds in result.timings.items():
            self.seconds[stage] = self.seconds.get(stage, 0.0) + seconds


def run(
    pipeline: Pipeline,
    frames: Iterable[Frame],
    sinks: Iterable[Sink] = (),
    *,
    zones: ZoneMonitor | None = None,
    limit: int | None = None,
    on_result: Callable[[Frame, Result], None] | None = None,
) -> Summary:
    """Runs the source to its end, to `limit` frames or to Ctrl-C, and closes every sink in any case."""
    summary = Summary()
    with ExitStack() as stack:
        stack.callback(pipeline.close)
        sinks = list(sinks)
        for sink in sinks:
            stack.callback(sink.close)
        try:
            for frame, result in pipeline.run(frames):
                summary.add(result)
                if zones is not None:
                    summary.events += zones.update(result.tracks, result.time)
                for sink in sinks:
                    sink.write(frame, result)
                if on_result is not None:
                    on_result(frame, result)
                if limit is not None and summary.frames >= limit:
                    break
        except KeyboardInterrupt:
            summary.interrupted = True
    return summary
