"""`edgevid-demo`: a video through the pipeline, shown live in a browser, or written to files."""

from __future__ import annotations

import dataclasses
import time as clock
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option

from edgevid.cli import options as shared
from edgevid.cli.console import notes, results
from edgevid.cli.output_files import check_outputs, write_image
from edgevid.cli.weights import exported
from edgevid.files.atomic import make_folder

if TYPE_CHECKING:
    from edgevid.viewer.config import ViewerConfig

SAMPLE = "vtest"
CLASSES = ("person", "bicycle", "car", "motorcycle", "bus", "truck")
SHEET_IMAGES = 6
"""Images on the contact sheet."""

Source = Annotated[str, Argument(help="Video file, camera number or URL; the sample video by default.")]
Out = Annotated[Path | None, shared.out_option("No viewer: write MP4, contact sheet and JSON lines here.")]
Rendered = Annotated[bool, Option("--rendered", help="Show a rendered street; needs no download.")]
SiteFile = Annotated[Path | None, Option(help="Site file (TOML); the viewer saves zones and lines to it.")]
Host = Annotated[str, Option(help="Address to listen on; others than 127.0.0.1 need a token.")]
Token = Annotated[str | None, Option(help="Token that viewers must send; generated where one is needed.")]
AllowHost = Annotated[list[str], Option(help="Host name to answer to (behind a proxy); repeatable.")]


def command(
    source: Source = "",
    source_option: shared.SourceOption = "",
    out: Out = None,
    force: shared.Force = False,
    codec: shared.Codec = "auto",
    model: shared.Model = None,
    rendered: Rendered = False,
    max_frames: shared.MaxFrames = None,
    site: SiteFile = None,
    calibration: shared.Calibration = None,
    actions: shared.Actions = None,
    classes: shared.Classes = None,
    unit: shared.Unit = "km/h",
    host: Host = "127.0.0.1",
    port: shared.Port = None,
    token: Token = None,
    allow_host: AllowHost = [],  # noqa: B006 (typer needs a list)
    browser: shared.Browser = False,
    once: Annotated[bool, Option("--once", help="Play a file once and stay on its last frame.")] = False,
    quality: Annotated[int, Option(help="JPEG quality of the viewer's images.", min=10, max=100)] = 80,
    max_side: Annotated[int, Option(help="Longest side of the viewer's images, in pixels.", min=160)] = 1280,
    threads: shared.Threads = None,
) -> None:
    """Detect, track, recognize and measure the objects of a video, shown live in a browser."""
    from edgevid._opencv import require_opencv
    from edgevid.viewer.config import open_rendered_street

    require_opencv("edgevid-demo")
    shared.check_unit(unit)
    shared.check_codec(codec)
    source = shared.one_source(source, source_option)
    options: dict[str, Any] = {"source": source, "model": model, "calibration": calibration}
    options["classes"] = shared.split_names(classes, "--classes")
    chosen = _site(site, options, actions)
    files = _check_folder(out, chosen.source, force=force) if out else None
    if rendered:
        config = open_rendered_street()
    else:
        config = _open(chosen, explicit=bool(source or model or site), threads=threads)
    if files is not None:
        _write_files(config, files, unit, codec, max_frames)
        return
    server = {"host": host, "port": port, "token": token, "allowed_hosts": allow_host}
    display = {"quality": quality, "max_side": max_side, "unit": unit}
    config = dataclasses.replace(config, site_file=site)
    _view(config, server=server, display=display, open_browser=browser, once=once, max_frames=max_frames)


def _site(path: Path | None, options: dict[str, Any], actions: str | None) -> Any:
    """The site of a file or of the sample, with the options of the command line."""
    from edgevid.site.file import RecognizerChoice, Site, read_site

    exists = path is not None and (path.exists() or not options["source"])
    chosen = read_site(path) if exists and path else Site(classes=CLASSES)  # a new one is created when saved
    if actions:
        options["recognizers"] = (RecognizerChoice("action", actions),)
    chosen = dataclasses.replace(chosen, **{key: value for key, value in options.items() if value})
    return dataclasses.replace(chosen, model=exported(chosen.model, chosen.source))


