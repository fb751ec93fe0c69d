"""`edgevid doctor`: what is installed, what is in use, and the command that closes each gap."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import sys
from ctypes import CDLL
from typing import NamedTuple

from rich.console import Console
from rich.markup import escape
from rich.table import Table


class Finding(NamedTuple):
    """One line of the report."""

    what: str
    state: str
    good: bool | None
    """None: neither good nor bad, an extra that is not installed."""
    remedy: str


EXTRAS = {
    "tensorrt": ("tensorrt", "TensorRT engines"),
    "pycuda": ("tensorrt", "CUDA memory and streams"),
    "tensorrt_rtx": ("tensorrt-rtx", "engines for RTX cards"),
    "onnx": ("build", "quantising and building"),
    "ultralytics": ("export", "exporting .pt weights"),
    "torch": ("train", "training"),
    "kornia": ("train", "augmentation and robustness"),
    "matplotlib": ("plot", "plots"),
    "starlette": ("viewer", "the browser viewer"),
}
"""Import name: the extra that brings it, and what it is for."""


def _version(module: str) -> str | None:
    if importlib.util.find_spec(module) is None:
        return None
    try:
        return importlib.metadata.version(module.replace("_", "-"))
    except importlib.metadata.PackageNotFoundError:
        return "installed"


def _kernels() -> Finding:
    from edgevid import kernels

    native = kernels.BACKEND == "native"
    chosen = os.environ.get("EDGEVID_KERNELS", "auto")
    remedy = "" if native or chosen == "numpy" else kernels.BUILD_COMMAND
    return Finding("kernels", f"{kernels.BACKEND} (EDGEVID_KERNELS={chosen})", native, remedy)


def _providers() -> Finding:
    import onnxruntime

    names = [name.removesuffix("ExecutionProvider") for name in onnxruntime.get_available_providers()]
    return Finding("ONNX Runtime", f"{onnxruntime.__version__}: {', '.join(names)}", True, "")


def _driver() -> Finding:
    try:
        CDLL("libcuda.so.1")
    except OSError:
        return Finding("NVIDIA driver", "none found: models run on the CPU", None, "")
    return Finding("NVIDIA driver", "found", True, "")


def findings() -> list[Finding]:
    """Everything that the report tells, in order."""
    from edgevid import __version__

    found = [
        Finding("edgevid", f"{__version__} on Python {platform.python_version()}", True, ""),
        Finding("machine", f"{platform.machine()}, {os.cpu_count()} cores", True, ""),
        _kernels(),
        _providers(),
        _driver(),
    ]
    for module, (extra, purpose) in EXTRAS.items():
        version = _version(module)
        remedy = "" if version else f"pip install 'edgevid[{extra}]'"
        found.append(Finding(module, version or f"not installed ({purpose})", bool(version) or None, remedy))
    return found


def command() -> None:
    """Tell what is installed and in use, and the command that closes each gap."""
    table = Table(box=None, pad_edge=False)
    for heading in ("", "what", "state", "to change it"):
        table.add_column(heading)
    marks = {True: "[green]✓[/]", False: "[red]✗[/]", None: "[dim]–[/]"}
    report = findings()
    for what, state, good, remedy in report:
        table.add_row(marks[good], what, escape(state), f"[cyan]{escape(remedy)}[/]")
    Console().print(table)
    if any(finding.good is False for finding in report):
        sys.exit(1)
