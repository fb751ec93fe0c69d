"""`edgevid models`: list, get, verify and remove models and sample videos."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from typer import Argument

from edgevid.cli.console import is_quiet, notes, print_rows, results
from edgevid.errors import EdgevidError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edgevid.models.download import Progress

command = typer.Typer(no_args_is_help=True, help="List, get, verify and remove models and sample videos.")

Names = Annotated[list[str], Argument(help="Names from `edgevid models list`.")]


@command.command("list")
def list_() -> None:
    """Show models and sample videos with size, license and whether they are on this machine."""
    from edgevid.files.folders import cache_folder
    from edgevid.models.download import MIRROR
    from edgevid.models.hub import DEFAULT_MODEL, entries

    console = results(soft_wrap=False)
    wide = console.width >= 130  # else the summaries would be broken into many lines
    rows = []
    for one in entries().values():
        mark = "[green]*[/]" if one.name == DEFAULT_MODEL else ""
        size = one.source.bytes or (one.local.stat().st_size if one.local else 0)
        megabytes = f"{size / 1e6:.1f} MB" if size else "?"
        if one.shipped:  # it came with the package: nothing is downloaded
            checksum, local = "[dim]-[/]", "[green]included[/]"
        else:
            checksum = "published" if one.source.sha256 else "[yellow]unverified[/]"
            checksum = "[green]verified[/]" if one.source.verified else checksum
            local = "[green]yes[/]" if one.local else "-" if one.source.url else "[dim]mirror only[/]"
        cells = [one.name + mark, one.kind, megabytes, one.source.license, checksum, local]
        rows.append(cells + [escape(one.summary)] * wide)
    heads = ("name", "task", "size", "license", "checksum", "local", "summary")[: 6 + wide]
    print_rows(console, heads, rows, text={*heads} - {"size"})
    hint = "" if wide else " A terminal of 130 columns shows a summary of each."
    console.print(f"\n[green]*[/] the default model.{hint}", style="dim")
    where = f"Downloads are in {cache_folder()}."
    console.print(f"{where} On a closed network set {MIRROR} to a folder or an address.", style="dim")


@command.command("get")
def get_(names: Names) -> None:
    """Download models or samples, verify them and keep them for use without a network."""
    from edgevid.models.hub import get_file

    for name in names:
        with _bar(name) as progress:
            path = get_file(name, progress=progress)
        results().print(f"[green]{name}[/]: {escape(str(path))}")


@contextmanager
def _bar(name: str) -> Iterator[Progress]:
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
    from rich.progress import TransferSpeedColumn as Speed

    text = TextColumn("{task.description}")
    columns = (text, BarColumn(), DownloadColumn(), Speed(), TimeRemainingColumn())
    with Progress(*columns, console=notes(soft_wrap=False), transient=True, disable=is_quiet()) as shown:
        task = shown.add_task(name, total=None)
        yield lambda done, total: shown.update(task, completed=done, total=total or None)


@command.command("verify")
def verify_(names: Annotated[list[str] | None, Argument(help="Names; default: all on this machine.")] = None) -> None:
    """Compare files with their checksums; exit status 1 if one differs."""
    from edgevid.models.hub import entries, verify

    console, failed = results(), 0
    for name in names or [e.name for e in entries().values() if e.local]:
        try:
            verdict = "verified" if verify(name) == "verified" else "no checksum is published"
            console.print(f"[green]{name}[/]: {verdict}")
        except EdgevidError as error:  # noqa: PERF203 (every name gets its line)
            failed += 1
            console.print(f"[red]{name}[/]: {escape(str(error))}")
    if failed:
        raise typer.Exit(1)


@command.command("remove")
def remove_(names: Names) -> None:
    """Delete the downloaded files of these names."""
    from edgevid.models.hub import remove

    for name in names:
        removed = ", ".join(path.name for path in remove(name))
        results().print(f"{name}: {f'removed {removed}' if removed else 'nothing to remove'}")
