"""`edgevid build` (also `edgevid-build`) and `quantize`: engines and INT8 files, verified on real frames."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.text import Text

from edgevid.cli import options as shared
from edgevid.cli.console import check_outputs, errors, notes, print_rows, results, training_bar
from edgevid.errors import InputError, ParityError, check_choice
from edgevid.files.atomic import check_folder

if TYPE_CHECKING:
    from edgevid.optimize.builder.build import BuildResult
    from edgevid.optimize.fp16 import Fp16Report
    from edgevid.optimize.quantize.quantizer import Report

MAX_WARNINGS = 3  # Of the builder's own warnings; the log holds all of them


def command(**options: Any) -> None:
    """Build a TensorRT engine of a model, verify it against the model, and write its manifest."""
    from edgevid.optimize.builder.build import build, make_plan
    from edgevid.optimize.builder.options import BuildOptions, Verification, read_batch, read_shapes

    given = SimpleNamespace(**options)
    chosen = shared.parameters_of(BuildOptions, options)
    chosen |= {"batch": read_batch(given.batch), "shapes": dict(map(read_shapes, given.shapes or ()))}
    chosen["compute_capabilities"] = shared.split_names(given.compute_capabilities)
    built = BuildOptions(**chosen)
    verification = Verification(**shared.parameters_of(Verification, options))
    verification = replace(verification, data=None) if given.skip_verification else verification
    if given.dry_run:
        lines = make_plan(given.model, built, out=given.out).lines(verification)
        _print_pairs("[bold]Nothing is built. This would be done:[/]", lines)
        return
    if given.data is None and not given.skip_verification:
        raise InputError("--data: expected real frames to verify the engine on, got none; give --data "
                         "VIDEO|FOLDER|LIST, or --skip-verification, which the manifest records")  # fmt: skip
    check_outputs({"--out": (given.out, "")}, (given.model, given.data), force=given.force)
    console = notes()
    try:
        with training_bar() as progress:
            result = build(given.model, built, verification=verification, out=given.out, progress=progress,
                           report=lambda text: console.print(f"[dim]{escape(text)}[/]"))  # fmt: skip
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
    pairs = [("size", f"{manifest.engine_bytes / 1e6:.1f} MB, in {manifest.made['seconds']} s"),
             ("built by", f"{manifest.backend} {manifest.version}"), ("built for", device),
             ("convolutions", f"{built} (from the builder's log)"),
             ("graph parity", _summary(manifest.parity["graph"])),
             ("engine parity", _summary(manifest.parity["engine"]))]  # fmt: skip
    warnings = dict.fromkeys(result.warnings)  # the builder repeats itself
    pairs += [("warning", text) for text in list(warnings)[:MAX_WARNINGS]]
    if len(warnings) > MAX_WARNINGS:
        pairs.append(("warning", f"and {len(warnings) - MAX_WARNINGS} more of the builder's"))
    _print_pairs(f"[bold green]built[/] {escape(str(result.engine))}", pairs)


def _summary(parity: str | dict[str, object]) -> str:
    return parity if isinstance(parity, str) else str(parity["summary"])


MAX_NODES = 12  # Excluded nodes listed in the terminal; the JSON names all


def quantize_command(**options: Any) -> None:
    """Make the INT8 files of a model (one for CPUs, one for TensorRT), or its FP16 graph."""
    given = SimpleNamespace(**options)
    check_choice(given.precision, ("int8", "fp16"), "--precision")
    _check_files(given)
    console = results()
    if given.precision == "fp16":
        from edgevid.optimize.fp16 import make_fp16

        made = make_fp16(**shared.parameters_of(make_fp16, options), folder=given.out)
        _show_fp16(console, made)
        raise typer.Exit(1 if made.failed else 0)
    from edgevid.optimize.quantize.quantizer import quantize

    chosen = shared.parameters_of(quantize, options) | ({"variants": (given.variant,)} if given.variant else {})
    with notes().status("loading the model") as status:
        report = quantize(**chosen, progress=lambda done, of, step: status.update(f"{step} {done}/{of}"))
    _show(console, report)
    if given.fp16_fallback and any(file.variant == "int8-trt" for file in report.files):
        from edgevid.optimize.fp16 import make_int8_fp16

        _show_fp16(console, make_int8_fp16(report.recipe, folder=given.out))
    if report.failed:
        raise typer.Exit(1)


def _check_files(given: Any) -> None:
    """InputError for an output that exists; those in the build/ of a model are made again without --force."""
    from edgevid.optimize.fp16 import find_recipe
    from edgevid.optimize.quantize.quantizer import FOLDER, VARIANTS
    from edgevid.runtime.variants import variant_path

    recipe = find_recipe(given.model)
    made = ("fp16",) if given.precision == "fp16" else VARIANTS if given.variant is None else (given.variant,)
    files: dict[str, tuple[Path, str]] = {}
    if given.out is not None:
        check_folder(given.out)
        subject, known = recipe or Path(given.model), [one for one in made if one in (*VARIANTS, "fp16")]
        files = {f"--out, {one}": (variant_path(subject, one, folder=given.out), "ONNX") for one in known}
    if given.precision == "int8" and given.ranges is None:
        stored = given.save_ranges or FOLDER / f"{recipe.name if recipe else Path(given.model).stem}.toml"
        files["--save-ranges"] = stored, "TOML"
    check_outputs(files, [given.model, given.ranges], force=given.force)


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
            console.print(f"\n[bold]{escape(file.variant)}[/]: {len(names)} nodes excluded, the most sensitive first:")
            known = file.sensitivities
            _show_nodes(console, file.path, [f"{known[n]:8.4f}  {n}" if n in known else f"  {n}" for n in names])
    _show_written(console, report.warnings, [*(file.path for file in report.files), report.ranges])


def _rows(report: Report) -> Iterator[tuple[str | Text, ...]]:
    for file in report.files:
        found, text = file.agreement, Text("not measured")  # made from stored ranges
        if found is not None and not found.total:
            text = Text("unverified: nothing detected", "red")
        elif found is not None:
            text = Text(f"{found.agreement:.1%}", "green" if found.agreement >= report.floor.value else "red")
        size = f"{file.path.stat().st_size / 1e6:.2f} MB"
        speed = f"{file.speedup:.2f}x" if file.speedup is not None else ""
        yield file.variant, f"{len(file.plan.layers)} / {len(file.plan.float_layers)}", text, speed, size


def _show_nodes(console: Console, path: Path, lines: list[str]) -> None:
    for line in lines[:MAX_NODES]:
        console.print(f"  {line}", markup=False)
    if len(lines) > MAX_NODES:
        console.print(f"  ... and {len(lines) - MAX_NODES} more (all are in {path.stem}.json)", markup=False)


def _show_written(console: Console, warnings: list[str], paths: list[Path]) -> None:
    console.print("".join(f"[yellow]note:[/] {escape(warning)}\n" for warning in warnings), end="")
    console.print("".join(f"wrote {path}\n" for path in paths), markup=False, end="")


def _show_fp16(console: Console, report: Fp16Report) -> None:
    names = report.fp32_nodes
    console.print(f"[bold]{escape(report.model)}[/]  fp16: {report.fp16_nodes} operators in FP16, {len(names)} in FP32")
    if report.agreement and report.agreement.total and report.floor:
        found, color = report.agreement, "red" if report.failed else "green"
        console.print(f"agreement{found.condition} (min {report.floor.value:.1%}): [{color}]{found.agreement:.1%}[/] "
                      f"of {found.count} {found.unit} on {report.frames} frames, rounded as on a device")  # fmt: skip
    _show_nodes(console, report.path, [f"{name}: {why}" for name, why in names.items()])
    _show_written(console, report.warnings, [report.path])
