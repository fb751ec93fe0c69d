"""The `edgevid` command: one module a subcommand, each with `command`, a function or a Typer group."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from edgevid.errors import EdgevidError

COMMANDS: tuple[str, ...] = (
    "bench",
    "build",
    "calibrate",
    "compare",
    "doctor",
    "estimate",
    "evaluate",
    "export",
    "health",
    "inspect",
    "models",
    "quantize",
    "run",
    "train",
    "tune",
)
"""Subcommands, sorted; each is the module edgevid.cli.<name> (light to import: tools load inside)."""


def _tell_version(asked: bool) -> None:
    if asked:
        from edgevid._version import __version__

        print(f"edgevid {__version__}")
        raise typer.Exit


Version = Annotated[
    bool, typer.Option("--version", callback=_tell_version, is_eager=True, help="Show the version and exit.")
]


class Whole(typer.core.TyperGroup):
    """Lists its commands in the order of their names, each with its whole sentence."""

    def list_commands(self, ctx: Any) -> list[str]:
        """The names, sorted."""
        return sorted(super().list_commands(ctx))

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Wraps the sentences, where click would cut them off."""
        found = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        rows = [(name, one.get_short_help_str(limit=1000)) for name, one in found if one and not one.hidden]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def app() -> typer.Typer:
    """The assembled command-line application."""
    made = typer.Typer(
        name="edgevid",
        cls=Whole,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )

    @made.callback()
    def _root(version: Version = False) -> None:
        """On-device video analytics that knows when to be silent."""

    for name in COMMANDS:
        command = import_module(f"edgevid.cli.{name}").command
        if isinstance(command, typer.Typer):
            made.add_typer(command, name=name, cls=Whole)
        else:
            made.command(name)(command)
    return made


def main(arguments: list[str] | None = None) -> None:
    """Entry point of `edgevid`: an edgevid error is one clear sentence and exit status 2."""
    _speak_plainly(app(), arguments)


def demo_main(arguments: list[str] | None = None) -> None:
    """Entry point of `edgevid-demo`."""
    made = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    made.command()(import_module("edgevid.cli.demo").command)
    _speak_plainly(made, arguments)


def build_main(arguments: list[str] | None = None) -> None:
    """Entry point of `edgevid-build`, the TensorRT build script."""
    made = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    made.command()(import_module("edgevid.cli.build").command)
    _speak_plainly(made, arguments)


def _speak_plainly(made: typer.Typer, arguments: list[str] | None) -> None:
    try:
        made(args=arguments, standalone_mode=True)
    except EdgevidError as error:
        console = Console(stderr=True, soft_wrap=True)
        console.print(f"[bold red]edgevid:[/] {escape(str(error))}", highlight=False)
        sys.exit(2)
