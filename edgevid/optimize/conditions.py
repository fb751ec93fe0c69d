"""How speed is measured: processor, clocks, device, load, versions; and models that take turns."""

import datetime
import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from edgevid import kernels
from edgevid._version import __version__
from edgevid.runtime.processor import CPU, cpu_info, processor_name, text_of, usable

T = TypeVar("T")
PACKAGES = (
    "onnxruntime", "onnxruntime-gpu", "openvino", "numpy", "tensorrt", "tensorrt-rtx", "pycuda",
    "cuda-bindings",
)  # fmt: skip


def conditions() -> dict[str, Any]:
    """The state of the machine before a run as plain values; what it does not report is left out."""
    cores, governors = len(usable()), CPU.glob("cpu[0-9]*/cpufreq/scaling_governor")
    heat = map(text_of, Path("/sys/class/thermal").glob("thermal_zone*/temp"))
    degrees = max((int(t) / 1000 for t in heat if t.isdigit() and 0 < int(t) < 150_000), default=0)
    found: dict[str, Any] = {
        "processor": processor_name(),
        "machine": f"{platform.machine()}, {platform.system()} {platform.release()}",
        "cores": str(cores) if cores == os.cpu_count() else f"{cores} of {os.cpu_count()} usable",
        "governor": ", ".join(sorted({*map(text_of, governors)} - {""})), "clocks": clocks(),
        "temperature": f"{degrees:.0f} °C (hottest sensor)" if degrees else "",
        "board": text_of(Path("/proc/device-tree/model")).rstrip("\0"),
        "load": f"{load_average():.2f} before the run", "kernels": kernels.BACKEND, "versions": versions(),
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
        with suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
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
        parts = isinstance(value, dict)
        yield key, ", ".join(f"{name} {what}" for name, what in value.items()) if parts else str(value)


def load_average() -> float:
    """Runnable processes, averaged over the last minute."""
    return os.getloadavg()[0]


def take_turns(
    work: Sequence[Callable[[int], T]], runs: int, warm_up: int = 0, on_turn: Callable[[int], None] | None = None
) -> list[list[T]]:
    """Calls each of `work` in turn, run by run, so that what disturbs one disturbs all. Each call gets the number of
    the run, negative while warming up. Returns one list per callable, of the results of its `runs` counted calls.
    `on_turn` is called with the number after each turn."""
    results: list[list[T]] = [[] for _ in work]
    for number in range(-warm_up, runs):
        for call, kept in zip(work, results, strict=True):
            result = call(number)
            if number >= 0:
                kept.append(result)
        if on_turn:
            on_turn(number)
    return results
