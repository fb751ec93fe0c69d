"""A whole run: frames through a pipeline into sinks, with counts, and every output finished at the end."""

import threading
import time as clock
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from edgevid.abstain import DriftMonitor
from edgevid.errors import EdgevidError, InputError, SourceError, check_part, check_type, log, masked, shown
from edgevid.files.atomic import InUseError, remedy
from edgevid.files.folders import camera_spool
from edgevid.output.delivery import Delivery, Worker
from edgevid.output.events import EventFinder
from edgevid.output.sinks import AnySink, as_sink
from edgevid.run.watchdog import uninterrupted
from edgevid.site.build import header_of
from edgevid.types import Closing, Event, Frame, Header, Reason, Result, SpeedReport
from edgevid.zones import ZoneEvent, ZoneMonitorLike

FORGET_AFTER_S = 60.0  # Objects not tracked for this long are counted and forgotten: runs of months must not grow
MAX_EVENTS = 1000  # The latest events that a summary keeps
AWAY_S = 10.0  # For how long a sink that raised is left out, in a run that isolates its sinks


class PipelineLike(Protocol):
    """What runs: a Pipeline, or a wrapper of one."""

    def process(self, frame: Frame) -> Result: ...
    def resize(self, size: tuple[int, int]) -> None: ...
    def close(self) -> None: ...


@dataclass(slots=True)
class Summary:
    """Counts of a run: frames, objects, abstentions, events, time; of bounded size however long the run."""

    frames: int = 0
    size: tuple[int, int] | None = None  # (width, height) of the latest frame
    damaged: int = 0  # Damaged frames, skipped ones too
    gated: int = 0  # Frames that needed no detection
    size_changes: int = 0  # How often the frames changed their size
    ids: dict[int, int] = field(default_factory=dict)
    """Every track id of the last minute or two, with the class label of most of its frames."""
    ended: Counter[int] = field(default_factory=Counter)  # Objects by class label that are no longer in `ids`
    reasons: Counter[tuple[str, Reason]] = field(default_factory=Counter)
    """(task, reason) over all objects and frames: abstentions, and OK for what was emitted."""
    track_speeds: Counter[Reason] = field(default_factory=Counter)
    """Reasons of the one speed of each track that ended; OK for those emitted."""
    seconds: dict[str, float] = field(default_factory=dict)  # Seconds spent in each stage
    events: deque[Event] = field(default_factory=lambda: deque(maxlen=MAX_EVENTS), repr=False)  # The latest events
    event_counts: Counter[tuple[str, str]] = field(default_factory=Counter)  # (kind, place) of all events
    class_events: Counter[tuple[str, str]] = field(default_factory=Counter)  # (kind, class name) of all events
    crossings: dict[str, dict[str, Counter[str]]] = field(default_factory=dict)
    """By line, then "forward" and "backward": crossings by the class name that their tracks have by now."""
    stays: dict[str, dict[str, tuple[int, float]]] = field(default_factory=dict)
    """By zone, then class name: the stays that ended, and their seconds."""
    workers: Sequence[Worker] = ()  # The sinks of events, with what they have and what waits
    notes: list[str] = field(default_factory=list)  # What the sinks could not take, and what drifted
    interrupted: bool = False
    _last_time: dict[int, float] = field(default_factory=dict, repr=False)
    _labels: dict[int, Counter[int]] = field(default_factory=dict, repr=False)
    _crossed: dict[int, list[tuple[Counter[str], str]]] = field(default_factory=dict, repr=False)
    _swept: float = field(default=0.0, repr=False)

    def add(self, result: Result) -> None:
        """Counts one result."""
        self.frames, self.gated = self.frames + 1, self.gated + result.gated
        for number, label in zip(result.tracks.ids.tolist(), result.tracks.labels.tolist(), strict=True):
            counts = self._labels.setdefault(number, Counter())
            counts[label] += 1
            most = max(counts, key=counts.__getitem__)
            if self.ids.get(number, most) != most:
                crossed = self._crossed.pop(number, ())
                self._crossed[number] = [(way, _moved(way, was, result.class_name(most))) for way, was in crossed]
            self.ids[number], self._last_time[number] = most, result.time
        if result.time - self._swept > FORGET_AFTER_S:
            self._swept = result.time
            for number in [i for i, last in self._last_time.items() if result.time - last > FORGET_AFTER_S]:
                self.ended[self.ids.pop(number)] += 1
                del self._last_time[number], self._labels[number]
                self._crossed.pop(number, None)
        for task, verdicts in result.verdicts.items():
            self.reasons.update((task, Reason(r)) for r in verdicts.reason.tolist())
        self.reasons.update(("speed", Reason(r)) for r in result.speeds.live.reason.tolist())
        self.track_speeds.update(Reason(r) for r in result.speeds.track_speeds.reason.tolist())
        for stage, seconds in result.timings.items():
            self.seconds[stage] = self.seconds.get(stage, 0.0) + seconds

    def add_event(self, event: Event) -> None:
        """Counts one event."""
        self.events.append(event)
        self.event_counts[event.kind, event.place] += 1
        self.class_events[event.kind, event.class_name] += 1
        if event.kind == "cross":
            way = self.add_line(event.place).setdefault(event.direction, Counter())
            way[event.class_name] += 1
            if event.track in self.ids:
                self._crossed.setdefault(event.track, []).append((way, event.class_name))
        elif event.kind == "leave":
            stays = self.stays.setdefault(event.place, {})
            count, seconds = stays.get(event.class_name, (0, 0.0))
            stays[event.class_name] = count + 1, seconds + (event.seconds or 0.0)

    def add_line(self, name: str) -> dict[str, Counter[str]]:
        """The crossings of a line, which may be none yet."""
        return self.crossings.setdefault(name, {"forward": Counter(), "backward": Counter()})

    def objects(self) -> Counter[int]:
        """How many objects were tracked so far, by class label."""
        total = Counter(dict(self.ended))  # copies: the run may go on in another thread
        total.update(list(self.ids.values()))
        return total


