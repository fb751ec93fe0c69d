"""`edgevid compare`: is an engine still the model it was made from? Judged on real frames."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from edgevid.optimize.compare.gate import ParityReport

BELOW = 1
"""Exit status of a refused engine; a mistake in the command is 2."""

A = Annotated[str, typer.Argument(help="Reference: a model's name, an ONNX file or an engine.")]
B = Annotated[str, typer.Argument(help="Candidate: the same.")]
Frames = Annotated[str, typer.Option(help="Real frames: a video, a folder of images or a list of images.")]
Count = Annotated[int, typer.Option(help="Frames to take, spread evenly; 0: all.", min=0)]
Floor = Annotated[float | None, typer.Option(help="Least agreement, 0 to 1.", min=0, max=1)]
Precision = Annotated[str | None, typer.Option(help="The candidate's: fp32, fp16 or int8.")]
Score = Annotated[float | None, typer.Option(help="Boxes above this score count.", min=0, max=1)]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda:0")]
Threads = Annotated[int | None, typer.Option(help="CPU threads of a model.", min=1)]
Worst = Annotated[int, typer.Option(help="Worst frames to show.", min=1, max=50)]
Report = Annotated[list[Path] | None, typer.Option(help="HTML report to write; may be repeated.")]
Json = Annotated[Path | None, typer.Option("--json", help="All figures as JSON, - for the screen.")]


def command(
    a: A,
    b: B,
    frames: Frames,
    count: Count = 100,
    floor: Floor = None,
    precision: Precision = None,
    score: Score = None,
    device: Device = "auto",
    threads: Threads = None,
    worst: Worst = 6,
    report: Report = None,
    out: Json = None,
) -> None:
    """Compare two engines on real frames; exit with 1 where B agrees with A less than the floor asks."""
    from edgevid.cli.progress import advance, progress_bar
    from edgevid.optimize.compare.report import check_target, write_report
    from edgevid.optimize.compare.run import compare

    for path in report or []:
        check_target(path)
    with progress_bar("comparing", count or None) as bar:
        made, found = compare(
            a, b, frames, count=count or None, precision=precision, floor=floor, score=score,
            device=device, threads=threads, keep_worst=worst, on_frame=lambda _: advance(bar),
        )  # fmt: skip
    figures = {**made.as_dict(), "conditions": found}
    if out is not None and str(out) == "-":
        print(json.dumps(figures, indent=1, ensure_ascii=False))
    else:
        _show(made, found)
    written = [write_report(made, path, found) for path in report or []]
    if out is not None and str(out) != "-":
        out.write_text(json.dumps(figures, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        written.append(out)
    for path in written:
        Console(stderr=True, soft_wrap=True).print(f"[dim]written:[/] {escape(str(path))}", highlight=False)
    raise typer.Exit(0 if made.passed else BELOW)


def _show(report: ParityReport, found: dict[str, Any]) -> None:
    console = Console(soft_wrap=True)
    a, b = report.names
    console.print(f"[bold]{escape(b)}[/] against [bold]{escape(a)}[/], {escape(found['frames'])}")
    console.print()
    console.print(_figures(report))
    if report.outputs:
        console.print()
        console.print(_outputs(report))
    if report.worst[0].severity > (0.0, 0.0):
        console.print()
        console.print(_worst(report))
    for note in report.notes:
        console.print(f"[yellow]Note:[/] {escape(note)}", highlight=False)
    color, word = ("green", "passed") if report.passed else ("red", "refused")
    console.print(f"\n[bold {color}]{word}:[/] {escape(report.sentence())}", highlight=False)


def _figures(report: ParityReport) -> Table:
    from edgevid.optimize.compare.gate import shown

    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column()
    table.add_column(justify="right")
    table.add_column(style="dim")
    floor = f"floor {shown(report.floor)} ({report.floor_from})"
    table.add_row(f"[bold]agreement{report.task.how}[/]", f"[bold]{shown(report.agreement)}[/]", floor)
    table.add_row("frames without a difference", f"{report.unchanged} of {report.frames}", "")
    for key, value in report.task.more.items():
        table.add_row(key, f"{value:.4f}" if isinstance(value, float) else str(value), "")
    return table


def _outputs(report: ParityReport) -> Table:
    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("output", overflow="fold")
    for head in ("max |a-b|", "mean |a-b|", "rms of a", "cosine", "least"):
        table.add_column(head, justify="right")
    for o in report.outputs:
        errors = (f"{o.max_abs:.4g}", f"{o.mean_abs:.4g}", f"{o.scale:.4g}")
        table.add_row(escape(o.name), *errors, f"{o.cosine:.6f}", f"{o.least_cosine:.6f}")
    return table


def _worst(report: ParityReport) -> Table:
    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("worst frames")
    table.add_column("")
    for pair in (p for p in report.worst if p.severity > (0.0, 0.0)):
        table.add_row(escape(pair.name), escape(pair.words))
    return table
