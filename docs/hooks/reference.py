"""A reference page for each room of the package, from the `__all__` that lists its public names."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
ROOMS = [
    "pipeline", "types", "video", "detect", "track", "actions", "speed", "zones", "abstain", "health", "output", "site",
    "run", "runtime", "models", "errors",
]  # fmt: skip
"""What programs import, in the order of a frame's journey."""
MORE = [
    "synthetic", "evaluate", "report", "insight", "viewer", "optimize", "optimize.compare", "optimize.quantize",
    "learn.detector", "kernels", "files",
]  # fmt: skip
"""What stands behind the stages and the commands."""


def source(room: str) -> Path:
    place = ROOT.joinpath("edgevid", *room.split("."))
    return place / "__init__.py" if place.is_dir() else place.with_suffix(".py")


def names(room: str) -> list[str]:
    """The public names of a room: `__all__`, else its classes and functions without an underscore."""
    tree = ast.parse(source(room).read_text())
    for node in tree.body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
            if any(isinstance(one, ast.Starred) for one in ast.walk(node.value)):
                return list(importlib.import_module(f"edgevid.{room}").__all__)
            return [str(name) for name in ast.literal_eval(node.value)]
    defined = [n.name for n in tree.body if isinstance(n, (ast.ClassDef, ast.FunctionDef))]
    return [name for name in defined if not name.startswith("_")]


def methods(tree: ast.Module) -> dict[str, str]:
    """Names that stand for a method, `a, b = Class.a, Class.b`: name, and where the method is documented."""
    homes = {a.name: str(n.module) for n in tree.body if isinstance(n, ast.ImportFrom) for a in n.names}
    found = {}
    for node in tree.body:
        if (
            isinstance(node, ast.Assign)
            and isinstance(node.targets[0], ast.Tuple)
            and isinstance(node.value, ast.Tuple)
        ):
            for target, value in zip(node.targets[0].elts, node.value.elts, strict=True):
                if isinstance(value, ast.Attribute) and ast.unparse(value.value) in homes:
                    found[ast.unparse(target)] = f"{homes[ast.unparse(value.value)]}.{ast.unparse(value)}"
    return found


def content(room: str) -> str:
    tree = ast.parse(source(room).read_text())
    parts, known = [f"# edgevid.{room}", (ast.get_docstring(tree) or "").strip()], methods(tree)
    for name in names(room):
        if name in known:
            path = known[name]
            short = ".".join(path.split(".")[-2:])
            parts.append(f"## `{name}`\n\nThe method [`{short}`][{path}] as a function.")
        else:
            parts.append(f"::: edgevid.{room}.{name}")
    return "\n\n".join(parts) + "\n"


def on_config(config: Any) -> Any:
    for entry in config.nav:
        if isinstance(entry, dict) and "Reference" in entry:
            entry["Reference"] += [
                {"Python": [f"reference/{room}.md" for room in ROOMS]},
                {"Python, behind the stages": [f"reference/{room}.md" for room in MORE]},
            ]
    return config


def on_files(files: Any, config: Any) -> Any:
    from mkdocs.structure.files import File  # here, as tests read the lists above without mkdocs

    for room in (*ROOMS, *MORE):
        files.append(File.generated(config, f"reference/{room}.md", content=content(room)))
    return files
