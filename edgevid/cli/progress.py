"""The output of a run in a terminal: a progress bar, then a summary."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from edgevid.cli.console import is_quiet, results
from edgevid.cli.console import notes as console_of_notes
from edgevid.run.loop import Summary
from edgevid.types import Reason

OWN_LINES = ("track-", "verdict", "cross", "enter", "leave")  # Kinds of events that other lines of the summary count


@contextmanager
def progress_bar(title: str, total: int | None) -> Iterator[Progress]:
    """A bar with frames, frames per second and the time left; `task 0` is the run."""
    text, rate = TextColumn("{task.description}"), TextColumn("{task.fields[fps]:.0f} fps")
    columns = (text, BarColumn(), MofNCompleteColumn(), rate, TimeRemainingColumn())
    console = console_of_notes(soft_wrap=False)
    hidden = is_quiet() or not console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=hidden) as bar:
        bar.add_task(escape(title), total=total, fps=0.0)
        yield bar


def advance(bar: Progress) -> None:
    """One frame further."""
    task = bar.tasks[0]
    bar.update(task.id, advance=1, fps=task.speed or task.fields["fps"])


def print_summary(
    summary: Summary, names: Sequence[str], *, seconds: float, written: Sequence[str],
    notes: Sequence[str] = (), off: Sequence[str] = (), stderr: bool = False,
) -> None:  # fmt: skip
    """Objects by class, abstentions by reason, time by stage (but those that are `off`), files written.

    On standard output, or on standard error; nothing with -q.
    """
    if is_quiet():
        return
    console = (console_of_notes if stderr else results)(soft_wrap=False)
    ended = "interrupted after" if summary.interrupted else "done:"
    rate = summary.frames / seconds if seconds > 0 else 0.0
    console.print(f"[bold]{ended}[/] {summary.frames} frames in {seconds:.1f} s ({rate:.0f} fps)")
    table = Table(box=None, show_header=False, pad_edge=False)
    classes = {names[k] if 0 <= k < len(names) else str(k): n for k, n in summary.objects().most_common()}
    table.add_row("objects", ", ".join(f"{n} {name}" for name, n in classes.items()) or "none")
    for task in sorted({task for task, _ in summary.reasons}):
        reasons = Counter({r: n for (t, r), n in summary.reasons.items() if t == task})
        emitted = reasons.pop(Reason.OK, 0)
        why = ", ".join(f"{reason.description} {n}" for reason, n in reasons.most_common())
        table.add_row(task, f"emitted {emitted}, abstained {reasons.total()}" + (f" ({why})" if why else ""))
    if summary.track_speeds:
        emitted, total = summary.track_speeds[Reason.OK], summary.track_speeds.total()
        table.add_row("track speeds", f"{emitted} of {total} ended tracks")
    spent = {stage: 1000 * s / max(1, summary.frames) for stage, s in summary.seconds.items()}
    shown = ", ".join(f"{stage} {ms:.2f}" for stage, ms in spent.items() if ms >= 0.01 and stage not in off)
    table.add_row("ms/frame", shown)
    for name, ways in summary.crossings.items():
        net = ways["forward"].total() - ways["backward"].total()
        counted = ", ".join(f"{way.total()} {key}{_classes(way)}" for key, way in ways.items())
        table.add_row("line", escape(f"{name}: {counted}, net {net}"))
    for name, stays in summary.stays.items():
        count, spent_s = (sum(column) for column in zip(*stays.values(), strict=True))
        by_class = _classes(Counter({key: n for key, (n, _) in stays.items()}))
        table.add_row("zone", escape(f"{name}: {count} stays{by_class}, {spent_s / count:.1f} s on average"))
    kinds = [one for one in summary.event_counts.most_common() if not one[0][0].startswith(OWN_LINES)]
    if kinds:
        table.add_row("events", ", ".join(f"{n} x {kind} {place}".rstrip() for (kind, place), n in kinds))
    for note in notes:
        table.add_row("note", escape(note))
    for path in written:
        table.add_row("written", f"[cyan]{escape(path)}[/]")
    console.print(table)


def _classes(counts: Counter[str]) -> str:
    """ " (11 car, 1 bus)", most first; "" of none."""
    return f" ({', '.join(f'{n} {name}' for name, n in counts.most_common())})" if counts else ""
