"""`edgevid quantize`: INT8 files of a model from real frames, and their agreement with it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgevid.errors import InputError

if TYPE_CHECKING:
    from rich.console import Console

    from edgevid.optimize.fp16 import Fp16Report
    from edgevid.optimize.quantize.quantizer import QuantizedFile, Report

MAX_NODES = 12
"""Excluded nodes listed in the terminal; the JSON names all."""

Model = Annotated[str, typer.Argument(help="A model's name, an ONNX file, or a recipe.")]
Data = Annotated[
    list[str] | None,
    typer.Option(help="Video, folder or glob of images, or a text file that lists them; repeatable."),
]
Ranges = Annotated[
    Path | None, typer.Option(help="Ranges of an earlier calibration: the same files again, without frames.")
]
Calibrator = Annotated[str, typer.Option(help="min-max, percentile or entropy.")]
MaxFrames = Annotated[int, typer.Option(help="Frames to use, spread evenly; one in five is held out.")]
MinAgreement = Annotated[
    float | None,
    typer.Option(help="Minimum agreement with the float model, 0 to 1; default: the recipe's, else 0.97."),
]
Variant = Annotated[str | None, typer.Option(help="Make only this file: int8-cpu or int8-trt.")]
Out = Annotated[Path | None, typer.Option(help="Folder of the files; default: build/ next to the model.")]
Save = Annotated[
    Path | None, typer.Option(help="File of the ranges; default: calibration/int8/<model>.toml.")
]
Fp16Fallback = Annotated[
    bool, typer.Option("--fp16-fallback", help="Also write int8-trt-fp16: FP16 in the layers not INT8.")
]
ReduceRange = Annotated[
    bool, typer.Option("--reduce-range", help="7-bit weights in the CPU file, for x86 without VNNI.")
]
Precision = Annotated[str, typer.Option(help="int8, or fp16 for an FP16 graph (data optional).")]


def command(
    model: Model,
    data: Data = None,
    precision: Precision = "int8",
    calibrator: Calibrator = "percentile",
    max_frames: MaxFrames = 200,
    min_agreement: MinAgreement = None,
    ranges: Ranges = None,
    variant: Variant = None,
    out: Out = None,
    save_ranges: Save = None,
    fp16_fallback: Fp16Fallback = False,
    reduce_range: ReduceRange = False,
) -> None:
    """Make the INT8 files of a model (one for CPUs, one for TensorRT), or its FP16 graph."""
    from rich.console import Console

    if precision not in ("int8", "fp16"):
        raise InputError(f"--precision: expected int8 or fp16, got {precision!r}")
    console = Console(soft_wrap=True, highlight=False)
    if precision == "fp16":
        from edgevid.optimize.fp16 import MAX_FRAMES, make_fp16

        _show_fp16(console, make_fp16(model, data, max_frames=min(max_frames, MAX_FRAMES), folder=out))
        return
    from edgevid.optimize.quantize.quantizer import VARIANTS, quantize

    with console.status("loading the model") as status:
        chosen: dict[str, Any] = {"calibrator": calibrator, "variants": (variant,) if variant else VARIANTS}
        report = quantize(
            model,
            data,
            ranges=ranges,
            max_frames=max_frames,
            min_agreement=min_agreement,
            reduce_range=reduce_range,
            out=out,
            save_ranges=save_ranges,
            progress=lambda step, done, of: status.update(f"{step} {done}/{of}"),
            **chosen,
        )
    _show(console, report)
    if fp16_fallback and any(file.variant == "int8-trt" for file in report.files):
        from edgevid.optimize.fp16 import make_int8_fp16

        _show_fp16(console, make_int8_fp16(report.recipe, folder=out))
    if report.failed:
        raise typer.Exit(1)


def _show(console: Console, report: Report) -> None:
    from rich.markup import escape

    from edgevid.cli.tables import print_table

    found = report.calibration
    sources, more = ", ".join(found.sources[:4]), len(found.sources) - 4
    sources += f" and {more} more" if more > 0 else ""
    how = f"{found.calibrator}, {found.frames} frames of {sources}"
    console.print(f"[bold]{escape(report.recipe.name)}[/]  {escape(how)}")
    print_table(console, _table(report))
    for file in report.files:
        _show_excluded(console, file)
    for warning in report.warnings:
        console.print(f"[yellow]note:[/] {escape(warning)}")
    console.print()
    for path in [*(file.path for file in report.files), report.ranges]:
        console.print(f"wrote {path}", markup=False)


def _table(report: Report) -> Any:
    from rich.table import Table

    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    agreement = f"agreement (min {report.floor.value:.1%})" if report.held_out else "agreement"
    for name in ("file", "int8 / float", agreement, "speedup", "size"):
        table.add_column(name, justify="left" if name == "file" else "right", no_wrap=True)
    for file in report.files:
        found, text = file.agreement, "not measured"  # made from stored ranges
        if found is not None and not found.total:
            text = "[red]unverified: nothing detected[/]"
        elif found is not None:
            color = "green" if found.agreement >= report.floor.value else "red"
            text = f"[{color}]{found.agreement:.1%}[/]"
        size = f"{file.path.stat().st_size / 1e6:.2f} MB"
        speed = f"{file.speedup:.2f}x" if file.speedup is not None else ""
        layers = f"{len(file.plan.layers)} / {len(file.plan.float_layers)}"
        table.add_row(file.variant, layers, text, speed, size)
    return table


def _show_excluded(console: Console, file: QuantizedFile) -> None:
    """The excluded activations or layers, with their sensitivities."""
    names, record = file.excluded_nodes, f"{file.path.stem}.json"
    if not names:
        return
    console.print(f"\n[bold]{file.variant}[/]: {len(names)} nodes excluded, the most sensitive first:")
    for name in names[:MAX_NODES]:
        drift = f"{file.sensitivities[name]:8.4f}" if name in file.sensitivities else ""
        console.print(f"  {drift}  {name}", markup=False)
    if len(names) > MAX_NODES:
        console.print(f"  ... and {len(names) - MAX_NODES} more (all are in {record})")


def _show_fp16(console: Console, report: Fp16Report) -> None:
    from rich.markup import escape

    names, record = report.fp32_nodes, f"{report.path.stem}.json"
    console.print(
        f"[bold]{escape(report.model)}[/]  fp16: {report.fp16_nodes} operators in FP16, {len(names)} in FP32"
    )
    for name, why in list(names.items())[:MAX_NODES]:
        console.print(f"  {name}: {why}", markup=False)
    if len(names) > MAX_NODES:
        console.print(f"  ... and {len(names) - MAX_NODES} more (all are in {record})")
    for warning in report.warnings:
        console.print(f"[yellow]note:[/] {escape(warning)}")
    console.print(f"wrote {report.path}", markup=False)
