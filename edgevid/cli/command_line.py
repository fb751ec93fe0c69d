"""The assembled command line: what every command has in common, and the exit status of a program.

-h, -v and -q in every command; errors name the value that was given; the reader of the output may end early."""

import ctypes
import functools
import inspect
import os
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer
from rich.markup import escape
from typer import Option

from edgevid._version import __version__
from edgevid.cli.console import BROKEN_PIPE, end_output, errors, log_shown, mask_process_title, set_verbosity
from edgevid.cli.options import give_options, readable_inputs
from edgevid.errors import EdgevidError, did_you_mean

COMMANDS = ("run", "calibrate", "health", "models", "inspect", "export", "quantize", "build", "compare", "bench",
            "estimate", "train", "tune", "evaluate", "doctor", "schema", "cluster", "report", "query", "forget",
            "review", "data", "improve", "archive", "fleet")  # fmt: skip
"""Subcommands in the order of the work: a camera, its model, its own training, the machine.

Each is `command` of the module edgevid.cli.<name>, or <name>_command of its module in HOMES, light to import: tools
load inside. Its options are those of <name>.toml, of a subcommand those of a part of it."""
HOMES = {**dict.fromkeys(("compare", "estimate"), "bench"), **dict.fromkeys(("inspect", "export"), "models"),
         **dict.fromkeys(("query", "forget", "schema"), "report"), "quantize": "build", "health": "calibrate",
         **dict.fromkeys(("cluster", "improve"), "review"), "fleet": "archive", "data": "evaluate"}  # fmt: skip
HABITS = {**dict.fromkeys(("predict", "track", "detect"), "run"), "val": "compare", "benchmark": "bench",
          "version": "--version"}  # fmt: skip
"""Commands of other programs, and ours."""
MALLOC_OPTIONS = {-1: 128 << 10, -3: 128 << 10, -8: 2}  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX of malloc.h
SETTINGS: Any = {"help_option_names": ["-h", "--help"]}


def _print_version(requested: bool) -> None:
    if requested:
        print(f"edgevid {__version__}")
        raise typer.Exit


_VERSION = Option("--version", "-V", callback=_print_version, is_eager=True, help="Show the version and exit.")
Version = Annotated[bool, _VERSION]
Verbose = Annotated[bool, Option("-v", "--verbose", help="Show the log's debug messages too.")]
Quiet = Annotated[bool, Option("-q", "--quiet", help="Show only results and errors.")]


class _Named:
    """A command whose errors name the value that was given, and that ends quietly with its reader."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """The remaining arguments; a bad value's error gets the value, an unknown "-x.mp4" a hint."""
        given = list(args)
        try:
            return super().parse_args(ctx, args)  # type: ignore[misc,no-any-return]
        except typer.BadParameter as error:
            value = self._given(ctx, given, error.param)
            if value is not None and str(value) not in error.message:
                error.message = f"{error.message.rstrip('.')}, got {value!r}"
            raise
        except Exception as error:
            option = getattr(error, "option_name", "")
            file = next((one for one in given if option and one.startswith(option) and "." in one), "")
            if file and "=" not in file and hasattr(error, "possibilities"):
                error.message = f"{error}; a file of this name is ./{file}"  # type: ignore[attr-defined]
            raise

    def invoke(self, ctx: Any) -> Any:
        """Runs the command; BrokenPipeError of standard output is no error."""
        try:
            return super().invoke(ctx)  # type: ignore[misc]
        except BrokenPipeError:
            end_output()
            raise typer.Exit(BROKEN_PIPE) from None

    def _given(self, ctx: Any, args: list[str], param: Any) -> Any:
        """The text that the command line holds for a parameter, None where it holds none."""
        try:
            found, _, _ = self.make_parser(ctx).parse_args(args)  # type: ignore[attr-defined]
        except Exception:
            return None
        value = found.get(getattr(param, "name", ""))
        return value[-1] if isinstance(value, (list, tuple)) and value else value


class NamedCommand(_Named, typer.core.TyperCommand):
    """A command of edgevid."""


