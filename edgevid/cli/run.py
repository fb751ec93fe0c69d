"""`edgevid run`: a source through the pipeline, into a video, JSON lines, CSV or MOT text."""

from __future__ import annotations

import dataclasses
import logging
import sys
import time as clock
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from typer import Argument, Option

from edgevid.cli import options as shared

if TYPE_CHECKING:
    from edgevid.output.sinks import Sink
    from edgevid.site.build import LoadedSite
    from edgevid.site.file import Site

Source = Annotated[str, Argument(help="Video file, folder or glob of images, camera number, or URL.")]
Review = Annotated[Path | None, Option(help="Folder for crops and scores of abstained verdicts.")]
SegmentS = Annotated[float | None, Option(help="Start new output files after this many seconds.", min=1)]
Score = Annotated[float | None, Option(help="track_high_thresh; a new track needs 0.1 more.", min=0, max=1)]


def command(
    source: Source = "",
    model: shared.Model = None,
    site: Annotated[Path | None, Option(help="Site file (TOML) of one camera.")] = None,
    calibration: shared.Calibration = None,
    health: Annotated[Path | None, Option(help="Folder for camera health: detects a moved camera.")] = None,
    actions: shared.Actions = None,
    policy: Annotated[Path | None, Option(help="Abstain policy (`edgevid tune`).")] = None,
    save_abstained: Review = None,
    unit: shared.Unit = "km/h",
    out: Annotated[Path | None, Option(help="Annotated video to write (MP4).")] = None,
    jsonl: Annotated[Path | None, Option(help="JSON lines to write, one object per frame.")] = None,
    csv: Annotated[Path | None, Option(help="CSV to write, a row per object and frame.")] = None,
    mot: Annotated[Path | None, Option(help="MOTChallenge text to write.")] = None,
    segment_s: SegmentS = None,
    max_disk_gb: Annotated[
        float | None, Option(help="With --segment-s: disk per output, the oldest are deleted.", min=0)
    ] = None,
    classes: shared.Classes = "",
    score_threshold: Score = None,
    device: Annotated[str | None, Option(help="auto, cpu or cuda:0.")] = None,
    precision: shared.Precision = None,
    threads: shared.Threads = None,
    max_frames: shared.MaxFrames = None,
    status_s: Annotated[float, Option(help="Live: seconds between status lines (0: none).", min=0)] = 60.0,
) -> None:
    """Detect, track and record the objects of a video or camera."""
    from edgevid.cli.output_files import refuse_overwriting
    from edgevid.cli.progress import print_summary
    from edgevid.errors import masked
    from edgevid.output.review import ReviewSink
    from edgevid.site.build import load_site

    options: dict[str, Any] = {"source": source, "model": model, "score": score_threshold, "device": device}
    options |= {"precision": precision, "calibration": calibration, "health": health}
    options["classes"] = shared.split_names(classes)
    shared.check_unit(unit)
    chosen = _site(site, options, actions, policy)
    files = _Files(out, jsonl, csv, mot)
    _check_outputs(chosen, any(files), segment_s, max_disk_gb, save_abstained)
    if segment_s is None:  # segments have names of their own
        inputs = (chosen.source, site, chosen.calibration, chosen.model, actions, policy)
        refuse_overwriting(files, inputs)
    loaded = load_site(chosen)
    outputs = _Outputs(loaded, files, segment_s, max_disk_gb, unit)
    if save_abstained:
        outputs.more.append(ReviewSink(save_abstained, source=masked(chosen.source)))
    started = clock.perf_counter()
    summary, names, notes = _run(loaded, outputs, threads, max_frames, status_s)
    print_summary(
        summary, names, seconds=clock.perf_counter() - started, written=outputs.written(), notes=notes
    )


def _check_outputs(
    site: Site, written: bool, segment_s: float | None, max_disk_gb: float | None, save_abstained: Path | None
) -> None:
    """InputError where an option of the outputs lacks what it acts on."""
    from edgevid.errors import InputError

    if max_disk_gb and segment_s is None:
        raise InputError("run: --max-disk-gb deletes segments: give --segment-s too, such as --segment-s 600")
    if segment_s is not None and not written:
        raise InputError("run: --segment-s splits outputs: give --out, --jsonl, --csv or --mot too")
    if save_abstained and not (site.recognizers or site.policy):
        raise InputError(
            "run: --save-abstained saves abstained verdicts: give --actions too, or a --site with a policy "
            "or [[recognize]]"
        )


def _site(path: Path | None, options: dict[str, Any], actions: str | None, policy: Path | None) -> Site:
    """The site of a file, or of defaults, with the command line's options instead of its own."""
    from edgevid.errors import InputError
    from edgevid.site.file import RecognizerChoice, Site, read_site

    if actions:
        options["recognizers"] = (RecognizerChoice("action", actions, policy),)
    elif policy:
        raise InputError(
            "run: --policy decides on the verdicts of --actions: give --actions too, or name the policy in "
            "the site file"
        )
    site = read_site(path) if path else Site()
    site = dataclasses.replace(site, **{key: value for key, value in options.items() if value})
    if not site.source:
        raise InputError("run: expected a source (a file, folder, camera or URL), got none")
    return site


