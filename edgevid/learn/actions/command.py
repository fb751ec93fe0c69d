"""What `edgevid train actions` does: read the data, train and compare, write what is deployed."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from edgevid.actions.clip_spec import ClipSpec
from edgevid.actions.features import FeatureExtractor, PoseExtractor
from edgevid.actions.load import load_extractor
from edgevid.evaluate.actions.data import Corpus, check, list_videos, official_splits, split_by_group
from edgevid.evaluate.actions.features import extract_features
from edgevid.evaluate.actions.metrics import Interval
from edgevid.files.folders import cache_folder
from edgevid.learn.actions.experiment import Outcome, run
from edgevid.learn.actions.export import Deployment
from edgevid.learn.actions.training import TrainOptions


@dataclass(frozen=True, slots=True)
class TrainCommand:
    """The options of the command."""

    data: Path
    head: str
    out: Path
    seeds: int
    epochs: int
    rate_hz: float
    window: int
    extractor: str
    causal: bool
    views: int
    test: float
    patience: int
    stitch: int
    threads: int


def train_actions(asked: TrainCommand, console: Console) -> Outcome:
    """Trains, prints each trial and the summary, and returns the outcome."""
    torch.set_num_threads(asked.threads)
    splits = official_splits(asked.data) if asked.data.is_dir() else {}
    spec = clip_spec(asked)
    validation: Mapping[str, Corpus] = {}
    if not splits:
        corpus = check(read_videos(asked, spec, console))
        rest, held = split_by_group(corpus, asked.test, seed=0)
        train, checked = split_by_group(rest, 0.2, seed=1) if asked.patience else (rest, rest)
        splits, validation = {"by video": (train, held)}, {"by video": checked} if asked.patience else {}
    options = _options(asked, bool(validation))
    first = next(iter(splits.values()))[0]
    told = Deployment(
        first.names, spec, _from_recipe(asked), first.joints, stride=max(asked.window // 4, 1),
        min_steps=max(asked.window // 4, 1), summary=f"{asked.head} head over {asked.extractor}",
    )  # fmt: skip
    _introduce(asked, splits, console)
    outcome = run(
        splits, asked.head, asked.out, options, told, seeds=asked.seeds, causal=asked.causal,
        validation=validation, stitched=asked.stitch, say=console.print,
    )  # fmt: skip
    summarize(outcome, first.names, asked, console)
    return outcome


def _from_recipe(asked: TrainCommand) -> str:
    """The extractor as the head's recipe names it: a path relative to its own folder, or a model's name."""
    path = Path(asked.extractor)
    return os.path.relpath(path.resolve(), asked.out.resolve()) if path.exists() else asked.extractor


def clip_spec(asked: TrainCommand) -> ClipSpec:
    """How crops are cut for the extractor, at training and at run time."""
    from edgevid.models.hub import find_recipe

    path = Path(asked.extractor)
    recipe = None if path.exists() else find_recipe(asked.extractor)
    if recipe is None:
        from edgevid.runtime import read_recipe

        recipe = read_recipe(path)
    width, height = (recipe.input.width, recipe.input.height) if recipe.input else (192, 192)
    return ClipSpec(steps=1, rate_hz=asked.rate_hz, width=width, height=height, stride_s=0.0)


def _options(asked: TrainCommand, validated: bool) -> TrainOptions:
    window = asked.window * asked.stitch if asked.stitch else asked.window
    patience = asked.patience if validated else 0
    return TrainOptions(window=window, rate_hz=asked.rate_hz, epochs=asked.epochs, patience=patience)


def read_videos(asked: TrainCommand, spec: ClipSpec, console: Console) -> Corpus:
    """The corpus of labeled videos, extracted or taken from the cache."""
    names, videos = list_videos(asked.data)
    extractor = load_extractor(asked.extractor, threads=asked.threads)
    assert isinstance(extractor, (FeatureExtractor, PoseExtractor))
    identity = f"{extractor.recipe.name} {extractor.recipe.source.sha256}"
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("extracting features", total=len(videos))
        return extract_features(
            videos, names, extractor, spec, cache_folder() / "features", extractor_id=identity,
            views=asked.views, progress=lambda done, total, _: bar.update(task, completed=done, total=total),
        )  # fmt: skip


def _introduce(asked: TrainCommand, splits: Mapping[str, tuple[Corpus, Corpus]], console: Console) -> None:
    train, test = next(iter(splits.values()))
    console.print(
        f"{len(train.names)} classes, {len(train)} training and {len(test)} held-out clips "
        f"in {len(splits)} split{'s' if len(splits) > 1 else ''}; chance {100 / len(train.names):.1f} %"
    )
    if asked.stitch:
        console.print(
            f"[yellow]Sequences are stitched of {asked.stitch} clips each: their accuracy is not that of "
            "natural long videos."
        )


def summarize(outcome: Outcome, names: tuple[str, ...], asked: TrainCommand, console: Console) -> None:
    """The table at the end: what was reached, beside the baseline, with intervals."""
    table = Table(
        title="Held-out accuracy, mean over splits (95 % interval over seeds)", title_justify="left"
    )
    for column in ("head", "accuracy"):
        table.add_column(column)
    table.add_row(f"[bold]{asked.head}", _percent(outcome.accuracy()))
    table.add_row("linear baseline (mean of features)", _percent(outcome.baseline()))
    table.add_row("chance", f"{100 / len(names):.1f} %")
    console.print(table)
    if segments := [t.segments for t in outcome.trials if t.segments is not None]:
        means = np.mean([s[:5] for s in segments], axis=0)
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
