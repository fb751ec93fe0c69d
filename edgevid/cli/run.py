"""`edgevid run`: a source through the pipeline, into a video, JSON lines, CSV or MOT text."""

from __future__ import annotations

import dataclasses
import logging
import time as clock
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from typer import Option

from edgevid.cli import options as shared
from edgevid.cli.weights import exported
from edgevid.errors import InputError, SourceError, masked

if TYPE_CHECKING:
    from edgevid.output.sinks import Sink
    from edgevid.site.build import LoadedSite
    from edgevid.site.file import Site
    from edgevid.zones import Line, Zone

Health = Annotated[Path | None, Option(help="Folder for camera health: detects a moved camera.")]
Review = Annotated[Path | None, Option(help="Folder for crops and scores of abstained verdicts.")]
JsonLinesOut = Annotated[
    Path | None, Option(help="JSON lines to write, one object per frame; - prints them.")
]
CsvOut = Annotated[Path | None, Option(help="CSV to write, a row per object and frame; - prints it.")]
MotOut = Annotated[Path | None, Option(help="MOTChallenge text to write; - prints it.")]
EventsOut = Annotated[Path | None, Option(help="Events to write, JSON lines or CSV; - prints them.")]
Sqlite = Annotated[Path | None, Option(help="SQLite database for events and tracks, which cameras share.")]
Parquet = Annotated[Path | None, Option(help="Folder of Parquet files of events, tracks and objects.")]
Coco = Annotated[Path | None, Option(help="Folder of frames with boxes, as COCO's tools read them.")]
Yolo = Annotated[Path | None, Option(help="Folder of frames with boxes, as YOLO's tools read them.")]
FramesEvery = Annotated[float, Option(help="Seconds between these; 0: frames with events.", min=0)]
MetricsAt = Annotated[str | None, Option(help="Serve metrics to Prometheus at this address: 127.0.0.1:9109.")]
SyncS = Annotated[float, Option(help="Records are on the disk after this many seconds; 0: at once.", min=0)]
Start = Annotated[str | None, Option(help="UTC time of a recording's first frame; default: now.")]
SegmentS = Annotated[float | None, Option(help="Start new output files after this many seconds.", min=1)]
DiskGb = Annotated[
    float | None, Option(help="With --segment-s: disk per output, the oldest are deleted.", min=0)
]
Score = Annotated[
    float | None,
    Option(
        "--score-threshold", "--conf", help="track_high_thresh; a new track needs 0.1 more.", min=0, max=1
    ),
]
Imgsz = Annotated[str | None, Option(help="Input size to check: a side, or HEIGHTxWIDTH, in pixels.")]
OfDamaged = Annotated[str, Option(help="Damaged frames: coast (predict objects), skip, or show (as sound).")]
OfImages = Annotated[
    str | None, Option(help="Images: independent photos, or the frames of a sequence; default: looked at.")
]
Show = Annotated[bool, Option("--show", "--display", help="Show the overlay in a window; q closes it.")]


