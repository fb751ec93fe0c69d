"""Tables in the terminal: columns of names stay whole however narrow the terminal is."""

from __future__ import annotations

import io

from rich.console import Console
from rich.table import Table

from edgevid.cli.console import print_table

NAME = "yolox-nano-416 int8-trt-fp16"


def printed(width: int) -> str:
    table = Table(box=None)
    table.add_column("model", no_wrap=True)
    table.add_column("difference")
    table.add_row(NAME, "3 missed, 1 extra, 20 matched, score drift up to 0.10")
    out = io.StringIO()
    print_table(Console(file=out, width=width), table)
    return out.getvalue()


def test_a_name_is_never_broken() -> None:
    for width in (10, 30, 40, 80, 200):
        assert NAME in printed(width)


def test_texts_wrap_within_the_terminal() -> None:
    lines = printed(60).splitlines()
    assert len(lines) > 2
    assert all(len(line) <= 60 for line in lines)
