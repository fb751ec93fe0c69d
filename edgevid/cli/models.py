"""`edgevid models`, `inspect` and `export`: the models there are, an ONNX file's decoder, weights to ONNX."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.text import Text
from typer import Argument

from edgevid.cli import options as shared
from edgevid.cli.console import check_outputs, is_quiet, notes, print_rows, results, write_image
from edgevid.errors import EdgevidError, InputError
from edgevid.files.folders import cache_folder

if TYPE_CHECKING:
    from edgevid.models.download import Progress
    from edgevid.models.draft import ModelReport

command = typer.Typer(no_args_is_help=True, help="List, get, verify and remove models and sample videos.")

Names = Annotated[list[str], Argument(help="Names from `edgevid models list`.")]


@command.command("list")
def list_() -> None:
    """Show models and sample videos with size, license and whether they are on this machine."""
    from edgevid.models.download import MIRROR
    from edgevid.models.hub import DEFAULT_MODEL, entries

    wide = (console := results(soft_wrap=False)).width >= 130  # else the summaries would be broken into many lines
    rows = list[list[str | Text]]()
    for one in entries().values():
        name = Text.assemble(one.name, ("*", "green") if one.name == DEFAULT_MODEL else "")
        size = one.source.bytes or (one.local.stat().st_size if one.local else 0)
        megabytes = f"{size / 1e6:.1f} MB" if size else "?"
        if one.shipped:  # it came with the package: nothing is downloaded
            checksum, local = Text("-", "dim"), Text("included", "green")
        else:
            checksum = Text("published") if one.source.sha256 else Text("unverified", "yellow")
            checksum = Text("verified", "green") if one.source.verified else checksum
            local = Text("yes", "green") if one.local else Text("-") if one.source.url else Text("mirror only", "dim")
        cells = name, one.kind, megabytes, one.source.license, checksum, local
        rows.append([*cells, *[one.summary] * wide])
    heads = ("name", "task", "size", "license", "checksum", "local", "summary")[: 6 + wide]
    print_rows(console, heads, rows, text={*heads} - {"size"})
    hint = "" if wide else " A terminal of 130 columns shows a summary of each."
    marks = "checksum: verified by us, published by its source, or unverified"
    console.print(f"\n[green]*[/] the default model; {marks}.{hint}", style="dim")
    where = f"Downloads are in {cache_folder()}. On a closed network set {MIRROR} to a folder or an address."
    console.print(where, style="dim", markup=False)


@command.command("get")
def get_(names: Names) -> None:
    """Download models or samples, verify them and keep them for use without a network."""
    from edgevid.models.hub import get_file

    for name in names:
        with _bar(name) as progress:
            path = get_file(name, progress=progress)
        results().print(f"[green]{escape(name)}[/]: {escape(str(path))}")


@contextmanager
def _bar(name: str) -> Iterator[Progress]:
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
    from rich.progress import TransferSpeedColumn as Speed

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), Speed(), TimeRemainingColumn())
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
            console.print(f"[green]{escape(name)}[/]: {verdict}")
        except EdgevidError as error:  # noqa: PERF203 (every name gets its line)
            failed += 1
            console.print(f"[red]{escape(name)}[/]: {escape(str(error))}")
    if failed:
        raise typer.Exit(1)


@command.command("remove")
def remove_(names: Names) -> None:
    """Delete the downloaded files of these names."""
    from edgevid.models.hub import remove

    for name in names:
        removed = ", ".join(path.name for path in remove(name))
        results().print(f"{name}: {f'removed {removed}' if removed else 'nothing to remove'}", markup=False)


def inspect_command(model: Path, write: bool, out: Path | None, force: bool, data: str | None, image: Path | None,
                    max_frames: int) -> None:  # fmt: skip
    """Print a model's inputs, outputs and the decoder that fits; --write drafts a recipe, --data tries it."""
    from edgevid.models.draft import inspect, write_draft

    target = out or (model.with_suffix(".toml") if write else None)
    check_outputs({"--out": (target, "TOML"), "--image": (image, "image")}, [model, data], force=force)
    if image and not data:
        raise InputError("--image: the image of --data, which is not given")
    report = inspect(model)
    console = results()
    sides = [("input", spec) for spec in report.inputs] + [("output", spec) for spec in report.outputs]
    shapes = (" x ".join("dynamic" if n < 0 else str(n) for n in s.shape) or "scalar" for _, s in sides)
    rows = [(side, s.name, str(s.dtype), n) for (side, s), n in zip(sides, shapes, strict=True)]
    print_rows(console, ("", "name", "dtype", "shape"), rows, text=("name", "dtype", "shape"))
    for key, value in report.metadata.items():
        shown = value if len(value) < 100 else value[:97] + "..."
        console.print(f"[dim]{escape(key)}:[/] {escape(shown)}")
    console.print()
    _print_decoder(console, report)
    if write or out:
        path = write_draft(report, out, replace=force)
        console.print(f"\nDraft recipe: [bold]{escape(str(path))}[/]")
    if data:
        _try_out(console, report, data, image or Path(f"{model.stem}.frames.jpg"), max_frames)


