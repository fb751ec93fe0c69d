"""The public names: sorted, loadable, the same to a type checker and at run time."""

from __future__ import annotations

import ast
import doctest
import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import edgevid


def promised() -> list[str]:
    """The names that the TYPE_CHECKING block imports."""
    tree = ast.parse(Path(edgevid.__file__).read_text())
    block = next(
        n for n in tree.body if isinstance(n, ast.If) and getattr(n.test, "id", "") == "TYPE_CHECKING"
    )
    return [alias.name for n in block.body if isinstance(n, ast.ImportFrom) for alias in n.names]


def test_run_time_and_type_checker_see_the_same_names() -> None:
    assert sorted(promised()) == list(edgevid._HOMES) == sorted(edgevid._HOMES)
    assert edgevid.__all__ == sorted([*edgevid._HOMES, "__version__"])


@pytest.mark.parametrize("name", edgevid.__all__)
def test_every_public_name_loads(name: str) -> None:
    assert getattr(edgevid, name) is not None


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="Trackr"):
        edgevid.Trackr  # noqa: B018


def test_import_is_quick() -> None:
    """A promise of the README, and a guard against an accidental heavy import; it takes about 2 ms."""
    code = "import time; t = time.perf_counter(); import edgevid; print(time.perf_counter() - t)"
    runs = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True) for _ in range(3)]
    assert min(float(run.stdout) for run in runs) < 0.5


def modules() -> list[str]:
    found = pkgutil.walk_packages(edgevid.__path__, "edgevid.")
    return sorted(
        m.name for m in found if not m.name.startswith(("edgevid.learn", "edgevid.kernels._native"))
    )


@pytest.mark.parametrize("name", modules())
def test_docstring_examples_are_true(name: str) -> None:
    module = importlib.import_module(name)
    outcome = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert outcome.failed == 0
