"""`edgevid train`: action recognizers and a detector of your own scenes (extra `train`)."""

from __future__ import annotations

from functools import partial
from itertools import product
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

import typer
from rich.markup import escape

from edgevid.cli import options as shared
from edgevid.cli.console import check_outputs, print_rows, results, training_bar
from edgevid.cli.evaluate import described
from edgevid.errors import InputError, require
from edgevid.files.atomic import check_folder, make_folder

if TYPE_CHECKING:
    from rich.console import Console

    from edgevid.evaluate.items import Item
    from edgevid.learn.actions.experiment import Outcome

command = typer.Typer(no_args_is_help=True, help='Train on your own data (pip install "edgevid[train]").')


@command.command("detector")
def detector(data: Path, out: Path, start: str, batch: int, held_out: float, seed: int, device: str, name: str,
             **given: Any) -> None:  # fmt: skip
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
        schedule = Schedule(given["steps"] or 400, batch, 4e-4, warmup_steps=50, ema_decay=0.99, seed=seed, frozen=True)
    else:
        schedule = Schedule(given["steps"] or 12_000, batch, seed=seed)
    samples = load(data, CLASSES)
    _described(data, console)
    clips = draw_clips([one.clip for one in samples], held_out, seed) if held_out else ()
    measured = [one for one in samples if one.clip in clips]
    shape = read_onnx(known).shape if before and known else Shape()
    task = Task(data, checkpoint, schedule, shape, start=known, held_out=clips)
    processes = given["processes"]
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
    console.print(f"written [cyan]{escape(str(file))}[/] and [cyan]{escape(str(recipe))}[/]", soft_wrap=True)


@command.command("label")
def label(sources: list[str], data: Path, models: str, every: float) -> None:
    """Label videos with an ensemble of detectors; labels are text files, to be corrected by hand."""
    from edgevid.detect.detector import Detector
    from edgevid.video.open import open_video

    require("torch", extra="train", purpose="edgevid train")
    check_folder(data)
    from edgevid.learn.detector.label import write_clip

    found = [Detector.load(name.strip(), score_threshold=0.05) for name in models.split(",")]
    console = results(soft_wrap=False)
    for source in sources:
        clip = Path(source).stem.replace("_", "-")
        with open_video(source) as video:
            counts = write_clip(clip, video, found, data, every_s=every)
        console.print(f"{clip}:", ", ".join(f"{n} {k}" for k, n in counts.items()) or "nothing confident", markup=False)


@command.command("rendered")
def rendered(data: Path, scenes: int, frames: int, seed: int) -> None:
    """Add rendered street images with exact boxes to a data folder; never the street of edgevid-demo."""
    from edgevid.learn.detector.label import write_rendered
    from edgevid.synthetic.scene import DEMO_SEED

    check_folder(data)
    if seed <= DEMO_SEED < seed + scenes:
        seeds = f"{seed} to {seed + scenes - 1}"
        raise InputError(f"--seed: expected seeds without {DEMO_SEED}, the street of edgevid-demo, got {seeds}")
    count = write_rendered(data, scenes=scenes, frames=frames, seed=seed)
    results().print(f"written {count} images to [cyan]{escape(str(data))}[/]")


@command.command("actions")
def actions(data: Path, out: Path, force: bool, rate: float, window: int | None, **options: Any) -> None:
    """Train a temporal head on labeled clips, skeletons of people, or long videos."""
    require("torch", extra="train", purpose="training")
    from edgevid.evaluate.actions.extract import is_features, list_long_videos
    from edgevid.learn.actions.fit import CHECKPOINT
    from edgevid.learn.actions.train import TrainConfig, train_actions

    check_folder(out)
    check_outputs({"--out": (out / "recipe.toml", "TOML")}, force=force)
    config = TrainConfig(data=data, out=out, rate_hz=rate, window=window or 0, **options)
    console = results(soft_wrap=False)
    if not (data.suffix == ".zip" or any(data.glob("*.npz")) or is_features(data) or list_long_videos(data)):
        _described(data, console)  # items with one class each
    with training_bar(out / CHECKPOINT) as progress:
        outcome = train_actions(config, report=partial(console.print, markup=False), progress=progress)
    _print_outcome(console, outcome, config.head)


