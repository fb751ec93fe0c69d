"""`edgevid compare`: does an engine agree with the model it was made from? Decided on real frames."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from typer import Argument, Option

from edgevid.cli import options as shared
from edgevid.cli.console import advance, check_outputs, print_rows, progress_bar, results, show_written, write_json

if TYPE_CHECKING:
    from edgevid.optimize.compare.gate import ParityReport

REJECTED = 1  # Exit status of a rejected engine; an error in the command is 2

Score = Annotated[float | None, Option("--score-threshold", "--conf", help="Least box score.", min=0, max=1)]


def command(
    a: Annotated[str, Argument(help="Reference: a model's name, an ONNX file or an engine.")],
    b: Annotated[str, Argument(help="Candidate: the same.")],
    data: Annotated[str, Option(help="Real frames: a video, a folder of images or a list of images.")],
    max_frames: Annotated[int, Option(help="Frames to compare, spread evenly; 0: all.", min=0)] = 100,
    min_agreement: shared.MinAgreement = None,
    precision: shared.Precision = None,
    score_threshold: Score = None,
    device: shared.Device = "auto",
    threads: shared.Threads = None,
    worst: Annotated[int, Option(help="Worst frames to show.", min=1, max=50)] = 6,
    report: Annotated[Path | None, Option(help="HTML report to write.")] = None,
    out: shared.Json = None,
    force: shared.Force = False,
) -> None:
    """Compare two engines on real frames; exit status 1 if they agree less than the minimum."""
    from edgevid.optimize.compare.report import check_target, write_report
    from edgevid.optimize.compare.run import compare

    check_outputs({"--report": (report, "HTML"), "--json": (out, "JSON")}, (a, b, data), force=force)
    if report is not None:
        check_target(report)
    chosen: Any = precision
    with progress_bar("comparing", max_frames or None) as bar:
        result, found = compare(
            a, b, data, max_frames=max_frames or None, precision=chosen, min_agreement=min_agreement,
            score_threshold=score_threshold, device=device, threads=threads, keep_worst=worst,
            on_frame=lambda _: advance(bar),
        )  # fmt: skip
    if write_json({**result.as_dict(), "conditions": found}, out):
        _show(result, found)
    if report is not None:
        show_written(write_report(result, report, found))
    raise typer.Exit(0 if result.passed else REJECTED)


def _show(report: ParityReport, found: dict[str, Any]) -> None:
    from edgevid.optimize.compare.gate import percent

    console = results()
    a, b = report.names
    console.print(f"[bold]{escape(b)}[/] against [bold]{escape(a)}[/], {escape(found['frames'])}\n")
    task, floor = report.task, f"floor {percent(report.floor.value)} ({report.floor.source})"
    figures = [("identical frames", f"{report.identical_frames} of {report.frames}", "")]
    for key, value in task.details.items():
        figures.append((key, f"{value:.4f}" if isinstance(value, float) else str(value), ""))
    agreement = (f"agreement{task.condition}", percent(report.agreement), f"[dim]{floor}[/]")
    print_rows(console, agreement, figures, text=agreement[2:])
    if report.outputs:
        heads = ("output", "max |a-b|", "mean |a-b|", "rms of a", "mean cosine", "min cosine")
        rows = [(escape(o.name), f"{o.max_abs:.4g}", f"{o.mean_abs:.4g}", f"{o.scale:.4g}", f"{o.cosine:.6f}",
                 f"{o.min_cosine:.6f}") for o in report.outputs]  # fmt: skip
        console.print()
        print_rows(console, heads, rows)
    if differing := [pair for pair in report.worst if pair.severity > (0.0, 0.0)]:
        console.print()
        pairs = [(escape(pair.name), escape(pair.difference)) for pair in differing]
        print_rows(console, ("worst frames", ""), pairs, text=[""])
    for note in report.notes:
        console.print(f"[yellow]Note:[/] {escape(note)}")
    color, word = ("green", "passed") if report.passed else ("red", "rejected")
    console.print(f"\n[bold {color}]{word}:[/] {escape(report.summary())}")
