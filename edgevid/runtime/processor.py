"""The processor of this machine, as the system describes it: name, features, clocks."""

from __future__ import annotations

import platform
from pathlib import Path

INFO = Path("/proc/cpuinfo")


def cpu_info() -> dict[str, list[str]]:
    """The keys of /proc/cpuinfo in lower case and their values, one per core; empty without that file."""
    found: dict[str, list[str]] = {}
    try:
        lines = INFO.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return found
    for line in lines:
        key, _, value = line.partition(":")
        if key.strip():
            found.setdefault(key.strip().casefold(), []).append(value.strip())
    return found


def processor_name() -> str:
    """The processor's name, "Intel(R) Xeon(R) ..." or the board's model."""
    info = cpu_info()
    named = [*info.get("model name", []), *info.get("model", [])]
    return next(
        (name for name in named if name and not name.isdigit()), platform.processor() or platform.machine()
    )


def processor_features() -> frozenset[str]:
    """Instruction sets, as Linux names them ("avx2", "avx512_vnni", "asimddp"); empty where unknown."""
    info = cpu_info()
    return frozenset(" ".join([*info.get("flags", [])[:1], *info.get("features", [])[:1]]).split())
