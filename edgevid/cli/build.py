"""`edgevid build` (also `edgevid-build`) and `quantize`: engines and INT8 files, verified on real frames."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from typer import Argument, Option

from edgevid.cli import options as shared
from edgevid.cli.console import check_outputs, errors, notes, print_rows, results, training_bar
from edgevid.errors import InputError, ParityError
from edgevid.files.atomic import check_folder

if TYPE_CHECKING:
    from edgevid.optimize.builder.build import BuildResult
    from edgevid.optimize.builder.options import BuildOptions, Verification
    from edgevid.optimize.fp16 import Fp16Report
    from edgevid.optimize.quantize.quantizer import Report

Data = Annotated[str | None, Option(help="Frames to verify it on: a video, a folder of images or a list.")]
TryNext = Annotated[bool, Option("--try-next", help="Below the minimum, try the next precision.")]
Skip = Annotated[bool, Option("--skip-verification", help="Do not compare; the manifest records it.")]
Shapes = Annotated[list[str] | None, Option(help="Dynamic axes: NAME=1x3x64x64, NAME=MIN,OPT,MAX; repeat.")]
VersionCompatible = Annotated[bool, Option("--version-compatible", help="Loads in newer TensorRT (slower).")]
HardwareCompatibility = Annotated[str, Option(help="none, same-capability or ampere+: devices that run it.")]
ComputeCapability = Annotated[str | None, Option(help="Compute capabilities (TensorRT-RTX): 8.6,8.9.")]
FallbackPrecision = Annotated[str, Option(help="Precision of layers that are not INT8: fp16 or fp32.")]
MAX_WARNINGS = 3  # Of the builder's own warnings; the log holds all of them


def command(
    model: Annotated[str, Argument(help="A model's name, an ONNX file, a recipe or its folder.")],
    precision: Annotated[str, Option(help="fp32, fp16 or int8.")] = "fp16",
    data: Data = None,
    max_frames: Annotated[int, Option(help="Frames to compare, spread evenly over the data.", min=1)] = 100,
    min_agreement: shared.MinAgreement = None,
    try_next: TryNext = False,
    skip_verification: Skip = False,
    backend: Annotated[str, Option(help="auto, tensorrt or tensorrt-rtx.")] = "auto",
    batch: Annotated[str, Option(help="Images per run: a number, or MIN,OPT,MAX.")] = "1",
    shape: Shapes = None,
    workspace: Annotated[int | None, Option(help="Device memory for tactics, MB.", min=1)] = None,
    optimization_level: Annotated[int | None, Option(help="0 (fast) to 5 (thorough).", min=0, max=5)] = None,
    version_compatible: VersionCompatible = False,
    hardware_compatibility: HardwareCompatibility = "none",
    compute_capability: ComputeCapability = None,
    fallback_precision: FallbackPrecision = "fp16",
    tf32: Annotated[bool, Option("--tf32", help="Let FP32 be rounded to TF32.")] = False,
    timing_cache: Annotated[Path | None, Option(help="Measured tactics; default: next to engine.")] = None,
    out: Annotated[Path | None, shared.out_option("Engine file; default: build/ next to the model.")] = None,
    force: shared.Force = False,
    dry_run: Annotated[bool, Option("--dry-run", help="Only print the plan; needs no TensorRT.")] = False,
) -> None:
    """Build a TensorRT engine of a model, verify it against the model, and write its manifest."""
    from edgevid.optimize.builder.build import make_plan
    from edgevid.optimize.builder.options import BuildOptions, Verification, read_batch, read_shapes

    words: dict[str, Any] = {"precision": precision, "backend": backend}
    words |= {"hardware_compatibility": hardware_compatibility, "fallback_precision": fallback_precision}
    options = BuildOptions(
        batch=read_batch(batch), shapes=dict(read_shapes(s) for s in shape or []), workspace_mb=workspace,
        optimization_level=optimization_level, version_compatible=version_compatible,
        compute_capabilities=shared.split_names(compute_capability or ""), tf32=tf32,
        timing_cache=timing_cache, **words,
    )  # fmt: skip
    verification = Verification(None if skip_verification else data, max_frames, min_agreement, try_next)
    if dry_run:
        lines = make_plan(model, options, out=out).lines(verification)
        _print_pairs("[bold]Nothing is built. This would be done:[/]", lines)
        return
    if data is None and not skip_verification:
        raise InputError("--data: expected real frames to verify the engine on, got none; give --data "
                         "VIDEO|FOLDER|LIST, or --skip-verification, which the manifest records")  # fmt: skip
    check_outputs({"--out": (out, "")}, (model, data), force=force)
    _build(model, options, verification, out)


def _build(model: str, options: BuildOptions, verification: Verification, out: Path | None) -> None:
    """Builds with a progress bar and prints the result; exit status 1 for a rejected engine."""
    from edgevid.optimize.builder.build import build

    console = notes()
    try:
        with training_bar() as progress:
            result = build(
                model, options, verification=verification, out=out, progress=progress,
                report=lambda text: console.print(f"[dim]{escape(text)}[/]"),
            )  # fmt: skip
    except ParityError as error:
        errors().print(f"[bold red]rejected:[/] {escape(str(error))}")
        raise typer.Exit(1) from None
    _print_result(result)


def _print_pairs(title: str, pairs: list[tuple[str, str]]) -> None:
    console = results()
    console.print(title)
    for heading, text in pairs:  # no table: a path must stay on one line, to be copied
        console.print(f"  [dim]{heading:<14}[/]{escape(text)}")


def _print_result(result: BuildResult) -> None:
    """The engine, the precision of its convolutions, and how well it agrees."""
    manifest = result.manifest
    built = ", ".join(f"{n} in {kind}" for kind, n in manifest.layers["convolutions"].items()) or "none"
    cards = ", ".join(manifest.compute_capabilities) or "8.0 and higher"
    device = f"{manifest.gpu} ({manifest.capability})" if manifest.gpu else f"compute capability {cards}"
    pairs = [
        ("size", f"{manifest.engine_bytes / 1e6:.1f} MB, in {manifest.made['seconds']} s"),
        ("built by", f"{manifest.backend} {manifest.version}"),
        ("built for", device),
        ("convolutions", f"{built} (from the builder's log)"),
        ("graph parity", _summary(manifest.parity["graph"])),
        ("engine parity", _summary(manifest.parity["engine"])),
    ]
    warnings = dict.fromkeys(result.warnings)  # the builder repeats itself
    pairs += [("warning", text) for text in list(warnings)[:MAX_WARNINGS]]
    if len(warnings) > MAX_WARNINGS:
        pairs.append(("warning", f"and {len(warnings) - MAX_WARNINGS} more of the builder's"))
    _print_pairs(f"[bold green]built[/] {escape(str(result.engine))}", pairs)


def _summary(parity: str | dict[str, object]) -> str:
    return parity if isinstance(parity, str) else str(parity["summary"])


MAX_NODES = 12  # Excluded nodes listed in the terminal; the JSON names all

Out = Annotated[Path | None, shared.out_option("Folder of the files; default: build/ next to the model.")]

Fallback = Annotated[bool, Option("--fp16-fallback", help="Also int8-trt-fp16: FP16 in layers not INT8.")]
MaxFrames = Annotated[int | None, Option(help="Frames; int8: 200, one in five held out; fp16: 32.")]


def quantize_command(
    model: Annotated[str, Argument(help="A model's name, an ONNX file, or a recipe.")],
    data: Annotated[list[str] | None, Option(help="Video, images or a list; repeatable.")] = None,
    precision: Annotated[str, Option(help="int8, or fp16 for an FP16 graph (data optional).")] = "int8",
    calibrator: Annotated[str, Option(help="min-max, percentile or entropy.")] = "percentile",
    max_frames: MaxFrames = None,
    min_agreement: shared.MinAgreement = None,
    ranges: Annotated[Path | None, Option(help="Ranges of an earlier run, in place of frames.")] = None,
    variant: Annotated[str | None, Option(help="Make only this file: int8-cpu or int8-trt.")] = None,
    out: Out = None,
    force: shared.Force = False,
    save_ranges: Annotated[Path | None, Option(help="Default: calibration/int8/<model>.toml.")] = None,
    fp16_fallback: Fallback = False,
    reduce_range: Annotated[bool, Option("--reduce-range", help="7-bit weights: x86 without VNNI.")] = False,
) -> None:
    """Make the INT8 files of a model (one for CPUs, one for TensorRT), or its FP16 graph."""
    if precision not in ("int8", "fp16"):
        raise InputError(f"--precision: expected int8 or fp16, got {precision!r}")
    _check_files(model, precision, variant, ranges, out, save_ranges, force=force)
    console = results()
    if precision == "fp16":
        from edgevid.optimize import fp16

        frames = fp16.MAX_FRAMES if max_frames is None else max_frames
        made = fp16.make_fp16(model, data, max_frames=frames, min_agreement=min_agreement, folder=out)
        _show_fp16(console, made)
        raise typer.Exit(1 if made.failed else 0)
    from edgevid.optimize.frames import MAX_FRAMES
    from edgevid.optimize.quantize.quantizer import VARIANTS, quantize

    with notes().status("loading the model") as status:
        chosen: dict[str, Any] = {"calibrator": calibrator, "variants": (variant,) if variant else VARIANTS}
        chosen |= {"ranges": ranges, "save_ranges": save_ranges, "out": out, "reduce_range": reduce_range}
        count = MAX_FRAMES if max_frames is None else max_frames
        chosen |= {"min_agreement": min_agreement, "max_frames": count}
        report = quantize(model, data, progress=lambda done, of, step: status.update(f"{step} {done}/{of}"), **chosen)
    _show(console, report)
    if fp16_fallback and any(file.variant == "int8-trt" for file in report.files):
        from edgevid.optimize.fp16 import make_int8_fp16

        _show_fp16(console, make_int8_fp16(report.recipe, folder=out))
    if report.failed:
        raise typer.Exit(1)


def _check_files(
    model: str, precision: str, variant: str | None, ranges: Path | None, out: Path | None,
    save_ranges: Path | None, *, force: bool,
) -> None:  # fmt: skip
    """InputError for an output that exists; those in the build/ of a model are made again without --force."""
    from edgevid.optimize.fp16 import find_recipe
    from edgevid.optimize.quantize.quantizer import FOLDER, VARIANTS
    from edgevid.runtime.variants import variant_path

    recipe = find_recipe(model)
    made: Any = ("fp16",) if precision == "fp16" else VARIANTS if variant is None else (variant,)
    files: dict[str, tuple[Path, str]] = {}
    if out is not None:
        check_folder(out)
        subject, known = recipe or Path(model), [one for one in made if one in (*VARIANTS, "fp16")]
        files = {f"--out, {one}": (variant_path(subject, one, folder=out), "ONNX") for one in known}
    if precision == "int8" and ranges is None:
        stored = save_ranges or FOLDER / f"{recipe.name if recipe else Path(model).stem}.toml"
        files["--save-ranges"] = stored, "TOML"
    check_outputs(files, [model, ranges], force=force)


def _show(console: Console, report: Report) -> None:
    found = report.calibration.measured
    sources, more = ", ".join(found.sources[:4]), len(found.sources) - 4
    sources += f" and {more} more" if more > 0 else ""
    how = f"{found.calibrator}, {found.frames} frames of {sources}"
    console.print(f"[bold]{escape(report.recipe.name)}[/]  {escape(how)}")
    agreement = f"agreement (min {report.floor.value:.1%})" if report.held_out else "agreement"
    print_rows(console, ("file", "int8 / float", agreement, "speedup", "size"), _rows(report))
    for file in report.files:
        if names := file.excluded_nodes:
            console.print(f"\n[bold]{file.variant}[/]: {len(names)} nodes excluded, the most sensitive first:")
            known = file.sensitivities
            lines = [f"{known[n]:8.4f}  {n}" if n in known else f"  {n}" for n in names]
            _show_nodes(console, file.path, lines)
    _show_written(console, report.warnings, [*(file.path for file in report.files), report.ranges])


def _rows(report: Report) -> Iterator[tuple[str, ...]]:
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
        yield file.variant, layers, text, speed, size


def _show_nodes(console: Console, path: Path, lines: list[str]) -> None:
    for line in lines[:MAX_NODES]:
        console.print(f"  {line}", markup=False)
    if len(lines) > MAX_NODES:
        console.print(f"  ... and {len(lines) - MAX_NODES} more (all are in {path.stem}.json)")


def _show_written(console: Console, warnings: list[str], paths: list[Path]) -> None:
    console.print("".join(f"[yellow]note:[/] {escape(warning)}\n" for warning in warnings), end="")
    console.print("".join(f"wrote {path}\n" for path in paths), markup=False, end="")


def _show_fp16(console: Console, report: Fp16Report) -> None:
    names = report.fp32_nodes
    console.print(f"[bold]{escape(report.model)}[/]  fp16: {report.fp16_nodes} operators in FP16, {len(names)} in FP32")
    if report.agreement and report.agreement.total and report.floor:
        found, color = report.agreement, "red" if report.failed else "green"
        console.print(
            f"agreement{found.condition} (min {report.floor.value:.1%}): "
            f"[{color}]{found.agreement:.1%}[/] of {found.count} {found.unit} on {report.frames} frames, "
            "rounded as on a device"
        )
    _show_nodes(console, report.path, [f"{name}: {why}" for name, why in names.items()])
    _show_written(console, report.warnings, [report.path])
