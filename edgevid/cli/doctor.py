"""`edgevid doctor`: what is installed and in use, and whether a site file and a camera are ready to run."""

import os
import platform
import sys
from ctypes import CDLL
from pathlib import Path
from typing import Annotated

from rich.console import Console
from rich.markup import escape
from typer import Option

from edgevid.cli.console import results
from edgevid.cli.tables import print_rows
from edgevid.errors import module_version
from edgevid.site.check_camera import Finding

EXTRAS = {
    "tensorrt": ("tensorrt", "TensorRT engines"),
    "openvino": ("openvino", "often faster than ONNX Runtime on x86 CPUs"),
    "tritonclient": ("triton", "models on a Triton or KServe server"),
    "pycuda": ("pycuda", "CUDA by pycuda; cuda-bindings does the same"),
    "tensorrt_rtx": ("tensorrt-rtx", "engines for RTX cards"),
    "onnx": ("build", "quantizing and building"),
    "ultralytics": ("export", "exporting .pt weights"),
    "torch": ("train", "training"),
    "kornia": ("train", "augmentation and robustness"),
    "matplotlib": ("plot", "plots"),
    "starlette": ("viewer", "the browser viewer"),
    "cv2": ("opencv", "drawing, viewer, camera health, training of detectors"),
}
"""Import name: the extra that brings it, and what it is for."""


def _runtime() -> Finding:
    from edgevid.runtime.load import count_choices

    measured, faster = count_choices()
    if not module_version("openvino"):
        return Finding("on the CPU", "ONNX Runtime runs all models", True, "")
    text = f"OpenVINO runs {faster} of {measured} models measured here, ONNX Runtime all others"
    return Finding("on the CPU", text, bool(measured) or None, "edgevid bench MODEL --choose --data VIDEO")


def _driver() -> Finding:
    try:
        CDLL("libcuda.so.1")
    except OSError:
        return Finding("NVIDIA driver", "none found: models run on the CPU", None, "")
    text = "found; running on a device is unverified so far: `edgevid build --data` verifies each engine"
    return Finding("NVIDIA driver", text, True, "")


def findings() -> list[Finding]:
    """The report on the installation, in order."""
    from edgevid import kernels
    from edgevid._version import __version__
    from edgevid.runtime.onnxruntime.session import providers, version

    native, chosen = kernels.BACKEND == "native", os.environ.get("EDGEVID_KERNELS", "auto")
    remedy = "" if native or chosen == "numpy" else kernels.BUILD_COMMAND
    found = [
        Finding("edgevid", f"{__version__} on Python {platform.python_version()}", True, ""),
        Finding("machine", f"{platform.machine()}, {os.cpu_count()} cores", True, ""),
        Finding("kernels", f"{kernels.BACKEND} (EDGEVID_KERNELS={chosen})", native, remedy),
        Finding("ONNX Runtime", f"{version()}: {', '.join(providers())}", True, ""),
        _runtime(),
        _driver(),
    ]
    for module, (extra, purpose) in EXTRAS.items():
        here = module_version(module, unstated="installed")
        remedy = "" if here else f'pip install "edgevid[{extra}]"'
        found.append(Finding(module, here or f"not installed ({purpose})", bool(here) or None, remedy))
    return found


def command(
    site: Annotated[Path | None, Option(help="Check this site file.")] = None,
    source: Annotated[str, Option(help="Check this camera: rtsp://..., http://..., a number.")] = "",
    licenses: Annotated[bool, Option("--licenses", help="Show licenses of packages and bundles.")] = False,
    seconds: Annotated[float, Option(help="How long to read the camera.", min=1)] = 5.0,
) -> None:
    """Show what is installed and in use, or check a site file or a camera, with remedies.

    The exit status is 1 if something must be fixed.
    """
    console = results(soft_wrap=False)
    if licenses:
        _print_licenses(console)
        return
    if site is None and not source:
        report = findings()
        rows = [(MARKS[ok], name, escape(state), f"[cyan]{escape(remedy)}[/]") for name, state, ok, remedy in report]
        heads = ("", "subject", "state", "to change it")
        print_rows(console, heads, rows, text=heads)
    else:
        from edgevid.site.check import check_site
        from edgevid.site.check_camera import check_camera

        if site is not None:
            report = check_site(site, source=source, watch_s=seconds)
        else:
            report = check_camera(source, watch_s=seconds).findings
        _print_steps(console, report)
    if any(finding.ok is False for finding in report):
        sys.exit(1)


def _print_licenses(console: Console) -> None:
    from edgevid.cli.licenses import gpl_parts, installed

    packages = installed()
    rows = []
    for one in packages:
        bundled = "\n".join(f"{', '.join(names)}: {kind}" for kind, names in one.bundled.items())
        rows.append((one.name, one.version, escape(one.license), escape(bundled)))
    heads = ("package", "version", "license", "bundled in its wheel")
    print_rows(console, heads, rows, text=heads)
    console.print("\nedgevid itself: Apache-2.0; `edgevid models list` shows the licenses of the models.")
    parts_of = gpl_parts(packages).items()
    gpl = [name if parts == [name] else f"{', '.join(parts)} (in {name})" for name, parts in parts_of]
    remedy = " LICENSES.md tells how to do without." if gpl else ""
    console.print(f"GPL or AGPL code installed: {'; '.join(gpl) or 'none'}.{remedy}")


MARKS = {True: "[green]✓[/]", False: "[red]✗[/]", None: "[dim]–[/]"}


def _print_steps(console: Console, report: list[Finding]) -> None:
    """The findings, then what to do, in order."""
    rows = [(MARKS[ok], subject, escape(state)) for subject, state, ok, _ in report]
    print_rows(console, ("", "subject", "state"), rows, text=("subject", "state"))
    must = [f for f in report if f.ok is False and f.remedy]
    may = [f for f in report if f.ok is None and f.remedy]
    for title, chosen in (("to fix", must), ("to consider", may)):
        if chosen:
            console.print(f"\n[bold]{title}[/]")
            for number, finding in enumerate(chosen, 1):
                line = f"  {number}. {escape(finding.subject)}: [cyan]{escape(finding.remedy)}[/]"
                console.print(line, soft_wrap=True)
    if not must:
        console.print("\n[green]ready to run[/]")
