"""`edgevid run`: a source through the pipeline, into a video, JSON lines or MOT text."""

from __future__ import annotations

import dataclasses
import logging
import sys
import time as clock
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from edgevid.output.sinks import Sink
    from edgevid.site.file import Site

Source = Annotated[str, typer.Argument(help="File, folder or glob of images, camera number, or address.")]
Model = Annotated[str | None, typer.Option(help="Model name (`edgevid models list`), ONNX file or recipe.")]
Camera = Annotated[Path | None, typer.Option(help="Camera calibration (TOML): adds speeds over the ground.")]
Health = Annotated[Path | None, typer.Option(help="Folder of camera health: speeds stop if it moves.")]
Actions = Annotated[str | None, typer.Option(help="Recognizer of what each object does (recipe).")]
Rules = Annotated[Path | None, typer.Option("--policy", help="Abstain policy that `edgevid tune` wrote.")]
Kept = Annotated[Path | None, typer.Option(help="Folder for crops and scores of silent verdicts.")]
Unit = Annotated[str, typer.Option(help="km/h, mph or m/s, in the image.")]
SiteFile = Annotated[Path | None, typer.Option(help="Site file: source, model, zones of one camera.")]
Out = Annotated[Path | None, typer.Option(help="Annotated video to write (MP4).")]
Jsonl = Annotated[Path | None, typer.Option(help="JSON lines to write, one object a frame.")]
Mot = Annotated[Path | None, typer.Option(help="MOTChallenge text to write.")]
PartS = Annotated[float | None, typer.Option(help="A new output file every so many seconds.", min=1)]
KeepGb = Annotated[float | None, typer.Option(help="With --part-s: disk for each output; oldest go.", min=0)]
Classes = Annotated[str, typer.Option(help="Only these classes, separated by commas: person,car")]
Score = Annotated[float | None, typer.Option(help="Least confidence of a new object.", min=0, max=1)]
Device = Annotated[str | None, typer.Option(help="auto, cpu or cuda:0")]
Precision = Annotated[str | None, typer.Option(help="fp32, fp16 or int8")]
Threads = Annotated[int | None, typer.Option(help="CPU threads of the model.", min=1)]
Frames = Annotated[int | None, typer.Option(help="Stop after so many frames.", min=1)]
StatusS = Annotated[float, typer.Option(help="Live: seconds between status lines, 0 for none.", min=0)]


def command(
    source: Source = "",
    model: Model = None,
    site: SiteFile = None,
    camera: Camera = None,
    health: Health = None,
    actions: Actions = None,
    policy: Rules = None,
    save_abstained: Kept = None,
    unit: Unit = "km/h",
    out: Out = None,
    jsonl: Jsonl = None,
    mot: Mot = None,
    part_s: PartS = None,
    keep_gb: KeepGb = None,
    classes: Classes = "",
    score: Score = None,
    device: Device = None,
    precision: Precision = None,
    threads: Threads = None,
    frames: Frames = None,
    status_s: StatusS = 60.0,
) -> None:
    """Detect, follow and record what is in a video."""
    from edgevid.cli.outputs import refuse_overwriting
    from edgevid.cli.progress import print_summary
    from edgevid.errors import InputError
    from edgevid.output.overlay import UNITS
    from edgevid.output.review import ReviewSink
    from edgevid.site.file import RecognizerChoice, Site, read_site
    from edgevid.video.open import masked

    asked: dict[str, Any] = {"source": source, "model": model, "score": score, "device": device}
    asked |= {"precision": precision, "calibration": camera, "health": health}
    asked["classes"] = tuple(name.strip() for name in classes.split(",") if name.strip())
    if actions:
        asked["recognizers"] = (RecognizerChoice("action", actions, policy),)
    elif policy:
        raise InputError("run: --policy judges what --actions recognizes; give it too, or a --site")
    if unit not in UNITS:
        raise InputError(f"unit: expected one of {', '.join(UNITS)}, got {unit!r}")
    chosen = read_site(site) if site else Site()
    chosen = dataclasses.replace(chosen, **{key: value for key, value in asked.items() if value})
    if not chosen.source:
        raise InputError("run: expected a source (a file, folder, camera or address), got none")
    if keep_gb and part_s is None:
        raise InputError("run: --keep-gb needs parts to delete: give --part-s, such as --part-s 600")
    if part_s is None:  # parts have names of their own
        read = (chosen.source, site, chosen.calibration, chosen.model, actions, policy)
        refuse_overwriting((out, jsonl, mot), read)
    outputs = _Outputs(chosen, out, jsonl, mot, part_s, keep_gb, unit)
    if save_abstained:
        outputs.more.append(ReviewSink(save_abstained, source=masked(chosen.source)))
    started = clock.perf_counter()
    summary, names, notes = _run(chosen, outputs.sinks, threads=threads, frames=frames, status_s=status_s)
    print_summary(
        summary, names, seconds=clock.perf_counter() - started, written=outputs.written(), notes=notes
    )