def command(
    source: shared.Source = "",
    source_option: shared.SourceOption = "",
    model: shared.Model = None,
    site: Annotated[Path | None, Option(help="Site file (TOML) of one camera.")] = None,
    calibration: shared.Calibration = None,
    health: Health = None,
    actions: shared.Actions = None,
    policy: Annotated[Path | None, Option(help="Abstain policy (`edgevid tune`).")] = None,
    save_abstained: Review = None,
    unit: shared.Unit = "km/h",
    out: Annotated[Path | None, shared.out_option("Annotated video to write (MP4).")] = None,
    codec: shared.Codec = "auto",
    jsonl: JsonLinesOut = None,
    csv: CsvOut = None,
    mot: MotOut = None,
    events: EventsOut = None,
    sqlite: Sqlite = None,
    parquet: Parquet = None,
    coco: Coco = None,
    yolo: Yolo = None,
    frames_every_s: FramesEvery = 1.0,
    metrics: MetricsAt = None,
    sync_s: SyncS = 1.0,
    start: Start = None,
    force: shared.Force = False,
    segment_s: SegmentS = None,
    max_disk_gb: DiskGb = None,
    show: Show = False,
    classes: shared.Classes = None,
    score_threshold: Score = None,
    imgsz: Imgsz = None,
    device: Annotated[str | None, Option(help="auto, cpu or cuda:0.")] = None,
    precision: shared.Precision = None,
    threads: shared.Threads = None,
    max_frames: shared.MaxFrames = None,
    status_s: Annotated[float, Option(help="Live: seconds between status lines (0: none).", min=0)] = 60.0,
    give_up_s: shared.GiveUpS = None,
    rtsp_transport: shared.RtspTransport = "tcp",
    decode: shared.Decode = "cpu",
    damaged: OfDamaged = "coast",
    images: OfImages = None,
) -> None:
    """Detect, track and record the objects of a video or camera."""
    options = {"source": shared.one_source(source, source_option), "model": model, "score": score_threshold,
               "device": device, "precision": precision, "calibration": calibration, "health": health,
               "classes": shared.split_names(classes, "--classes")}  # fmt: skip
    built = {"threads": threads, "imgsz": shared.parse_size(imgsz, "--imgsz") if imgsz else None,
             "damaged": _damaged(damaged)}  # fmt: skip
    files = _Files(out, jsonl, csv, mot, events)
    files.check((options["source"], site, calibration, model, actions, policy), segmented=bool(segment_s),
                force=force)  # fmt: skip
    shared.check_unit(unit)
    shared.check_codec(codec)
    chosen = _site(site, options, actions, policy)
    _check_options(chosen, any(files[:4]), segment_s, max_disk_gb, save_abstained)
    files.check((chosen.source, chosen.calibration, chosen.model), segmented=bool(segment_s), force=force)
    outputs = _Outputs(chosen, files, segment_s, max_disk_gb, unit, codec, sync_s, metrics, _utc(start))
    outputs.add(save_abstained, sqlite, parquet, show=show)
    outputs.add_frames({"coco": coco, "yolo": yolo}, frames_every_s)
    reading = {"give_up_s": give_up_s, "rtsp_transport": rtsp_transport, "decode": decode,
               "images": images}  # fmt: skip
    _run(outputs, reading, built, max_frames, status_s, skip_damaged=damaged == "skip")


def _damaged(word: str) -> str:
    """What the pipeline does with damaged frames; skipped ones do not reach it."""
    if word not in ("coast", "skip", "show"):
        raise InputError(f"--damaged: expected coast, skip or show, got {word!r}")
    return "show" if word == "show" else "coast"


def _utc(start: str | None) -> float | None:
    """--start in seconds since 1970."""
    from edgevid.types.event import utc_seconds

    try:
        return utc_seconds(start) if start else None
    except ValueError:
        raise InputError(f"--start: expected a time such as 2026-01-31T12:00:00Z, got {start!r}") from None


def _check_options(
    site: Site, written: bool, segment_s: float | None, max_disk_gb: float | None, save_abstained: Path | None
) -> None:
    """InputError where an option of the outputs lacks what it acts on."""
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
    shared.check_source(site.source, "edgevid run gate.mp4 --jsonl gate.jsonl")
    return dataclasses.replace(site, model=exported(site.model, site.source))


def _run(
    outputs: _Outputs,
    reading: Mapping[str, Any],
    options: Mapping[str, Any],
    max_frames: int | None,
    status_s: float,
    *,
    skip_damaged: bool,
) -> None:
    """The run itself, then its summary; `reading` are options of the source, `options` of the models."""
    from edgevid.cli.console import log_shown
    from edgevid.cli.progress import advance, print_summary, progress_bar
    from edgevid.run.loop import Summary, run
    from edgevid.run.watchdog import Watchdog
    from edgevid.site.build import build_drift_monitors, build_pipeline, build_zones, load_site
    from edgevid.site.header import build_header
    from edgevid.video.open import open_video, source_options

    loaded = load_site(outputs.site)
    summary, source, started = Summary(), loaded.site.source, clock.perf_counter()
    with (
        open_video(source, **source_options(source, **reading)) as video,
        progress_bar(masked(source), max_frames or video.frame_count) as bar,
        log_shown(bar.console, default=logging.INFO),
        Watchdog(video, summary, every_s=status_s if video.live else 0.0),
    ):
        if video.live:
            video.wait()  # type: ignore[attr-defined]  # zones and calibrations need the image's size
        pipeline = build_pipeline(loaded, video.size, **options)
        zones, monitors = build_zones(loaded, video.size), build_drift_monitors(loaded)

        def note(frame: Any, result: Any) -> None:
            advance(bar)
            for task, monitor in monitors.items():
                monitor.update(result.verdicts[task])

        run(
            pipeline, video, outputs.sinks(loaded, video, summary), zones=zones, size=video.size,
            max_frames=max_frames, on_result=note, summary=summary, skip_damaged=skip_damaged,
            header=build_header(loaded, pipeline, start=outputs.start),
            speed_limit_kmh=loaded.site.speed_limit_kmh,
        )  # fmt: skip
    notes = _notes(video, summary, pipeline.health) + summary.notes
    notes += [f"{task}: {monitor.report().description}" for task, monitor in monitors.items()]
    print_summary(
        summary, pipeline.names["class"], seconds=clock.perf_counter() - started, written=outputs.written(),
        notes=notes, off=() if loaded.calibration else ("speed",), stderr=outputs.files.to_stdout(),
    )  # fmt: skip


