"""The pages of tables: wider than others, and a list of all result files as they are when the site is built."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    if page.file.src_uri in ("benchmarks.md", "limitations.md"):
        page.meta["hide"] = ["navigation"]  # room for their tables
    if "<!-- results -->" not in markdown:
        return markdown
    sys.path.append(str(Path(__file__).resolve().parents[2] / "benchmarks"))
    import tables

    return markdown.replace("<!-- results -->", tables.index())
