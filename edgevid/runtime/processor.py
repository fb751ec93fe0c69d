"""The processors of this machine: how many threads a model gets of them, their name and features. And how speed is
measured on them: clocks, device, load, versions; and models that take turns."""

import datetime
import importlib.metadata
import math
import os
import platform
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from edgevid import kernels
from edgevid._version import __version__

INFO = Path("/proc/cpuinfo")
CPU = Path("/sys/devices/system/cpu")
CGROUP = Path("/sys/fs/cgroup")
PROC = Path("/proc/self/cgroup")


def default_threads() -> int:
    """One thread for each physical core that this process may use, within its CPU quota; at least 1. Two threads on one
    core (SMT) share its vector units and gain nothing for convolutions; threads beyond a container's quota only make
    all of them wait for the next period."""
    quota = cpu_quota()
    cores = physical_cores(usable())
    return max(1, cores if quota is None else min(cores, math.ceil(quota)))


def usable() -> set[int]:
    """Numbers of the logical processors that the scheduler gives to this process."""
    if hasattr(os, "sched_getaffinity"):
        return set(os.sched_getaffinity(0))
    return set(range(os.cpu_count() or 1))


def physical_cores(logical: set[int], cpu: Path = CPU) -> int:
    """How many physical cores these processors belong to; each is one where the system does not state it."""
    files = {n: cpu / f"cpu{n}" / "topology" / "thread_siblings_list" for n in logical}
    return len({text_of(file) or f"only {n}" for n, file in files.items()})


def cpu_quota(root: Path = CGROUP, own: Path = PROC) -> float | None:
    """Processors' worth of time that a container may use (cgroup 2, else 1), None for no limit. The narrowest limit on
    the way from this process's group to the root counts."""
    place = next((line[3:] for line in text_of(own).splitlines() if line.startswith("0::")), "/").strip("/")
    groups = [root / place, *(root / place).parents]  # this process's group and its parents
    groups = groups[: groups.index(root) + 1] if root in groups else [root]
    limits = [_share(text_of(folder / "cpu.max")) for folder in groups]
    first = root / "cpu"
    limits.append(_share(f"{text_of(first / 'cpu.cfs_quota_us')} {text_of(first / 'cpu.cfs_period_us')}"))
    found = [limit for limit in limits if limit is not None]
    return min(found) if found else None


def _share(text: str) -> float | None:
    """ "150000 100000" is 1.5; "max 100000" and "-1 100000" are no limit."""
    if len(words := text.split()) != 2 or not all(word.isdigit() for word in words) or int(words[1]) == 0:
        return None
    return int(words[0]) / int(words[1])


def cpu_info() -> dict[str, list[str]]:
    """The keys of /proc/cpuinfo in lower case and their values, one per core; empty without that file."""
    found: dict[str, list[str]] = {}
    for line in text_of(INFO).splitlines():
        key, _, value = line.partition(":")
        if key.strip():
            found.setdefault(key.strip().casefold(), []).append(value.strip())
    return found


def processor_name() -> str:
    """The processor's name, "Intel(R) Xeon(R) ..." or the board's model."""
    info = cpu_info()
    named = [*info.get("model name", []), *info.get("model", []), platform.processor(), platform.machine()]
    return next((name for name in named if name and not name.isdigit()), "")


def processor_features() -> frozenset[str]:
    """Instruction sets, as Linux names them ("avx2", "avx512_vnni", "asimddp"); empty where unknown."""
    info = cpu_info()
    return frozenset(" ".join([*info.get("flags", [])[:1], *info.get("features", [])[:1]]).split())


def text_of(path: Path) -> str:
    """What a file of the system holds; "" where it is not there."""
    with suppress(OSError):
        return path.read_text(encoding="utf-8", errors="replace").strip()
    return ""


T = TypeVar("T")
PACKAGES = ("onnxruntime", "onnxruntime-gpu", "openvino", "numpy", "tensorrt",
            "tensorrt-rtx", "pycuda", "cuda-bindings")  # fmt: skip


def conditions() -> dict[str, Any]:
    """The state of the machine before a run as plain values; what it does not report is left out."""
    cores, governors = len(usable()), CPU.glob("cpu[0-9]*/cpufreq/scaling_governor")
    heat = map(text_of, Path("/sys/class/thermal").glob("thermal_zone*/temp"))
    degrees = max((int(t) / 1000 for t in heat if t.isdigit() and 0 < int(t) < 150_000), default=0)
    found: dict[str, Any] = {
        "processor": processor_name(), "machine": f"{platform.machine()}, {platform.system()} {platform.release()}",
        "cores": str(cores) if cores == os.cpu_count() else f"{cores} of {os.cpu_count()} usable",
        "governor": ", ".join(sorted({*map(text_of, governors)} - {""})), "clocks": clocks(),
        "temperature": f"{degrees:.0f} °C (hottest sensor)" if degrees else "",
        "board": text_of(Path("/proc/device-tree/model")).rstrip("\0"),
        "load": f"{os.getloadavg()[0]:.2f} before the run", "kernels": kernels.BACKEND, "versions": versions(),
        "date": datetime.datetime.now().astimezone().isoformat(timespec="minutes"),
    }  # fmt: skip
    return {key: value for key, value in found.items() if value}


def clocks() -> str:
    """The processor's clock at this moment, "2595 MHz" or "600 to 1500 MHz" over its cores."""
    now = [int(t) / 1000 for p in sorted(CPU.glob("cpu[0-9]*/cpufreq/scaling_cur_freq")) if (t := text_of(p))]
    now = now or [float(clock) for clock in cpu_info().get("cpu mhz", [])]
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
    with suppress(OSError, subprocess.SubprocessError):
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
        return [line.strip() for line in done.stdout.splitlines() if line.strip()]
    return []


def as_rows(found: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """The conditions as rows of a table."""
    for key, value in found.items():
        yield key, ", ".join(map(" ".join, value.items())) if isinstance(value, dict) else str(value)


def take_turns(work: Sequence[Callable[[int], T]], runs: int, warm_up: int = 0,
               on_turn: Callable[[int], None] | None = None) -> list[list[T]]:  # fmt: skip
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
