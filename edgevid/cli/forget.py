"""`edgevid forget`: deletes what is known of a time, camera or track."""

import time as clock
from pathlib import Path
from typing import Annotated

from rich.markup import escape
from typer import Argument, Option

from edgevid.cli.console import results
from edgevid.errors import InputError

ELSEWHERE = "Not reached: what brokers and servers got, videos of --out, records as CSV or MOT, copies."


def command(
    files: Annotated[list[Path], Argument(help="Databases, JSON lines, events as CSV, folders.")],
    before: Annotated[str | None, Option(help="Until then: 2026-01-31T12:00:00Z, or 30d ago.")] = None,
    after: Annotated[str | None, Option(help="From then on: 2026-01-31T12:00:00Z, or 12h ago.")] = None,
    camera: Annotated[str | None, Option(help="Of this camera.")] = None,
    run: Annotated[str | None, Option(help="Of this run.")] = None,
    track: Annotated[int | None, Option(help="Of this track; its number may be in several runs.")] = None,
    yes: Annotated[bool, Option("--yes", help="Delete; without it, only count.")] = False,
) -> None:
    """Delete events, objects, crops and waiting events by time, camera or track; all conditions must hold."""
    from edgevid.report.forget import Selection, forget

    chosen = Selection(camera, run, track, moment("--after", after), moment("--before", before))
    if chosen == Selection():
        raise InputError("forget: expected what to forget: --before, --after, --camera, --run or --track")
    console = results()
    for path, counts in forget(files, chosen, dry_run=not yes).items():
        what = ", ".join(f"{count} {kind}" for kind, count in counts.items()) or "nothing"
        console.print(f"{escape(str(path))}: {what}{' deleted' if yes and counts else ''}")
    console.print(escape(ELSEWHERE if yes else "Nothing was deleted: add --yes."), style="dim")


def moment(option: str, text: str | None) -> float | None:
    """UTC seconds of a time, or of so long ago."""
    from edgevid.report.store import seconds_of
    from edgevid.types.event import utc_seconds

    if text is None:
        return None
    try:
        return clock.time() - ago if (ago := seconds_of(text)) else utc_seconds(text)
    except ValueError:
        problem = f"expected a time such as 2026-01-31T12:00:00Z or 30d, got {text!r}"
        raise InputError(f"{option}: {problem}") from None
