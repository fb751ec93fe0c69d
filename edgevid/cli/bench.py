"""`edgevid bench`: the time of a frame, stage by stage, of one or more engines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text
from typer import Argument, Option

from edgevid.cli import options as shared
from edgevid.cli.console import advance, check_outputs, number_table, print_table, progress_bar, results, write_json
from edgevid.errors import InputError

if TYPE_CHECKING:
    from edgevid.optimize.bench import Benchmark, Timing

Devices = Annotated[list[str] | None, Option("--device", help="auto, cpu, openvino, cuda:0...; repeatable.")]
Choose = Annotated[bool, Option("--choose", help="Time ONNX Runtime and OpenVINO; the faster is auto.")]


def command(
    models: Annotated[list[str], Argument(help="Names of models, ONNX files, recipes or engines.")],
    precision: shared.Precisions = None,
    data: Annotated[str | None, Option(help="Real frames: a video, a folder of images or a list.")] = None,
    runs: Annotated[int, Option(help="Frames to time.", min=1)] = 200,
    warm_up: Annotated[int, Option(help="Untimed frames before the timed ones.", min=0)] = 20,
    device: Devices = None,
    choose: Choose = False,
    threads: shared.Threads = None,
    out: shared.Json = None,
    force: shared.Force = False,
) -> None:
    """Time preprocessing, inference, postprocessing and the whole frame of one or more models.

    CPU is the processor time of a frame over all threads: on a machine with other work it is more reliable
    than the elapsed time.
    """
    from edgevid.optimize.bench import RUNTIMES, bench, choose_runtime

    check_outputs({"--json": (out, "JSON")}, models, force=force)
    if choose and (device or precision or data is None):
        raise InputError("bench: --choose takes --data VIDEO, and no --device or --precision")
    chosen: Any = precision or ()
    devices = list(RUNTIMES) if choose else device or ["auto"]
    with progress_bar("timing", runs + warm_up) as bar:
        found = bench(
            models, precisions=chosen, data=data, runs=runs, warm_up=warm_up,
            threads=threads, device=devices, on_frame=lambda _: advance(bar),
        )  # fmt: skip
    shown = write_json(found.as_dict(), out)
    if shown:
        _show(found)
    for model in models if choose else ():
        choice = choose_runtime(model, data, found.timings, threads=threads)
        if shown:
            results().print(f"auto takes {choice.runtime} for {model} ({choice.reason})")


def _show(found: Benchmark) -> None:
    from edgevid.optimize.conditions import as_rows

    console = results()
    _show_times(console, found.timings)
    console.print()
    for t in found.timings:
        threads = f", {t.threads} thread{'s' if t.threads != 1 else ''}" if t.threads else ""
        how = f"{t.file} on {t.device or 'an unknown device'}{threads}, {t.shape}, loaded in {t.load_s:.2f} s"
        console.print(f"[dim]{escape(t.title)}:[/] {escape(how)}")
    for name, why in found.failed.items():
        console.print(f"[yellow]failed:[/] {escape(name)}: {escape(why)}")
    for note in found.notes:
        console.print(f"[yellow]Note:[/] {escape(note)}")
    console.print()
    for key, value in as_rows(dict(found.conditions)):
        console.print(f"[dim]{escape(key)}:[/] {escape(value)}")


def _show_times(console: Console, timings: tuple[Timing, ...]) -> None:
    """The table; where it is wider than the terminal each name has a line of its own above its figures."""
    with console.capture() as wide:
        print_table(console, _times(timings, [t.title for t in timings]))
    if all(cell_len(Text.from_ansi(line).plain.rstrip()) <= console.width for line in wide.get().split("\n")):
        console.out(wide.get(), end="")
        return
    with console.capture() as narrow:
        print_table(console, _times(timings, [" " for _ in timings]))
    heading, *figures = narrow.get().splitlines()
    console.out(heading)
    for t, line in zip(timings, figures, strict=True):
        console.out(t.title)
        console.out(line)


def _times(timings: tuple[Timing, ...], names: list[str]) -> Table:
    """Milliseconds as p50 / p99; the last column is the speed relative to the first engine."""
    from edgevid.optimize.bench import STAGES

    table = number_table("ms, p50 / p99", *STAGES, "CPU", "fps", "")
    first = timings[0].at("frame", 50)
    for t, name in zip(timings, names, strict=True):
        cells = [f"{_short(t.at(s, 50))} / {_short(t.at(s, 99))}" if s in t.ms else "-" for s in STAGES]
        middle = t.at("frame", 50)
        more = [_short(t.cpu_ms), f"{1000 / middle:.1f}", f"{first / middle:.2f}x"]
        table.add_row(escape(name), *cells, *more)
    return table


def _short(ms: float) -> str:
    """Milliseconds with three significant digits."""
    return f"{ms:.0f}" if ms >= 99.5 else f"{ms:.1f}" if ms >= 9.95 else f"{ms:.2f}"
