"""`edgevid train`: action recognizers and a detector of your own scenes (extra `train`)."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer
from rich.markup import escape
from typer import Argument, Option

from edgevid.cli import options as shared
from edgevid.cli.console import advance, check_outputs, print_rows, progress_bar, results, training_bar
from edgevid.errors import InputError, require
from edgevid.files.atomic import check_folder, make_folder

if TYPE_CHECKING:
    from rich.console import Console

    from edgevid.evaluate.actions.metrics import Interval
    from edgevid.evaluate.items import Item
    from edgevid.learn.actions.experiment import Outcome

command = typer.Typer(no_args_is_help=True, help='Train on your own data (pip install "edgevid[train]").')

Out = Annotated[Path, shared.out_option("Folder for the ONNX files, recipe, plots and report.")]
Model = Annotated[str, Option("--extractor", help="Feature or pose model before the head.")]
Share = Annotated[float, Option(help="Share of the videos held out for testing.", min=0.05, max=0.9)]
Data = Annotated[Path, Option(help="Data folder to write (images/ and labels/).")]
DetectorOut = Annotated[Path, shared.out_option("Folder for the ONNX, recipe and checkpoint.")]
Models = Annotated[str, Option(help="Detectors to fuse (default: three small ones).", show_default=False)]
Seed = Annotated[int, Option(help="Random seed.")]


@command.command("detector")
def detector(
    data: Annotated[Path, Argument(help="Data folder with images/ and labels/.")],
    out: DetectorOut = Path("runs/detector"),
    start: Annotated[str, Option("--from", help="Model to fine-tune (street-small, an ONNX) or a checkpoint.")] = "",
    steps: Annotated[int | None, Option(help="Batches; default: 12000, or 400 with --from.", min=1)] = None,
    batch: Annotated[int, Option(help="Images per batch.", min=1)] = 32,
    held_out: Annotated[float, Option(help="Share of the clips to measure on, not learned from.", max=0.9)] = 0.2,
    seed: Seed = 1,
    device: Annotated[str, Option(help="cpu or cuda:0")] = "cpu",
    processes: Annotated[int | None, Option(help="CPU processes; default: cores, up to 4.", min=1)] = None,
    name: Annotated[str, Option(help="Name of the model.")] = "my-detector",
) -> None:
    """Train a compact detector on labeled images, or fine-tune one; resumes an interrupted training."""
    require("torch", extra="train", purpose="edgevid train detector")
    require("onnx", extra="train", purpose="edgevid train detector")
    from edgevid.detect.detector import Detector
    from edgevid.learn.detector.data import load
    from edgevid.learn.detector.distributed import Task, average_precisions, draw_clips, train_detector
    from edgevid.learn.detector.export import export_onnx, read_onnx, write_recipe
    from edgevid.learn.detector.network import CLASSES, Shape
    from edgevid.learn.detector.train import Schedule
    from edgevid.models.hub import resolve_model
    from edgevid.runtime.processor import default_threads

    make_folder(out)
    console, checkpoint = results(soft_wrap=False), out / "checkpoint.pt"
    before = resolve_model(start) if start and not start.endswith(".pt") else None
    known = Path(before.local) if before else Path(start) if start else None
    if before:
        schedule = Schedule(steps or 400, batch, 4e-4, warmup_steps=50, ema_decay=0.99, seed=seed, frozen=True)
    else:
        schedule = Schedule(steps or 12_000, batch, seed=seed)
    samples = load(data, CLASSES)
    _described(data, console)
    clips = draw_clips([one.clip for one in samples], held_out, seed) if held_out else ()
    measured = [one for one in samples if one.clip in clips]
    shape = read_onnx(known).shape if before and known else Shape()
    task = Task(data, checkpoint, schedule, shape, start=known, held_out=clips)
    if device == "cpu" and processes is None:
        processes = next(n for n in (4, 3, 2, 1) if n <= default_threads() and batch % n == 0)
    with training_bar(checkpoint) as progress:
        network = train_detector(task, device=device, processes=processes or 1, progress=progress)
    file = export_onnx(network, out / f"{name}.onnx")
    recipe = write_recipe(out, file.name, network, name=name, summary=f"trained on {data.name}")
    if measured:
        models: dict[str, Any] = {**({before.name: before} if before else {}), name: recipe}
        found = [average_precisions(Detector.load(m, score_threshold=0.02), measured) for m in models.values()]
        title = f"AP50 on {len(measured)} images of {len(clips)} held-out clips"
        rows = [(k, *(f"{100 * one[k]:.1f} %" for one in found)) for k in found[-1]]
        print_rows(console, ("class", *models), rows, title=title)
    console.print(f"written [cyan]{file}[/] and [cyan]{recipe}[/]", soft_wrap=True)


@command.command("label")
def label(
    sources: Annotated[list[str], Argument(help="Videos and folders of images; each is one clip.")],
    data: Data = Path("data/street"),
    models: Models = "picodet-s-416,nanodet-m-416,yolox-nano-416",
    every: Annotated[float, Option(help="Seconds between labeled frames of a video.", min=0.0)] = 0.2,
) -> None:
    """Label videos with an ensemble of detectors; labels are text files, to be corrected by hand."""
    from edgevid.detect.detector import Detector
    from edgevid.video.open import open_video

    require("torch", extra="train", purpose="edgevid train")
    check_folder(data)
    from edgevid.learn.detector.label import Ensemble, write_clip
    from edgevid.learn.detector.network import CLASSES

    found = [Detector.load(name.strip(), score_threshold=0.05) for name in models.split(",")]
    ensemble, console = Ensemble(found, CLASSES), results(soft_wrap=False)
    for source in sources:
        clip = Path(source).stem.replace("_", "-")
        with open_video(source) as video:
            counts = write_clip(clip, video, ensemble, data, every_s=every)
        console.print(f"{clip}: " + (", ".join(f"{n} {k}" for k, n in counts.items()) or "nothing confident"))


@command.command("rendered")
def rendered(
    data: Data = Path("data/street"),
    scenes: Annotated[int, Option(help="Streets to render.", min=1)] = 60,
    frames: Annotated[int, Option("--frames", help="Images of each street.", min=1)] = 6,
    seed: Seed = 100,
) -> None:
    """Add rendered street images with exact boxes to a data folder; never the street of edgevid-demo."""
    from edgevid.learn.detector.label import write_rendered

    check_folder(data)
    if seed <= 1 < seed + scenes:
        seeds = f"{seed} to {seed + scenes - 1}"
        raise InputError(f"--seed: expected seeds without 1, the street of edgevid-demo, got {seeds}")
    count = write_rendered(data, scenes=scenes, frames=frames, seed=seed)
    results().print(f"written {count} images to [cyan]{data}[/]")


@command.command("actions")
def actions(
    data: Annotated[Path, Argument(help="Class folders, a CSV (path,label[,group]), or skeleton files.")],
    head: Annotated[str, Option(help="gru, lstm, transformer or asformer.")] = "transformer",
    out: Out = Path("runs/actions"),
    force: shared.Force = False,
    seeds: Annotated[int, Option(help="Trainings with different seeds, for the interval.", min=1)] = 3,
    epochs: Annotated[int, Option(help="Passes over the data.", min=1)] = 100,
    rate: Annotated[float, Option(help="Time steps per second of the head's input.")] = 15.0,
    window: Annotated[int, Option(help="Time steps in one window.", min=2)] = 20,
    extractor: Model = "movenet-lightning-192",
    bidirectional: Annotated[bool, Option("--bidirectional", help="Future steps too: no streaming.")] = False,
    augmentations: Annotated[int, Option(help="Augmented copies of every video to extract.", min=0)] = 0,
    test: Share = 0.25,
    patience: Annotated[int, Option(help="Epochs without progress before the end.", min=0)] = 30,
    clips_per_sequence: Annotated[int, Option(help="asformer: clips of a training sequence.", min=2)] = 6,
    threads: Annotated[int, Option(help="CPU threads.", min=1)] = 2,
) -> None:
    """Train a temporal head on labeled clips or skeletons of people."""
    require("torch", extra="train", purpose="training")
    from edgevid.learn.actions.fit import CHECKPOINT
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
    if not any(data.glob("*.npz")):  # skeletons are no images
        _described(data, console)
    with training_bar(out / CHECKPOINT) as progress:
        outcome = train_actions(config, report=console.print, progress=progress)
    _print_outcome(console, outcome, head)


def _print_outcome(console: Console, outcome: Outcome, head: str) -> None:
    rows = [
        (f"[bold]{head}", _percent(outcome.interval_of("accuracy"))),
        ("linear baseline (mean of features)", _percent(outcome.interval_of("baseline"))),
        ("chance", f"{100 / len(outcome.report.names):.1f} %"),
    ]
    title = "Held-out accuracy, mean over splits (95 % interval of seeds)"
    print_rows(console, ("head", "accuracy"), rows, title=title)
    if segments := [t.segments for t in outcome.trials if t.segments is not None]:
        means = [sum(column) / len(segments) for column in zip(*(s[:5] for s in segments), strict=True)]
        console.print("accuracy {:.1f}  edit {:.1f}  F1@10/25/50 {:.1f}/{:.1f}/{:.1f}".format(*means))
    p = outcome.parity
    parity = f"ONNX Runtime {p.window:.1e}, streaming {p.stream:.1e}, live pipeline {p.pipeline:.1e}"
    console.print(f"Parity: {parity} (largest difference)")
    console.print(f"Training took {outcome.cpu_s:.0f} CPU s. Deploy: {outcome.recipe}")


def _percent(value: Interval) -> str:
    band = "" if value.low == value.high else f" ({100 * value.low:.1f} to {100 * value.high:.1f})"
    return f"{100 * value.mean:.1f} %{band}"


@command.command("classifier")
def classifier(
    data: Annotated[Path, Argument(help="Class folders, or a CSV (path, columns of labels[, group]).")],
    heads: Annotated[str, Option(help="compact, or a model or recipe of features; several: a,b.")] = "compact",
    out: Annotated[Path, shared.out_option("Folder for the ONNX, recipe and report.")] = Path("runs/classifier"),
    force: shared.Force = False,
    align: Annotated[str, Option(help="none, or a transformer that turns images: stn, stn-perspective.")] = "none",
    rotation: Annotated[float, Option(help="Augmentation: largest rotation, degrees.", min=0, max=180)] = 8.0,
    flip: Annotated[bool, Option(help="Augmentation: mirrored images.")] = True,
    jpeg: Annotated[bool, Option("--jpeg", help="Augmentation: JPEG of quality 10 to 95 (kornia).")] = False,
    size: Annotated[str, Option(help="Pixels of the input: 64, or 64x32 (height x width).")] = "64",
    context: Annotated[float, Option(help="What images show: times the side of the object's box.", min=0.1)] = 1.0,
    epochs: Annotated[int, Option(help="Passes over the data.", min=1)] = 40,
    patience: Annotated[int, Option(help="Epochs without progress before the end; 0: never.", min=0)] = 20,
    test: Annotated[float, Option(help="Share of the images held out for testing.", min=0.05, max=0.9)] = 0.25,
    group: Annotated[str, Option(help="What is never split: group, camera, day, or file (each alone).")] = "group",
    learning_curve: Annotated[bool, Option("--learning-curve", help="Also train on 25 and 50 % of them.")] = False,
    seeds: Annotated[int, Option(help="Trainings with different seeds.", min=1)] = 1,
    threads: Annotated[int, Option(help="CPU threads.", min=1)] = 2,
) -> None:
    """Train a classifier of the crops of objects; several heads are compared on one split."""
    require("torch", extra="train", purpose="training")
    from edgevid.learn.actions.fit import CHECKPOINT
    from edgevid.learn.actions.train import TrainConfig, train_actions
    from edgevid.learn.classifier.network import ImageAugmentation, ImageOptions

    check_folder(out)
    check_outputs({"--out": (out / "report.json", "JSON")}, force=force)
    side, console, found = shared.parse_size(size, "--size"), results(soft_wrap=False), []
    height, width = (side, side) if isinstance(side, int) else side
    images = ImageOptions(width, height, context, cast("Any", align), ImageAugmentation(rotation, flip, jpeg))
    items, kinds = _described(data, console), shared.split_names(heads, "--heads")
    attributes = list(dict.fromkeys(key for one in items for key in one.labels))
    with training_bar(out / CHECKPOINT) as progress:
        for attribute, kind in product(attributes, kinds):
            extractor = "" if kind == "compact" else kind
            parts = [attribute] * (len(attributes) > 1) + [Path(kind).name] * (len(kinds) > 1)
            config = TrainConfig(
                data, "linear" if extractor else "compact", out.joinpath(*parts), seeds, epochs, rate_hz=4.0, window=1,
                extractor=extractor, test=test, patience=patience, attribute=attribute, group=group, images=images,
                learning_curve=learning_curve, threads=threads,
            )  # fmt: skip
            console.print(f"[bold]{escape(attribute)}, {escape(kind)}[/]")
            found.append((attribute, kind, train_actions(config, report=console.print, progress=progress)))
    _print_classifiers(console, found)


def _described(data: Path, console: Console) -> list[Item]:
    """The labeled items of `data`, after what may spoil a training was printed (docs/data.md)."""
    from edgevid.evaluate.describe import describe
    from edgevid.evaluate.items import read_items

    items, left_out = read_items(data)
    with progress_bar(data.name, len(items)) as bar:
        found = describe(items, left_out, progress=lambda: advance(bar))
    for note in found.notes:
        console.print(f"[yellow]data:[/] {escape(note)}", soft_wrap=True)
    return items


def _print_classifiers(console: Console, found: list[tuple[str, str, Outcome]]) -> None:
    """Accuracy, time and size of each head, with the extractor that it needs."""
    from edgevid.evaluate.evaluation import between, shown
    from edgevid.models.hub import resolve_model
    from edgevid.optimize.bench import bench

    rows = []
    for attribute, kind, one in found:
        files = [next(one.recipe.parent.glob("*.onnx")), *([] if kind == "compact" else [resolve_model(kind).local])]
        ms = sum(part.at("inference", 50) for part in bench(files, runs=50, threads=1, device="cpu").timings)
        share, megabytes = one.held_out, sum(file.stat().st_size for file in files) / 1e6
        rows.append((attribute, kind, shown(share.value), between(share), f"{ms:.2f}", f"{megabytes:.2f}",
                     f"{max(one.parity.window, one.parity.pipeline):.1e}", str(one.recipe)))  # fmt: skip
    titles = ("attribute", "head", "accuracy", "95 % interval", "ms", "MB", "parity", "recipe")
    print_rows(console, titles, rows, text=("recipe",))


@command.command("backbone")
def backbone(
    model: Annotated[str, Argument(help="Model name, recipe or ONNX file to cut, such as a detector.")],
    out: Annotated[Path, shared.out_option("Folder of the cut model and its recipe.")],
    force: shared.Force = False,
    tensor: Annotated[str, Option(help="Feature map to end at; the deepest one if empty.")] = "",
) -> None:
    """Cut a frozen feature extractor for heads out of an image model."""
    from edgevid.models.hub import resolve_model
    from edgevid.optimize.export import cut_backbone

    check_folder(out)
    check_outputs({"--out": (out / "recipe.toml", "TOML")}, [model], force=force)
    recipe, width = cut_backbone(resolve_model(model), out, tensor=tensor)
    results(soft_wrap=False).print(f"{width} features per crop. Use it: --extractor {recipe.parent}")
