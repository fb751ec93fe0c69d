"""`edgevid doctor`: what is installed and in use, and whether a site file and a camera are fit to be run."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import sys
from ctypes import CDLL
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from edgevid.site.findings import Finding

EXTRAS = {
    "tensorrt": ("tensorrt", "TensorRT engines"),
    "pycuda": ("pycuda", "CUDA by pycuda; cuda-bindings does the same"),
    "tensorrt_rtx": ("tensorrt-rtx", "engines for RTX cards"),
    "onnx": ("build", "quantizing and building"),
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
    from edgevid.runtime.onnxruntime.session import providers, version

    return Finding("ONNX Runtime", f"{version()}: {', '.join(providers())}", True, "")


def _driver() -> Finding:
    try:
        CDLL("libcuda.so.1")
    except OSError:
        return Finding("NVIDIA driver", "none found: models run on the CPU", None, "")
    return Finding("NVIDIA driver", "found", True, "")


def findings() -> list[Finding]:
    """Everything that the report tells, in order."""
    from edgevid._version import __version__

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


SiteFile = Annotated[Path | None, typer.Option(help="Check this site file, every part of it.")]
Camera = Annotated[str, typer.Option(help="Check this camera: rtsp://..., http://..., a number.")]
Seconds = Annotated[float, typer.Option(help="How long a camera is watched.", min=1)]


def command(site: SiteFile = None, camera: Camera = "", seconds: Seconds = 5.0) -> None:
    """Tell what is installed and in use, or what is wrong with a site or a camera, and what to do.

    The exit status is 1 where something must be put right.
    """
    console = Console(highlight=False)
    if site is None and not camera:
        report = findings()
        _print_wide(console, report)
    else:
        from edgevid.site.check import check_site
        from edgevid.site.check_camera import check_camera

        if site is not None:
            report = check_site(site, source=camera, watch_s=seconds)
        else:
            report, _ = check_camera(camera, watch_s=seconds)
        _print_steps(console, report)
    if any(finding.good is False for finding in report):
        sys.exit(1)


MARKS = {True: "[green]✓[/]", False: "[red]✗[/]", None: "[dim]–[/]"}


def _print_wide(console: Console, report: list[Finding]) -> None:
    table = Table(box=None, pad_edge=False)
    for heading in ("", "what", "state", "to change it"):
        table.add_column(heading)
    for what, state, good, remedy in report:
        table.add_row(MARKS[good], what, escape(state), f"[cyan]{escape(remedy)}[/]")
    console.print(table)


def _print_steps(console: Console, report: list[Finding]) -> None:
    """Findings one under the other, then what is to be done, in order."""
    table = Table(box=None, show_header=False, pad_edge=False)
    for what, state, good, _ in report:
        table.add_row(MARKS[good], what, escape(state))
    console.print(table)
    must = [f for f in report if f.good is False]
    may = [f for f in report if f.good is None and f.remedy]
    for title, chosen in (("to put right", must), ("to think about", may)):
        if chosen:
            console.print(f"\n[bold]{title}[/]")
            for number, finding in enumerate(chosen, 1):
                words = f"  {number}. {escape(finding.what)}: [cyan]{escape(finding.remedy)}[/]"
                console.print(words, soft_wrap=True)
    if not must:
        console.print("\n[green]fit to run[/]")
