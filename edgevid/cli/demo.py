"""`edgevid-demo`: the main job on real video where there is some, shown live in a browser."""

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

Source = Annotated[str, typer.Argument(help="File, camera or address to show instead of the sample.")]
Out = Annotated[Path | None, typer.Option(help="No viewer: write MP4, contact sheet and JSON lines here.")]
Model = Annotated[str | None, typer.Option(help="Name or path of a detector.")]
Rendered = Annotated[bool, typer.Option("--rendered", help="Show the rendered street.")]
Frames = Annotated[int | None, typer.Option(help="Stop after so many frames.", min=1)]
SiteFile = Annotated[Path | None, typer.Option(help="Site file; zones drawn in the viewer go into it.")]
Camera = Annotated[Path | None, typer.Option(help="Camera calibration (TOML): adds speeds over the ground.")]
Actions = Annotated[str | None, typer.Option(help="Recognizer of what each object does (recipe).")]
Classes = Annotated[str, typer.Option(help="Only these classes, separated by commas: person,car")]
Unit = Annotated[str, typer.Option(help="km/h, mph or m/s")]
Host = Annotated[str, typer.Option(help="Address to serve on; beyond this machine a token is needed.")]
Port = Annotated[int | None, typer.Option(help="Port; the first free one from 8470 on.", min=0, max=65535)]
Token = Annotated[str | None, typer.Option(help="Token that viewers need; made where one is needed.")]
Name = Annotated[list[str], typer.Option(help="Host name to answer to (behind a proxy); repeatable.")]
Browser = Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page in the browser.")]
Once = Annotated[bool, typer.Option("--once", help="A file plays once; the viewer stays on its last frame.")]
Quality = Annotated[int, typer.Option(help="JPEG quality of the viewer's images.", min=10, max=100)]
Widest = Annotated[int, typer.Option(help="Longest side of the viewer's images, in pixels.", min=160)]
Threads = Annotated[int | None, typer.Option(help="CPU threads of the model.", min=1)]


def command(
    source: Source = "",
    out: Out = None,
    model: Model = None,
    rendered: Rendered = False,
    frames: Frames = None,
    site: SiteFile = None,
    camera: Camera = None,
    actions: Actions = None,
    classes: Classes = "",
    unit: Unit = "km/h",
    host: Host = "127.0.0.1",
    port: Port = None,
    token: Token = None,
    name: Name = [],  # noqa: B006 (typer wants a list)
    browser: Browser = False,
    once: Once = False,
    quality: Quality = 80,
    widest: Widest = 1280,
    threads: Threads = None,
) -> None:
    """Detect, follow, recognize and measure what is in a video, and show it live in a browser."""
    from edgevid.cli.demo_files import write_files
    from edgevid.errors import InputError
    from edgevid.output.overlay import UNITS
    from edgevid.viewer import config as settings

    if unit not in UNITS:
        raise InputError(f"unit: expected one of {', '.join(UNITS)}, got {unit!r}")
    asked: dict[str, Any] = {"source": source, "model": model, "calibration": camera}
    asked["classes"] = tuple(one.strip() for one in classes.split(",") if one.strip())
    chosen = _site(site, asked, actions)
    setting = settings.rendered() if rendered else _real(chosen, bool(source or model or site), threads)
    if out is not None:
        write_files(setting, out, unit=unit, frames=frames)
    else:
        serving = {"host": host, "port": port, "token": token, "names": name, "open_browser": browser}
        picture = {"quality": quality, "widest": widest, "unit": unit}
        _watch(dataclasses.replace(setting, site_file=site), serving, picture, once=once, frames=frames)


def _site(path: Path | None, asked: dict[str, Any], actions: str | None) -> Any:
    """The site of a file or the sample's, with what the command line says put over it."""
    from edgevid.site.file import RecognizerChoice, Site, read_site

    there = path is not None and (path.exists() or not asked["source"])
    chosen = read_site(path) if there and path else Site(classes=CLASSES)  # a new one is made when saved to
    if actions:
        asked["recognizers"] = (RecognizerChoice("action", actions),)
    return dataclasses.replace(chosen, **{key: value for key, value in asked.items() if value})


def _real(site: Any, expected: bool, threads: int | None) -> ViewerConfig:
    """The site's source, or the sample; where the sample cannot be had, the rendered street, saying so."""
    from rich.console import Console
    from rich.markup import escape

    from edgevid.errors import DownloadError
    from edgevid.models.hub import get_file
    from edgevid.viewer import config as settings

    try:
        sample = "" if site.source else str(get_file(SAMPLE))
        return settings.real(dataclasses.replace(site, source=site.source or sample), threads=threads)
    except DownloadError as error:
        if expected:
            raise
        console = Console(stderr=True, soft_wrap=True)
        console.print(
            f"[yellow]no real video or model can be fetched:[/] {escape(str(error))}", highlight=False
        )
        console.print("Showing a rendered street instead.", style="yellow")
        return settings.rendered()


def _watch(
    setting: ViewerConfig, serving: dict[str, Any], picture: dict[str, Any], *, once: bool, frames: int | None
) -> None:
    """The viewer, until Ctrl-C."""
    from rich.console import Console

    from edgevid.cli.progress import print_summary
    from edgevid.errors import require

    for module in ("starlette", "uvicorn", "websockets"):
        require(module, extra="viewer", purpose="The viewer (--out FOLDER works without)")
    from edgevid.viewer.session import watch

    console = Console(highlight=False, soft_wrap=True)

    def announce(url: str) -> None:
        console.print(f"[bold]{setting.title}[/] at [cyan]{url}[/]   (Ctrl-C ends it)")

    started = clock.perf_counter()
    summary = watch(setting, announce=announce, serving=serving, picture=picture, once=once, frames=frames)
    seconds = clock.perf_counter() - started
    print_summary(summary, setting.pipeline.names["class"], seconds=seconds, written=[], notes=setting.notes)
