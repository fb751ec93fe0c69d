"""The layers of the package, read from its imports: a room imports only rooms before it, without a circle."""

from __future__ import annotations

import ast
import functools
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "edgevid"

ORDER = (
    "_version", "errors", "_opencv", "files", "types", "kernels", "runtime", "models", "video", "synthetic",
    "detect", "track", "actions", "speed", "zones", "abstain", "health", "output", "pipeline", "site", "run",
    "evaluate", "optimize", "learn", "report", "insight", "viewer", "cli", "__init__", "__main__",
)  # fmt: skip
"""Every room and single module of the top level; each imports only what stands before it."""

WALLS: dict[str, tuple[str, ...]] = {
    "onnxruntime": ("runtime/onnxruntime/",),
    "openvino": ("runtime/openvino/",),
    "tritonclient": ("runtime/kserve/",),
    "tensorrt": ("runtime/tensorrt/", "optimize/builder/"),
    "tensorrt_rtx": ("runtime/tensorrt/", "optimize/builder/"),
    "pycuda": ("runtime/cuda/",),
    "cuda": ("runtime/cuda/",),
    "onnx": ("models/", "optimize/", "learn/"),
    "torch": ("learn/", "optimize/export.py"),
    "ultralytics": ("optimize/export.py",),
    "kornia": ("learn/", "evaluate/"),
    "av": ("video/", "output/", "viewer/"),
    "supervision": ("output/",),
    "paho": ("output/",),
    "httpx": ("output/",),
    "redis": ("output/",),
    "confluent_kafka": ("output/",),
    "duckdb": ("report/",),
    "sklearn": ("insight/", "learn/"),
    "pyarrow": ("output/", "insight/"),
    "pg8000": ("insight/",),
    "ray": ("run/",),
    "lap": ("kernels/reference/tracker.py",),
    "cv2": ("_opencv.py",),
    "starlette": ("viewer/",),
    "uvicorn": ("viewer/",),
    "pydantic": ("files/",),
    "pydantic_core": ("files/", "runtime/recipe.py"),
    "tomlkit": ("files/",),
    "typer": ("cli/",),
    "rich": ("cli/",),
}
"""Third-party packages, and where alone they may be imported (a name in `require` is no import)."""

MODULES = sorted(PACKAGE.rglob("*.py"))


def inside(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def dotted(path: Path) -> str:
    """`edgevid.video.open` of a file."""
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


KNOWN = {dotted(path): path for path in MODULES}


def room_of(module: str) -> str:
    """The room, or the single module, that a dotted name of edgevid lies in."""
    pieces = module.split(".")
    return pieces[1] if len(pieces) > 1 else "__init__"


@functools.cache
def imports(path: Path) -> list[str]:
    """Every module that a file imports, late ones too; `from a import b` is a.b where that is a module."""
    found: list[str] = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{inside(path)}: relative imports hide where a thing comes from"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            found += [name if name in KNOWN else str(node.module) for name in names]
    return found


@pytest.mark.parametrize("path", MODULES, ids=inside)
def test_a_room_imports_only_rooms_before_it(path: Path) -> None:
    room = room_of(dotted(path))
    assert room in ORDER, f"{room} has no place in ORDER: add it"
    for name in imports(path):
        if name.split(".")[0] == "edgevid" and (other := room_of(name)) != room:
            assert ORDER.index(other) < ORDER.index(room), f"{inside(path)} imports {name}"


@pytest.mark.parametrize("path", MODULES, ids=inside)
def test_third_party_packages_stay_behind_their_walls(path: Path) -> None:
    for name in imports(path):
        allowed = WALLS.get(name.split(".")[0])
        assert allowed is None or inside(path).startswith(allowed), f"{inside(path)} imports {name}"


def circle(graph: dict[str, list[str]]) -> list[str]:
    """The modules of one circle of imports, or none."""
    done: set[str] = set()

    def visit(module: str, way: list[str]) -> list[str]:
        if module in way:
            return way[way.index(module) :]
        if module in done:
            return []
        done.add(module)
        return next((c for other in graph[module] if (c := visit(other, [*way, module]))), [])

    return next((c for module in graph if (c := visit(module, []))), [])


def test_no_circle_of_imports_late_ones_counted() -> None:
    """An import inside a function counts like one on top: it must not hide a circle.

    Importing a module runs the `__init__` of each folder around it; those around the importer run already.
    """
    graph: dict[str, list[str]] = {}
    for name, path in KNOWN.items():
        found = [n for n in imports(path) if n in KNOWN and n != name]
        folders = {n.rsplit(".", k)[0] for n in found for k in range(1, n.count("."))}
        graph[name] = found + sorted(f for f in folders if not f"{name}.".startswith(f"{f}."))
    del graph["edgevid"]
    graph = {name: [n for n in others if n in graph] for name, others in graph.items()}
    assert circle(graph) == []
    assert circle({"a": ["b"], "b": ["c"], "c": ["b"]}) == ["b", "c"]  # the search itself finds one


def test_inner_modules_do_not_import_their_own_room() -> None:
    for path in MODULES:
        name = dotted(path)
        room = f"edgevid.{room_of(name)}"
        if path.name != "__init__.py" and name.count(".") > 1:
            assert room not in imports(path), f"{inside(path)} imports its room {room}: name the module"


def test_the_top_level_is_small() -> None:
    loose = [path.name for path in PACKAGE.glob("*.py")]
    assert len(loose) <= 8, loose


@pytest.mark.parametrize("path", MODULES, ids=inside)
def test_files_and_functions_are_short(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= 400, f"{inside(path)} has more than 400 lines"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            assert node.end_lineno is not None
            lines = node.end_lineno - node.lineno + 1
            assert lines <= 60, f"{inside(path)}: {node.name} has {lines} lines"


def test_importing_edgevid_pulls_in_no_extra() -> None:
    heavy = [
        "torch", "kornia", "ultralytics", "onnx", "tensorrt", "tensorrt_rtx", "pycuda", "cuda",
        "matplotlib", "av", "typer", "onnxruntime", "cv2", "shapely", "pydantic", "tomlkit", "lap",
        "numpy", "orjson",
    ]  # fmt: skip
    code = (
        f"import sys, edgevid; print([m for m in {heavy!r} if m in sys.modules] "
        "+ [m for m in sys.modules if m.startswith('edgevid.') and m != 'edgevid._version'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
