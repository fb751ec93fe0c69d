"""`edgevid evaluate actions` and `edgevid evaluate robustness`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Data = Annotated[
    Path,
    typer.Argument(help="Labeled videos (class folders or CSV) or skeleton files (*_test_1.npz)."),
]
Model = Annotated[str, typer.Option(help="Recipe of the deployed model: runs/actions/recipe.toml")]
Plot = Annotated[Path | None, typer.Option(help="PNG to write.")]
ClipsPerSequence = Annotated[
    int, typer.Option(help="Clips one after another in a sequence, to evaluate segmentation.", min=0)
]


def register(group: typer.Typer) -> None:
    """Adds this module's subcommands."""
    group.command("actions")(actions)
    group.command("robustness")(robustness)


def actions(data: Data, model: Model, plot: Plot = None, clips_per_sequence: ClipsPerSequence = 0) -> None:
    """Accuracy, precision, recall and F1 of each class; segmentation measures where steps are labeled."""
    from rich.console import Console
    from rich.table import Table

    from edgevid.evaluate.actions.metrics import report_lines
    from edgevid.evaluate.actions.score import evaluate

    console = Console(highlight=False)
    found = evaluate(model, data, clips_per_sequence=clips_per_sequence)
    table = Table()
    for column in ("class", "precision", "recall", "F1", "clips" if found.segments is None else "steps"):
        table.add_column(column, justify="left" if column == "class" else "right")
    for name, precision, recall, f1, support in report_lines(found.report):
        table.add_row(name, f"{precision:.3f}", f"{recall:.3f}", f"{f1:.3f}", str(support))
    console.print(table)
    console.print(
        f"accuracy {100 * found.report.accuracy:.1f} % of the emitted, "
        f"coverage {100 * found.coverage:.1f} %, "
        f"{100 * found.accuracy_of_all:.1f} % where abstentions count as errors"
    )
    if found.segments is not None:
        s = found.segments
        console.print(
            f"sequences of clips: edit {s.edit:.1f}, F1@10/25/50 {s.f1_10:.1f}/{s.f1_25:.1f}/{s.f1_50:.1f}, "
            f"background classes: {', '.join(map(str, s.background)) or 'none'}"
        )
    if plot is not None:
        from edgevid.evaluate.actions.plots import plot_confusion

        plot_confusion(found.report, f"{model} on {data.name}", plot)


def robustness(data: Data, model: Model, plot: Plot = None) -> None:
    """Accuracy under JPEG, blur, noise and scale (videos), or noise and losses (poses)."""
    from rich.console import Console
    from rich.table import Table

    from edgevid.evaluate.actions.robustness import measure

    console = Console(highlight=False)
    with console.status("measuring") as status:
        found = measure(model, data, report=status.update)
    table = Table(title="Accuracy, %", title_justify="left")
    table.add_column("corruption")
    table.add_column("strength: accuracy")
    for kind, points in found.items():
        table.add_row(kind, "   ".join(f"{s:g}: {100 * a:.1f}" for s, a in points))
    console.print(table)
    if plot is not None:
        from edgevid.evaluate.actions.plots import plot_robustness

        plot_robustness(found, f"{model} on {data.name}", plot)
