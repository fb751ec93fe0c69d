"""HTML pages that are one file and load nothing: a template whose own script draws the data in it."""

import json
from html import escape
from pathlib import Path
from string import Template
from typing import Any


def fill_page(template: Path, title: str, data: Any) -> str:
    """The template with $title, $common, which is page.js, and $data: plain values as a literal of JavaScript (NaN is
    one there)."""
    literal = json.dumps(data).replace("<", "\\u003c")  # nothing in it ends the script
    common = Path(__file__).with_name("page.js").read_text(encoding="utf-8")
    return Template(template.read_text(encoding="utf-8")).substitute(title=escape(title), common=common, data=literal)