def _moved(way: Counter[str], was: str, name: str) -> str:
    """The new class of a crossing that was counted as another one."""
    way[was] -= 1
    way[name] += 1
    if not way[was]:
        del way[was]
    return name


def run(pipeline: PipelineLike, frames: Iterable[Frame], sinks: Iterable[AnySink] = (), *,
        zones: ZoneMonitorLike | None = None, size: tuple[int, int] | None = None, max_frames: int | None = None,
        on_result: Callable[[Frame, Result], None] | None = None, on_event: Callable[[Event], None] | None = None,
        header: Header | None = None, speed_limit_kmh: float | None = None, skip_damaged: bool = False,
        summary: Summary | None = None, source: Any = None, isolate: bool = False,
        monitors: Mapping[str, DriftMonitor] | None = None) -> Summary:  # fmt: skip
    """Runs the source to its end, to `max_frames` or to Ctrl-C, and closes every sink in any case.

    A sink is an object with `write(frame, result)` or `send(events)`, and `close()`, or a function of frame
    and result. `on_event` is called with each event when it is found, in the loop; stream events of a live
    source in a thread of their own. `header` names the camera; `speed_limit_kmh` adds "speed-limit" events.

    `size` is the (width, height) that pipeline and zones were built for (None: the first frame's); they are
    resized when the frames change theirs. `summary` is filled as the run goes on, for programs that watch it.
    `source` is where the frames come from, if `frames` only hands them on.

    With `skip_damaged`, frames that are damaged are counted and not processed. A sink whose disk cannot be written,
    where the source is live, and with `isolate` one that raises anything, is left out for a while, with an event
    "sink-failed", and the run goes on. `monitors` get the verdicts of their task; the summary's notes have their finds.

    InputError where pipeline, zones or a sink lacks a method; SourceError where a sink cannot write any more, or
    another program writes there."""
    source = frames if source is None else source
    independent = bool(getattr(source, "independent", False))  # photos: nothing of one goes into the next
    summary = Summary() if summary is None else summary
    parts = _checked(pipeline, frames, sinks, zones, summary)
    summary.size = size
    writing = [sink for sink in parts if hasattr(sink, "write")]
    with ExitStack() as last, ExitStack() as stack:
        stack.callback(pipeline.close)
        for sink in parts:
            if not hasattr(sink, "send"):  # the emitter closes those in their threads
                stack.callback(_one_sentence(sink)(sink.close))
        origin = masked(str(getattr(source, "uri", getattr(source, "path", ""))))
        header = header or header_of(pipeline, origin)
        emitter = stack.enter_context(Emitter(source, header, parts, summary, on_event, speed_limit_kmh))
        kind = Exception if isolate else OSError if getattr(source, "live", False) else ()
        away: dict[int, float] = {}
        try:
            for frame in _taken(frames, summary, skip_damaged):
                _resize(pipeline, zones, frame, summary, independent=independent)
                result = pipeline.process(frame)
                found = zones.update(result.tracks, result.time) if zones is not None else ()
                result = emitter.add(frame, result, found, getattr(pipeline, "health", None))
                summary.add(result)
                for task, monitor in (monitors or {}).items():
                    monitor.update(result.verdicts[task])
                with uninterrupted():  # a frame is in all records or in none
                    _write(writing, frame, result, emitter, away, kind)
                if on_result is not None:
                    on_result(frame, result)
                if max_frames is not None and summary.frames >= max_frames:
                    break
        except KeyboardInterrupt:
            summary.interrupted = True
        last.enter_context(uninterrupted())  # the outputs are finished first
        emitter.finish(zones, pipeline)
        summary.notes += [f"{task}: {one.report().description}" for task, one in (monitors or {}).items()]
    return summary


