"""llms.txt: the pages of the site in the order of the navigation, each with a line on what it holds."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.nav import Navigation
from mkdocs.structure.pages import Page

LINES: dict[str, str] = {}
"""First sentence of each page, by its place in docs/."""
_nav: list[Navigation] = []


def first_sentence(markdown: str) -> str:
    """The first sentence of the first paragraph of prose, without markup."""
    text = re.sub(
        r"```.*?```|<!--.*?-->|</?(?:div|sub)\b[^>]*>|^\|.*?$|^#.*?$|^:::.*?$|!\[[^\]]*\]\([^)]*\)",
        "",
        markdown,
        flags=re.DOTALL | re.MULTILINE,
    )
    text = re.sub(r"\[((?:[^\[\]]|\[[^\]]*\])*)\]\([^)]*\)", r"\1", text)
    for paragraph in re.split(r"\n\s*\n", text):
        words = " ".join(re.sub(r"[*`]", "", paragraph).split())
        if words:
            return re.split(r"(?<=[.:])\s(?=[A-Z`])", words)[0].rstrip(":")
    return ""


def on_page_markdown(markdown: str, page: Page, config: Any, files: Any) -> str:
    LINES[page.file.src_uri] = first_sentence(markdown)
    page.meta.setdefault("description", LINES[page.file.src_uri])
    return markdown


def on_nav(nav: Navigation, config: Any, files: Any) -> Navigation:
    _nav[:] = [nav]
    return nav


def entries(items: Any, base: str, depth: int = 2) -> list[str]:
    made = []
    for item in items:
        if item.is_section:
            made += ["", f"{'#' * depth} {item.title}", "", *entries(item.children, base, min(depth + 1, 4))]
        elif item.is_page:
            made.append(f"- [{item.title}]({base}{item.url or './'}): {LINES[item.file.src_uri]}")
    return made


def on_post_build(config: Any) -> None:
    head = [f"# {config.site_name}", "", f"> {config.site_description}", ""]
    text = "\n".join([*head, *entries(_nav[0].items, config.site_url or "")]) + "\n"
    (Path(config.site_dir) / "llms.txt").write_text(text)
