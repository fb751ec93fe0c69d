"""`edgevid export`: Ultralytics weights to an ONNX file with its recipe, proven equal on real frames."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape

if TYPE_CHECKING:
    from edgevid.types import Frame


def command(
    weights: Annotated[Path, typer.Argument(help="Ultralytics detector weights (.pt) or a model's .yaml.")],
    frames: Annotated[str, typer.Option(help="Video, folder or list of images to compare on.")],
    size: Annotated[str, typer.Option(help="Input side in pixels, or HEIGHTxWIDTH.")] = "640",
    out: Annotated[Path | None, typer.Option(help="The ONNX file; beside the weights if left out.")] = None,
    opset: Annotated[int, typer.Option(help="ONNX operator set.")] = 17,
    open_batch: Annotated[bool, typer.Option("--open-batch", help="Take any number of images.")] = False,
    count: Annotated[int, typer.Option(help="Frames to compare on.", min=1)] = 8,
) -> None:
    """Export weights to ONNX, write their recipe, and compare with PyTorch on real frames."""
    from edgevid.optimize.export import export

    console = Console(soft_wrap=True)
    with console.status("exporting and comparing", spinner="dots"):
        made = export(
            weights, _frames(frames, count), size=_size(size), out=out, opset=opset, open_batch=open_batch
        )
    spec = made.recipe.input
    assert spec is not None
    say = partial(console.print, highlight=False)
    say(
        f"[green]Model:[/]  {escape(str(made.model))}, {spec.width}x{spec.height}, "
        f"{len(made.recipe.names)} classes"
    )
    say(f"[green]Recipe:[/] {escape(str(made.recipe_file))}")
    say(
        f"[green]Equal:[/]  to PyTorch on {made.frames} frames, scores and boxes within {made.worst:.1e}, "
        f"cosine {made.cosine:.7f}; images within {made.picture_levels:.2f} of 255 levels"
    )
    if made.recipe.source.license:
        say(f"[yellow]License:[/] the exporter marks it {escape(made.recipe.source.license)}")


def _size(text: str) -> int | tuple[int, int]:
    from edgevid.errors import InputError

    sides = text.lower().split("x")
    if len(sides) > 2 or not all(s.isdecimal() and int(s) > 0 for s in sides):
        raise InputError(f"--size: expected pixels, like 640 or 384x640 (height x width), got {text!r}")
    height, width = int(sides[0]), int(sides[-1])
    return height if len(sides) == 1 else (height, width)


def _frames(source: str, count: int) -> list[Frame]:
    from edgevid.optimize.frames import read_frames

    return [named.frame for named in read_frames(source, count)]