def _notes(video: Any, summary: Any, health: Any) -> list[str]:
    """What happened to the frames and to the camera."""
    counts = {
        "damaged frames": summary.damaged,
        "packets or images that could not be decoded": video.corrupted,
    }
    counts |= {"frames dropped": video.dropped}
    counts |= {"reconnections": getattr(video, "reconnections", 0), "changes of size": summary.size_changes}
    found = [f"{count} {what}" for what, count in counts.items() if count]
    found += getattr(video, "notes", list)()
    return found + [f"camera health: {event}" for event in getattr(health, "events", ())]


class _Files(NamedTuple):
    """Where the outputs go."""

    out: Path | None
    jsonl: Path | None
    csv: Path | None
    mot: Path | None
    events: Path | None

    def to_stdout(self) -> bool:
        """Whether records go to standard output, where nothing else may be printed then."""
        from edgevid.cli.output_files import is_stdout

        return any(map(is_stdout, self))

    def check(self, inputs: Any, *, segmented: bool, force: bool) -> None:
        """InputError or SourceError where an output must not be written; segments have names of their own."""
        from edgevid.cli.output_files import check_outputs

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
class _Outputs:
    """The requested output files."""

    site: Site
    files: _Files
    segment_s: float | None
    max_disk_gb: float | None
    unit: str
    codec: str
    sync_s: float
    metrics: str | None
    start: float | None
    more: list[Any] = dataclasses.field(default_factory=list)
    made: list[Any] = dataclasses.field(default_factory=list)

    def add(
        self, save_abstained: Path | None, sqlite: Path | None, parquet: Path | None, *, show: bool
    ) -> None:
        """Adds the sinks that need no frame to begin: of the site, stores, a window, abstained crops."""
        from edgevid.site.sinks import StoreTable, build_sinks, event_file

        self.made += build_sinks(self.site.sinks, sync_s=self.sync_s)
        if sqlite:
            self.made += build_sinks([StoreTable("sqlite", sqlite)])
        if parquet:
            self.made += build_sinks([StoreTable("parquet", parquet, records=True)])
        if self.files.events:
            self.made.append(event_file(self.files.events))
        if show:
            from edgevid.cli.display import Window

            self.more.append(Window(self.unit))
        if save_abstained:
            from edgevid.output.review import ReviewSink

            self.more.append(ReviewSink(save_abstained, source=masked(self.site.source)))

    def add_frames(self, folders: dict[Any, Path | None], every_s: float) -> None:
        """Adds the folders of frames with boxes."""
        from edgevid.site.sinks import DatasetTable, build_sinks

        self.made += build_sinks(DatasetTable(kind, at, every_s) for kind, at in folders.items() if at)

    def sinks(self, loaded: LoadedSite, video: Any, summary: Any) -> list[Any]:
        """The sinks for the frames of `video`."""
        from edgevid.output.metrics import Metrics
        from edgevid.output.sinks import CsvSink, JsonLines, MotText

        texts = (partial(kind, sync_s=self.sync_s) for kind in (JsonLines, CsvSink, MotText))
        makers = (lambda path: self._video(path, loaded, video)), *texts
        files = zip(self.files[:4], makers, strict=True)
        self.made = [self._segmented(p, make) for p, make in files if p] + self.made
        served = [Metrics(self.metrics, video, summary)] if self.metrics else []
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
        from edgevid.output.segments import SegmentedSink

        if self.segment_s is None and path != self.files.out:
            return make(path)
        limit = round(self.max_disk_gb * 1e9) if self.max_disk_gb else None
        return SegmentedSink(path, make, segment_s=self.segment_s, max_disk_bytes=limit)

    def _video(self, path: Path, loaded: LoadedSite, video: Any) -> Sink:
        from edgevid.output.ground_grid import GridOverlay
        from edgevid.output.sinks import AnnotatedVideo
        from edgevid.site.build import build_calibration

        try:
            grid = build_calibration(loaded, video.size)
        except InputError:  # another view than the calibrated one: no grid to draw
            grid = None
        site = loaded.site
        everything: list[Zone | Line] = [*site.zones, *site.lines]
        shapes = [shape for shape in everything if grid or not shape.ground]
        overlay = GridOverlay(grid, unit=self.unit, shapes=shapes, drawn_on=site.size)
        return AnnotatedVideo(path, fps=video.fps, overlay=overlay, codec=self.codec)
