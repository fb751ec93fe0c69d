"""The commands of edgevid with their options, as `--help` prints them, on one page."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import typer
from mkdocs.structure.files import File, Files

from edgevid import cli

INTRO = """# Commands

Every command and option, from the program's own help. [What all commands share](../command-line.md): sources, outputs,
overwriting, exit status.
"""


def commands(name: str, command: Any) -> Iterator[tuple[str, Any]]:
    children = getattr(command, "commands", {})
    if not children:
        yield name, command
    for key in sorted(children):
        yield from commands(f"{name} {key}", children[key])


def escaped(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;").replace("[", "\\[")


def section(name: str, command: Any) -> str:
    rows = []
    for parameter in command.params:
        if parameter.name == "help" or getattr(parameter, "hidden", False):
            continue
        if parameter.param_type_name == "argument":
            label = f"`{parameter.name.upper()}`"
        else:
            label = ", ".join(f"`{option}`" for option in [*parameter.opts, *parameter.secondary_opts])
        default = parameter.default
        shown = default is not None and not callable(default) and default not in (False, (), [], "", ...)
        rows.append(f"| {label} | {escaped(parameter.help or '')}{f' (default: `{default}`)' if shown else ''} |")
    table = "\n".join(["| option | meaning |", "|---|---|", *rows]) if rows else ""
    return f"## {name}\n\n{inspect.cleandoc(command.help or '')}\n\n{table}\n"


def on_config(config: Any) -> Any:
    for entry in config.nav:
        if isinstance(entry, dict) and "Reference" in entry:
            entry["Reference"] += [{"Command line": ["command-line.md", "reference/commands.md", "configuration.md"]}]
    return config


def on_files(files: Files, config: Any) -> Files:
    found = commands("edgevid", typer.main.get_command(cli.app()))
    text = "\n".join([INTRO, *(section(name, command) for name, command in found)])
    files.append(File.generated(config, "reference/commands.md", content=text))
    return files
