"""`edgevid-demo`: a video through the pipeline, shown live in a browser."""

from __future__ import annotations

import dataclasses
import time as clock
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from edgevid.viewer.config import ViewerConfig

SAMPLE = "vtest"
CLASSES = ("person", "bicycle", "car", "motorcycle", "bus", "truck")

Source = Annotated[str, typer.Argument(help="Video file, camera number or URL; the sample video by default.")]
Out = Annotated[Path | None, typer.Option(help="No viewer: write MP4, contact sheet and JSON lines here.")]
Model = Annotated[str | None, typer.Option(help="Model name (`edgevid models list`), ONNX file or recipe.")]
Rendered = Annotated[bool, typer.Option("--rendered", help="Show a rendered street; needs no download.")]
MaxFrames = Annotated[int | None, typer.Option(help="Stop after so many frames.", min=1)]
SiteFile = Annotated[
    Path | None, typer.Option(help="Site file (TOML); the viewer saves zones and lines to it.")
]
Calibration = Annotated[
    Path | None, typer.Option(help="Camera calibration (TOML): adds speeds over the ground.")
]
Actions = Annotated[str | None, typer.Option(help="Action recognizer (recipe): adds what each object does.")]
Classes = Annotated[str, typer.Option(help="Only these classes, separated by commas: person,car.")]
Unit = Annotated[str, typer.Option(help="Unit of speeds: km/h, mph or m/s.")]
Host = Annotated[str, typer.Option(help="Address to listen on; others than 127.0.0.1 need a token.")]
Port = Annotated[
    int | None, typer.Option(help="Port; default: the first free one from 8470.", min=0, max=65535)
]
Token = Annotated[
    str | None, typer.Option(help="Token that viewers must send; generated where one is needed.")
]
AllowHost = Annotated[list[str], typer.Option(help="Host name to answer to (behind a proxy); repeatable.")]
Browser = Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page in the browser.")]
Once = Annotated[bool, typer.Option("--once", help="Play a file once and stay on its last frame.")]
Quality = Annotated[int, typer.Option(help="JPEG quality of the viewer's images.", min=10, max=100)]
MaxSide = Annotated[int, typer.Option(help="Longest side of the viewer's images, in pixels.", min=160)]
Threads = Annotated[int | None, typer.Option(help="CPU threads of the model.", min=1)]


def command(
    source: Source = "",
    out: Out = None,
    model: Model = None,
    rendered: Rendered = False,
    max_frames: MaxFrames = None,
    site: SiteFile = None,
    calibration: Calibration = None,
    actions: Actions = None,
    classes: Classes = "",
    unit: Unit = "km/h",
    host: Host = "127.0.0.1",
    port: Port = None,
    token: Token = None,
    allow_host: AllowHost = [],  # noqa: B006 (typer needs a list)
    browser: Browser = False,
    once: Once = False,
    quality: Quality = 80,
    max_side: MaxSide = 1280,
    threads: Threads = None,
) -> None:
    """Detect, track, recognize and measure the objects of a video, shown live in a browser."""
    from edgevid.cli.demo_files import write_files
    from edgevid.errors import InputError
    from edgevid.output.overlay import UNITS
    from edgevid.viewer.config import open_rendered_street

    if unit not in UNITS:
        raise InputError(f"unit: expected one of {', '.join(UNITS)}, got {unit!r}")
    options: dict[str, Any] = {"source": source, "model": model, "calibration": calibration}
    options["classes"] = tuple(one.strip() for one in classes.split(",") if one.strip())
    chosen = _site(site, options, actions)
    if rendered:
        config = open_rendered_street()
    else:
        config = _open(chosen, explicit=bool(source or model or site), threads=threads)
    if out is not None:
        write_files(config, out, unit=unit, max_frames=max_frames)
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
    return dataclasses.replace(chosen, **{key: value for key, value in options.items() if value})


def _open(site: Any, *, explicit: bool, threads: int | None) -> ViewerConfig:
    """The site's source, or the sample; without a network, the rendered street with a note."""
    from rich.console import Console
    from rich.markup import escape

    from edgevid.errors import DownloadError
    from edgevid.models.hub import get_file
    from edgevid.viewer.config import open_rendered_street, open_site

    try:
        sample = "" if site.source else str(get_file(SAMPLE))
        return open_site(dataclasses.replace(site, source=site.source or sample), threads=threads)
    except DownloadError as error:
        if explicit:
            raise
        console = Console(stderr=True, soft_wrap=True, highlight=False)
        console.print(f"[yellow]the sample video or its model cannot be downloaded:[/] {escape(str(error))}")
        console.print("[yellow]Showing a rendered street instead.[/]")
        return open_rendered_street()


def _view(config: ViewerConfig, **options: Any) -> None:
    """Runs the viewer until Ctrl-C and prints a summary."""
    from rich.console import Console

    from edgevid.cli.progress import print_summary
    from edgevid.errors import require

    for module in ("starlette", "uvicorn", "websockets"):
        require(module, extra="viewer", purpose="The viewer (--out FOLDER works without)")
    from edgevid.viewer.session import run_viewer

    console = Console(highlight=False, soft_wrap=True)

    def announce(url: str) -> None:
        console.print(f"[bold]{config.title}[/] at [cyan]{url}[/]   (Ctrl-C stops it)")

    started = clock.perf_counter()
    summary = run_viewer(config, announce=announce, **options)
    seconds = clock.perf_counter() - started
    print_summary(summary, config.pipeline.names["class"], seconds=seconds, written=[], notes=config.notes)
