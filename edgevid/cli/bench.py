"""`edgevid bench`, `compare` and `estimate`: the time of a frame, the agreement of two engines, bounds of a device."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import typer
from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape
from rich.text import Text

from edgevid.cli import console as terminal
from edgevid.cli import options as shared
from edgevid.cli.console import check_outputs, print_rows, results, write_json
from edgevid.errors import InputError

if TYPE_CHECKING:
    from edgevid.optimize.bench import Benchmark, Timing
    from edgevid.optimize.compare.gate import ParityReport
    from edgevid.optimize.estimate import Cost, Estimate


def command(**options: Any) -> None:
    """Time preprocessing, inference, postprocessing and the whole frame of one or more models.

    CPU is the processor time of a frame over all threads: on a machine with other work it is more reliable
    than the elapsed time."""
    from edgevid.optimize.bench import RUNTIMES, bench, choose_runtime

    given = SimpleNamespace(**options)
    check_outputs({"--json": (given.out, "JSON")}, given.models, force=given.force)
    if given.choose and (given.device or given.precision or given.data is None):
        raise InputError("bench: --choose takes --data VIDEO, and no --device or --precision")
    chosen = shared.parameters_of(bench, options | {"precisions": given.precision})
    chosen |= {"device": list(RUNTIMES)} if given.choose else {}
    with terminal.progress_bar("timing", given.runs + given.warm_up) as bar:
        found = bench(**chosen, on_frame=lambda _: terminal.advance(bar))
    shown = write_json(found.as_dict(), given.out)
    if shown:
        _show(found)
    for model in given.models if given.choose else ():
        choice = choose_runtime(model, given.data, found.timings, threads=given.threads)
        if shown:
            results().print(f"auto takes {choice.runtime} for {model} ({choice.reason})", markup=False)


def _show(found: Benchmark) -> None:
    from edgevid.runtime.processor import as_rows

    console = results()
    _show_times(console, found.timings)
    console.print()
    for t in found.timings:
        threads = f", {t.threads} thread{'s' if t.threads != 1 else ''}" if t.threads else ""
        how = f"{t.path.name} on {t.device or 'an unknown device'}{threads}, {t.shape}, loaded in {t.load_s:.2f} s"
        console.print(f"[dim]{escape(t.title)}:[/] {escape(how)}")
    for name, why in found.failed.items():
        console.print(f"[yellow]failed:[/] {escape(name)}: {escape(why)}")
    for note in found.notes:
        console.print(f"[yellow]Note:[/] {escape(note)}")
    console.print()
    for key, value in as_rows(dict(found.conditions)):
        console.print(f"[dim]{escape(key)}:[/] {escape(value)}")


def _show_times(console: Console, timings: tuple[Timing, ...]) -> None:
    """Milliseconds as p50 / p99; the last column is the speed relative to the first engine. Where the table is wider
    than the terminal each name has a line of its own above its figures."""
    from edgevid.optimize.bench import STAGES

    rows, first = [], timings[0].at("frame", 50)
    for t in timings:
        cells = [f"{_short(t.at(s, 50))} / {_short(t.at(s, 99))}" if s in t.ms else "-" for s in STAGES]
        middle = t.at("frame", 50)
        rows.append((*cells, _short(t.cpu_ms), f"{1000 / middle:.1f}", f"{first / middle:.2f}x"))
    heads = ("ms, p50 / p99", *STAGES, "CPU", "fps", "")
    with console.capture() as wide:
        print_rows(console, heads, [(t.title, *row) for t, row in zip(timings, rows, strict=True)])
    if all(cell_len(Text.from_ansi(line).plain.rstrip()) <= console.width for line in wide.get().split("\n")):
        console.out(wide.get(), end="")
        return
    with console.capture() as narrow:
        print_rows(console, heads, [(" ", *row) for row in rows])
    heading, *figures = narrow.get().splitlines()
    console.out(heading)
    for t, line in zip(timings, figures, strict=True):
        console.out(t.title)
        console.out(line)


def _short(ms: float) -> str:
    """Milliseconds with three significant digits."""
    return f"{ms:.0f}" if ms >= 99.5 else f"{ms:.1f}" if ms >= 9.95 else f"{ms:.2f}"


REJECTED = 1  # Exit status of a rejected engine; an error in the command is 2


def compare_command(**options: Any) -> None:
    """Compare two engines on real frames; exit status 1 if they agree less than the minimum."""
    from edgevid.optimize.compare.gate import write_report
    from edgevid.optimize.compare.run import compare

    given = SimpleNamespace(**options)
    outputs = {"--report": (given.report, "HTML"), "--json": (given.out, "JSON")}
    check_outputs(outputs, (given.a, given.b, given.data), force=given.force)
    chosen = shared.parameters_of(compare, options) | {"max_frames": given.max_frames or None}
    with terminal.progress_bar("comparing", chosen["max_frames"]) as bar:
        result, found = compare(**chosen, on_frame=lambda _: terminal.advance(bar))
    if write_json({**result.as_dict(), "conditions": found}, given.out):
        _show_report(result, found)
    if given.report is not None:
        terminal.show_written(write_report(result, given.report, found))
    raise typer.Exit(0 if result.passed else REJECTED)


def _show_report(report: ParityReport, found: dict[str, Any]) -> None:
    from edgevid.optimize.agreement import percent

    console = results()
    a, b = report.names
    console.print(f"[bold]{escape(b)}[/] against [bold]{escape(a)}[/], {escape(found['frames'])}\n")
    task, floor = report.task, f"floor {percent(report.floor.value)} ({report.floor.source})"
    identical = ("identical frames", f"{report.identical_frames} of {report.frames}")
    figures = [(*row, "") for row in (identical, *task.figures())]
    agreement = (f"agreement{task.condition}", percent(report.agreement), floor)
    print_rows(console, agreement, figures, text=agreement[2:])
    if report.outputs:
        console.print()
        print_rows(console, report.outputs[0].HEADS, (one.cells() for one in report.outputs))
    if differing := [pair for pair in report.worst if pair.severity > (0.0, 0.0)]:
        console.print()
        print_rows(console, ("worst frames", ""), [(pair.frame.name, pair.difference) for pair in differing], text=[""])
    for note in report.notes:
        console.print(f"[yellow]Note:[/] {escape(note)}")
    color, word = ("green", "passed") if report.passed else ("red", "rejected")
    console.print(f"\n[bold {color}]{word}:[/] {escape(report.summary())}")


def estimate_command(**options: Any) -> None:
    """Count a model's operations and bytes, and bound its speed on a device."""
    from edgevid.models.hub import resolve_model
    from edgevid.optimize import estimate as tool
    from edgevid.optimize.estimate import model_cost

    given = SimpleNamespace(**options)
    model, frames_per_s = given.model, given.cameras * given.fps
    check_outputs({"--json": (given.out, "JSON")}, [model], force=given.force)
    # Counting an ONNX file needs no recipe.
    cost = model_cost(Path(model) if model.endswith(".onnx") else resolve_model(model).local, batch=given.batch)
    chosen = [tool.device(name) for name in given.device or tool.devices()]
    found = (tool.estimate(cost, one, p) for one in chosen for p in given.precision or tool.BYTES)
    rows = [row for row in found if row is not None]
    counts = ("batch", "operations", "parameters", "inputs", "outputs", "peak")
    figures = ("precision", "bound_ms", "limit", "layers_ms", "memory_mb", "fits")
    estimates = [{"device": r.device.name} | {k: getattr(r, k) for k in figures} for r in rows]
    for one in estimates if given.cameras else ():
        one["load"] = frames_per_s / given.batch * one["layers_ms"] / 1000
    if write_json({"model": model, **{k: getattr(cost, k) for k in counts}, "estimates": estimates}, given.out):
        _show_bounds(model, cost, rows, frames_per_s)


