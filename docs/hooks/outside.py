"""Pages of the repository outside docs/ come onto the site, and links that leave docs/ lead where they can.

A link to a card or to the changelog leads to its page here. A link to another file of the repository leads to
`extra.repository` (REPOSITORY_URL, which the publishing workflow sets); without that, its text remains.
"""

from __future__ import annotations

import os
import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[2]
LINK = re.compile(r"(?<!!)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s#]+)(#[^)\s]*)?\)")
CODE = re.compile(r"(^ *```.*?^ *```|``[^`]*``|`[^`\n]*`(?!\]))", re.DOTALL | re.MULTILINE)
PROJECT = [name for name in ("CHANGELOG", "CONTRIBUTING", "SECURITY", "LICENSES") if (ROOT / f"{name}.md").exists()]


def homes() -> dict[str, str]:
    """The pages from outside docs/: place in the repository, place on the site."""
    cards = {f"engines/{p.parent.name}/CARD.md": f"models/{p.parent.name}.md" for p in ROOT.glob("engines/*/CARD.md")}
    return {**{f"{name}.md": f"project/{name.lower()}.md" for name in PROJECT}, **dict(sorted(cards.items()))}


def title(name: str) -> str:
    """The first heading of a page, up to a colon: what a link says in place of a file's name."""
    return re.search(r"^# (.*?)(?::|$)", (ROOT / name).read_text(), re.MULTILINE)[1]  # type: ignore[index]


def on_config(config: Any) -> Any:
    if "MIKE_DOCS_VERSION" in os.environ:  # built by mike, which writes the list of versions
        config.extra["version"] = {"provider": "mike"}
    if address := config.extra["repository"]:
        config.extra["social"] = [{"icon": "material/source-branch", "link": address, "name": "Source code"}]
    cards = [page for name, page in homes().items() if name.startswith("engines/")]
    for entry in config.nav:
        if isinstance(entry, dict) and "Project" in entry:
            entry["Project"] = [f"project/{name.lower()}.md" for name in PROJECT]
        if isinstance(entry, dict) and "Reference" in entry:
            entry["Reference"].append({"Model cards": cards})
    return config


def on_files(files: Files, config: Any) -> Files:
    for name, page in homes().items():
        files.append(File.generated(config, page, content=(ROOT / name).read_text()))
    return files


def on_page_markdown(markdown: str, page: Page, config: Any, files: Files) -> str:
    here = {site: name for name, site in homes().items()}.get(page.file.src_uri, f"docs/{page.file.src_uri}")

    def moved(match: re.Match[str]) -> str:
        text, link, anchor = match[1], match[2], match[3] or ""
        if re.match(r"\w+:", link):
            return match[0]
        name = posixpath.normpath(posixpath.join(posixpath.dirname(here), link))
        inside = homes().get(name, name.removeprefix("docs/") if name.startswith("docs/") else None)
        if inside is not None:
            if re.fullmatch(r"(?:docs/)?[\w-]+\.md", text) and (ROOT / name).exists():
                text = title(name)
            return f"[{text}]({os.path.relpath(inside, posixpath.dirname(page.file.src_uri) or '.')}{anchor})"
        base = config.extra.get("repository")
        return f"[{text}]({base.rstrip('/')}/blob/main/{name})" if base else text

    parts = CODE.split(markdown)
    return "".join(part if n % 2 else LINK.sub(moved, part) for n, part in enumerate(parts))
