"""`edgevid-demo`: a run with all its options, shown live in a browser or written to a folder."""

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from rich.markup import escape

from edgevid.cli import options as shared
from edgevid.cli import run
from edgevid.cli.console import check_outputs, notes, write_image
from edgevid.errors import DownloadError, require
from edgevid.files.atomic import make_folder
from edgevid.types import Closing

SAMPLE = "vtest"
SHEET_IMAGES = 6  # Images on the contact sheet


def command(**options: Any) -> None:
    """Detect, track, recognize and measure the objects of a video, shown live in a browser."""
    from edgevid._opencv import require_opencv
    from edgevid.models.download import MIRROR
    from edgevid.models.hub import DEFAULT_MODEL, find_entry, get_file
    from edgevid.site.file import Site
    from edgevid.synthetic import RenderedStreet

    require_opencv("edgevid-demo")
    given = SimpleNamespace(**options)
    view, more = None, []
    if given.out is not None and given.out.suffix.lower() not in (".mp4", ".m4v", ".mov"):
        folder, sheet = given.out, given.out / "contact-sheet.png"
        make_folder(folder)
        given.out, given.jsonl = folder / "demo.mp4", given.jsonl or folder / "demo.jsonl"
        check_outputs({"--out, PNG": (sheet, "PNG")}, force=given.force)
        more.append(ContactSheet(sheet, given.max_frames, given.unit))
    else:
        view = _view(given)
    street = RenderedStreet(seconds=20) if given.rendered else None
    try:
        if not (given.rendered or given.source or given.source_option or given.model or given.site):
            given.source = str(get_file(SAMPLE))
    except DownloadError as error:
        needed = " and ".join(find_entry(name).cached.name for name in (SAMPLE, DEFAULT_MODEL))
        console = notes()
        console.print(f"[yellow]the sample video or its model cannot be downloaded:[/] {escape(str(error))}")
        console.print(f"[yellow]On a closed network:[/] put {escape(needed)} into a folder or any of its subfolders, "
                      f"and set {MIRROR} to that folder")  # fmt: skip
        console.print("[yellow]Showing a rendered street instead.[/]")
        street = RenderedStreet(seconds=20)
    run.start_run(given, view, street=street, defaults=Site(), more=more)


HERE = Path(__file__).parent
shared.give_options(command, HERE / "run.toml", HERE / "demo.toml")


def _view(given: Any) -> Any:
    """How it is shown: at --view, or at --host and --port."""
    for module in ("starlette", "uvicorn", "websockets"):
        require(module, extra="viewer", purpose="The viewer (--out FOLDER works without)")
    view = run.view_of(given, given.view or f"{given.host}:0")
    server = view.server if given.view else {**view.server, "host": given.host, "port": given.port}
    display = {"quality": given.quality, "max_side": given.max_side}
    return dataclasses.replace(view, server=server, display=display, browser=given.browser, once=given.once)


class ContactSheet(Closing):
    """A sink: one image of a few moments of the run."""

    def __init__(self, path: Path, max_frames: int | None, unit: str) -> None:
        from edgevid.output import Overlay

        self.path, self._every = path, max(1, (max_frames or 600) // (2 * SHEET_IMAGES))
        self._overlay, self._images = Overlay(trail_s=0.0, unit=unit), list[Any]()

    def write(self, frame: Any, result: Any) -> None:
        """Keeps the images of some frames, twice as far apart whenever there are too many."""
        if (frame.index + 1) % self._every == 0:
            self._images.append(self._overlay.draw(frame, result))
        if len(self._images) == 2 * SHEET_IMAGES:
            self._images, self._every = self._images[1::2], 2 * self._every

    def close(self) -> None:
        """Writes it, of moments that are evenly apart."""
        from edgevid.output import contact_sheet

        if count := len(self._images):
            shown = min(count, SHEET_IMAGES)
            write_image("--out", self.path, contact_sheet([self._images[n * count // shown] for n in range(shown)]))
