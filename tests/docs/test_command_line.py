"""docs/command-line.md: its options exist, and its suffixes are those that are checked."""

from __future__ import annotations

import re
from pathlib import Path

import typer

from edgevid import cli
from edgevid.cli.console import KINDS

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "command-line.md").read_text()


def test_every_option_on_the_page_is_one_of_a_command() -> None:
    known, queue = set(), [typer.main.get_command(cli.app())]
    while queue:
        command = queue.pop()
        known |= {name for parameter in command.params for name in parameter.opts}
        queue += getattr(command, "commands", {}).values()
    named = set(re.findall(r"(?<![\w-])--?[a-z][\w-]*", re.sub(r"```.*?```", "", PAGE, flags=re.DOTALL)))
    assert named - known <= {"-h", "-m", "-name"}  # help, python -m, and a file
    assert {"--source", "--overwrite", "--conf", "--imgsz", "-o", "-v", "-q"} <= known


def test_the_suffixes_are_those_that_are_checked() -> None:
    rows = dict(re.findall(r"^\| `(--\w+)`[^|]*\| (\.[^|]+) \|$", PAGE, flags=re.MULTILINE))
    kinds = {"--out": "MP4", "--jsonl": "JSON lines", "--csv": "CSV", "--mot": "MOT", "--json": "JSON"}
    kinds["--timeline"] = "timeline"
    for option, kind in kinds.items():
        assert tuple(rows[option].split(", ")) == KINDS[kind]