class Emitter(Closing):
    """Brings the events of a run to its results, its summary, a callback, and the sinks that take them."""

    def __init__(self, source: Any, header: Header, sinks: Iterable[Any], summary: Summary,
                 on_event: Callable[[Event], None] | None, speed_limit_kmh: float | None) -> None:  # fmt: skip
        finder = EventFinder(header, self._emit, source, speed_limit_kmh=speed_limit_kmh)
        self._finder, self.report = finder, finder.report
        self._summary, self._on_event, self._found = summary, on_event, deque[Event]()
        self._sinks = list(sinks)
        self._annotators = [sink.annotate for sink in self._sinks if hasattr(sink, "annotate")]
        for sink in sinks:
            if hasattr(sink, "open"):
                with _one_sentence(sink):
                    sink.open(header)
        taking = [sink for sink in sinks if hasattr(sink, "send")]
        self._delivery = Delivery(taking, camera_spool(header.camera)) if taking else None
        summary.workers = self._delivery.workers if self._delivery else ()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._poll, name="edgevid-events", daemon=True)
        if getattr(source, "live", False):
            self._thread.start()

    def add(self, frame: Frame, result: Result, zones: Iterable[ZoneEvent], health: Any) -> Result:
        """The result with its time in UTC and the events since the one before."""
        self._finder.update(frame, result, zones, health)
        events = tuple(self._found.popleft() for _ in range(len(self._found)))
        return replace(result, utc=self._finder.utc(result.time), events=events)

    def finish(self, zones: Any, pipeline: Any) -> None:
        """Adds the events after the last frame: who is inside leaves, who was on a line crossed it or not,
        and tracks end with their speeds."""
        speeds = pipeline.flush() if hasattr(pipeline, "flush") else SpeedReport()
        self._finder.finish(zones.finish() if hasattr(zones, "finish") else (), speeds)
        self._summary.track_speeds.update(Reason(r) for r in speeds.track_speeds.reason.tolist())

    def close(self) -> None:
        """Ends every track, and waits for the sinks, but not for those that are away."""
        self._over.set()
        self._finder.close()
        for sink in self._sinks:
            if self._found and hasattr(sink, "end"):
                with _one_sentence(sink):
                    sink.end(self._found)
        if self._delivery is not None:
            self._delivery.close()
            self._summary.notes += self._delivery.notes()

    def _emit(self, event: Event) -> None:
        for annotate in self._annotators:
            event = annotate(event)
        self._found.append(event)
        self._summary.add_event(event)
        if self._delivery is not None:
            self._delivery.put(event)
        if self._on_event is not None:
            self._on_event(event)

    def _poll(self) -> None:
        """A stream that is away sends no frame: what happened to it is found here."""
        while not self._over.wait(0.5):
            self._finder.poll_stream()


