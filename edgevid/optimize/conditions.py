"""The conditions of a measurement: processor, clocks, device, load, versions."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edgevid import kernels
from edgevid._version import __version__
from edgevid.runtime.processor import CPU, cpu_info, processor_name, text_of, usable

PACKAGES = (
    "onnxruntime", "onnxruntime-gpu", "openvino", "numpy", "tensorrt", "tensorrt-rtx", "pycuda",
    "cuda-bindings",
)  # fmt: skip


def conditions() -> dict[str, Any]:
    """The state of the machine before a run as plain values; what it does not report is left out."""
    found: dict[str, Any] = {
        "processor": processor_name(),
        "machine": f"{platform.machine()}, {platform.system()} {platform.release()}", "cores": _cores(),
        "governor": _governor(), "clocks": clocks(), "temperature": _temperature(), "board": _board(),
        "load": _load(), "kernels": kernels.BACKEND, "versions": versions(),
        "date": datetime.datetime.now().astimezone().isoformat(timespec="minutes"),
    }  # fmt: skip
    return {key: value for key, value in found.items() if value}


def clocks() -> str:
    """The processor's clock at this moment, "2595 MHz" or "600 to 1500 MHz" over its cores."""
    now = [int(t) / 1000 for p in sorted(CPU.glob("cpu[0-9]*/cpufreq/scaling_cur_freq")) if (t := text_of(p))]
    if not now:
        now = [float(clock) for clock in cpu_info().get("cpu mhz", [])]
    if not now:
        return ""
    low, high = round(min(now)), round(max(now))
    return f"{low} MHz" if low == high else f"{low} to {high} MHz"


def versions() -> dict[str, str]:
    """edgevid, Python and the packages that run models, as far as they are installed."""
    found = {"edgevid": __version__, "python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:  # noqa: PERF203 (seven tries)
            continue
    return found


def gpu() -> str:
    """The NVIDIA device with its clocks, power limit and driver, as nvidia-smi reports them; else empty."""
    query = "name,driver_version,clocks.sm,clocks.mem,power.limit,temperature.gpu"
    if lines := _tool_output("nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader"):
        return "; ".join(lines)
    return " ".join(_tool_output("nvpmodel", "-q"))  # Jetson: its power mode


def _tool_output(*command: str) -> list[str]:
    """The lines that a tool prints; none where it is missing, fails or hangs."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    return [line.strip() for line in done.stdout.splitlines() if line.strip()]


def as_rows(found: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """The conditions as rows of a table."""
    for key, value in found.items():
        if isinstance(value, dict):
            yield key, ", ".join(f"{name} {what}" for name, what in value.items())
        else:
            yield key, str(value)


def _cores() -> str:
    allowed = len(usable())
    return f"{allowed} of {os.cpu_count()} usable" if allowed != os.cpu_count() else str(allowed)


def _governor() -> str:
    found = {text_of(path) for path in CPU.glob("cpu[0-9]*/cpufreq/scaling_governor")}
    return ", ".join(sorted(found - {""}))


def _temperature() -> str:
    hot = [text_of(path) for path in Path("/sys/class/thermal").glob("thermal_zone*/temp")]
    degrees = [int(t) / 1000 for t in hot if t.lstrip("-").isdigit() and 0 < int(t) < 150_000]
    return f"{max(degrees):.0f} °C (hottest sensor)" if degrees else ""


def _board() -> str:
    return text_of(Path("/proc/device-tree/model")).rstrip("\0")


def load_average() -> float:
    """Runnable processes, averaged over the last minute; 0 where the system does not report it."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0


def _load() -> str:
    return f"{load_average():.2f} before the run" if hasattr(os, "getloadavg") else ""
