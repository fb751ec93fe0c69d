"""Writes the tables of README.md and docs/ from benchmarks/results/*.json: never typed, always measured.

python benchmarks/tables.py            (--check: exit 1 where a page says something else)

`<!-- table NAME -->` takes the rows of benchmarks/results/NAME.json, `<!-- table NAME.PART -->` another
list of rows in it, whose first row is the head; `<!-- table NAME: A; B -->` those that begin with A or B alone.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

from bench import RESULTS, table

ROOT = Path(__file__).resolve().parents[1]


def made(name: str, begins: str | None = None) -> str:
    """The table of one result file and the conditions it was measured under, of the rows that begin with one of some
    texts, or of all."""
    name, _, part = name.partition(".")
    result = json.loads((RESULTS / f"{name}.json").read_text())
    c = result["conditions"]
    if part:
        return table(result[part][0], result[part][1:])
    wanted = tuple((begins or "").split("; "))
    chosen = [row for row in result["rows"] if row[0].startswith(wanted)]
    rows = [row for row in chosen if "not run" not in row]
    absent = [row[0] for row in chosen if "not run" in row]
    note = f"{c['processor']}, {c['cores']} cores, {c['date']}; `{c['command']}`"
    if absent:
        note += f"; not run here: {', '.join(absent)}"
    return f"{table(result['head'], rows)}\n\n<sub>{note}</sub>"


def filled(text: str) -> str:
    """The page with every `<!-- table NAME -->` ... `<!-- end -->` part made anew."""
    pattern = re.compile(r"(<!-- table ([\w.]+)(?:: (.*?))? -->\n).*?(<!-- end -->)", re.DOTALL)
    return pattern.sub(lambda m: m[1] + made(m[2], m[3]) + "\n" + m[4], text)


def main() -> int:
    wrong = 0
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        old = page.read_text()
        new = filled(old)
        wrong += old != new
        if old != new and "--check" not in sys.argv:
            page.write_text(new)
    return int(wrong > 0 and "--check" in sys.argv)


if __name__ == "__main__":
    raise SystemExit(main())
