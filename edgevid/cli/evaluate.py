"""`edgevid evaluate`: quality on labeled data; each part has its own subcommands."""

from __future__ import annotations

from importlib import import_module

import typer

PARTS: tuple[str, ...] = ("actions", "speed")
"""Modules edgevid.cli.evaluate_<name>, each with `register(group)`; sorted."""

command = typer.Typer(no_args_is_help=True, help="Measure quality on labeled data.")


@command.callback()
def _root() -> None:
    """Keeps subcommands as subcommands."""


for _name in PARTS:
    import_module(f"edgevid.cli.evaluate_{_name}").register(command)
