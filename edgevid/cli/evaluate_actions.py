"""`edgevid evaluate actions` and `edgevid evaluate robustness`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Data = Annotated[
    Path, typer.Argument(help="Labeled videos (folder of folders, CSV) or skeleton files (*_test_1.npz).")
]
Model = Annotated[str, typer.Option(help="Recipe of the deployed model: runs/actions/recipe.toml")]
Plot = Annotated[Path | None, typer.Option(help="PNG to write.")]
Stitch = Annotated[
    int, typer.Option(help="Clips in a row, to judge segmentation on stitched sequences.", min=0)
]


def register(group: typer.Typer) -> None:
    """Adds this module's subcommands."""
    group.command("actions")(actions)
    group.command("robustness")(robustness)


def actions(data: Data, model: Model, plot: Plot = None, stitch: Stitch = 0) -> None:
    """Accuracy, precision, recall and F1 of each class; segmentation measures where steps are labeled."""
    from rich.console import Console
    from rich.table import Table

    from edgevid.evaluate.actions.metrics import report_lines
    from edgevid.evaluate.actions.score import judge
    from edgevid.models.hub import resolve_model

    console = Console(highlight=False)
    judged = judge(model, data, resolve_model(model).names, stitched=stitch)
    table = Table()
    for column in ("class", "precision", "recall", "F1", "clips" if judged.segments is None else "steps"):
        table.add_column(column, justify="left" if column == "class" else "right")
    for name, precision, recall, f1, support in report_lines(judged.report):
        table.add_row(name, f"{precision:.3f}", f"{recall:.3f}", f"{f1:.3f}", str(support))
    console.print(table)
    console.print(
        f"accuracy {100 * judged.report.accuracy:.1f} % of the answered, "
        f"coverage {100 * judged.coverage:.1f} %, "
        f"{100 * judged.accuracy_of_all:.1f} % where silence counts as a mistake"
    )
    if judged.segments is not None:
        s = judged.segments
        console.print(
            f"stitched sequences: edit {s.edit:.1f}, F1@10/25/50 {s.f1_10:.1f}/{s.f1_25:.1f}/{s.f1_50:.1f}, "
            f"background classes: {', '.join(map(str, s.background)) or 'none'}"
        )
    if plot is not None:
        from edgevid.evaluate.actions.plots import plot_confusion

        plot_confusion(judged.report, f"{model} on {data.name}", plot)


def robustness(data: Data, model: Model, plot: Plot = None) -> None:
    """Accuracy against JPEG quality, blur, noise and scale (of videos), or noise and losses (of poses)."""
    from rich.console import Console
    from rich.table import Table

    from edgevid.evaluate.actions.robustness import measure

    console = Console(highlight=False)
    with console.status("measuring") as status:
        found = measure(model, data, say=status.update)
    table = Table(title="Accuracy, %", title_justify="left")
    table.add_column("corruption")
    table.add_column("strength: accuracy")
    for kind, points in found.items():
        table.add_row(kind, "   ".join(f"{s:g}: {100 * a:.1f}" for s, a in points))
    console.print(table)
    if plot is not None:
        from edgevid.evaluate.actions.plots import plot_robustness

        plot_robustness(found, f"{model} on {data.name}", plot)
