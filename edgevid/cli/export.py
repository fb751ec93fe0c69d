"""`edgevid export`: Ultralytics weights to an ONNX file with its recipe, verified on real frames."""

from pathlib import Path
from typing import Annotated

from rich.markup import escape
from typer import Argument, Option

from edgevid.cli import options as shared
from edgevid.cli.console import check_outputs, notes, results


def command(
    weights: Annotated[Path, Argument(help="Ultralytics detector weights (.pt) or a model's .yaml.")],
    data: Annotated[str, Option(help="Frames to compare on: a video, a folder of images or a list.")],
    size: Annotated[str, Option("--size", "--imgsz", help="Input side in pixels, or HEIGHTxWIDTH.")] = "640",
    out: Annotated[Path | None, shared.out_option("The ONNX file; default: next to the weights.")] = None,
    force: shared.Force = False,
    opset: Annotated[int, Option(help="ONNX operator set.")] = 17,
    dynamic_batch: Annotated[bool, Option("--dynamic-batch", help="Allow any batch size.")] = False,
    max_frames: Annotated[int, Option(help="Frames to compare on.", min=1)] = 8,
) -> None:
    """Export weights to ONNX, write their recipe, and compare with PyTorch on real frames."""
    from edgevid.optimize.export import export, export_target
    from edgevid.optimize.frames import read_frames

    sides, target = shared.parse_size(size, "--size"), export_target(weights, out)
    files = {"--out": (target, "ONNX"), "--out, recipe": (target.with_suffix(".toml"), "TOML")}
    check_outputs(files, [weights], force=force)
    console = results()
    with notes().status("exporting and comparing", spinner="dots"):
        made = export(
            weights, [named.frame for named in read_frames(data, max_frames)],
            size=sides, out=out, opset=opset, dynamic_batch=dynamic_batch,
        )  # fmt: skip
    spec = made.recipe.input
    size_text = f"{spec.width}x{spec.height}, {len(made.recipe.names)} classes"
    console.print(f"[green]Model:[/]    {escape(str(made.model))}, {size_text}")
    console.print(f"[green]Recipe:[/]   {escape(str(made.recipe_file))}")
    console.print(
        f"[green]Verified:[/] against PyTorch on {made.frames} frames, scores and boxes within "
        f"{made.worst:.1e}, cosine {made.cosine:.7f}; images within {made.image_levels:.2f} of 255 levels"
    )
    if made.recipe.source.license:
        console.print(f"[yellow]License:[/]  the exporter states {escape(made.recipe.source.license)}")
