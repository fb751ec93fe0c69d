"""Writes the tables of README.md and docs/ from benchmarks/results/*.json: never typed, always measured.

python benchmarks/tables.py            (--check: exit 1 where a page says something else)

`<!-- table NAME -->` takes the rows of benchmarks/results/NAME.json, or its single values where it has no rows.
`<!-- table NAME.PART -->` takes a part: a list of rows whose first is the head, a list of objects, or an object of
values or of objects; parts of parts have further dots. `NAME.conditions` is the line of conditions alone.
`<!-- table NAME: A; B -->` takes the rows that begin with A or B alone.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

from bench import RESULTS, table

ROOT = Path(__file__).resolve().parents[1]


def text(value: Any) -> str:
    """A cell: numbers to three digits, lists joined."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
    if isinstance(value, int):
        return f"{value:,}"
    return ", ".join(map(text, value)) if isinstance(value, list) else str(value)


def single(value: Any) -> bool:
    return not isinstance(value, dict) and not (
        isinstance(value, list) and value and isinstance(value[0], (dict, list))
    )


def flat(values: dict[str, Any]) -> dict[str, Any]:
    """The single values of an object, those of an object in it as "key: value"."""
    found = {key: value for key, value in values.items() if single(value)}
    inner = {key: value for key, value in values.items() if isinstance(value, dict)}
    return found | {f"{key}: {name}": one for key, value in inner.items() for name, one in value.items() if single(one)}


def grid(part: Any) -> list[list[str]]:
    """The head and the rows of a part of a result."""
    if isinstance(part, list) and part and isinstance(part[0], list):
        return [list(map(str, row)) for row in part]
    if isinstance(part, dict) and all(isinstance(one, dict) for one in part.values()):
        part = [{"": name, **one} for name, one in part.items()]
    if isinstance(part, list):
        part = [flat(one) for one in part]
        keys = list(dict.fromkeys(key for one in part for key in one))
        return [keys, *([text(one.get(key, "")) for key in keys] for one in part)]
    return [["measured", "value"], *([name, text(value)] for name, value in part.items() if single(value))]


def note(conditions: dict[str, Any], absent: list[str]) -> str:
    """What a table was measured under, in a line."""
    c = conditions
    line = f"{c['processor']}, {c['cores']} cores, {c['date']}; `{c.get('command', '')}`"
    return f"<sub>{line}{'; not run here: ' * bool(absent)}{', '.join(absent)}</sub>"


def index() -> str:
    """Every result file, and when and how it was measured."""
    rows = []
    for path in sorted(RESULTS.glob("*.json")):
        result = json.loads(path.read_text())
        c = result.get("conditions", result)
        rows.append([f"`{path.name}`", f"`{c.get('command', '')}`", c.get("date", ""), c.get("processor", "")])
    return table(["file", "command", "date", "processor"], rows)


def made(name: str, begins: str | None = None) -> str:
    """The table of one result file and the conditions it was measured under, of the rows that begin with one of some
    texts, or of all; or the table of a part of it."""
    name, *parts = name.split(".")
    result = part = json.loads((RESULTS / f"{name}.json").read_text())
    conditions = result.pop("conditions", {})
    if parts == ["conditions"]:
        return note(conditions, [])
    for key in parts:
        part = part[key]
    absent: list[str] = []
    if not parts and "head" in result:
        chosen = [row for row in result["rows"] if row[0].startswith(tuple((begins or "").split("; ")))]
        part = [result["head"], *(row for row in chosen if "not run" not in row)]
        absent = [row[0] for row in chosen if "not run" in row]
    head, *rows = grid(part)
    head = [re.sub(r"\bof ours\b", "times edgevid's", name) for name in head]
    return table(head, rows) + ("" if parts else f"\n\n{note(conditions, absent)}")


def filled(text: str) -> str:
    """The page with every `<!-- table NAME -->` ... `<!-- end -->` part made anew."""
    pattern = re.compile(r"(<!-- table ([\w. ,+-]+?)(?:: (.*?))? -->\n).*?(<!-- end -->)", re.DOTALL)
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
