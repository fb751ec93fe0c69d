"""Where the results of `edgevid run` go: its files, the sinks that fill them, a window, and the summary."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from rich.markup import escape
from rich.table import Table

from edgevid.cli.console import check_outputs, is_quiet, is_stdout, results
from edgevid.cli.console import notes as console_of_notes
from edgevid.errors import InputError, SourceError, masked, require
from edgevid.types import Closing, Frame, Reason, Result

if TYPE_CHECKING:
    from edgevid.output.sinks import Sink
    from edgevid.run.loop import Summary
    from edgevid.site.file import Site


class Files(NamedTuple):
    """Where the outputs go."""

    out: Path | None
    jsonl: Path | None
    csv: Path | None
    mot: Path | None
    events: Path | None

    def to_stdout(self) -> bool:
        """Whether records go to standard output, where nothing else may be printed then."""
        return any(map(is_stdout, self))

    def check(self, inputs: Any, *, segmented: bool, force: bool) -> None:
        """InputError or SourceError where an output must not be written; segments have names of their own."""
        if segmented and self.to_stdout():
            raise InputError("run: --segment-s splits files: expected file names, got - (standard output)")
        kinds = zip(
            ("--out", "--jsonl", "--csv", "--mot", "--events"), self,
            ("MP4", "JSON lines", "CSV", "MOT", "events"), strict=True,
        )  # fmt: skip
        outputs = {option: (path, kind) for option, path, kind in kinds}
        check_outputs(outputs, () if segmented else inputs, force=force or segmented)
        for path in self:
            if path and not path.parent.is_dir():
                raise SourceError(f"{path}: the folder {path.parent} does not exist; create it first")


@dataclasses.dataclass
class Outputs:
    """The requested output files."""

    site: Site
    files: Files
    segment_s: float | None
    max_disk_gb: float | None
    unit: str
    scores: bool
    codec: str
    sync_s: float
    metrics: str | None
    start: float | None
    more: list[Any] = dataclasses.field(default_factory=list)
    made: list[Any] = dataclasses.field(default_factory=list)

    def add(self, review: dict[str, Any], sqlite: Path | None, parquet: Path | None, *, show: bool) -> None:
        """Adds the sinks that need no frame to begin: of the site, stores, a window, review."""
        from edgevid.site.tables import StoreTable, build_sinks, event_file

        if self.site.clusters:
            from edgevid.insight.cluster import ClusterLabels

            self.more.append(ClusterLabels(self.site.clusters))
        self.made += build_sinks(self.site.sinks, sync_s=self.sync_s)
        self.made += build_sinks([StoreTable("sqlite", sqlite)] if sqlite else [])
        self.made += build_sinks([StoreTable("parquet", parquet, records=True)] if parquet else [])
        if self.files.events:
            self.made.append(event_file(self.files.events))
        if show:
            self.more.append(Window(self.unit, scores=self.scores))
        if review["folder"]:
            from edgevid.output.review import ReviewSink

            self.more.append(ReviewSink(**review, source=masked(self.site.source)))

    def add_frames(self, folders: dict[Any, Path | None], every_s: float) -> None:
        """Adds the folders of frames with boxes."""
        from edgevid.site.tables import DatasetTable, build_sinks

        self.made += build_sinks(DatasetTable(kind, at, every_s) for kind, at in folders.items() if at)

    def recorder(self) -> Any:
        """The site's recorder, None where nothing is recorded."""
        from edgevid.site.build import camera_name
        from edgevid.video.open import is_live

        site = self.site
        if site.record is None:
            return None
        name = site.name or camera_name(site.source)
        return site.record.recorder(name, live=is_live(site.source), unit=self.unit)

    def sinks(self, config: Any, video: Any, summary: Any, recorder: Any) -> list[Any]:
        """The sinks for the frames of `video`."""
        from edgevid.output.metrics import Metrics
        from edgevid.output.recordings import DATABASE
        from edgevid.output.sinks import CsvSink, JsonLines, MotText
        from edgevid.site.tables import StoreTable, build_sinks

        texts = (partial(kind, sync_s=self.sync_s) for kind in (JsonLines, CsvSink, MotText))
        makers = (lambda path: self._video(path, config, video)), *texts
        files = zip(self.files[:4], makers, strict=True)
        self.made = [self._segmented(p, make) for p, make in files if p] + self.made
        served = [Metrics(self.metrics, video, summary)] if self.metrics else []
        if recorder is not None:
            self.made += [*build_sinks([StoreTable("sqlite", recorder.path / DATABASE)]), recorder]
        return [*self.made, *self.more, *served]

    def written(self) -> list[str]:
        """The names of the files, the latest where there were many."""
        names: list[str] = []
        for sink in (one for one in self.made if hasattr(one, "path")):
            latest = getattr(sink, "segments", [sink.path])[-3:]
            earlier = getattr(sink, "started", 0) - len(latest)
            names.append(", ".join(map(str, latest)) + (f" and {earlier} before" if earlier > 0 else ""))
        return names

    def _segmented(self, path: Path, make: Any) -> Any:
        """One plain file without --segment-s; a video starts another one where the frames' size changes."""
        from edgevid.output.sinks import SegmentedSink

        if self.segment_s is None and path != self.files.out:
            return make(path)
        limit = round(self.max_disk_gb * 1e9) if self.max_disk_gb else None
        return SegmentedSink(path, make, segment_s=self.segment_s, max_disk_bytes=limit)

    def _video(self, path: Path, config: Any, video: Any) -> Sink:
        from edgevid.output.sinks import AnnotatedVideo
        from edgevid.viewer.config import make_overlay

        overlay = make_overlay(config.scaled_to(video.size), self.unit, scores=self.scores)
        return AnnotatedVideo(path, fps=video.fps, overlay=overlay, codec=self.codec)


