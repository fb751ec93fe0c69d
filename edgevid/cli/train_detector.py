"""`edgevid train label`, `rendered` and `detector`: a detector of your own scenes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from edgevid.cli import options as shared
from edgevid.cli.console import is_quiet, notes, results
from edgevid.errors import InputError, require
from edgevid.files.atomic import check_folder, make_folder

Data = Annotated[Path, Option(help="Data folder to write (images/ and labels/).")]
Out = Annotated[Path, shared.out_option("Folder for the ONNX, recipe and checkpoint.")]
Seed = Annotated[int, Option(help="Random seed.")]


def label(
    sources: Annotated[list[str], Argument(help="Videos and folders of images; each is one clip.")],
    data: Data = Path("data/street"),
    models: Annotated[
        str,
        Option(
            help="Detectors whose results are fused, separated by commas (default: three small ones).",
            show_default=False,
        ),
    ] = "picodet-s-416,nanodet-m-416,yolox-nano-416",
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
        console.print(
            f"{clip}: " + (", ".join(f"{n} {k}" for k, n in counts.items()) or "no confident labels")
        )


def rendered(
    data: Data = Path("data/street"),
    scenes: Annotated[int, Option(help="Streets to render.", min=1)] = 60,
    frames: Annotated[int, Option("--frames", help="Images of each street.", min=1)] = 6,
    seed: Seed = 100,
) -> None:
    """Add rendered street images with exact boxes to a data folder; never the street of edgevid-demo."""
    from edgevid.learn.detector.rendered import write_rendered

    check_folder(data)
    if seed <= 1 < seed + scenes:
        raise InputError(
            f"--seed: expected seeds without 1, the street of edgevid-demo, got {seed} to {seed + scenes - 1}"
        )
    count = write_rendered(data, scenes=scenes, frames=frames, seed=seed)
    results().print(f"written {count} images to [cyan]{data}[/]")


def detector(
    data: Annotated[Path, Argument(help="Data folder with images/ and labels/.")],
    out: Out = Path("runs/detector"),
    steps: Annotated[int, Option(help="Batches to train on.", min=1)] = 12_000,
    batch: Annotated[int, Option(help="Images per batch.", min=1)] = 32,
    seed: Seed = 1,
    device: Annotated[str, Option(help="cpu or cuda:0")] = "cpu",
    processes: Annotated[
        int | None, Option(help="Distributed processes on the CPU (default: its cores, 4 at most).", min=1)
    ] = None,
    name: Annotated[str, Option(help="Name of the model.")] = "my-detector",
    start: Annotated[
        Path | None, Option(help="Checkpoint to start from: its weights are loaded where they fit.")
    ] = None,
    pseudo_labels: Annotated[
        str | None, Option(help="Detector that labels every composed image too: slower, more accurate.")
    ] = None,
) -> None:
    """Train a compact detector on labeled images; resumes an interrupted training."""
    from rich.progress import Progress

    require("torch", extra="train", purpose="edgevid train detector")
    require("onnx", extra="train", purpose="edgevid train detector")
    from edgevid.learn.detector.distributed import Task, train_detector
    from edgevid.learn.detector.export import export_onnx, write_recipe
    from edgevid.learn.detector.train import Schedule
    from edgevid.runtime.processor import default_threads

    make_folder(out)
    console, checkpoint = results(soft_wrap=False), out / "checkpoint.pt"
    schedule = Schedule(steps=steps, batch=batch, seed=seed)
    task = Task(data, checkpoint, schedule, start=start, pseudo_labels=pseudo_labels)
    if device == "cpu" and processes is None:
        processes = next(n for n in (4, 3, 2, 1) if n <= default_threads() and batch % n == 0)
    with Progress(console=notes(soft_wrap=False), disable=is_quiet()) as bar:
        line = bar.add_task("training", total=steps)

        def progress(step: int, total: int, loss: float) -> None:
            bar.update(line, completed=step, total=total, description=f"training, loss {loss:.3f}")

        network = train_detector(task, device=device, processes=processes or 1, progress=progress)
    file = export_onnx(network, out / f"{name}.onnx")
    recipe = write_recipe(out, file.name, network, name=name, summary=f"trained on {data.name}")
    console.print(f"written [cyan]{file}[/] and [cyan]{recipe}[/]", soft_wrap=True)
