"""Runs the cells of a notebook in order and writes them with their outputs as JSON: python run_cells.py FILE.ipynb

An output is what a cell prints, or its last value as a notebook shows it: an image, a table or text.
"""

from __future__ import annotations

import ast
import base64
import contextlib
import io
import json
import pprint
import sys
from pathlib import Path
from typing import Any


def shown(value: Any) -> list[str]:
    if callable(getattr(value, "_repr_png_", None)):
        return ["png", base64.b64encode(value._repr_png_()).decode()]
    if callable(getattr(value, "_repr_html_", None)):
        return ["html", value._repr_html_()]
    return ["text", pprint.pformat(value, width=88)]


def run(source: str, names: dict[str, Any]) -> list[list[str]]:
    """The outputs of one cell."""
    tree, printed = ast.parse(source), io.StringIO()
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    value = None
    with contextlib.redirect_stdout(printed):
        exec(compile(tree, "cell", "exec"), names)
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), "cell", "eval"), names)
    text = [["text", printed.getvalue()]] if printed.getvalue() else []
    return text + ([shown(value)] if value is not None else [])


def main() -> None:
    names: dict[str, Any] = {"__name__": "__main__"}
    cells = []
    for cell in json.loads(Path(sys.argv[1]).read_text())["cells"]:
        source = "".join(cell["source"])
        cells.append({"source": source, **({"outputs": run(source, names)} if cell["cell_type"] == "code" else {})})
    print(json.dumps(cells))


if __name__ == "__main__":
    main()
