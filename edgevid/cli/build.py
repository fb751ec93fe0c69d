"""`edgevid build`, also `edgevid-build`: a TensorRT engine, verified on real frames or rejected."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from typer import Argument, Option

from edgevid.cli import options as shared
from edgevid.cli.console import check_outputs, errors, notes, results
from edgevid.errors import InputError, ParityError

if TYPE_CHECKING:
    from edgevid.optimize.builder.build import BuildResult
    from edgevid.optimize.builder.engine import Progress
    from edgevid.optimize.builder.options import BuildOptions
    from edgevid.optimize.builder.verify import Verification

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
    from edgevid.optimize.builder.options import BuildOptions, read_batch, read_shapes
    from edgevid.optimize.builder.verify import Verification

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
        with _progress(console) as progress:
            result = build(
                model, options, verification=verification, out=out, progress=progress,
                report=lambda text: console.print(f"[dim]{escape(text)}[/]"),
            )  # fmt: skip
    except ParityError as error:
        errors().print(f"[bold red]rejected:[/] {escape(str(error))}")
        raise typer.Exit(1) from None
    _print_result(result)


@contextmanager
def _progress(console: Console) -> Iterator[Progress]:
    """A bar for each of the builder's phases that has more than one step."""
    from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    tasks: dict[str, TaskID] = {}
    with Bars(*columns, console=console, transient=True) as bars:

        def update(phase: str, done: int, steps: int) -> None:
            if done >= steps:
                if phase in tasks:
                    bars.remove_task(tasks.pop(phase))
            elif phase in tasks:
                bars.update(tasks[phase], completed=done, total=steps)
            elif steps > 1:
                tasks[phase] = bars.add_task(phase, total=steps)

        yield update


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
