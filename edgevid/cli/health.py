"""`edgevid health`: what a camera's watch knows, and the answer to its alarm."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Folder = Annotated[Path, typer.Argument(help="Folder of the camera's health ([camera] health of its site).")]
Kept = Annotated[
    bool,
    typer.Option("--acknowledge", help="I looked: the camera stands as it was calibrated. Ends the alarm."),
]
Anew = Annotated[
    bool, typer.Option("--relearn", help="The camera was calibrated again: learn view and speeds anew.")
]


def command(folder: Folder, acknowledge: Kept = False, relearn: Anew = False) -> None:
    """Show a camera's health, and answer its alarm (exit status 1 while one is open)."""
    from edgevid.errors import InputError
    from edgevid.health.store import STATE, HealthFolder

    if acknowledge and relearn:
        raise InputError("health: expected one of --acknowledge and --relearn, got both")
    if not (folder / STATE).is_file():
        raise InputError(
            f"{folder}: expected the folder that a watched camera writes, there is no {STATE} in it; "
            "run the camera with --health, or name its folder"
        )
    kept = HealthFolder(folder)
    known, statistics, alarm = kept.read()
    for note in kept.notes:
        typer.echo(note)
    if acknowledge or relearn:
        kept.answer("kept" if acknowledge else "recalibrated")
        typer.echo(
            "told: the program that watches, or the next one that starts, takes it up at its next look"
        )
        return
    size = f" of {known[0].reference.size[0]}x{known[0].reference.size[1]} pixels" if known else ""
    typer.echo(f"references: {len(known)}{size}")
    for name, words in (("speeds", "hours of the week with a baseline"), ("ratio", "directions")):
        slots = (statistics or {}).get(name, {}).get("slots", {})
        count = sum(len(values) for values in slots.values())
        typer.echo(f"{name}: {len(slots)} {words}, {count} vehicles remembered")
    typer.echo(f"alarm: {f'since {alarm.when}: {alarm.words}' if alarm else 'none'}")
    if alarm:
        typer.echo(
            "look at the camera, then: --acknowledge if it stands as it was calibrated, "
            "--relearn after calibrating it again"
        )
        raise typer.Exit(1)
