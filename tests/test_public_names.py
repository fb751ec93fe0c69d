"""The public names: sorted, loadable, equal for a type checker and at run time, and all that the docs use."""

from __future__ import annotations

import ast
import doctest
import functools
import importlib
import pkgutil
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import edgevid
from edgevid.errors import MissingExtraError

ROOT = Path(__file__).resolve().parents[1]
PROMISED = (
    "CameraCalibration",
    "DriftMonitor",
    "Event",
    "Policy",
    "VideoWriter",
    "from_supervision",
    "make_calibration",
    "read_calibration",
    "read_policy",
    "to_supervision",
)
"""Names that must be importable from edgevid itself, whatever the docs happen to show."""


def typed() -> dict[str, str]:
    """The names that a type checker sees, and their rooms."""
    tree = ast.parse(Path(edgevid.__file__).with_suffix(".pyi").read_text())
    lines = [n for n in tree.body if isinstance(n, ast.ImportFrom) and n.module != "edgevid._version"]
    assert ast.literal_eval(next(n for n in tree.body if isinstance(n, ast.Assign)).value) == edgevid.__all__
    return {alias.name: str(n.module).removeprefix("edgevid.") for n in lines for alias in n.names}


def test_run_time_and_type_checker_see_the_same_names() -> None:
    assert typed() == edgevid._HOMES
    assert edgevid.__all__ == sorted([*edgevid._HOMES, "__version__"])


@pytest.mark.parametrize("name", sorted({*edgevid.__all__, *PROMISED}))
def test_every_public_name_loads(name: str) -> None:
    assert getattr(edgevid, name) is not None
    assert name in dir(edgevid)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="Trackr"):
        edgevid.Trackr  # noqa: B018


def test_import_is_quick() -> None:
    """Guards against an accidental heavy import; it takes about 2 ms."""
    code = "import time; t = time.perf_counter(); import edgevid; print(time.perf_counter() - t)"
    runs = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True) for _ in range(3)]
    assert min(float(run.stdout) for run in runs) < 0.5


@functools.cache
def rooms() -> list[str]:
    """edgevid, its rooms, and the rooms within rooms: what a user may import from."""
    found = pkgutil.walk_packages(edgevid.__path__, "edgevid.", onerror=lambda _: None)
    return ["edgevid", *(m.name for m in found if m.ispkg or m.name.count(".") == 1)]


def examples() -> Iterator[tuple[str, str]]:
    """Every Python program that README, docs, demos and engine cards show, as (where, source)."""
    for page in sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *ROOT.glob("engines/*/CARD.md")]):
        for number, source in enumerate(re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL), 1):
            yield f"{page.name}:{number}", source
    for demo in sorted((ROOT / "demos").glob("*.py")):
        yield demo.name, demo.read_text()
    yield "edgevid.__doc__", re.sub(r"(?m)^(?!    ).*$", "", edgevid.__doc__ or "").replace("\n    ", "\n")


@pytest.mark.parametrize(("where", "source"), list(examples()), ids=[where for where, _ in examples()])
def test_what_the_docs_import_is_importable_from_a_room(where: str, source: str) -> None:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and str(node.module).split(".")[0] == "edgevid":
            assert node.module in rooms(), f"{where}: export it from a room, not from {node.module}"
            module = importlib.import_module(node.module)
            try:
                lacking = [alias.name for alias in node.names if not hasattr(module, alias.name)]
            except MissingExtraError as error:
                pytest.skip(str(error))
            assert not lacking, f"{where}: not in {node.module}"


@pytest.mark.parametrize("name", rooms())
def test_a_room_lists_its_names_sorted(name: str) -> None:
    names = getattr(importlib.import_module(name), "__all__", [])
    assert list(names) == sorted(names, key=lambda n: (not n.isupper(), n.lstrip("_")[0].islower(), n))


def modules() -> list[str]:
    found = pkgutil.walk_packages(edgevid.__path__, "edgevid.", onerror=lambda _: None)
    return sorted(m.name for m in found if not m.name.startswith(("edgevid.learn", "edgevid.kernels._native")))


@pytest.mark.parametrize("name", modules())
def test_docstring_examples_are_true(name: str) -> None:
    module = importlib.import_module(name)
    outcome = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert outcome.failed == 0
