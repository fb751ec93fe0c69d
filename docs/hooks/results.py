"""The list of all result files at the end of the benchmarks page, as they are when the site is built."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    if "<!-- results -->" not in markdown:
        return markdown
    sys.path.append(str(Path(__file__).resolve().parents[2] / "benchmarks"))
    import tables

    return markdown.replace("<!-- results -->", tables.index())
