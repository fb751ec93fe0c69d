"""Where the results of `edgevid run` go: its files, the sinks that fill them, a window, and the summary."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from edgevid.cli.console import as_texts, check_outputs, is_quiet, is_stdout, results
from edgevid.cli.console import notes as console_of_notes
from edgevid.errors import InputError, SourceError, masked, require, visible
from edgevid.types import Closing, Frame, Reason, Result

if TYPE_CHECKING:
    from edgevid.output.sinks import Sink
    from edgevid.run.loop import Summary
    from edgevid.site.file import Site


FILES = {"out": "MP4", "jsonl": "JSON lines", "csv": "CSV", "mot": "MOT", "events": "events", "timeline": "timeline"}
"""Options that name a file, and what it holds."""


def common_sinks(site: Site, given: Any) -> list[Any]:
    """What the options of a run add to the sinks of each of its cameras: the stores, and labels of named clusters."""
    from edgevid.site.tables import StoreTable, build_sinks

    tables = [StoreTable("sqlite", given.sqlite)] if given.sqlite else []
    tables += [StoreTable("parquet", given.parquet, records=True)] if given.parquet else []
    if not site.clusters:
        return build_sinks(tables)
    from edgevid.insight.cluster import ClusterLabels

    return [*build_sinks(tables), ClusterLabels(site.clusters)]


class Outputs:
    """The outputs that the options of a run ask for."""

    def __init__(self, given: Any, more: Iterable[Any] = ()) -> None:
        """`given` are the options, `more` further sinks."""
        self.given, self.more, self.made = given, [*more], list[Any]()
        self.files: dict[str, Path] = {name: getattr(given, name) for name in FILES if getattr(given, name)}
        self.to_stdout = any(map(is_stdout, self.files.values()))
        """Whether records go to standard output, where nothing else may be printed then."""

    def check(self, *inputs: Any) -> None:
        """InputError or SourceError where an output must not be written; segments have names of their own."""
        segmented = bool(self.given.segment_s)
        if segmented and self.to_stdout:
            raise InputError("run: --segment-s splits files: expected file names, got - (standard output)")
        outputs = {f"--{name}": (path, FILES[name]) for name, path in self.files.items()}
        check_outputs(outputs, () if segmented else inputs, force=self.given.force or segmented)
        for path in self.files.values():
            if not path.parent.is_dir():
                raise SourceError(f"{path}: the folder {path.parent} does not exist; create it first")

    def open(self, site: Site) -> None:
        """Opens the sinks that need no frame to begin: of the site, stores, events, frames, a window, review."""
        from edgevid.site.tables import DatasetTable, EventsTable, build_sinks

        given = self.given
        tables: list[Any] = [EventsTable("events", self.files["events"])] if "events" in self.files else []
        for kind in ("coco", "yolo"):
            folder = getattr(given, kind)
            tables += [DatasetTable(kind, folder, given.frames_every_s)] if folder else []
        self.made += build_sinks(site.sinks, sync_s=given.sync_s) + common_sinks(site, given)
        self.made += build_sinks(tables, append=False)
        if "timeline" in self.files:
            from edgevid.output.timeline import TimelineSink

            self.made.append(TimelineSink(self.files["timeline"]))
        if given.show:
            self.more.append(Window(given.unit, scores=given.scores))
        if given.save_abstained:
            from edgevid.output.review import ReviewSink

            options = {"audit": given.audit, "min_confidence": given.save_below, "source": masked(site.source)}
            self.more.append(ReviewSink(given.save_abstained, **options))

    def sinks(self, config: Any, video: Any, summary: Any, recorder: Any) -> list[Any]:
        """All sinks, once there are the frames of `video`."""
        from edgevid.output import AnnotatedVideo, Metrics, SegmentedSink, SqliteSink
        from edgevid.output.recordings import DATABASE
        from edgevid.site.tables import TextTable, build_sinks
        from edgevid.viewer.config import make_overlay

        def make(file: Path) -> Sink:
            overlay = make_overlay(config, given.unit, scores=given.scores)
            return AnnotatedVideo(file, fps=video.fps, overlay=overlay, codec=given.codec)

        given, path, made = self.given, self.files.get("out"), list[Any]()
        if path:  # another video starts where the frames' size changes
            limit = round(given.max_disk_gb * 1e9) if given.max_disk_gb else None
            made.append(SegmentedSink(path, make, segment_s=given.segment_s, max_disk_bytes=limit))
        texts = [name for name in ("jsonl", "csv", "mot") if name in self.files]
        tables = (TextTable(name, self.files[name], given.segment_s, given.max_disk_gb or None) for name in texts)
        self.made = [*made, *build_sinks(tables, sync_s=given.sync_s, append=False), *self.made]
        if recorder is not None:
            self.made += [SqliteSink(recorder.path / DATABASE), recorder]
        served = [Metrics(given.metrics, video, summary)] if given.metrics else []
        return [*self.made, *self.more, *served]

    def written(self) -> list[str]:
        """The names of the files, the latest where there were many."""
        names: list[str] = []
        for sink in (one for one in [*self.made, *self.more] if str(getattr(one, "path", "-")) != "-"):
            latest = getattr(sink, "segments", [sink.path])[-3:]
            earlier = getattr(sink, "started", 0) - len(latest)
            names.append(", ".join(map(str, latest)) + (f" and {earlier} before" if earlier > 0 else ""))
        return names


TITLE = "edgevid"
END_KEYS = (27, ord("q"))  # Escape and q


class Window(Closing):
    """A sink that shows each frame with its overlay; q or Escape ends the run as Ctrl-C does.

    InputError where there is no display, or where OpenCV was built without windows."""

    def __init__(self, unit: str = "km/h", *, scores: bool = False) -> None:
        from edgevid.output import Overlay

        self._cv2: Any = require("cv2", extra="opencv", purpose="--show")
        self._overlay = Overlay(unit=unit, scores=scores)
        display = not sys.platform.startswith("linux") or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
        try:
            if not display:  # Qt would end the process
                raise InputError("there is no display")
            self._cv2.namedWindow(TITLE, self._cv2.WINDOW_NORMAL)
        except (self._cv2.error, InputError) as error:
            why = error if isinstance(error, InputError) else "this OpenCV has no windows (a headless build)"
            raise InputError(f"--show: expected a window to open: {why}; `edgevid-demo SOURCE` shows it in a browser, "
                             "--out FILE.mp4 writes it") from None  # fmt: skip

    def write(self, frame: Frame, result: Result) -> None:
        """Shows one frame."""
        self._cv2.imshow(TITLE, self._overlay.draw(frame, result)[:, :, ::-1])
        if self._cv2.waitKey(1) & 0xFF in END_KEYS:
            raise KeyboardInterrupt

    def close(self) -> None:
        """Closes the window."""
        self._cv2.destroyAllWindows()


OWN_LINES = ("track-", "verdict", "cross", "enter", "leave")  # Kinds of events that other lines of the summary count


def print_summary(summary: Summary, names: Sequence[str], *, seconds: float, written: Sequence[str],
                  notes: Sequence[str] = (), off: Sequence[str] = (), stderr: bool = False) -> None:  # fmt: skip
    """Objects by class, abstentions by reason, time by stage (but those that are `off`), files written.

    On standard output, or on standard error; nothing with -q."""
    if is_quiet():
        return
    console = (console_of_notes if stderr else results)(soft_wrap=False)
    ended = "interrupted after" if summary.interrupted else "done:"
    rate = summary.frames / seconds if seconds > 0 else 0.0
    console.print(f"[bold]{ended}[/] {summary.frames} frames in {seconds:.1f} s ({rate:.0f} fps)")
    table = Table(box=None, show_header=False, pad_edge=False)
    classes = {names[k] if 0 <= k < len(names) else str(k): n for k, n in summary.objects().most_common()}
    objects = ", ".join(f"{n} {name}" for name, n in classes.items()) or "none"
    rows: list[tuple[str, str | Text]] = [("objects", objects)]
    for task in sorted({task for task, _ in summary.reasons}):
        reasons = Counter({r: n for (t, r), n in summary.reasons.items() if t == task})
        emitted = reasons.pop(Reason.OK, 0)
        why = ", ".join(f"{reason.description} {n}" for reason, n in reasons.most_common())
        rows.append((task, f"emitted {emitted}, abstained {reasons.total()}" + (f" ({why})" if why else "")))
    if summary.track_speeds:
        emitted, total = summary.track_speeds[Reason.OK], summary.track_speeds.total()
        rows.append(("track speeds", f"{emitted} of {total} ended tracks (--events, --sqlite)"))
    spent = {stage: 1000 * s / max(1, summary.frames) for stage, s in summary.seconds.items()}
    shown = ", ".join(f"{stage} {ms:.2f}" for stage, ms in spent.items() if ms >= 0.01 and stage not in off)
    rows.append(("ms/frame", shown))
    for name, ways in summary.crossings.items():
        net = ways["forward"].total() - ways["backward"].total()
        counted = ", ".join(f"{way.total()} {key}{_classes(way)}" for key, way in ways.items())
        rows.append(("line", f"{name}: {counted}, net {net}"))
    for name, stays in summary.stays.items():
        count, spent_s = (sum(column) for column in zip(*stays.values(), strict=True))
        by_class = _classes(Counter({key: n for key, (n, _) in stays.items()}))
        rows.append(("zone", f"{name}: {count} stays{by_class}, {spent_s / count:.1f} s on average"))
    kinds = [one for one in summary.event_counts.most_common() if not one[0][0].startswith(OWN_LINES)]
    if kinds:
        rows.append(("events", ", ".join(f"{n} x {kind} {place}".rstrip() for (kind, place), n in kinds)))
    rows += [("note", note) for note in notes] + [("written", Text(visible(path), "cyan")) for path in written]
    for row in rows:
        table.add_row(*as_texts(console, row))
    console.print(table)


def _classes(counts: Counter[str]) -> str:
    """ " (11 car, 1 bus)", most first; "" of none."""
    return f" ({', '.join(f'{n} {name}' for name, n in counts.most_common())})" if counts else ""