def _print_outcome(console: Console, outcome: Outcome, head: str) -> None:
    from edgevid.evaluate.evaluation import between, shown

    rows = [(name, shown(one.value), between(one)) for name, one in outcome.compared.items()]
    rows = [(head, *rows[0][1:]), *rows[1:], ("chance", shown(1 / len(outcome.report.names)), "")]
    title = "Held-out accuracy, mean over splits"
    print_rows(console, ("head", "accuracy", "95 % interval of seeds"), rows, title=title)
    better = max(outcome.trials[0].kernels, key=lambda name: outcome.compared[name].value, default=head)
    own = [value.value for name, value in outcome.compared.items() if name in ("the head", "with its second opinion")]
    if better != head and outcome.compared[better].value > max(own):
        text = f"The baseline {better} is better than this head: --head {better} makes it the recognizer."
        console.print(text, markup=False)
    if segments := [t.segments for t in outcome.trials if t.segments is not None]:
        simple = [t.baseline_segments for t in outcome.trials if t.baseline_segments is not None]
        both = ((head, segments), ("linear layer per step", simple))
        by_head = [(name, *(f"{fmean(column):.1f}" for column in zip(*found, strict=True))) for name, found in both]
        print_rows(console, ("head", "accuracy", "edit", "F1@10", "F1@25", "F1@50"), by_head, title="Segments, %")
        recalls = zip(outcome.report.names, outcome.report.recall.tolist(), strict=True)
        console.print("right by class: " + ", ".join(f"{name} {share:.0%}" for name, share in recalls), markup=False)
        pairs = (f"{true} as {found} {times} times" for true, found, times, _ in outcome.report.confused(3))
        console.print("confused most: " + (", ".join(pairs) or "none"), markup=False)
    p = outcome.parity
    parity = f"ONNX Runtime {p.window:.1e}, streaming {p.stream:.1e}, live pipeline {p.pipeline:.1e}"
    console.print(f"Parity: {parity} (largest difference)", markup=False)
    console.print(f"Training took {outcome.cpu_s:.0f} CPU s. Deploy: {outcome.recipe}", markup=False)


@command.command("classifier")
def classifier(data: Path, out: Path, heads: str, force: bool, size: str, rotation: float, flip: bool, jpeg: bool,
               **options: Any) -> None:  # fmt: skip
    """Train a classifier of the crops of objects; several heads are compared on one split."""
    require("torch", extra="train", purpose="training")
    from edgevid.learn.actions.fit import CHECKPOINT
    from edgevid.learn.actions.train import TrainConfig, train_actions
    from edgevid.learn.classifier.network import ImageAugmentation, ImageOptions
    from edgevid.models.hub import resolve_model

    check_folder(out)
    check_outputs({"--out": (out / "report.json", "JSON")}, force=force)
    side, console, found = shared.parse_size(size, "--size"), results(soft_wrap=False), []
    height, width = (side, side) if isinstance(side, int) else side
    context, align, inside = (options.pop(key) for key in ("context", "align", "inside"))
    inside = inside if align == "landmarks" else ""
    images = ImageOptions(width, height, context, align, ImageAugmentation(rotation, flip, jpeg), inside)
    items, kinds = _described(data, console), shared.split_names(heads, "--heads")
    attributes = list(dict.fromkeys(key for one in items for key in one.labels))
    for model in {inside, *kinds} - {"", "compact"}:
        resolve_model(model)  # what is not there stops the command before it trains
    with training_bar(out / CHECKPOINT) as progress:
        for attribute, kind in product(attributes, kinds):
            extractor = "" if kind == "compact" else kind
            parts = [attribute] * (len(attributes) > 1) + [Path(kind).name] * (len(kinds) > 1)
            config = TrainConfig(data, "linear" if extractor else "compact", out.joinpath(*parts), rate_hz=4.0,
                                 window=1, extractor=extractor, attribute=attribute, images=images,
                                 **options)  # fmt: skip
            console.print(f"[bold]{escape(attribute)}, {escape(kind)}[/]")
            found.append((attribute, kind, train_actions(config, report=partial(console.print, markup=False),
                                                         progress=progress)))  # fmt: skip
    _print_classifiers(console, found)


def _described(data: Path, console: Console) -> list[Item]:
    """The labeled items of `data`, after what may spoil a training was printed (docs/data.md)."""
    items, found = described(data)
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
def backbone(model: str, out: Path, force: bool, tensor: str) -> None:
    """Cut a frozen feature extractor for heads out of an image model."""
    from edgevid.models.hub import resolve_model
    from edgevid.optimize.export import cut_backbone

    check_folder(out)
    check_outputs({"--out": (out / "recipe.toml", "TOML")}, [model], force=force)
    recipe, width = cut_backbone(resolve_model(model), out, tensor=tensor)
    use = f"Use it: train actions --extractor {recipe.parent}, train classifier --heads {recipe.parent}"
    results(soft_wrap=False).print(f"{width} features per crop. {use}", markup=False)


for _command in (detector, label, rendered, actions, classifier, backbone):
    shared.give_options(_command, Path(__file__).with_suffix(".toml"), part=_command.__name__)
