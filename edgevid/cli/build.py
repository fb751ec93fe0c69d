"""`edgevid build`, also `edgevid-build`: a TensorRT engine, proven on real frames or refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape

from edgevid.errors import InputError, ParityError

if TYPE_CHECKING:
    from edgevid.optimize.builder.build import Outcome, Plan, Playback
    from edgevid.optimize.builder.engine import Progress


Model = Annotated[str, typer.Argument(help="A model's name, an ONNX file, a recipe or its folder.")]
Precision = Annotated[str, typer.Option(help="fp32, fp16 or int8.")]
Frames = Annotated[
    str | None, typer.Option(help="Video, image folder or list on which the engine proves itself.")
]
Count = Annotated[int, typer.Option(help="Frames taken of it, spread evenly.")]
Floor = Annotated[float | None, typer.Option(help="Least agreement with FP32, 0 to 1; else the recipe's.")]
Fallback = Annotated[
    bool, typer.Option("--fallback", help="Below the floor take the next precision instead of failing.")
]
Unproven = Annotated[bool, typer.Option("--unproven", help="Build without comparing; the manifest says so.")]
Backend = Annotated[str, typer.Option(help="auto, tensorrt or tensorrt-rtx.")]
Batch = Annotated[str, typer.Option(help="Images a run: a number, or LEAST,BEST,MOST.")]
Shapes = Annotated[
    list[str] | None, typer.Option(help="NAME=1x3x64x64 or NAME=LEAST,BEST,GREATEST of an open input.")
]
Workspace = Annotated[int | None, typer.Option(help="Device memory for tactics, MB.", min=1)]
Level = Annotated[
    int | None, typer.Option(help="Builder optimization level, 0 quick to 5 thorough.", min=0, max=5)
]
Newer = Annotated[
    bool, typer.Option("--version-compatible", help="Let newer TensorRT versions load it (can be slower).")
]
Hardware = Annotated[
    str, typer.Option(help="none, same-capability or ampere+: which other devices may run it.")
]
ForGpu = Annotated[
    str | None, typer.Option(help="Compute capabilities for TensorRT-RTX, like 8.6,8.9 (or 7.5).")
]
Rest = Annotated[str, typer.Option(help="Between INT8 layers compute in fp16 or fp32.")]
Tf32 = Annotated[bool, typer.Option("--tf32", help="Let FP32 be rounded to TF32.")]
Cache = Annotated[Path | None, typer.Option(help="File of measured tactics; else beside the engine.")]
Out = Annotated[Path | None, typer.Option(help="The engine file; else build/ beside the model.")]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Say what would be done and stop; needs no TensorRT.")
]
WARNINGS_SHOWN = 3
"""Of the builder's own warnings; the log holds all of them."""


def command(
    model: Model,
    precision: Precision = "fp16",
    frames: Frames = None,
    count: Count = 100,
    floor: Floor = None,
    fallback: Fallback = False,
    unproven: Unproven = False,
    backend: Backend = "auto",
    batch: Batch = "1",
    shape: Shapes = None,
    workspace: Workspace = None,
    level: Level = None,
    version_compatible: Newer = False,
    hardware: Hardware = "none",
    for_gpu: ForGpu = None,
    rest: Rest = "fp16",
    tf32: Tf32 = False,
    timing_cache: Cache = None,
    out: Out = None,
    dry_run: DryRun = False,
) -> None:
    """Build a TensorRT engine of a model, prove it against the model, and write its manifest."""
    from edgevid.optimize.builder.build import Playback, build, make_plan
    from edgevid.optimize.builder.options import BuildOptions, read_batch, read_shapes

    options = BuildOptions(
        precision=precision,
        backend=backend,
        batch=read_batch(batch),
        shapes=dict(read_shapes(s) for s in shape or []),
        workspace_mb=workspace,
        level=level,
        version_compatible=version_compatible,
        hardware=hardware,
        targets=tuple(t.strip() for t in for_gpu.split(",")) if for_gpu else (),
        rest=rest,
        tf32=tf32,
        timing_cache=timing_cache,
    )
    gate = Playback(None if unproven else frames, count, floor, fallback)
    console = Console(stderr=True, soft_wrap=True)
    if dry_run:
        _show_plan(make_plan(model, options, out=out), gate)
        return
    if frames is None and not unproven:
        raise InputError(
            "frames: an engine proves itself on real frames; give --frames VIDEO|FOLDER|LIST, or --unproven "
            "to build one whose manifest says that it was not compared"
        )
    try:
        with _progress(console) as progress:
            done = build(model, options, gate=gate, out=out, progress=progress, say=_speaker(console))
    except ParityError as error:
        console.print(f"[bold red]refused:[/] {escape(str(error))}", highlight=False)
        raise typer.Exit(1) from None
    _show(done)


def _speaker(console: Console) -> Callable[[str], None]:
    return lambda text: console.print(f"[dim]{escape(text)}[/]", highlight=False)


@contextmanager
def _progress(console: Console) -> Iterator[Progress]:
    """A bar for each of the builder's phases that has more than one step."""
    from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    tasks: dict[str, TaskID] = {}
    with Bars(*columns, console=console, transient=True) as bars:

        def tell(phase: str, done: int, steps: int) -> None:
            if done >= steps:
                if phase in tasks:
                    bars.remove_task(tasks.pop(phase))
            elif phase in tasks:
                bars.update(tasks[phase], completed=done, total=steps)
            elif steps > 1:
                tasks[phase] = bars.add_task(phase, total=steps)

        yield tell


def _show_plan(plan: Plan, gate: Playback) -> None:
    console = Console(soft_wrap=True)
    console.print("[bold]Nothing is built. This would be done:[/]")
    _pairs(console, plan.lines(gate))


def _pairs(console: Console, pairs: list[tuple[str, str]]) -> None:
    for heading, said in pairs:  # no table: a path must stay on one line, to be copied
        console.print(f"  [dim]{heading:<14}[/]{escape(said)}", highlight=False)


def _show(done: Outcome) -> None:
    """The engine, what it computes in, and how well it agrees."""
    console, manifest = Console(soft_wrap=True), done.manifest
    built = ", ".join(f"{n} in {kind}" for kind, n in manifest.layers["convolutions"].items()) or "none"
    console.print(f"[bold green]built[/] {escape(str(done.engine))}", highlight=False)
    pairs = [
        ("size", f"{manifest.engine_bytes / 1e6:.1f} MB, in {manifest.made['seconds']} s"),
        ("by", f"{manifest.backend} {manifest.version}"),
        ("for", f"{manifest.gpu} ({manifest.capability})" if manifest.gpu else _cards(manifest.targets)),
        ("convolutions", f"{built} (told by the builder's log)"),
        ("graph parity", _figure(manifest.parity["graph"])),
        ("engine parity", _figure(manifest.parity["engine"])),
    ]
    told = dict.fromkeys(done.warnings)  # the builder repeats itself
    pairs += [("warning", text) for text in list(told)[:WARNINGS_SHOWN]]
    if len(told) > WARNINGS_SHOWN:
        pairs.append(("warning", f"and {len(told) - WARNINGS_SHOWN} more of the builder's"))
    _pairs(console, pairs)


def _cards(targets: tuple[str, ...]) -> str:
    return "RTX cards of compute capability " + (", ".join(targets) or "8.0 and more")


def _figure(found: str | dict[str, object]) -> str:
    return found if isinstance(found, str) else str(found["sentence"])