def _run(
    loaded: LoadedSite, outputs: _Outputs, threads: int | None, max_frames: int | None, status_s: float
) -> tuple[Any, Any, list[str]]:
    """The run itself: its summary, the class names, and notes for the user."""
    from edgevid.cli.progress import advance, progress_bar
    from edgevid.errors import masked
    from edgevid.run.loop import Summary, run
    from edgevid.run.signals import ended_by_sigterm
    from edgevid.run.watchdog import Watchdog
    from edgevid.site.build import build_drift_monitors, build_pipeline, build_zones
    from edgevid.video.open import open_video

    summary, source = Summary(), loaded.site.source
    with (
        ended_by_sigterm(),
        open_video(source) as video,
        progress_bar(masked(source), max_frames or video.frame_count) as bar,
        _log_above(bar),
        Watchdog(video, summary, every_s=status_s if video.live else 0.0),
    ):
        if video.live:
            video.wait()  # type: ignore[attr-defined]  # zones and calibrations need the image's size
        pipeline = build_pipeline(loaded, video.size, threads=threads)
        zones, monitors = build_zones(loaded, video.size), build_drift_monitors(loaded)

        def note(frame: Any, result: Any) -> None:
            advance(bar)
            for task, monitor in monitors.items():
                monitor.update(result.verdicts[task])

        run(
            pipeline, video, outputs.sinks(video), zones=zones, size=video.size, max_frames=max_frames,
            on_result=note, summary=summary,
        )  # fmt: skip
    counts = {"damaged packets or frames skipped": video.corrupted, "frames dropped": video.dropped}
    counts |= {"reconnections": getattr(video, "reconnections", 0), "changes of size": summary.size_changes}
    notes = [f"{count} {what}" for what, count in counts.items() if count]
    notes += [f"camera health: {event}" for event in getattr(pipeline.health, "events", ())]
    notes += [f"{task}: {monitor.report().description}" for task, monitor in monitors.items()]
    return summary, pipeline.names["class"], notes


class _Files(NamedTuple):
    """Where the outputs go."""

    out: Path | None
    jsonl: Path | None
    csv: Path | None
    mot: Path | None


@dataclasses.dataclass
class _Outputs:
    """The requested output files."""

    loaded: LoadedSite
    files: _Files
    segment_s: float | None
    max_disk_gb: float | None
    unit: str
    more: list[Any] = dataclasses.field(default_factory=list)
    made: list[Any] = dataclasses.field(default_factory=list)

    def sinks(self, video: Any) -> list[Sink]:
        """The sinks for the frames of `video`."""
        from edgevid.output.sinks import CsvSink, JsonLines, MotText

        makers = (lambda path: self._video(path, video)), JsonLines, CsvSink, MotText
        self.made = [self._segmented(p, make) for p, make in zip(self.files, makers, strict=True) if p]
        return [*self.made, *self.more]

    def written(self) -> list[str]:
        """The names of the files, the latest where there were many."""
        names: list[str] = []
        for sink in self.made:
            latest = getattr(sink, "segments", [sink.path])[-3:]
            earlier = getattr(sink, "started", 0) - len(latest)
            names.append(", ".join(map(str, latest)) + (f" and {earlier} before" if earlier > 0 else ""))
        return names

    def _segmented(self, path: Path, make: Any) -> Any:
        """One plain file without --segment-s; a video starts another one where the frames' size changes."""
        from edgevid.output.segments import SegmentedSink

        if self.segment_s is None and path != self.files.out:
            return make(path)
        limit = round(self.max_disk_gb * 1e9) if self.max_disk_gb else None
        return SegmentedSink(path, make, segment_s=self.segment_s, max_disk_bytes=limit)

    def _video(self, path: Path, video: Any) -> Sink:
        from edgevid.errors import InputError
        from edgevid.output.ground_grid import GridOverlay
        from edgevid.output.sinks import AnnotatedVideo
        from edgevid.site.build import build_calibration

        try:
            grid = build_calibration(self.loaded, video.size)
        except InputError:  # another view than the calibrated one: no grid to draw
            grid = None
        return AnnotatedVideo(path, fps=video.fps, overlay=GridOverlay(grid, unit=self.unit))


@contextmanager
def _log_above(bar: Any) -> Iterator[None]:
    """Shows the log (backend, downloads, stream): above the bar in a terminal, plain in a journal."""
    from rich.logging import RichHandler

    log = logging.getLogger("edgevid")
    handler: logging.Handler
    if sys.stderr.isatty():
        handler = RichHandler(console=bar.console, show_path=False, markup=False)
    else:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    level = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO if not level else min(level, logging.INFO))
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)