class FullHelpGroup(_Named, typer.core.TyperGroup):
    """Lists its commands in the order of COMMANDS, each with its whole first sentence."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As of the base; `edgevid tune scores.csv` is short for `edgevid tune policy scores.csv`."""
        scores = any(one.endswith((".csv", ".npz")) for one in args)
        if self.name == "tune" and scores and args[0] not in self.commands:
            args = ["policy", *args]
        return super().parse_args(ctx, args)

    def list_commands(self, ctx: Any) -> list[str]:
        """The names in the order of COMMANDS; those of a subgroup in the order they were added."""
        return sorted(self.commands, key=lambda name: COMMANDS.index(name) if name in COMMANDS else -1)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command; an unknown one's error names a similar one, as newer versions of typer do."""
        try:
            return super().resolve_command(ctx, args)
        except Exception as error:
            message = getattr(error, "message", "")
            if args and "No such command" in message and args[0] in HABITS:
                error.message = f"No such command {args[0]!r}; use {HABITS[args[0]]!r}"  # type: ignore[attr-defined]
            elif args and "No such command" in message and "mean" not in message:
                error.message = message.rstrip(".") + did_you_mean(args[0], self.commands)  # type: ignore[attr-defined]
            raise

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Wraps the sentences, where click would truncate them."""
        found = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        rows = [(name, one.get_short_help_str(limit=1000)) for name, one in found if one and not one.hidden]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def make_app() -> typer.Typer:
    """`edgevid` with all its commands."""
    made = typer.Typer(name="edgevid", cls=FullHelpGroup, no_args_is_help=True, pretty_exceptions_enable=False,
                       rich_markup_mode=None, context_settings=SETTINGS)  # fmt: skip

    @made.callback()
    def _root(version: Version = False, verbose: Verbose = False, quiet: Quiet = False) -> None:
        """On-device video analytics: detect, track, recognize actions and measure ground speed.

        Every value has a standard error or a score, or a reason for abstaining. 'edgevid COMMAND --help'
        describes a command; 'edgevid-demo' shows everything on a sample video."""
        set_verbosity(verbose=verbose, quiet=quiet)

    for name in COMMANDS:
        module = import_module(f"edgevid.cli.{HOMES.get(name, name)}")
        command = getattr(module, f"{name}_command" if name in HOMES else "command")
        if isinstance(command, typer.Typer):
            for one in command.registered_commands:
                one.cls, one.callback = NamedCommand, _shared(one.callback, name, one.name or "")
            made.add_typer(command, name=name, cls=FullHelpGroup)
        else:
            made.command(name, cls=NamedCommand)(_shared(command, name))
    return made


def _shared(command: Any, name: str, part: str = "", *, version: bool = False) -> Callable[..., Any]:
    """The command with its options, -v and -q (and --version, where it is a program of its own), and with a log."""
    if hasattr(command, "__wrapped__"):
        return command  # type: ignore[no-any-return]
    if not hasattr(command, "__signature__") and (file := Path(__file__).with_name(f"{name}.toml")).is_file():
        give_options(command, file, part=part)
    added: dict[str, Any] = {"verbose": Verbose, "quiet": Quiet} | ({"version": Version} if version else {})

    @functools.wraps(command)
    def run(*args: Any, **options: Any) -> Any:
        verbose, quiet, _ = (options.pop(name, False) for name in ("verbose", "quiet", "version"))
        if verbose or quiet:
            set_verbosity(verbose=verbose, quiet=quiet)
        with log_shown():
            return command(*args, **readable_inputs(name, options))

    hints = get_type_hints(command, include_extras=True)
    shape = inspect.signature(command)
    more = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=False) for name in added]
    run.__annotations__ = hints | added
    own = [p.replace(annotation=hints[p.name]) for p in shape.parameters.values()]
    more = [p.replace(annotation=added[p.name]) for p in more]
    run.__signature__ = shape.replace(parameters=[*own, *more])  # type: ignore[attr-defined]
    return run


def limit_free_memory() -> None:
    """From now on large buffers go back to the system as they are freed, and threads share two heaps. Nothing where the
    C library has no mallopt(3), or where the environment sets options of its own."""
    if not any(name.startswith(("MALLOC_", "GLIBC_TUNABLES")) for name in os.environ):
        with suppress(AttributeError, OSError, TypeError):
            for option, value in MALLOC_OPTIONS.items():
                ctypes.CDLL(None).mallopt(option, value)


def run_program(program: str, arguments: list[str] | None) -> Any:
    """The exit status of `edgevid`, `edgevid-demo` or `edgevid-build`; an edgevid error is one sentence."""
    mask_process_title()
    if arguments is None:  # a program of its own
        limit_free_memory()
    set_verbosity()
    if program == "edgevid":
        made = make_app()
    else:
        made = typer.Typer(pretty_exceptions_enable=False, rich_markup_mode=None)
        name = program.removeprefix("edgevid-")
        command = _shared(import_module(f"edgevid.cli.{name}").command, name, version=True)
        made.command(cls=NamedCommand, context_settings=SETTINGS)(command)
    try:
        made(args=arguments, prog_name=program, standalone_mode=True)
    except SystemExit as end:
        return end.code
    except (EdgevidError, RecursionError) as error:
        nested = "a file is nested too deeply: " * isinstance(error, RecursionError)
        errors().print(f"[bold red]edgevid:[/] {nested}{escape(str(error))}")
        return 2
    return 0