TITLE = "edgevid"
END_KEYS = (27, ord("q"))  # Escape and q


class Window(Closing):
    """A sink that shows each frame with its overlay; q or Escape ends the run as Ctrl-C does.

    InputError where there is no display, or where OpenCV was built without windows.
    """

    def __init__(self, unit: str = "km/h", *, scores: bool = False) -> None:
        from edgevid.output.overlay import Overlay

        self._cv2: Any = require("cv2", extra="opencv", purpose="--show")
        self._overlay = Overlay(unit=unit, scores=scores)
        linux = sys.platform.startswith("linux")
        display = not linux or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
        try:
            if not display:  # Qt would end the process
                raise InputError("there is no display")
            self._cv2.namedWindow(TITLE, self._cv2.WINDOW_NORMAL)
        except (self._cv2.error, InputError) as error:
            why = error if isinstance(error, InputError) else "this OpenCV has no windows (a headless build)"
            raise InputError(
                f"--show: expected a window to open: {why}; `edgevid-demo SOURCE` shows it in a browser, "
                "--out FILE.mp4 writes it"
            ) from None

    def write(self, frame: Frame, result: Result) -> None:
        """Shows one frame."""
        self._cv2.imshow(TITLE, self._overlay.draw(frame, result)[:, :, ::-1])
        if self._cv2.waitKey(1) & 0xFF in END_KEYS:
            raise KeyboardInterrupt

    def close(self) -> None:
        """Closes the window."""
        self._cv2.destroyAllWindows()


OWN_LINES = ("track-", "verdict", "cross", "enter", "leave")  # Kinds of events that other lines of the summary count


def print_summary(
    summary: Summary, names: Sequence[str], *, seconds: float, written: Sequence[str],
    notes: Sequence[str] = (), off: Sequence[str] = (), stderr: bool = False,
) -> None:  # fmt: skip
    """Objects by class, abstentions by reason, time by stage (but those that are `off`), files written.

    On standard output, or on standard error; nothing with -q.
    """
    if is_quiet():
        return
    console = (console_of_notes if stderr else results)(soft_wrap=False)
    ended = "interrupted after" if summary.interrupted else "done:"
    rate = summary.frames / seconds if seconds > 0 else 0.0
    console.print(f"[bold]{ended}[/] {summary.frames} frames in {seconds:.1f} s ({rate:.0f} fps)")
    table = Table(box=None, show_header=False, pad_edge=False)
    classes = {names[k] if 0 <= k < len(names) else str(k): n for k, n in summary.objects().most_common()}
    table.add_row("objects", ", ".join(f"{n} {name}" for name, n in classes.items()) or "none")
    for task in sorted({task for task, _ in summary.reasons}):
        reasons = Counter({r: n for (t, r), n in summary.reasons.items() if t == task})
        emitted = reasons.pop(Reason.OK, 0)
        why = ", ".join(f"{reason.description} {n}" for reason, n in reasons.most_common())
        table.add_row(task, f"emitted {emitted}, abstained {reasons.total()}" + (f" ({why})" if why else ""))
    if summary.track_speeds:
        emitted, total = summary.track_speeds[Reason.OK], summary.track_speeds.total()
        table.add_row("track speeds", f"{emitted} of {total} ended tracks")
    spent = {stage: 1000 * s / max(1, summary.frames) for stage, s in summary.seconds.items()}
    shown = ", ".join(f"{stage} {ms:.2f}" for stage, ms in spent.items() if ms >= 0.01 and stage not in off)
    table.add_row("ms/frame", shown)
    for name, ways in summary.crossings.items():
        net = ways["forward"].total() - ways["backward"].total()
        counted = ", ".join(f"{way.total()} {key}{_classes(way)}" for key, way in ways.items())
        table.add_row("line", escape(f"{name}: {counted}, net {net}"))
    for name, stays in summary.stays.items():
        count, spent_s = (sum(column) for column in zip(*stays.values(), strict=True))
        by_class = _classes(Counter({key: n for key, (n, _) in stays.items()}))
        table.add_row("zone", escape(f"{name}: {count} stays{by_class}, {spent_s / count:.1f} s on average"))
    kinds = [one for one in summary.event_counts.most_common() if not one[0][0].startswith(OWN_LINES)]
    if kinds:
        table.add_row("events", ", ".join(f"{n} x {kind} {place}".rstrip() for (kind, place), n in kinds))
    for note in notes:
        table.add_row("note", escape(note))
    for path in written:
        table.add_row("written", f"[cyan]{escape(path)}[/]")
    console.print(table)


def _classes(counts: Counter[str]) -> str:
    """ " (11 car, 1 bus)", most first; "" of none."""
    return f" ({', '.join(f'{n} {name}' for name, n in counts.most_common())})" if counts else ""
