"""Shared by all benchmarks: conditions, table, JSON file."""

from __future__ import annotations

import datetime
import json
import os
import platform
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgevid.files.atomic import write_atomic
from edgevid.runtime.processor import processor_name

RESULTS = Path(__file__).parent / "results"
REAL_TIME = "SCHED_RR (chrt -r 1), as others used the machine"


def conditions(versions: dict[str, str] | None = None) -> dict[str, Any]:
    """Processor, cores, load, Python, date and the versions of the packages compared."""
    return {
        "processor": processor_name(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "load before": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "date": datetime.date.today().isoformat(),
        "command": "python " + " ".join([f"benchmarks/{Path(sys.argv[0]).name}", *sys.argv[1:]]),
        "versions": versions or {},
    } | ({"scheduling": REAL_TIME} if os.sched_getscheduler(0) == os.SCHED_RR else {})


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, its columns aligned for reading in a terminal too."""
    cells = [list(map(str, row)) for row in [head, *rows]]
    wide = [max(len(row[n]) for row in cells) for n in range(len(head))]
    lines = ["| " + " | ".join(c.ljust(w) for c, w in zip(row, wide, strict=True)) + " |" for row in cells]
    rule = "|" + "|".join("-" * (w + 2) for w in wide) + "|"
    return "\n".join([lines[0], rule, *lines[1:]])


def save(name: str, result: dict[str, Any], where: dict[str, Any]) -> Path:
    """Writes benchmarks/results/<name>.json with its conditions."""
    path = RESULTS / f"{name}.json"
    write_atomic(path, json.dumps({"conditions": where, **result}, indent=1, ensure_ascii=False) + "\n")
    return path
