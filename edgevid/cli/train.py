"""`edgevid train`: models learned from your own data (extra `train`)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgevid.cli import train_detector

command = typer.Typer(
    no_args_is_help=True, help="Train models on your own data (pip install 'edgevid[train]')."
)

Data = Annotated[
    Path,
    typer.Argument(help="Folder with one folder a class, a CSV (path,label[,group]), or skeleton files."),
]
HeadKind = Annotated[str, typer.Option("--head", help="gru, lstm, transformer or asformer")]
Out = Annotated[Path, typer.Option(help="Folder for the ONNX files, recipe, plots and report.")]
Seeds = Annotated[
    int, typer.Option(help="Trainings, each from another start: they make the interval.", min=1)
]
Epochs = Annotated[int, typer.Option(help="Passes over the data.", min=1)]
Rate = Annotated[float, typer.Option(help="Moments a second that the head looks at.")]
Window = Annotated[int, typer.Option(help="Moments in one window.", min=2)]
Model = Annotated[str, typer.Option("--extractor", help="Feature or pose model that feeds the head.")]
Offline = Annotated[
    bool, typer.Option("--offline", help="See later moments too: better on recordings, no streaming.")
]
Views = Annotated[int, typer.Option(help="Augmented copies of every video to extract.", min=0)]
Share = Annotated[float, typer.Option(help="Share of the videos held out for the test.", min=0.05, max=0.9)]
Patience = Annotated[
    int, typer.Option(help="Epochs without progress on validation videos before stopping.", min=0)
]
Stitch = Annotated[int, typer.Option(help="Clips in a row that make the long sequences of asformer.", min=2)]
Threads = Annotated[int, typer.Option(help="CPU threads.", min=1)]


command.command("detector")(train_detector.detector)
command.command("label")(train_detector.label)
command.command("rendered")(train_detector.rendered)


@command.callback()
def _root() -> None:
    """Keeps subcommands as subcommands, also while there is only one."""


@command.command("actions")
def actions(
    data: Data,
    head: HeadKind = "transformer",
    out: Out = Path("runs/actions"),
    seeds: Seeds = 3,
    epochs: Epochs = 100,
    rate: Rate = 15.0,
    window: Window = 20,
    extractor: Model = "movenet-lightning-192",
    offline: Offline = False,
    views: Views = 0,
    test: Share = 0.25,
    patience: Patience = 30,
    stitch: Stitch = 6,
    threads: Threads = 2,
) -> None:
    """Learn to tell what people do, from labeled clips or skeletons."""
    from rich.console import Console

    from edgevid.errors import require

    require("torch", extra="train", purpose="training")
    from edgevid.learn.actions.command import TrainCommand, train_actions

    asked = TrainCommand(
        data=data, head=head, out=out, seeds=seeds, epochs=epochs, rate_hz=rate, window=window,
        extractor=extractor, causal=not offline, views=views, test=test, patience=patience,
        stitch=stitch if head == "asformer" else 0, threads=threads,
    )  # fmt: skip
    train_actions(asked, Console(highlight=False))


@command.command("backbone")
def backbone(
    model: Annotated[
        str, typer.Argument(help="Model name, recipe or ONNX file to cut (a detector will do).")
    ],
    out: Annotated[Path, typer.Option(help="Folder of the cut model and its recipe.")],
    tensor: Annotated[str, typer.Option(help="Feature map to end at; the deepest one if empty.")] = "",
) -> None:
    """Cut a frozen feature extractor out of an image model, to feed heads with."""
    from rich.console import Console

    from edgevid.learn.actions.backbone import cut_backbone
    from edgevid.models.hub import resolve_model

    recipe, width = cut_backbone(resolve_model(model), out, tensor=tensor)
    Console(highlight=False).print(f"{width} features a crop. Use it: --extractor {recipe.parent}")
