"""`edgevid-demo`: a run with all its options, shown live in a browser or written to a folder."""

import dataclasses
import inspect
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any, get_type_hints

from rich.markup import escape
from typer import Argument, Option

from edgevid.cli import options as shared
from edgevid.cli import run
from edgevid.cli.console import check_outputs, notes, write_image
from edgevid.errors import DownloadError, require
from edgevid.files.atomic import make_folder
from edgevid.types import Closing

SAMPLE = "vtest"
SHEET_IMAGES = 6  # Images on the contact sheet

Source = Annotated[str, Argument(help="Video file, camera number or URL; the sample video by default.")]
Out = Annotated[Path | None, shared.out_option("Video (MP4), or a folder: MP4, contact sheet, JSON lines.")]
Rendered = Annotated[bool, Option("--rendered", help="Show a rendered street; needs no download.")]
SiteFile = Annotated[Path | None, Option(help="Site file (TOML); the viewer saves zones and lines to it.")]
Host = Annotated[str, Option(help="Address to listen on; others than 127.0.0.1 need a token.")]


def command(
    source: Source = "",
    site: SiteFile = None,
    out: Out = None,
    rendered: Rendered = False,
    host: Host = "127.0.0.1",
    port: shared.Port = None,
    browser: shared.Browser = False,
    once: Annotated[bool, Option("--once", help="Play a file once and stay on its last frame.")] = False,
    quality: Annotated[int, Option(help="JPEG quality of the viewer's images.", min=10, max=100)] = 80,
    max_side: Annotated[int, Option(help="Longest side of the viewer's images, in pixels.", min=160)] = 1280,
    **others: Any,
) -> None:
    """Detect, track, recognize and measure the objects of a video, shown live in a browser."""
    from edgevid._opencv import require_opencv
    from edgevid.site.file import Site
    from edgevid.synthetic import RenderedStreet

    require_opencv("edgevid-demo")
    given = SimpleNamespace(source=source, site=site, out=out, **others)
    view, more = None, []
    if out is not None and out.suffix.lower() not in (".mp4", ".m4v", ".mov"):
        more.append(_into_folder(given))
    else:
        view = _view(given, host, port, browser=browser, once=once, quality=quality, max_side=max_side)
    defaults, street = Site(), RenderedStreet(seconds=20) if rendered else None
    options: dict[str, Any] = {"defaults": defaults, "more": more}
    explicit = rendered or given.source or given.source_option or given.model or site
    _start(given, view, street, options, explicit=bool(explicit))


def _start(given: Any, view: Any, street: Any, options: dict[str, Any], *, explicit: bool) -> None:
    """The run; of the sample, or without a network of the rendered street with a note, if none is given."""
    from edgevid.models.download import MIRROR
    from edgevid.models.hub import DEFAULT_MODEL, find_entry, get_file
    from edgevid.synthetic import RenderedStreet

    try:
        if not explicit:
            given.source = str(get_file(SAMPLE))
    except DownloadError as error:
        needed = " and ".join(find_entry(name).cached.name for name in (SAMPLE, DEFAULT_MODEL))
        console = notes()
        console.print(f"[yellow]the sample video or its model cannot be downloaded:[/] {escape(str(error))}")
        console.print(
            f"[yellow]On a closed network:[/] put {needed} into a folder or any of its subfolders, and set "
            f"{MIRROR} to that folder"
        )
        console.print("[yellow]Showing a rendered street instead.[/]")
        street = RenderedStreet(seconds=20)
    run.start_run(given, view, street=street, **options)


def _view(given: Any, host: str, port: int | None, *, browser: bool, once: bool, **display: Any) -> Any:
    """How it is shown: at --view, or at --host and --port."""
    for module in ("starlette", "uvicorn", "websockets"):
        require(module, extra="viewer", purpose="The viewer (--out FOLDER works without)")
    view = run.view_of(given, given.view or f"{host}:0")
    server = view.server if given.view else {**view.server, "host": host, "port": port}
    return dataclasses.replace(view, server=server, display=display, browser=browser, once=once)


def _into_folder(given: Any) -> Closing:
    """Makes --out a video in a folder, next to JSON lines and a contact sheet, whose sink it returns."""
    folder = given.out
    make_folder(folder)
    given.out, given.jsonl = folder / "demo.mp4", given.jsonl or folder / "demo.jsonl"
    sheet = folder / "contact-sheet.png"
    check_outputs({"--out, PNG": (sheet, "PNG")}, force=given.force)
    return ContactSheet(sheet, given.max_frames, given.unit)


class ContactSheet(Closing):
    """A sink: one image of a few moments of the run."""

    def __init__(self, path: Path, max_frames: int | None, unit: str) -> None:
        from edgevid.output import Overlay

        self.path, self._every = path, max(1, (max_frames or 600) // SHEET_IMAGES)
        self._overlay, self._images = Overlay(trail_s=0.0, unit=unit), list[Any]()

    def write(self, frame: Any, result: Any) -> None:
        """Keeps the images of some frames, twice as far apart whenever there are too many."""
        if frame.index % self._every == self._every // 2:
            self._images.append(self._overlay.draw(frame, result))
        if len(self._images) == 2 * SHEET_IMAGES:
            self._images, self._every = self._images[1::2], 2 * self._every

    def close(self) -> None:
        """Writes it."""
        from edgevid.output import contact_sheet

        if self._images:
            write_image("--out", self.path, contact_sheet(self._images[:SHEET_IMAGES]))


def _with_options_of_run() -> None:
    """Gives `command` the options of `edgevid run` that it does not have itself."""
    own, theirs = inspect.signature(command), inspect.signature(run.command)
    known = {name: one for name, one in own.parameters.items() if name != "others"}
    hints = get_type_hints(run.command, include_extras=True) | get_type_hints(command, include_extras=True)
    both = theirs.parameters | known
    command.__annotations__ = {name: hints[name] for name in both}
    command.__signature__ = own.replace(parameters=[*both.values()])  # type: ignore[attr-defined]


_with_options_of_run()
