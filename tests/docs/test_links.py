"""Every link inside README, docs, cards and notebooks resolves, to its anchor, on GitHub and on the site."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = ROOT / "docs" / "notebooks"
PAGES = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("engines/*/CARD.md"), *NOTEBOOKS.glob("*.ipynb")]
)
FENCE = re.compile(r"^ *```.*?^ *```", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\((?!\w+:)([^)\s#]*)(?:#([^)\s]+))?\)")


def text_of(page: Path) -> str:
    if page.suffix == ".ipynb":
        cells = json.loads(page.read_text())["cells"]
        return "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    return FENCE.sub("", page.read_text())


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings that GitHub and the site have in common."""
    heads = [re.sub(r"[`*]|\]\([^)]*\)|\[", "", head) for head in re.findall(r"^#+ (.*)$", text_of(page), re.MULTILINE)]
    github = {re.sub(r"[^\w\- ]", "", head.lower()).strip().replace(" ", "-") for head in heads}
    return github & {re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", head).strip().lower()) for head in heads}


def target_of(page: Path, link: str) -> Path:
    """The file that a link leads to; from a notebook, another one is the page that the site makes of it."""
    target = (page.parent / link).resolve() if link else page
    if target.parent == NOTEBOOKS and target.suffix == ".md":
        return target.with_suffix(".ipynb")
    return target


def broken(page: Path) -> Iterator[str]:
    for link, anchor in LINK.findall(re.sub(r"`[^`\n]*`(?!\])", "", text_of(page))):
        target = target_of(page, link)
        if not target.exists():
            yield link
        elif anchor and anchor not in anchors(target):
            yield f"{link}#{anchor}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_and_anchor_of_a_page_resolves(page: Path) -> None:
    assert not list(broken(page))


def test_a_link_into_nothing_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# A head: its `code`\n\n[a](page.md#a-head-its-code) [b](#nowhere) [c](other.md) `[d](e.md)` [f](http://g)\n"
    )
    assert list(broken(page)) == ["#nowhere", "other.md"]
