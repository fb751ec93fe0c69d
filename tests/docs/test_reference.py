"""The reference is complete: every public name is on a page and documented, and arrays have shapes and units.

The rule of arrays: a public function, method or field whose types name arrays states a shape, such as (N, 4), and what
the numbers are: a unit, a color order, ids, scores. Stated in another place counts where that is named in backquotes
("as `Overlay.draw`"). The fields of a table state theirs, so that its constructor need not.
"""

from __future__ import annotations

import ast
import importlib.util
import re
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
_spec = importlib.util.spec_from_file_location("reference_hook", ROOT / "docs" / "hooks" / "reference.py")
assert _spec is not None
assert _spec.loader is not None
reference = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(reference)
PAGES = [*reference.ROOMS, *reference.MORE]

ARRAY = re.compile(r"\b(?:Array|F32|F64|I32|I64|U8|NDArray|ndarray)\b")
SIZE = r"(?:-?\d+|[A-Za-z]+|\.\.\.|len\(\w+\))(?: ?[*+/-] ?\w+)*"
SHAPE = re.compile(rf"(?<![\w`])\((?:{SIZE},(?: ?{SIZE},?)*)?\)")
KIND = re.compile(
    r"pixels?|met(?:er|re)s?|seconds?|m/s|km/h|degrees?|radians?|RGB|BGR|luma|gray|ids?\b|labels?|scores?|share|index|"
    r"indices|object|rows?|probabilit|0 to 1|0\.\.1|homograph|logits?|p-value|IoU|bool|mask|where|1 if|counts?|"
    r"features?|distances?|matri|uint8|float|elements?|values|tensor|standard|class|largest|xyxy|x1|weights?|reason|unique|box|"
    r"points?|medians?|ranges?|sums?|series|clips?|logits",
    re.IGNORECASE,
)
ELSEWHERE = re.compile(r"\b(?:as|of|that of|like|see) `[\w.]+`", re.IGNORECASE)


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def file_of(module: str) -> Path:
    place = ROOT.joinpath(*module.split("."))
    return place / "__init__.py" if place.is_dir() else place.with_suffix(".py")


def defined(module: str, name: str) -> tuple[Path, ast.stmt, list[ast.stmt]] | None:
    """Where a name is defined: the file, the statement and those around it; imports are followed."""
    path = file_of(module)
    body = list(tree(path).body)
    for block in [node for node in body if isinstance(node, (ast.If, ast.Try))]:
        body += block.body
    for node in body:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)) and node.name == name:
            return path, node, body
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if any(isinstance(t, ast.Name) and t.id == name for t in targets):
            return path, node, body
    for node in [node for node in body if isinstance(node, ast.ImportFrom)]:
        for alias in node.names:
            if (alias.asname or alias.name) == name:
                return defined(str(node.module), alias.name)
            if alias.name == "*" and (found := defined(str(node.module), name)):
                return found
    return None


@cache
def comments(path: Path) -> dict[int, str]:
    """The comments of a file that explain something, by line."""
    with path.open("rb") as file:
        found = [t for t in tokenize.tokenize(file.readline) if t.type == tokenize.COMMENT]
    texts = {token.start[0]: token.string.lstrip("#: ") for token in found}
    return {line: text for line, text in texts.items() if not text.startswith(("noqa", "fmt:", "type:"))}


def documentation(path: Path, node: ast.stmt, body: list[ast.stmt]) -> str:
    """The docstring of a class or function; of a name or field, the text below it or the comment of its lines."""
    if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
        return ast.get_docstring(node) or ""
    after = body[body.index(node) + 1 :][:1]
    if after and isinstance(after[0], ast.Expr) and isinstance(after[0].value, ast.Constant):
        return str(after[0].value.value)
    lines = range(node.lineno, (node.end_lineno or node.lineno) + 1)
    return " ".join(comments(path)[line] for line in lines if line in comments(path))


def public() -> Iterator[tuple[str, Path, ast.stmt, list[ast.stmt]]]:
    """Every public name once, as (name, file, statement, statements around it)."""
    known: set[tuple[Path, int]] = set()
    for room in PAGES:
        methods = reference.methods(tree(file_of(f"edgevid.{room}")))
        for name in [name for name in reference.names(room) if name not in methods]:
            found = defined(f"edgevid.{room}", name)
            assert found is not None, f"edgevid.{room}.{name} is not defined"
            if (found[0], found[1].lineno) not in known:
                known.add((found[0], found[1].lineno))
                yield f"edgevid.{room}.{name}", *found


def is_protocol(node: ast.stmt) -> bool:
    return isinstance(node, ast.ClassDef) and any("Protocol" in ast.unparse(base) for base in node.bases)


def parts() -> Iterator[tuple[str, str, str]]:
    """Public functions, and the methods and fields of public classes, as (name, types, documentation)."""
    for name, path, node, body in public():
        if isinstance(node, ast.FunctionDef):
            yield name, _types(node), documentation(path, node, body)
        if not isinstance(node, ast.ClassDef):
            continue
        for part in node.body:
            if isinstance(part, ast.FunctionDef) and (
                not part.name.startswith("_") or part.name in ("__init__", "__call__")
            ):
                lead = documentation(path, node, body) if part.name == "__init__" or is_protocol(node) else ""
                if not any(ast.unparse(mark) == "overload" for mark in part.decorator_list):
                    yield f"{name}.{part.name}", _types(part), f"{lead} {documentation(path, part, node.body)}".strip()
            if isinstance(part, ast.AnnAssign) and not ast.unparse(part.target).startswith("_"):
                text = documentation(path, part, node.body)
                yield (
                    f"{name}.{ast.unparse(part.target)}",
                    ast.unparse(part.annotation),
                    text or ast.unparse(part.target),
                )


def _types(node: ast.FunctionDef) -> str:
    taken = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    return " ".join(ast.unparse(one) for one in [*(a.annotation for a in taken), node.returns] if one is not None)


def test_every_room_has_a_page() -> None:
    lists = {p.parent for p in (ROOT / "edgevid").rglob("__init__.py") if "\n__all__" in p.read_text()}
    rooms = {".".join(folder.relative_to(ROOT / "edgevid").parts) for folder in lists}
    assert rooms - {"", "kernels.reference"} <= set(PAGES)  # edgevid's own names are the rooms'


def test_every_public_name_is_documented() -> None:
    lacking = [name for name, path, node, body in public() if not documentation(path, node, body)]
    assert not lacking


def test_every_public_method_is_documented() -> None:
    assert not [name for name, _, text in parts() if not text and not name.endswith(".__init__")]


def test_arrays_have_shapes_and_units() -> None:
    found = [(name, text) for name, types, text in parts() if ARRAY.search(types)]
    assert len(found) > 100
    short = [(name, text) for name, text in found if not ELSEWHERE.search(text)]
    assert not [name for name, text in short if not SHAPE.search(text)], "a shape, such as (N, 4)"
    assert not [f"{name}: {text}" for name, text in short if not KIND.search(text)], "what the numbers are"


@pytest.mark.parametrize(
    ("text", "passes"),
    [("(N, 4) xyxy in pixels", True), ("() seconds", True), ("The boxes in pixels", False), ("(N, 4) numbers", False)],
)
def test_the_rule_finds_what_it_is_for(text: str, passes: bool) -> None:
    assert bool(SHAPE.search(text) and KIND.search(text)) is passes
