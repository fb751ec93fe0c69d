"""`edgevid train`: models trained on your own data (extra `train`)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer
from typer import Argument, Option

from edgevid.cli import options as shared
from edgevid.cli import train_detector
from edgevid.cli.console import is_quiet, notes, results
from edgevid.cli.output_files import check_outputs
from edgevid.errors import require
from edgevid.files.atomic import check_folder

if TYPE_CHECKING:
    from rich.console import Console

    from edgevid.evaluate.actions.metrics import Interval
    from edgevid.learn.actions.experiment import Outcome

command = typer.Typer(
    no_args_is_help=True, help='Train models on your own data (pip install "edgevid[train]").'
)

Out = Annotated[Path, shared.out_option("Folder for the ONNX files, recipe, plots and report.")]
Model = Annotated[str, Option("--extractor", help="Feature or pose model before the head.")]
Share = Annotated[float, Option(help="Share of the videos held out for testing.", min=0.05, max=0.9)]


command.command("detector")(train_detector.detector)
command.command("label")(train_detector.label)
command.command("rendered")(train_detector.rendered)


@command.command("actions")
def actions(
    data: Annotated[
        Path,
        Argument(help="Folder with one folder per class, a CSV (path,label[,group]), or skeleton files."),
    ],
    head: Annotated[str, Option(help="gru, lstm, transformer or asformer.")] = "transformer",
    out: Out = Path("runs/actions"),
    force: shared.Force = False,
    seeds: Annotated[int, Option(help="Trainings with different seeds, for the interval.", min=1)] = 3,
    epochs: Annotated[int, Option(help="Passes over the data.", min=1)] = 100,
    rate: Annotated[float, Option(help="Time steps per second of the head's input.")] = 15.0,
    window: Annotated[int, Option(help="Time steps in one window.", min=2)] = 20,
    extractor: Model = "movenet-lightning-192",
    bidirectional: Annotated[
        bool, Option("--bidirectional", help="Use future steps too: for recordings, cannot be streamed.")
    ] = False,
    augmentations: Annotated[int, Option(help="Augmented copies of every video to extract.", min=0)] = 0,
    test: Share = 0.25,
    patience: Annotated[
        int, Option(help="Epochs without progress on validation videos before stopping.", min=0)
    ] = 30,
    clips_per_sequence: Annotated[
        int, Option(help="Clips concatenated into a training sequence of asformer.", min=2)
    ] = 6,
    threads: Annotated[int, Option(help="CPU threads.", min=1)] = 2,
) -> None:
    """Train a temporal head on labeled clips or skeletons of people."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    require("torch", extra="train", purpose="training")
    from edgevid.learn.actions.train import TrainConfig, train_actions

    check_folder(out)
    check_outputs({"--out": (out / "recipe.toml", "TOML")}, force=force)
    config = TrainConfig(
        data=data, head=cast("Any", head), out=out, seeds=seeds, epochs=epochs, rate_hz=rate, window=window,
        extractor=extractor, bidirectional=bidirectional, augmentations=augmentations, test=test,
        patience=patience, clips_per_sequence=clips_per_sequence if head == "asformer" else 0,
        threads=threads,
    )  # fmt: skip
    console = results(soft_wrap=False)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=notes(soft_wrap=False), transient=True, disable=is_quiet()) as bar:
        task = bar.add_task("extracting features", total=None, visible=False)

        def progress(done: int, total: int, name: str) -> None:
            bar.update(task, completed=done, total=total, visible=done < total)

        outcome = train_actions(config, report=console.print, progress=progress)
    _print_outcome(console, outcome, head)


def _print_outcome(console: Console, outcome: Outcome, head: str) -> None:
    from rich.table import Table

    table = Table(
        title="Held-out accuracy, mean over splits (95 % interval over seeds)", title_justify="left"
    )
    for column in ("head", "accuracy"):
        table.add_column(column)
    table.add_row(f"[bold]{head}", _percent(outcome.interval_of("accuracy")))
    table.add_row("linear baseline (mean of features)", _percent(outcome.interval_of("baseline")))
    table.add_row("chance", f"{100 / len(outcome.report.names):.1f} %")
    console.print(table)
    if segments := [t.segments for t in outcome.trials if t.segments is not None]:
        means = [sum(column) / len(segments) for column in zip(*(s[:5] for s in segments), strict=True)]
        console.print("accuracy {:.1f}  edit {:.1f}  F1@10/25/50 {:.1f}/{:.1f}/{:.1f}".format(*means))
    p = outcome.parity
    console.print(
        f"Parity: ONNX Runtime {p.window:.1e}, streaming {p.stream:.1e}, live pipeline {p.pipeline:.1e} "
        "(largest difference)"
    )
    console.print(f"Training took {outcome.cpu_s:.0f} CPU s. Deploy: {outcome.recipe}")


def _percent(value: Interval) -> str:
    if value.low == value.high:
        return f"{100 * value.mean:.1f} %"
    return f"{100 * value.mean:.1f} % ({100 * value.low:.1f} to {100 * value.high:.1f})"


@command.command("backbone")
def backbone(
    model: Annotated[str, Argument(help="Model name, recipe or ONNX file to cut, such as a detector.")],
    out: Annotated[Path, shared.out_option("Folder of the cut model and its recipe.")],
    force: shared.Force = False,
    tensor: Annotated[str, Option(help="Feature map to end at; the deepest one if empty.")] = "",
) -> None:
    """Cut a frozen feature extractor for heads out of an image model."""
    from edgevid.learn.actions.backbone import cut_backbone
    from edgevid.models.hub import resolve_model

    check_folder(out)
    check_outputs({"--out": (out / "recipe.toml", "TOML")}, [model], force=force)
    recipe, width = cut_backbone(resolve_model(model), out, tensor=tensor)
    results(soft_wrap=False).print(f"{width} features per crop. Use it: --extractor {recipe.parent}")
