"""Writes the tables of README.md and docs/field.md from benchmarks/results/*.json: never typed, only measured.

python benchmarks/tables.py            (--check: exit 1 where a page says something else)
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

from bench import RESULTS, table

README = Path(__file__).resolve().parents[1] / "README.md"
PAGES = (README, README.parent / "docs" / "field.md")


def made(name: str) -> str:
    """The table of one result file and the conditions it was measured under."""
    result = json.loads((RESULTS / f"{name}.json").read_text())
    c = result["conditions"]
    rows = [row for row in result["rows"] if "not run" not in row]
    absent = [row[0] for row in result["rows"] if "not run" in row]
    note = f"{c['processor']}, {c['cores']} cores, {c['date']}; `{c['command']}`"
    if absent:
        note += f"; not run here: {', '.join(absent)}"
    return f"{table(result['head'], rows)}\n\n<sub>{note}</sub>"


def filled(text: str) -> str:
    """A page with every `<!-- table NAME -->` ... `<!-- end -->` part made anew."""
    pattern = re.compile(r"(<!-- table (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
    return pattern.sub(lambda m: m[1] + made(m[2]) + "\n" + m[3], text)


def main() -> int:
    texts = {page: page.read_text() for page in PAGES}
    if "--check" in sys.argv:
        return int(any(filled(text) != text for text in texts.values()))
    for page, text in texts.items():
        page.write_text(filled(text))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
