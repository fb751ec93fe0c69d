"""`edgevid inspect`: an ONNX file's inputs and outputs, and the decoder that reads them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from rich.console import Console
from rich.markup import escape
from typer import Argument, Option

from edgevid.cli import options as shared
from edgevid.cli.console import check_outputs, print_rows, results, write_image

if TYPE_CHECKING:
    from edgevid.models.draft import ModelReport


def command(
    model: Annotated[Path, Argument(help="An ONNX file.")],
    write: Annotated[bool, Option("--write", help="Write a draft, <model>.toml, next to the model.")] = False,
    out: Annotated[Path | None, shared.out_option("Write the draft recipe to this file.")] = None,
    force: shared.Force = False,
    data: Annotated[str | None, Option(help="Frames to try it on: a video, a folder or a list.")] = None,
    image: Annotated[Path | None, Option(help="Of the boxes; default: <model>.frames.jpg here.")] = None,
    max_frames: Annotated[int, Option(help="With --data: frames to try it on.", min=1)] = 6,
) -> None:
    """Print a model's inputs, outputs and the decoder that fits; --write drafts a recipe, --data tries it."""
    from edgevid.errors import InputError
    from edgevid.models.draft import inspect, write_draft

    target = out or (model.with_suffix(".toml") if write else None)
    check_outputs({"--out": (target, "TOML"), "--image": (image, "image")}, [model, data], force=force)
    if image and not data:
        raise InputError("--image: the image of --data, which is not given")
    report = inspect(model)
    console = results()
    sides = [("input", spec) for spec in report.inputs] + [("output", spec) for spec in report.outputs]
    shapes = (" x ".join("dynamic" if n < 0 else str(n) for n in s.shape) or "scalar" for _, s in sides)
    rows = [(side, escape(s.name), str(s.dtype), n) for (side, s), n in zip(sides, shapes, strict=True)]
    print_rows(console, ("", "name", "dtype", "shape"), rows, text=("name", "dtype", "shape"))
    for key, value in report.metadata.items():
        shown = value if len(value) < 100 else value[:97] + "..."
        console.print(f"[dim]{escape(key)}:[/] {escape(shown)}")
    console.print()
    _print_decoder(console, report)
    if write or out:
        path = write_draft(report, out, replace=force)
        console.print(f"\nDraft recipe: [bold]{escape(str(path))}[/]")
    if data:
        _try_out(console, report, data, image or Path(f"{model.stem}.frames.jpg"), max_frames)


def _try_out(console: Console, report: ModelReport, data: str, image: Path, max_frames: int) -> None:
    """Draws the boxes on frames, and names what no good detector shows."""
    from edgevid._opencv import require_opencv
    from edgevid.errors import InputError
    from edgevid.models.hub import resolve_model
    from edgevid.optimize.frames import read_frames
    from edgevid.optimize.trial import try_out
    from edgevid.output.overlay import contact_sheet

    require_opencv("--data")
    written = (report.path.with_suffix(".toml"), report.path.parent / "recipe.toml")
    edited = report.recipe is None or any(path.is_file() for path in written)
    recipe = resolve_model(report.path) if edited or report.recipe is None else report.recipe
    if recipe.task != "detect":
        raise InputError(f"--data tries detectors; {report.path} is a model of task {recipe.task!r}")
    made = try_out(recipe, (named.frame for named in read_frames(data, max_frames)))
    if made.images:
        write_image("--image", image, contact_sheet(made.images, columns=min(3, len(made.images))))
        found = ", ".join(f"{count} {name}" for name, count in made.objects[:8]) or "nothing"
        console.print(f"\n[green]Found:[/] {escape(found)} on {len(made.images)} frames")
        console.print(f"[green]Drawn:[/] [bold]{escape(str(image))}[/]")
    for finding in made.findings:
        console.print(f"[yellow]Check:[/] {escape(finding)}")


def _print_decoder(console: Console, report: ModelReport) -> None:
    guess, recipe = report.guess, report.recipe
    if recipe is None or recipe.input is None:
        why = escape(report.problem) or "docs/recipes.md describes how to write a recipe."
        console.print(f"[yellow]No decoder fits these outputs.[/] {why}")
        return
    spec, classes = recipe.input, f"{len(recipe.names)} classes" if recipe.names else "no classes"
    if guess is None:
        console.print(f"[green]Task:[/] [bold]{recipe.task}[/], {classes}")
    else:
        console.print(f"[green]Decoder:[/] [bold]{guess.decode.kind}[/] - {escape(guess.family)}, {classes}")
    how = f"{spec.color}, {spec.resize}, mean {spec.mean}, std {spec.std}"
    console.print(f"[green]Image:[/] {spec.width}x{spec.height} {how}")
    for note in report.notes:
        console.print(f"[yellow]Check:[/] {escape(note)}")
