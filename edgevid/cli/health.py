"""`edgevid health`: what a camera's health monitor has learned, and the answer to its alarm."""

from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

from edgevid.errors import InputError


def command(
    folder: Annotated[Path, Argument(help="Folder of the camera's health ([camera] health of its site).")],
    acknowledge: Annotated[bool, Option("--acknowledge", help="Still as calibrated: end the alarm.")] = False,
    relearn: Annotated[bool, Option("--relearn", help="Calibrated again: learn view and speeds.")] = False,
) -> None:
    """Show a camera's health, and acknowledge its alarm (exit status 1 while one is open)."""
    from edgevid.health.monitor import STATE, HealthFolder

    if acknowledge and relearn:
        raise InputError("health: expected one of --acknowledge and --relearn, got both")
    if not (folder / STATE).is_file():
        raise InputError(f"{folder}: expected the folder of a monitored camera (--health), got one without {STATE}")
    store = HealthFolder(folder)
    references, statistics, alarm = store.read()
    for note in store.notes:
        typer.echo(note)
    if acknowledge or relearn:
        store.put_acknowledgement("unchanged" if acknowledge else "recalibrated")
        typer.echo("saved: the running program, or the next one that starts, applies it at its next check")
        return
    size = " of {}x{} pixels".format(*references[0].reference.size) if references else ""
    typer.echo(f"references: {len(references)}{size}")
    for name, unit in (("speeds", "hours of the week with a baseline"), ("ratio", "directions")):
        slots = (statistics or {}).get(name, {}).get("slots", {})
        typer.echo(f"{name}: {len(slots)} {unit}, {sum(map(len, slots.values()))} vehicles kept")
    typer.echo(f"alarm: {f'since {alarm.time}: {alarm.message}' if alarm else 'none'}")
    if alarm:
        typer.echo("check the camera, then: --acknowledge, or --relearn after calibrating it again")
        raise typer.Exit(1)
