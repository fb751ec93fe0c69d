"""Runs the blocks of a page of the docs in their order, as a reader would.

A comment right before a block, `<!-- not run: reason -->`, leaves it out; with texts in parentheses, as in
`<!-- not run (review kept, --view): they serve until they are stopped -->`, the lines that contain one of them.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from edgevid.cli import app

DOCS = Path(__file__).resolve().parents[2] / "docs"
BLOCK = re.compile(
    r"(?:^ *<!-- not run(?: \((.*?)\))?: (.*?) -->\n)?^( *)```(\w*)\n(.*?)^ *```$", re.DOTALL | re.MULTILINE
)
SHELLS = ("", "sh", "bash", "console")


@dataclass(frozen=True)
class Step:
    """A Python block, or a line of a shell block with its continued lines."""

    kind: str  # "python" or "shell"
    text: str
    reason: str  # why it is not run, or empty


def steps(page: Path) -> Iterator[Step]:
    """What a page tells its reader to run. Blocks without a language show output as well: only their commands count."""
    for lines, reason, indent, kind, block in BLOCK.findall(page.read_text()):
        if kind == "python":
            yield Step(kind, re.sub(rf"^{indent}", "", block, flags=re.MULTILINE), reason)
        elif kind in SHELLS:
            for line in block.replace("\\\n", " ").splitlines():
                text = line.strip().removeprefix("$ ")
                chosen = not lines or any(part.strip() in text for part in lines.split(","))
                is_synopsis = " [--" in text
                if text and not is_synopsis and (kind or re.match(r"(edgevid|make|pip|pre-commit)[ -]", text)):
                    yield Step("shell", text, reason if chosen else "")


def invoke(line: str) -> str | None:
    """What a command line of edgevid prints; it has to succeed. None of pip, which needs a network."""
    program, *arguments = shlex.split(line, comments=True)
    if program == "pip":
        return None
    assert program == "edgevid", f"{line}: mark it as not run, with its reason"
    done = CliRunner().invoke(app(), arguments)
    assert done.exit_code == 0, f"{line}: {done.output} {done.exception}"
    return done.output


def walk_through(
    page: Path, names: dict[str, Any] | None = None, run: Callable[[str], str | None] = invoke
) -> list[str]:
    """What the commands of the page print, one text per command; each of them has to succeed."""
    names = {"__name__": __name__} if names is None else names
    printed = []
    for step in steps(page):
        if step.kind == "python" and not step.reason:
            exec(compile(step.text, str(page), "exec", dont_inherit=True), names)
        elif not step.reason and (text := run(step.text)) is not None:
            printed.append(text)
    return printed
