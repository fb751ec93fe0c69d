"""Runs the blocks of a page of the docs in their order, as a reader would."""

import re
import shlex
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from edgevid.cli import app

DOCS = Path(__file__).resolve().parents[2] / "docs"


def walk_through(page: Path) -> list[str]:
    """What the commands of the page print, one text per command; each of them has to succeed."""
    names: dict[str, Any] = {}
    printed = []
    for kind, block in re.findall(r"```(python|sh)\n(.*?)```", page.read_text(), re.DOTALL):
        if kind == "python":
            exec(compile(block, str(page), "exec"), names)
            continue
        for line in block.strip().splitlines():
            program, *arguments = shlex.split(line)
            done = CliRunner().invoke(app(), arguments)
            assert (program, done.exit_code) == ("edgevid", 0), f"{line}: {done.output} {done.exception}"
            printed.append(done.output)
    return printed
