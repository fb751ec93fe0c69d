"""The types of the native twin (_native.pyi): as the specification's, and as the compiled module's."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path
from typing import Any

import pytest

import edgevid.kernels
from edgevid.kernels import reference

STUB = Path(edgevid.kernels.__file__).parent / "_native.pyi"
Signature = list[tuple[str, bool, Any]]


def stub_definitions() -> dict[str, ast.FunctionDef]:
    """Functions by name, methods as Class.name."""
    found: dict[str, ast.FunctionDef] = {}
    for node in ast.parse(STUB.read_text()).body:
        if isinstance(node, ast.FunctionDef):
            found[node.name] = node
        elif isinstance(node, ast.ClassDef):
            found |= {f"{node.name}.{f.name}": f for f in node.body if isinstance(f, ast.FunctionDef)}
    return found


def of_stub(node: ast.FunctionDef) -> Signature:
    """(name, whether only by keyword, default) of each argument."""
    named, missing = node.args.args, inspect.Parameter.empty
    defaults = [missing] * (len(named) - len(node.args.defaults)) + [ast.literal_eval(d) for d in node.args.defaults]
    only = [
        (a.arg, True, missing if d is None else ast.literal_eval(d))
        for a, d in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)
    ]
    return [(a.arg, False, d) for a, d in zip(named, defaults, strict=True)] + only


def of_python(function: Any) -> Signature:
    parameters = inspect.signature(function).parameters.values()
    return [(p.name, p.kind is p.KEYWORD_ONLY, p.default) for p in parameters]


def test_the_twins_have_the_same_signatures() -> None:
    stub = stub_definitions()
    assert {name.split(".")[0] for name in stub} == set(reference.__all__)
    for name, node in stub.items():
        if any(isinstance(d, ast.Name) and d.id == "property" for d in node.decorator_list):
            continue
        owner, _, method = name.partition(".")
        twin = getattr(reference, owner)
        assert of_stub(node) == of_python(getattr(twin, method) if method else twin), name


def test_the_stub_is_current(native: Any) -> None:
    pytest.importorskip("nanobind", "3.0", reason="nanobind 2 writes the types in another form")
    stubgen = pytest.importorskip("nanobind.stubgen")
    made = stubgen.StubGen(native)
    made.put(native)
    assert ast.dump(ast.parse(made.get())) == ast.dump(ast.parse(STUB.read_text())), "run `make stubs`"