def _show_bounds(model: str, cost: Cost, rows: list[Estimate], images_per_s: float) -> None:
    console = results()
    console.print(f"[bold]{escape(model)}[/], batch {cost.batch}: {cost.operations / 1e9:.2f} GFLOP "
                  f"({cost.operations / 2e9:.2f} GMAC), {cost.parameters / 1e6:.2f} M parameters, "
                  f"{cost.peak / 1e6:.2f} M activations at the peak\n")  # fmt: skip
    heads: tuple[str, ...] = ("device", "precision", "bound ms", "layers ms", "max runs/s", "MB", "bound by")
    heads += ("load",) if images_per_s else ()
    cells = []
    for row in rows:
        memory = f"{row.memory_mb:.1f}" if row.fits else Text(f"{row.memory_mb:.1f} too large", "red")
        times = (f"{row.bound_ms:.3f}", f"{row.layers_ms:.3f}", f"{1000 / row.bound_ms:,.0f}")
        load = (f"{images_per_s / cost.batch * row.layers_ms / 1000:.0%}",) if images_per_s else ()
        cells.append((row.device.name, row.precision, *times, memory, row.limit, *load))
    print_rows(console, heads, cells, text=("precision", "bound by"))
    console.print("\nbound ms: no run can be faster (roofline). layers ms: sum of the layers' own bounds,\n"
                  "without a cache. Small models stay above both: launching a layer takes microseconds.\n"
                  "MB: weights and activations, without the runtime's own memory.", style="dim")  # fmt: skip
    if images_per_s:
        note = "load: layers ms of all frames of a second; a device reaches half of it (docs/fleet.md)."
        console.print(note, style="dim", markup=False)
