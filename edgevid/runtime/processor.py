"""The processors of this machine: how many threads a model gets of them, their name and features."""

import math
import os
import platform
from pathlib import Path

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
    lines = text_of(own).splitlines()
    place = next((line[3:] for line in lines if line.startswith("0::")), "/").strip("/")
    groups = [root / place, *(root / place).parents]  # this process's group and its parents
    groups = groups[: groups.index(root) + 1] if root in groups else [root]
    limits = [_share(text_of(folder / "cpu.max")) for folder in groups]
    first = root / "cpu"
    limits.append(_share(f"{text_of(first / 'cpu.cfs_quota_us')} {text_of(first / 'cpu.cfs_period_us')}"))
    found = [limit for limit in limits if limit is not None]
    return min(found) if found else None


def _share(text: str) -> float | None:
    """ "150000 100000" is 1.5; "max 100000" and "-1 100000" are no limit."""
    words = text.split()
    if len(words) != 2 or not all(word.isdigit() for word in words) or int(words[1]) == 0:
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
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