def _open(site: Any, *, explicit: bool, threads: int | None) -> ViewerConfig:
    """The site's source, or the sample; without a network, the rendered street with a note."""
    from rich.markup import escape

    from edgevid.errors import DownloadError
    from edgevid.models.catalog import DEFAULT_MODEL, find_entry
    from edgevid.models.download import MIRROR
    from edgevid.models.hub import get_file
    from edgevid.viewer.config import open_rendered_street, open_site

    try:
        sample = "" if site.source else str(get_file(SAMPLE))
        return open_site(dataclasses.replace(site, source=site.source or sample), threads=threads)
    except DownloadError as error:
        if explicit:
            raise
        needed = " and ".join(find_entry(name).cached.name for name in (SAMPLE, DEFAULT_MODEL))
        console = notes()
        console.print(f"[yellow]the sample video or its model cannot be downloaded:[/] {escape(str(error))}")
        console.print(
            f"[yellow]On a closed network:[/] put {needed} into a folder or any of its subfolders, and set "
            f"{MIRROR} to that folder"
        )
        console.print("[yellow]Showing a rendered street instead.[/]")
        return open_rendered_street()


def _view(config: ViewerConfig, **options: Any) -> None:
    """Runs the viewer until Ctrl-C and prints a summary."""
    from edgevid.cli.progress import print_summary
    from edgevid.errors import require

    for module in ("starlette", "uvicorn", "websockets"):
        require(module, extra="viewer", purpose="The viewer (--out FOLDER works without)")
    from edgevid.viewer.session import run_viewer

    console = results()

    def announce(url: str) -> None:
        console.print(f"[bold]{config.title}[/] at [cyan]{url}[/]   (Ctrl-C stops it)")

    started = clock.perf_counter()
    summary = run_viewer(config, announce=announce, **options)
    seconds = clock.perf_counter() - started
    names, off = config.pipeline.names["class"], _off(config)
    print_summary(summary, names, seconds=seconds, written=[], notes=config.notes, off=off)


def _off(config: ViewerConfig) -> tuple[str, ...]:
    """The stages that do not run."""
    return () if config.calibration else ("speed",)


def _check_folder(folder: Path, source: str, *, force: bool) -> tuple[Path, Path, Path]:
    """The files of a folder, which is made; InputError where they exist, SourceError where none can be."""
    make_folder(folder)
    video, sheet, lines = folder / "demo.mp4", folder / "contact-sheet.png", folder / "demo.jsonl"
    kinds = {"MP4": video, "PNG": sheet, "JSON lines": lines}
    check_outputs({f"--out, {kind}": (path, kind) for kind, path in kinds.items()}, [source], force=force)
    return video, sheet, lines


def _write_files(
    config: ViewerConfig, files: tuple[Path, Path, Path], unit: str, codec: str, max_frames: int | None
) -> None:
    """Runs the config once into an annotated MP4, a contact sheet and JSON lines, without a display."""
    from edgevid.cli.progress import advance, print_summary, progress_bar
    from edgevid.output.overlay import contact_sheet
    from edgevid.output.sinks import AnnotatedVideo, JsonLines
    from edgevid.run.loop import run
    from edgevid.site.header import header_of
    from edgevid.viewer.config import make_overlay

    video, sheet, lines = files
    started, total = clock.perf_counter(), max_frames or config.source.frame_count
    shown = {round((k + 0.5) * (total or 1) / SHEET_IMAGES) for k in range(SHEET_IMAGES)}
    images: list[Any] = []
    with closing(config.pipeline), config.source as source, progress_bar(config.title, total) as bar:
        overlay = make_overlay(config, unit)
        annotated = AnnotatedVideo(video, fps=source.fps, overlay=overlay, codec=codec)

        def sample(frame: Any, _: Any) -> None:
            advance(bar)
            if frame.index in shown and annotated.last is not None:
                images.append(annotated.last)

        summary = run(
            config.pipeline, source, [annotated, JsonLines(lines)], zones=config.monitor, size=source.size,
            max_frames=max_frames, on_result=sample,
            header=header_of(config.pipeline, config.site.source if config.site else config.title),
        )  # fmt: skip
    if not images and annotated.last is not None:  # a short run: its last image
        images = [annotated.last]
    if images:
        write_image("--out", sheet, contact_sheet(images))
    names, seconds = config.pipeline.names["class"], clock.perf_counter() - started
    written = [str(video), str(sheet), str(lines)]
    print_summary(summary, names, seconds=seconds, written=written, notes=config.notes, off=_off(config))