def _run(
    site: Site,
    make_sinks: Callable[[Any], list[Sink]],
    *,
    threads: int | None,
    frames: int | None,
    status_s: float,
) -> tuple[Any, Any, list[str]]:
    """The run itself: its summary, the class names, and what should be noted."""
    from edgevid.cli.progress import advance, progress_bar
    from edgevid.run.loop import Summary, run
    from edgevid.run.signals import ended_by_sigterm
    from edgevid.run.watchdog import Watch
    from edgevid.site.build import build_monitors, build_pipeline, build_zones
    from edgevid.site.resize import ResolutionChange
    from edgevid.video.open import masked, open_video

    summary = Summary()
    with (
        ended_by_sigterm(),
        open_video(site.source) as video,
        progress_bar(masked(site.source), frames or video.frame_count) as bar,
        _told(bar),
        Watch(video, summary, every_s=status_s if video.live else 0.0),
    ):
        if video.live:
            video.wait()  # type: ignore[attr-defined]  # zones and calibrations want the image's size
        pipeline = build_pipeline(site, video.size, threads=threads)
        zones, monitors = build_zones(site, video.size), build_monitors(site)

        def note(frame: Any, result: Any) -> None:
            advance(bar)
            for task, monitor in monitors.items():
                monitor.update(result.verdicts[task])

        resizing = ResolutionChange(site, pipeline, zones, video.size)
        run(
            pipeline, video, make_sinks(video), zones=zones, limit=frames, on_result=note, before=resizing,
            summary=summary,
        )  # fmt: skip
    lost = {"damaged packets or images passed over": video.corrupted, "frames dropped": video.dropped}
    lost |= {"times reconnected": getattr(video, "reconnections", 0), "changes of size": resizing.changes}
    notes = [f"{count} {what}" for what, count in lost.items() if count]
    notes += [f"camera health: {words}" for words in getattr(pipeline.health, "events", ())]
    return summary, pipeline.names["class"], notes + [f"{t}: {m.report().words}" for t, m in monitors.items()]


@dataclasses.dataclass
class _Outputs:
    """The files that were asked for."""

    site: Site
    out: Path | None
    jsonl: Path | None
    mot: Path | None
    part_s: float | None
    keep_gb: float | None
    unit: str
    more: list[Any] = dataclasses.field(default_factory=list)
    made: list[Any] = dataclasses.field(default_factory=list)

    def sinks(self, video: Any) -> list[Sink]:
        """The sinks for the frames of `video`."""
        from edgevid.output.sinks import JsonLines, MotText

        limit = round(self.keep_gb * 1e9) if self.keep_gb else None
        for path, make in (
            (self.out, lambda p: self._video(p, video)),
            (self.jsonl, JsonLines),
            (self.mot, MotText),
        ):
            if path is not None:
                self.made.append(self._in_parts(path, make, limit))
        return [*self.made, *self.more]

    def written(self) -> list[str]:
        """The names of the files, the latest where there were many."""
        names: list[str] = []
        for sink, path in zip(self.made, (p for p in (self.out, self.jsonl, self.mot) if p), strict=True):
            parts = getattr(sink, "parts", [path])
            more = (
                f" and {sink.begun - len(parts[-3:])} before"
                if hasattr(sink, "begun") and sink.begun > 3
                else ""
            )
            names.append(", ".join(map(str, parts[-3:])) + more)
        return names

    def _in_parts(self, path: Path, make: Any, limit: int | None) -> Any:
        """One plain file where nothing else is wanted; a video also where the image's size changes."""
        from edgevid.output.segments import SegmentedSink

        if self.part_s is None and path != self.out:
            return make(path)
        return SegmentedSink(path, make, every_s=self.part_s, limit_bytes=limit)

    def _video(self, path: Path, video: Any) -> Sink:
        from edgevid.errors import InputError
        from edgevid.output.ground_grid import GridOverlay
        from edgevid.output.sinks import AnnotatedVideo
        from edgevid.site.build import build_calibration

        try:
            grid = build_calibration(self.site, video.size)
        except InputError:  # another view than the calibrated one: no grid to draw
            grid = None
        return AnnotatedVideo(path, fps=video.fps, overlay=GridOverlay(grid, unit=self.unit))


@contextmanager
def _told(bar: Any) -> Iterator[None]:
    """Shows what the log says (what runs the model, what is fetched, how a stream goes): above the bar in a
    terminal, plainly in a journal."""
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
