"""The layers of the package, read from its imports: a module imports only from lower rows."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "edgevid"

ROWS: dict[str, float] = {
    "errors": -2, "types_table": -1, "types": 0,
    "kernels": 1,
    "imaging": 2, "runtime": 2, "video": 2, "synthetic": 2,
    "detect": 3, "track": 3, "clips": 3, "actions": 3, "ground": 3, "abstain": 3,
    "overlay": 3.5, "health": 3.5,
    "zones": 3, "records": 4, "clips_spec": 2,  # the description is read by clips and by actions
    "keep": 4,
    "pipeline": 4,
    "site": 5, "tools": 5, "learn": 5,
    "cli": 6, "viewer": 5.5,
}  # fmt: skip

WALLS: dict[str, tuple[str, ...]] = {
    "onnxruntime": ("runtime/ort.py", "tools/", "cli/doctor.py"),
    "tensorrt": ("runtime/trt.py", "tools/build"),
    "tensorrt_rtx": ("runtime/trt.py", "tools/build"),
    "pycuda": ("runtime/cuda",),
    "cuda": ("runtime/cuda", "tools/build_kernels.py"),
    "onnx": ("tools/", "learn/"),
    "torch": ("learn/", "tools/export.py"),
    "kornia": ("learn/",),
    "ultralytics": ("tools/export.py",),
    "av": ("video",),
}
"""Third-party packages, and where alone they may be imported."""


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def row_of(part: str) -> float:
    return ROWS[part] if part in ROWS else ROWS[family(part)]


def part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def family(part: str) -> str:
    """Siblings of one idea (video, video_live) may import each other."""
    return part.split("_")[0]


def imports(path: Path) -> list[str]:
    found: list[str] = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            module = node.module
            found += [f"{module}.{a.name}" for a in node.names] if module == "edgevid" else [module]
    return found


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_a_module_imports_only_from_lower_rows(path: Path) -> None:
    part = part_of(path)
    if part == "__init__":
        return
    assert part in ROWS or family(part) in ROWS, f"{part} has no row: add it to ROWS"
    for name in imports(path):
        pieces = name.split(".")
        if pieces[0] != "edgevid" or len(pieces) == 1 or pieces[1] in (part, "__version__"):
            continue
        other = pieces[1]
        if family(other) == family(part):
            continue
        assert row_of(other) < row_of(part), f"{path.name} (row {row_of(part)}) imports {name}"


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_third_party_packages_stay_behind_their_walls(path: Path) -> None:
    inside = str(path.relative_to(PACKAGE))
    for name in imports(path):
        allowed = WALLS.get(name.split(".")[0])
        assert allowed is None or inside.startswith(allowed), f"{inside} imports {name}"


def test_importing_edgevid_pulls_in_no_extra() -> None:
    heavy = [
        "torch",
        "kornia",
        "ultralytics",
        "onnx",
        "tensorrt",
        "tensorrt_rtx",
        "pycuda",
        "cuda",
        "matplotlib",
        "av",
        "typer",
    ]
    code = f"import sys, edgevid; print([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
