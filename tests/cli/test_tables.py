"""Tables in the terminal: columns of names stay whole however narrow the terminal is."""

from __future__ import annotations

import io

from rich.console import Console

from edgevid.cli.console import print_rows

NAME = "yolox-nano-416 int8-trt-fp16"


def printed(width: int) -> str:
    out, heads = io.StringIO(), ("model", "difference")
    print_rows(Console(file=out, width=width), heads, [(NAME, "3 missed, 1 extra, 20 matched, score drift up to 0.10")],
               text=("difference",))  # fmt: skip
    return out.getvalue()


def test_a_name_is_never_broken() -> None:
    for width in (10, 30, 40, 80, 200):
        assert NAME in printed(width)


def test_texts_wrap_within_the_terminal() -> None:
    lines = printed(60).splitlines()
    assert len(lines) > 2
    assert all(len(line) <= 60 for line in lines)
