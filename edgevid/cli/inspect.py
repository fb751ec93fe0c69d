"""`edgevid inspect`: an ONNX file's inputs and outputs, and the decoder that reads them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from typer import Argument, Option

from edgevid.cli import options as shared
from edgevid.cli.console import results
from edgevid.cli.output_files import check_outputs

if TYPE_CHECKING:
    from edgevid.models.inspect import ModelReport


def command(
    model: Annotated[Path, Argument(help="An ONNX file.")],
    write: Annotated[
        bool, Option("--write", help="Write a draft recipe, <model>.toml, next to the model.")
    ] = False,
    out: Annotated[Path | None, shared.out_option("Write the draft recipe to this file.")] = None,
    force: shared.Force = False,
) -> None:
    """Print a model's inputs, outputs and the decoder that fits; --write drafts its recipe."""
    from edgevid.models.inspect import inspect, write_draft

    target = out or (model.with_suffix(".toml") if write else None)
    check_outputs({"--out": (target, "TOML")}, [model], force=force)
    report = inspect(model)
    console = results()
    console.print(_tensors(report))
    for key, value in report.metadata.items():
        shown = value if len(value) < 100 else value[:97] + "..."
        console.print(f"[dim]{escape(key)}:[/] {escape(shown)}", highlight=False)
    console.print()
    _print_decoder(console, report)
    if write or out:
        path = write_draft(report, out, replace=force)
        console.print(f"\nDraft recipe: [bold]{escape(str(path))}[/]", highlight=False)


def _tensors(report: ModelReport) -> Table:
    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    for column in ("", "name", "dtype", "shape"):
        table.add_column(column)
    for side, specs in (("input", report.inputs), ("output", report.outputs)):
        for spec in specs:
            shape = " x ".join("dynamic" if n < 0 else str(n) for n in spec.shape) or "scalar"
            table.add_row(side, escape(spec.name), str(spec.dtype), shape)
    return table


def _print_decoder(console: Console, report: ModelReport) -> None:
    guess, recipe = report.guess, report.recipe
    if guess is None or recipe is None or recipe.input is None:
        console.print(
            "[yellow]No decoder fits these outputs.[/] docs/recipes.md describes how to write a recipe."
        )
        return
    spec = recipe.input
    console.print(
        f"[green]Decoder:[/] [bold]{guess.decode.kind}[/] - {escape(guess.family)}, {guess.classes} classes"
    )
    console.print(
        f"[green]Image:[/] {spec.width}x{spec.height} {spec.color}, {spec.resize}, "
        f"mean {spec.mean}, std {spec.std}",
        highlight=False,
    )
    for note in guess.notes:
        console.print(f"[yellow]Check:[/] {escape(note)}", highlight=False)
