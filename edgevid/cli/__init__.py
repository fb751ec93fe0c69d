"""The `edgevid` command: one module per subcommand, each with `command`, a function or a Typer group."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from edgevid._version import __version__
from edgevid.cli.process_title import mask_process_title
from edgevid.errors import EdgevidError

COMMANDS = (
    "run",
    "calibrate",
    "health",
    "models",
    "inspect",
    "export",
    "quantize",
    "build",
    "compare",
    "bench",
    "estimate",
    "train",
    "tune",
    "evaluate",
    "doctor",
)
"""Subcommands in the order of the work: a camera, its model, its own training, the machine.

Each is the module edgevid.cli.<name>, light to import: tools load inside."""


def _print_version(requested: bool) -> None:
    if requested:
        print(f"edgevid {__version__}")
        raise typer.Exit


Version = Annotated[
    bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
]


class FullHelpGroup(typer.core.TyperGroup):
    """Lists its commands in the order of COMMANDS, each with its whole first sentence."""

    def list_commands(self, ctx: Any) -> list[str]:
        """The names in the order of COMMANDS; those of a subgroup in the order they were added."""
        return sorted(self.commands, key=lambda name: COMMANDS.index(name) if name in COMMANDS else -1)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Wraps the sentences, where click would truncate them."""
        found = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        rows = [(name, one.get_short_help_str(limit=1000)) for name, one in found if one and not one.hidden]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def app() -> typer.Typer:
    """The assembled command-line application."""
    made = typer.Typer(
        name="edgevid",
        cls=FullHelpGroup,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )

    @made.callback()
    def _root(version: Version = False) -> None:
        """On-device video analytics: detect, track, recognize actions and measure ground speed.

        Every value has a standard error or a score, or a reason for abstaining. 'edgevid COMMAND --help'
        describes a command; 'edgevid-demo' shows everything on a sample video.
        """

    for name in COMMANDS:
        command = import_module(f"edgevid.cli.{name}").command
        if isinstance(command, typer.Typer):
            made.add_typer(command, name=name, cls=FullHelpGroup)
        else:
            made.command(name)(command)
    return made


def main(arguments: list[str] | None = None) -> None:
    """Entry point of `edgevid`: an edgevid error is printed as one sentence, with exit status 2."""
    _run(app(), arguments)


def demo_main(arguments: list[str] | None = None) -> None:
    """Entry point of `edgevid-demo`."""
    _run_one("demo", arguments)


def build_main(arguments: list[str] | None = None) -> None:
    """Entry point of `edgevid-build`, the TensorRT build script."""
    _run_one("build", arguments)


def _run_one(name: str, arguments: list[str] | None) -> None:
    made = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    made.command()(import_module(f"edgevid.cli.{name}").command)
    _run(made, arguments)


def _run(made: typer.Typer, arguments: list[str] | None) -> None:
    mask_process_title()
    try:
        made(args=arguments, standalone_mode=True)
    except EdgevidError as error:
        console = Console(stderr=True, soft_wrap=True)
        console.print(f"[bold red]edgevid:[/] {escape(str(error))}", highlight=False)
        sys.exit(2)
