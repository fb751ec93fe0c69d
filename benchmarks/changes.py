"""What got worse between two commits, from their committed benchmark results.

    python benchmarks/changes.py BEFORE [AFTER] [--share 0.05]

Compares each number in benchmarks/results/*.json of BEFORE with that of AFTER (default: the files as they are now).
Whether more is better is read from the words of its name (HIGHER, LOWER); other numbers are not compared. Times of
other processors are not comparable and are left out. Exits with 1 where a number got worse by more than the share.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench import RESULTS, table

LOWER = re.compile(
    r"\b(ms|s|seconds|microseconds|mb|error|median|mean|95th|worst|switches|lost|twice|wrong|risk|slope)\b"
)
HIGHER = re.compile(
    r"\b(hota|idf1|ap|auroc|accuracy|f1|recall|precision|agreed|agreement|hold|held|emitted|found|share|results/s|speedup)"
    r"\b|/val|photos|by eye"
)
TIMES = re.compile(r"\b(ms|s|seconds|microseconds|results/s|speedup|cpu)\b")
NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


def numbers(value: Any, name: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], float]]:
    """Every number under its names; of rows, under the row's first cell and the column's head."""
    if isinstance(value, dict):
        if "head" in value and "rows" in value:
            for row in value["rows"]:
                for head, cell in zip(value["head"][1:], row[1:], strict=False):
                    yield from numbers(cell, (*name, str(row[0]), f"{value['head'][0]}: {head}"))
        for key, part in value.items():
            if key not in ("conditions", "head", "rows"):
                yield from numbers(part, (*name, str(key)))
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield name, float(value)
    elif isinstance(value, str) and (found := NUMBER.findall(value)) and re.match(r"[-\d]", value):
        yield name, float(found[0])


def better(name: tuple[str, ...]) -> int:
    """1 where more is better, -1 where less is, 0 where neither is known."""
    text = " ".join(name).lower()
    return 1 if HIGHER.search(text) else -1 if LOWER.search(text) else 0


def read(revision: str | None) -> dict[str, Any]:
    """The results by file name, of a revision or as they are."""
    if revision is None:
        return {path.name: json.loads(path.read_text()) for path in RESULTS.glob("*.json")}
    git = ["git", "-C", str(RESULTS)]
    names = subprocess.check_output([*git, "ls-tree", "--name-only", revision, "./"], text=True).split()
    texts = {name: subprocess.check_output([*git, "show", f"{revision}:./{name}"], text=True) for name in names}
    return {Path(name).name: json.loads(text) for name, text in texts.items() if name.endswith(".json")}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("before", help="a git revision")
    parser.add_argument("after", nargs="?", help="a git revision; default: the working tree")
    parser.add_argument("--share", type=float, default=0.05, help="change that counts, of the value before")
    given = parser.parse_args()
    before, after = read(given.before), read(given.after)
    rows, compared = [], 0
    for file in sorted(before.keys() & after.keys()):
        if before[file] == after[file]:
            continue
        same = all(before[file].get("conditions", {}).get(k) == after[file].get("conditions", {}).get(k)
                   for k in ("processor", "cores"))  # fmt: skip
        now = dict(numbers(after[file]))
        for name, old in numbers(before[file]):
            if name not in now or not (sign := better(name)) or (not same and TIMES.search(" ".join(name).lower())):
                continue
            compared += 1
            if (change := sign * (now[name] - old)) < -given.share * max(abs(old), 1e-9):
                rows.append(
                    [file, " / ".join(name)[:90], f"{old:g}", f"{now[name]:g}", f"{change / max(abs(old), 1e-9):+.0%}"]
                )
    gone = sorted(before.keys() - after.keys())
    print(table(["file", "number", "before", "after", "change"], rows) if rows else "nothing got worse")
    print(
        f"{compared} numbers compared in files that changed" + (f"; no longer there: {', '.join(gone)}" if gone else "")
    )
    return int(bool(rows))


if __name__ == "__main__":
    sys.exit(main())
