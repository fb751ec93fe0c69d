"""`edgevid models`: list, get, verify and remove models and sample videos."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from edgevid.errors import EdgevidError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import JustifyMethod

    from edgevid.models.catalog import Entry
    from edgevid.models.download import Progress

command = typer.Typer(no_args_is_help=True, help="List, get, verify and remove models and sample videos.")

Names = Annotated[list[str], typer.Argument(help="Names as `edgevid models list` shows them.")]


@command.command("list")
def list_() -> None:
    """Models and sample videos: what they are, their license, and whether they are here."""
    from edgevid.files.folders import cache_folder
    from edgevid.models.catalog import entries
    from edgevid.models.hub import DEFAULT_MODEL, MIRROR

    console = Console()
    columns = ["name", "for", "size", "license", "checksum", "here", "what it is"]
    wide = console.width >= 130  # else the last column would be all ellipsis
    table = Table(box=None, header_style="bold", padding=(0, 1, 0, 0))
    for column in columns if wide else columns[:-1]:
        side: JustifyMethod = "right" if column == "size" else "left"
        table.add_column(column, justify=side, no_wrap=column != "what it is")
    for one in entries().values():
        mark = "[green]*[/]" if one.name == DEFAULT_MODEL else ""
        count = one.source.bytes or (one.local.stat().st_size if one.local else 0)
        size = f"{count / 1e6:.1f} MB" if count else "?"
        cells = [one.name + mark, one.kind, size, one.source.license, _checksum(one), _here(one)]
        table.add_row(*cells, *([escape(one.summary)] if wide else []))
    console.print(table)
    console.print(
        "\n[green]*[/] taken where no model is named. A wider terminal shows what each one is.", style="dim"
    )
    console.print(
        f"Kept in {cache_folder()}. On a closed network set {MIRROR} to a folder or an address.",
        style="dim",
    )


def _checksum(one: Entry) -> str:
    if one.shipped:
        return "[dim]-[/]"  # it came inside the package, and nothing is fetched
    if one.source.verified:
        return "[green]verified[/]"
    return "published" if one.source.sha256 else "[yellow]unverified[/]"


def _here(one: Entry) -> str:
    if one.local is None:
        return "-" if one.source.url else "[dim]a mirror only[/]"
    return "[green]ships with it[/]" if one.shipped else "[green]yes[/]"


@command.command("get")
def get_(names: Names) -> None:
    """Fetch models or samples: resumed, verified, kept for use without a network."""
    from edgevid.models.catalog import get

    for name in names:
        with _bar(name) as progress:
            path = get(name, progress=progress)
        Console(soft_wrap=True).print(f"[green]{name}[/] is at {escape(str(path))}", highlight=False)


@contextmanager
def _bar(name: str) -> Iterator[Progress]:
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
    from rich.progress import TransferSpeedColumn as Speed

    text = TextColumn("{task.description}")
    columns = (text, BarColumn(), DownloadColumn(), Speed(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task(name, total=None)
        yield lambda done, total: shown.update(task, completed=done, total=total or None)


@command.command("verify")
def verify_(
    names: Annotated[list[str] | None, typer.Argument(help="All that are here if left out.")] = None,
) -> None:
    """Compare the files that are here with their checksums."""
    from edgevid.models.catalog import entries, verify

    console, wrong = Console(soft_wrap=True), 0
    for name in names or [e.name for e in entries().values() if e.local]:
        try:
            said = verify(name)
            console.print(
                f"[green]{name}[/]: {'right' if said == 'right' else 'here, but no checksum is published'}"
            )
        except EdgevidError as error:  # noqa: PERF203 (every name gets its line)
            wrong += 1
            console.print(f"[red]{name}[/]: {escape(str(error))}", highlight=False)
    if wrong:
        raise typer.Exit(1)


@command.command("remove")
def remove_(names: Names) -> None:
    """Delete what was fetched for these names."""
    from edgevid.models.catalog import remove

    for name in names:
        gone = remove(name)
        told = ", ".join(p.name for p in gone) or "nothing was here"
        Console(soft_wrap=True).print(
            f"{name}: removed {told}" if gone else f"{name}: {told}", highlight=False
        )
