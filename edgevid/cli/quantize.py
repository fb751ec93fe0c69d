"""`edgevid quantize`: INT8 files of a model, from real frames, and what they cost in accuracy."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgevid.errors import InputError

if TYPE_CHECKING:
    from rich.console import Console

    from edgevid.optimize.fp16 import HalfReport
    from edgevid.optimize.quantize.quantizer import Made, Report

SHOWN = 12
"""Layers listed in the terminal; the JSON names all."""

Model = Annotated[str, typer.Argument(help="A model's name, an ONNX file, or a recipe.")]
Frames = Annotated[
    list[str] | None,
    typer.Option(help="Video, folder or glob of images, or a text file that lists them; may be repeated."),
]
Ranges = Annotated[
    Path | None, typer.Option(help="Ranges of an earlier calibration: the same files again, without frames.")
]
Calibrator = Annotated[str, typer.Option(help="min-max, percentile or entropy.")]
Count = Annotated[int, typer.Option(help="Frames to pick, spread evenly; one in five is held out.")]
Floor = Annotated[
    float | None,
    typer.Option(help="Least agreement with the float model, 0 to 1 (default: the recipe's, else 0.97)."),
]
Only = Annotated[str | None, typer.Option(help="Make one file alone: int8-cpu or int8-trt.")]
Out = Annotated[Path | None, typer.Option(help="Folder of the files (default: build/ beside the model).")]
Save = Annotated[
    Path | None, typer.Option(help="Where to save the ranges (default: calibration/int8/<model>.toml).")
]
Rest = Annotated[
    bool, typer.Option("--fp16-rest", help="Also write int8-trt-fp16: TensorRT's file, half where not int8.")
]
Bits = Annotated[int, typer.Option(help="Of the CPU file's weights: 7 for x86 processors without VNNI.")]
Precision = Annotated[str, typer.Option(help="int8, or fp16 for a half-precision graph (frames optional).")]


def command(
    model: Model,
    frames: Frames = None,
    precision: Precision = "int8",
    calibrator: Calibrator = "percentile",
    count: Count = 200,
    floor: Floor = None,
    ranges: Ranges = None,
    only: Only = None,
    out: Out = None,
    save_ranges: Save = None,
    fp16_rest: Rest = False,
    weight_bits: Bits = 8,
) -> None:
    """Make the INT8 files of a model (one for CPUs, one for TensorRT), or its FP16 graph."""
    from rich.console import Console

    if precision not in ("int8", "fp16"):
        raise InputError(f"--precision: expected int8 or fp16, got {precision!r}")
    console = Console(soft_wrap=True, highlight=False)
    if precision == "fp16":
        from edgevid.optimize.fp16 import COUNT, make_fp16

        _say_half(console, make_fp16(model, frames, count=min(count, COUNT), folder=out))
        return
    from edgevid.optimize.quantize.quantizer import VARIANTS, quantize

    with console.status("reading the model") as status:
        report = quantize(
            model,
            frames,
            ranges=ranges,
            calibrator=calibrator,
            count=count,
            floor=floor,
            weight_bits=weight_bits,
            variants=(only,) if only else VARIANTS,
            out=out,
            save_ranges=save_ranges,
            progress=lambda what, done, of: status.update(f"{what} {done}/{of}"),
        )
    _say(console, report)
    if fp16_rest and any(m.variant == "int8-trt" for m in report.made):
        from edgevid.optimize.fp16 import make_int8_fp16

        _say_half(console, make_int8_fp16(report.recipe, folder=out))
    if report.below:
        raise typer.Exit(1)


def _say(console: Console, report: Report) -> None:
    from rich.markup import escape

    found = report.calibration
    sources, more = ", ".join(found.sources[:4]), len(found.sources) - 4
    sources += f" and {more} more" if more > 0 else ""
    how = f"{found.calibrator}, {found.frames} frames of {sources}"
    console.print(f"[bold]{escape(report.recipe.name)}[/]  {escape(how)}")
    console.print(_table(report))
    for made in report.made:
        _say_kept(console, made)
    for warning in report.warnings:
        console.print(f"[yellow]note:[/] {escape(warning)}")
    console.print()
    for path in [*(m.path for m in report.made), report.ranges]:
        console.print(f"wrote {path}", markup=False)


def _table(report: Report) -> Any:
    from rich.table import Table

    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    judged = f"agrees with FP32 (floor {report.floor:.1%})" if report.judged_on else "agrees with FP32"
    for name in ("file", "int8 / float", judged, "speed here", "size"):
        table.add_column(name, justify="left" if name == "file" else "right")
    for made in report.made:
        agreed = "not judged again"  # made of stored ranges
        if made.agreement is not None and not made.agreement.proven:
            agreed = "[red]not proven: nothing was seen[/]"
        elif made.agreement is not None:
            ok = made.agreement.share >= report.floor
            agreed = f"[{'green' if ok else 'red'}]{made.agreement.share:.1%}[/]"
        size = f"{made.path.stat().st_size / 1e6:.2f} MB"
        speed = f"{made.faster:.2f}x" if made.faster is not None else ""
        layers = f"{len(made.plan.layers)} / {len(made.plan.kept)}"
        table.add_row(made.variant, layers, agreed, speed, size)
    return table


def _say_kept(console: Console, made: Made) -> None:
    """The activations or layers that stay float, with what each would cost."""
    if not made.kept:
        return
    what = "activations" if made.variant == "int8-cpu" else "layers"
    console.print(f"\n[bold]{made.variant}[/] keeps {len(made.kept)} {what} in float, the costliest first:")
    for name in made.kept[:SHOWN]:
        cost = f"{made.costs[name]:8.4f}" if name in made.costs else ""
        console.print(f"  {cost}  {name}", markup=False)
    if len(made.kept) > SHOWN:
        console.print(f"  ... and {len(made.kept) - SHOWN} more (all are named in {made.path.stem}.json)")


def _say_half(console: Console, report: HalfReport) -> None:
    from rich.markup import escape

    console.print(
        f"[bold]{escape(report.model)}[/]  fp16: {report.half} operators in half precision, "
        f"{len(report.kept)} kept in FP32"
    )
    for name, why in list(report.kept.items())[:SHOWN]:
        console.print(f"  {name}: {why}", markup=False)
    if len(report.kept) > SHOWN:
        console.print(f"  ... and {len(report.kept) - SHOWN} more (all are named in {report.path.stem}.json)")
    for warning in report.warnings:
        console.print(f"[yellow]note:[/] {escape(warning)}")
    console.print(f"wrote {report.path}", markup=False)
