"""The classes and members of the real TensorRT bindings, read from their wheels into tensorrt_names.json.

    python tests/tensorrt_names.py WHEEL...        (Linux, with gcc and pip)

The bindings are wheels of their own (tensorrt-cu12-bindings, tensorrt-cu13-bindings), the libraries
under them come from elsewhere. Nine functions that return nothing stand in for those libraries while
the bindings are imported: that is enough to list their names, and nothing of it is ever run.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

TABLE = Path(__file__).with_name("tensorrt_names.json")
_LIBRARIES = ("nvinfer", "nvinfer_plugin", "nvonnxparser")
_FUNCTIONS = (
    *("createInferBuilder_INTERNAL", "createInferRefitter_INTERNAL", "createInferRuntime_INTERNAL"),
    *("createNvOnnxParserRefitter_INTERNAL", "createNvOnnxParser_INTERNAL", "getBuilderPluginRegistry"),
    *("getNvOnnxParserVersion", "getPluginRegistry", "initLibNvInferPlugins"),
)
_LIST = """
import importlib, inspect, json, sys
found = importlib.import_module(sys.argv[1])
classes = {n: o for n, o in vars(found).items() if not n.startswith("_") and not inspect.ismodule(o)}
names = lambda o: [m for m in dir(o) if not m.startswith("_")] if inspect.isclass(o) else []
members = {n: names(o) for n, o in classes.items()}
print(json.dumps([found.__version__, members]))
"""


def listed(wheel: Path, work: Path) -> tuple[str, dict[str, list[str]]]:
    """Version and members by class of one bindings wheel."""
    folder = work / wheel.stem
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    package = next(p.parent.name for p in folder.glob("tensorrt*/__init__.py"))
    environment = {**os.environ, "PYTHONPATH": str(folder), "LD_LIBRARY_PATH": str(work)}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _LIST, package],
        env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    version, members = json.loads(done.stdout)
    return version, members


def stand_ins(work: Path) -> None:
    """Empty libraries under the names that the bindings of TensorRT 10 and 11 ask for."""
    source = work / "empty.c"
    source.write_text("".join(f"void *{name}(void) {{ return 0; }}\n" for name in _FUNCTIONS))
    for name in _LIBRARIES:
        for major in (10, 11):
            target = work / f"lib{name}.so.{major}"
            soname = f"-Wl,-soname,{target.name}"
            subprocess.run(["gcc", "-shared", "-fPIC", str(source), soname, "-o", str(target)], check=True)


def main(wheels: list[Path]) -> None:
    """Writes the table: for each class, its members by the versions that have them ("1101")."""
    with tempfile.TemporaryDirectory() as folder:
        stand_ins(Path(folder))
        found = [listed(wheel, Path(folder)) for wheel in wheels]
    classes: dict[str, dict[str, str]] = {}
    for name in sorted({c for _, members in found for c in members}):
        everywhere = sorted({m for _, members in found for m in members.get(name, ())})
        groups: dict[str, list[str]] = {"".join("01"[name in members] for _, members in found): [""]}
        for member in everywhere:
            groups.setdefault("".join("01"[member in m.get(name, ())] for _, m in found), []).append(member)
        classes[name] = {mask: " ".join(members) for mask, members in groups.items()}
    table = {"versions": [version for version, _ in found], "classes": classes}
    TABLE.write_text(json.dumps(table, indent=0) + "\n")


if __name__ == "__main__":
    main([Path(argument) for argument in sys.argv[1:]])