def _write(sinks: list[Any], frame: Frame, result: Result, emitter: Emitter, away: dict[int, float],
           kind: Any) -> None:  # fmt: skip
    """Brings a result to the sinks. `away`: until when one that raised an error of `kind` gets none; others end the
    run."""
    for number, sink in enumerate(sinks):
        if clock.monotonic() < away.get(number, 0.0):
            continue
        name = masked(str(getattr(sink, "name", getattr(sink, "path", type(sink).__name__))))
        try:
            with _one_sentence(sink):
                sink.write(frame, result)
            if away.pop(number, None):
                log.info("%s: takes results again", name)
        except Exception as error:
            ends = isinstance(error, InUseError) and kind is OSError  # two programs: the second one stops
            if not isinstance(error, kind) or isinstance(error, BrokenPipeError) or ends:
                raise
            if number not in away:
                log.error("%s: %s; it is tried again every %.0f s", name, said(error), AWAY_S)
                emitter.report("sink-failed", said(error), name)
            away[number] = clock.monotonic() + AWAY_S


def said(error: BaseException) -> str:
    """An error in a line, secrets hidden; of one that is not edgevid's, with its kind."""
    text = " ".join(masked(str(error)).split())
    return text if isinstance(error, EdgevidError) else f"{type(error).__name__}: {text}"


def _checked(pipeline: object, frames: object, sinks: Iterable[AnySink], zones: ZoneMonitorLike | None,
             summary: Summary) -> list[Any]:  # fmt: skip
    """The sinks, once everything that `run` takes was checked; the summary has every line from now on."""
    check_part(pipeline, PipelineLike, "a pipeline")
    if isinstance(frames, (str, Path)) or not isinstance(frames, Iterable):
        raise InputError(f"run: expected frames, got {shown(frames)}: open_video(...) opens a video's frames")
    check_type(sinks, Iterable, "run: sinks", "a list of sinks, such as [JsonLines('a.jsonl')]")
    parts = [as_sink(sink) for sink in sinks]
    if zones is not None:
        check_part(zones, ZoneMonitorLike, "a zone monitor")
        for line in getattr(zones, "lines", ()):
            summary.add_line(line.name)
    return parts


def _taken(frames: Iterable[Frame], summary: Summary, skip_damaged: bool) -> Iterator[Frame]:
    """The frames that are processed; damaged ones are counted."""
    for frame in frames:
        check_type(frame, Frame, "run", "a Frame: Frame(image, time, index)")
        summary.damaged += frame.damaged
        if not (skip_damaged and frame.damaged):
            yield frame


def _resize(pipeline: PipelineLike, zones: ZoneMonitorLike | None, frame: Frame, summary: Summary, *,
            independent: bool) -> None:  # fmt: skip
    """Tells pipeline and zones about a new size, or another photo, before they get the frame."""
    before, summary.size = summary.size, frame.size
    if before is None or (before == frame.size and not independent):
        return
    if not independent:
        summary.size_changes += 1
        log.warning("the frames changed from %dx%d to %dx%d: tracks end, new ids follow", *before, *frame.size)
    pipeline.resize(frame.size)
    if zones is not None:
        zones.resize(frame.size)


@contextmanager
def _one_sentence(sink: Any) -> Iterator[None]:
    """A disk that cannot be written becomes a sentence that says what to do."""
    try:
        yield
    except EdgevidError:
        raise
    except OSError as error:
        where = getattr(sink, "path", None) or type(sink).__name__
        if isinstance(error, BrokenPipeError) and str(where) == "-":
            raise  # the reader of standard output has ended: no error of the run
        raise SourceError(f"{where}: cannot be written: {error.strerror or error}; {remedy(error)}") from None
