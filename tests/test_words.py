"""The words of the field: a table of words that help, messages and docs do not use, and what stands there."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from edgevid import cli

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "edgevid"
MODULES = sorted(PACKAGE.rglob("*.py"))

STANDARD = r"""
heed\w*                                       observe
survey\w*                                     calibration
settled                                       smoothed
passages?                                     track speed
likeness(?:es)?                               similarity
busiest                                       hardest, with the most objects
alike                                         matched, equal
judg(?:e|es|ed|ing|ments?)                    evaluate, policy
the classic                                   displacement method
stays? float                                  is excluded
set aside                                     quarantined
said                                          emitted, reported, printed
told                                          reported, printed, named, shown
silen(?:t|tly|ces?|ced)                       abstained, abstention, omitted
doubt\w*                                      low-confidence, uncertain, abstained
(?:un)?prove[sn]?|(?:un)?proved|proving       verified, unverified
refus\w*                                      rejected, rejects
wanted                                        expected, requested
asked                                         requested
, given                                       , got
ma[dk]e room                                  free space
not at hand|to be had                         not available
seen|heard                                    observed, detected, received
anew                                          again
beside                                        next to, compared with
nobody|whoever|somebody|anybody               no one, a user
sought                                        searched, reconnects
for ever                                      indefinitely
lesser                                        lower-scoring
least,best,most                               MIN,OPT,MAX
honest\w*                                     limitations
pictures?                                     frame, image
(?:meters?|frames?|images?|pixels?|objects?|m|ms|times) an? (?:second|frame|image|object|track)    per
\w*metres?                                    meter
\w*colour\w*                                  color
licences?|licenced                            license
\w*(?:behaviour|neighbour|favour|honour)\w*   -or
(?:re)?cent(?:re|res|red|ring)                center
grey|catalogues?|artefacts?                   gray, catalog, artifact
(?:un)?(?:label|cancel|model|travel)l(?:ed|ing)    one l
(?:recogn|normal|initial|serial|summar|synchron|quant|general|organ|optim|minim|maxim)is(?:e[ds]?|ing)   -ize
(?:visual|stabil|special|real|local|util|standard|vector|linear|regular)is(?:e[ds]?|ing|ations?)         -ize
analys(?:e[ds]?|ing)|learnt|spoilt            analyze, learned, corrupted
a (?:image|object|error|engine|id|index|offset|estimate|agreement|interval|observation|abstention)       an
an (?:frame|calibration|smoothed|track|verdict|label|reason|speed|stream|video|camera|model|policy)      a
calibrationed|the the|of of|in in|is is|frame frame|a a|to to     one word once
"""
"""A pattern of whole words, then the standard words that replace it."""

PATTERNS = [re.split(r" {2,}", line)[0] for line in STANDARD.strip().splitlines()]
WORDS = re.compile(rf"(?<![\w./-])(?:{'|'.join(PATTERNS)})(?![\w/-])", re.IGNORECASE)
CODE = re.compile(r"```.*?```|``[^`]*``|`[^`\n]*`|\]\([^)]*\)|https?://\S+", re.DOTALL)


def found_in(text: str) -> list[str]:
    """The words of the table that `text` holds; code in backquotes and fences is left out."""
    return [match[0] for match in WORDS.finditer(CODE.sub(" ", text))]


def helps() -> Iterator[tuple[str, str]]:
    """Every help text of every command, as (where, text)."""
    roots = {"edgevid": cli.app()}
    for name in ("demo", "build"):
        made = typer.Typer()
        made.command()(importlib.import_module(f"edgevid.cli.{name}").command)
        roots[f"edgevid-{name}"] = made
    queue: list[tuple[str, Any]] = [(name, typer.main.get_command(app)) for name, app in roots.items()]
    while queue:
        name, command = queue.pop()
        yield name, command.help or ""
        for param in command.params:
            yield f"{name} {param.opts[-1]}", getattr(param, "help", None) or ""
        queue.extend((f"{name} {key}", sub) for key, sub in getattr(command, "commands", {}).items())


def sentences(path: Path) -> Iterator[tuple[str, str]]:
    """The string literals of two words or more in a module, docstrings too, as (where, text)."""
    name = path.relative_to(ROOT).as_posix()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value.strip():
            yield f"{name}:{node.lineno}", node.value


def pages() -> list[Path]:
    """README, docs, cards, and the pages and scripts of the viewer."""
    documents = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("engines/*/CARD.md")]
    static = PACKAGE / "viewer" / "static"
    return sorted([*documents, *static.glob("*.html"), *static.glob("*.js")])


def lines(page: Path) -> Iterator[tuple[str, str]]:
    """The lines of a page without code and generated tables; the comments and texts of a script."""
    text = re.sub(r"```.*?```|<!-- table.*?<!-- end -->", blank, page.read_text(), flags=re.DOTALL)
    for number, line in enumerate(text.splitlines(), 1):
        parts = [line]
        if page.suffix == ".js":
            parts = [part for part in re.findall(r'"[^"]*"|`[^`]*`|//.*|^ *\*.*', line) if " " in part]
        for part in parts:
            yield f"{page.relative_to(ROOT).as_posix()}:{number}", part.strip("`")


def blank(match: re.Match[str]) -> str:
    return "\n" * match[0].count("\n")


def all_texts() -> Iterator[tuple[str, str]]:
    yield from helps()
    for path in MODULES:
        yield from sentences(path)
    for page in pages():
        yield from lines(page)


def offenders(texts: Iterator[tuple[str, str]]) -> list[str]:
    return [f"{where}: {', '.join(words)}" for where, text in texts if (words := found_in(text))]


def test_help_texts_use_the_words_of_the_field() -> None:
    assert not offenders(helps())


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_messages_and_docstrings_use_the_words_of_the_field(path: Path) -> None:
    assert not offenders(sentences(path))


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.relative_to(ROOT).as_posix())
def test_pages_use_the_words_of_the_field(page: Path) -> None:
    assert not offenders(lines(page))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a speed that was settled, said `said` and 3 pictures a second", ["settled", "said", "pictures"]),
        ("an image of frames per second, expected 3, got 4", []),
    ],
)
def test_the_table_finds_its_words(text: str, words: list[str]) -> None:
    assert found_in(text) == words
