"""`edgevid export`: Ultralytics weights to an ONNX file with its recipe, verified on real frames."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

from rich.console import Console
from rich.markup import escape
from typer import Argument, Option


def command(
    weights: Annotated[Path, Argument(help="Ultralytics detector weights (.pt) or a model's .yaml.")],
    data: Annotated[str, Option(help="Frames to compare on: a video, a folder of images or a list.")],
    size: Annotated[str, Option(help="Input side in pixels, or HEIGHTxWIDTH.")] = "640",
    out: Annotated[Path | None, Option(help="The ONNX file; default: next to the weights.")] = None,
    opset: Annotated[int, Option(help="ONNX operator set.")] = 17,
    dynamic_batch: Annotated[bool, Option("--dynamic-batch", help="Allow any batch size.")] = False,
    max_frames: Annotated[int, Option(help="Frames to compare on.", min=1)] = 8,
) -> None:
    """Export weights to ONNX, write their recipe, and compare with PyTorch on real frames."""
    from edgevid.optimize.export import export
    from edgevid.optimize.frames import read_frames

    console = Console(soft_wrap=True)
    with console.status("exporting and comparing", spinner="dots"):
        made = export(
            weights, [named.frame for named in read_frames(data, max_frames)],
            size=_size(size), out=out, opset=opset, dynamic_batch=dynamic_batch,
        )  # fmt: skip
    spec = made.recipe.input
    show = partial(console.print, highlight=False)
    show(
        f"[green]Model:[/]    {escape(str(made.model))}, {spec.width}x{spec.height}, "
        f"{len(made.recipe.names)} classes"
    )
    show(f"[green]Recipe:[/]   {escape(str(made.recipe_file))}")
    show(
        f"[green]Verified:[/] against PyTorch on {made.frames} frames, scores and boxes within "
        f"{made.worst:.1e}, cosine {made.cosine:.7f}; images within {made.image_levels:.2f} of 255 levels"
    )
    if made.recipe.source.license:
        show(f"[yellow]License:[/]  the exporter states {escape(made.recipe.source.license)}")


def _size(text: str) -> int | tuple[int, int]:
    from edgevid.errors import InputError

    sides = text.lower().split("x")
    if len(sides) > 2 or not all(s.isdecimal() and int(s) > 0 for s in sides):
        raise InputError(f"--size: expected pixels, like 640 or 384x640 (height x width), got {text!r}")
    height, width = int(sides[0]), int(sides[-1])
    return height if len(sides) == 1 else (height, width)