def _try_out(console: Console, report: ModelReport, data: str, image: Path, max_frames: int) -> None:
    """Draws the boxes on frames, and names what no good detector shows."""
    from edgevid._opencv import require_opencv
    from edgevid.models.hub import resolve_model
    from edgevid.optimize.frames import read_frames
    from edgevid.optimize.trial import try_out
    from edgevid.output.overlay import contact_sheet

    require_opencv("--data")
    written = (report.path.with_suffix(".toml"), report.path.parent / "recipe.toml")
    edited = report.recipe is None or any(path.is_file() for path in written)
    recipe = resolve_model(report.path) if edited or report.recipe is None else report.recipe
    if recipe.task != "detect":
        raise InputError(f"--data tries detectors; {report.path} is a model of task {recipe.task!r}")
    made = try_out(recipe, (named.frame for named in read_frames(data, max_frames)))
    if made.images:
        write_image("--image", image, contact_sheet(made.images, columns=min(3, len(made.images))))
        found = ", ".join(f"{count} {name}" for name, count in made.objects[:8]) or "nothing"
        console.print(f"\n[green]Found:[/] {escape(found)} on {len(made.images)} frames")
        console.print(f"[green]Drawn:[/] [bold]{escape(str(image))}[/]")
    for finding in made.findings:
        console.print(f"[yellow]Check:[/] {escape(finding)}")


def _print_decoder(console: Console, report: ModelReport) -> None:
    guess, recipe = report.guess, report.recipe
    if recipe is None or recipe.input is None:
        why = escape(report.problem) or "docs/recipes.md describes how to write a recipe."
        console.print(f"[yellow]No decoder fits these outputs.[/] {why}")
        return
    spec, classes = recipe.input, f"{len(recipe.names)} classes" if recipe.names else "no classes"
    if guess is None:
        console.print(f"[green]Task:[/] [bold]{recipe.task}[/], {classes}")
    else:
        console.print(f"[green]Decoder:[/] [bold]{guess.decode.kind}[/] - {escape(guess.family)}, {classes}")
    how = f"{spec.color}, {spec.resize}, mean {spec.mean}, std {spec.std}"
    console.print(f"[green]Image:[/] {spec.width}x{spec.height} {how}")
    for note in report.notes:
        console.print(f"[yellow]Check:[/] {escape(note)}")


def export_command(weights: Path, data: str, size: str, out: Path | None, force: bool, max_frames: int,
                   **options: Any) -> None:  # fmt: skip
    """Export weights to ONNX, write their recipe, and compare with PyTorch on real frames."""
    from edgevid.optimize.export import export, export_target
    from edgevid.optimize.frames import read_frames

    sides, target = shared.parse_size(size, "--size"), export_target(weights, out)
    files = {"--out": (target, "ONNX"), "--out, recipe": (target.with_suffix(".toml"), "TOML")}
    check_outputs(files, [weights], force=force)
    console = results()
    with notes().status("exporting and comparing", spinner="dots"):
        made = export(weights, [named.frame for named in read_frames(data, max_frames)], size=sides, out=out, **options)
    spec = made.recipe.input
    size_text = f"{spec.width}x{spec.height}, {len(made.recipe.names)} classes"
    console.print(f"[green]Model:[/]    {escape(str(made.model))}, {size_text}")
    console.print(f"[green]Recipe:[/]   {escape(str(made.recipe_file))}")
    verified = f"[green]Verified:[/] against PyTorch on {made.frames} frames, scores and boxes within {made.worst:.1e}"
    console.print(f"{verified}, cosine {made.cosine:.7f}; images within {made.image_levels:.2f} of 255 levels")
    if made.recipe.source.license:
        console.print(f"[yellow]License:[/]  the exporter states {escape(made.recipe.source.license)}")
