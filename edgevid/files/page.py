"""HTML pages that are one file and load nothing: a template whose own script draws the data in it."""

import json
from html import escape
from pathlib import Path
from string import Template
from typing import Any


def fill_page(template: Path, title: str, data: Any) -> str:
    """The template with $title, and with $data: plain values as a literal of JavaScript (NaN is one there)."""
    literal = json.dumps(data).replace("<", "\\u003c")  # nothing in it ends the script
    return Template(template.read_text(encoding="utf-8")).substitute(title=escape(title), data=literal)
