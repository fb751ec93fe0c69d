"""What commands print: texts of files, models and cameras are printed as they are, never as markup or commands."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from rich.markup import escape

from edgevid.cli.console import errors, notes, print_rows, results
from edgevid.errors import log, visible

PACKAGE = Path(__file__).resolve().parents[2] / "edgevid"
NUMBERS = set("dfeg%,")
"""How the formats of numbers end: {seconds:.1f}, {count:,}."""


def prints(path: Path) -> list[ast.Call]:
    """The calls of a console's `print` and of `add_row` whose texts are read as markup."""
    calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    named = [c for c in calls if isinstance(c.func, ast.Attribute) and c.func.attr in ("print", "add_row")]
    plain = [c for c in named if any(k.arg == "markup" and ast.unparse(k.value) == "False" for k in c.keywords)]
    return [call for call in named if call not in plain]


def is_safe(node: ast.expr) -> bool:
    """Whether an expression can hold no text from outside: constants, numbers, and what is escaped."""
    if isinstance(node, ast.JoinedStr):
        return all(map(is_safe, node.values))
    if isinstance(node, ast.FormattedValue):
        spec = ast.unparse(node.format_spec).rstrip("'\"") if node.format_spec else ""
        return spec[-1:] in NUMBERS or is_safe(node.value)
    if isinstance(node, ast.IfExp):
        return is_safe(node.body) and is_safe(node.orelse)
    if isinstance(node, ast.BinOp):
        return is_safe(node.left) and (isinstance(node.op, ast.Mult) or is_safe(node.right))
    if isinstance(node, ast.Call):
        joined = ast.unparse(node.func) == "''.join" and isinstance(node.args[0], ast.GeneratorExp)
        if joined:
            return is_safe(node.args[0].elt)  # type: ignore[attr-defined]
        return ast.unparse(node.func) in ("escape", "len", "sum", "int", "Text")
    return isinstance(node, ast.Constant) or ast.unparse(node) in OWN


OWN = {
    "ELSEWHERE", "MIRROR", "SHOWN", "better", "bool(images_per_s)", "cells", "choice.runtime", "classes",
    "color", "cost.batch", "count", "done", "emitted", "ended", "found.condition", "found.count",
    "found.hdbscan[0]", "found.unit", "guess.decode.kind", "heading", "hint", "how", "line", "made.frames",
    "mark", "marks", "nested", "number", "pixels", "recipe.height", "recipe.task", "report.fp16_nodes",
    "report.frames", "rest", "row", "size_text", "spec.height", "spec.width", "summary.frames", "table", "title",
    "verdict", "verified", "where", "why", "word",
}  # fmt: skip
"""Numbers, words of edgevid's own, and texts that are escaped where they are made."""


@pytest.mark.parametrize("path", sorted((PACKAGE / "cli").glob("*.py")), ids=lambda path: path.name)
def test_what_is_printed_as_markup_is_escaped(path: Path) -> None:
    found = [(call, one) for call in prints(path) for one in call.args if not isinstance(one, ast.Starred)]
    wrong = [f"{path.name}:{call.lineno}: {ast.unparse(one)}" for call, one in found if not is_safe(one)]
    assert not wrong, f"escape(...), or markup=False: {wrong}"


@pytest.mark.parametrize("text", ["[bold]car[/]", "[link=http://evil.test]car", "[/]", "car\\", ":100: car"])
def test_cells_and_titles_are_printed_as_they_are(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    print_rows(results(), (text, "n"), [(text, "1")], title=text)
    results().print(f"[dim]{escape(text)}[/]")
    assert capsys.readouterr().out.count(text) == 4


@pytest.mark.parametrize("text", ["\x1b[31mred", "\x1b]0;title\x07", "a\rb", "\u202egnp.exe", "\x9b31m", "gate\udcff"])
def test_a_terminal_gets_no_command_of_a_text(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    for console in (results(), errors(), notes()):
        console.print(f"[bold]{escape(text)}[/]")
        print_rows(console, (text,), [(text,)], title=text)
    shown = "".join(capsys.readouterr())
    assert not set("\x1b\x07\r\u202e\x9b\udcff") & set(shown)
    assert shown.count(visible(text)) == 12


def test_a_message_of_the_log_is_one_line_without_secrets(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", "edgevid"):
        log.warning("%s: lost\x1b[2J", "gate\r\nERROR forged rtsp://admin:hunter2@gate/1")
    (line,) = caplog.messages
    assert line == r"gate\r\nERROR forged rtsp://***:***@gate/1: lost\x1b[2J"
