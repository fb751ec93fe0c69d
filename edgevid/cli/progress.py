"""What a run prints: a progress bar while it goes on, a summary when it ends."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from edgevid.run.loop import Summary
from edgevid.types import Reason


@contextmanager
def progress_bar(title: str, total: int | None) -> Iterator[Progress]:
    """A bar with frames, frames per second and the time left; `task 0` is the run."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[fps]:.0f} frames/s"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        bar.add_task(escape(title), total=total, fps=0.0)
        yield bar


def advance(bar: Progress) -> None:
    """One frame further."""
    task = bar.tasks[0]
    bar.update(task.id, advance=1, fps=task.speed or task.fields["fps"])


def print_summary(
    summary: Summary,
    names: Sequence[str],
    *,
    seconds: float,
    written: Sequence[str],
    notes: Sequence[str] = (),
) -> None:
    """Objects by class, silences by reason, time by stage, files written."""
    console = Console(highlight=False)
    ended = "interrupted after" if summary.interrupted else "done:"
    rate = summary.frames / seconds if seconds > 0 else 0.0
    console.print(f"[bold]{ended}[/] {summary.frames} frames in {seconds:.1f} s ({rate:.0f} frames/s)")
    table = Table(box=None, show_header=False, pad_edge=False)
    classes = {names[k] if 0 <= k < len(names) else str(k): n for k, n in summary.objects().most_common()}
    table.add_row("objects", ", ".join(f"{n} {name}" for name, n in classes.items()) or "none")
    for task in sorted({task for task, _ in summary.silences}):
        reasons = {r: n for (t, r), n in summary.silences.items() if t == task}
        said, total = reasons.pop("OK", 0), sum(reasons.values())
        words = ", ".join(f"{Reason[r].description} {n}" for r, n in Counter(reasons).most_common())
        table.add_row(task, f"said {said} times, silent {total}" + (f" ({words})" if words else ""))
    if summary.track_speeds:
        table.add_row(
            "track_speeds", f"{summary.track_speeds['OK']} objects with one speed each, told when they go"
        )
    spent = {stage: 1000 * s / max(1, summary.frames) for stage, s in summary.seconds.items()}
    shown = ", ".join(f"{stage} {ms:.2f}" for stage, ms in spent.items() if ms >= 0.01)
    table.add_row("ms/frame", shown)
    kinds = summary.event_counts.most_common()
    if kinds:
        table.add_row("events", ", ".join(f"{n} x {kind} {place}" for (kind, place), n in kinds))
    for note in notes:
        table.add_row("note", escape(note))
    for path in written:
        table.add_row("written", f"[cyan]{escape(path)}[/]")
    console.print(table)
