"""docs/notebooks/*.ipynb become pages with the outputs of this build: nothing of them is kept in git."""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path
from typing import Any

import nbformat
from mkdocs.structure.files import File, Files
from nbclient import NotebookClient

FOLDER = Path(__file__).resolve().parents[1] / "notebooks"
IMAGES = {"image/png": "png", "image/jpeg": "jpg"}


def executed(path: Path, folder: Path) -> Any:
    """The notebook with its outputs, run in `folder`; an exception of a cell fails the build."""
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(
        notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    ).execute()
    return notebook


def text_of(output: Any) -> str:
    text = output.get("text", "") if output.output_type == "stream" else output.get("data", {}).get("text/plain", "")
    return re.sub(r"\x1b\[[0-9;]*m", "", text).rstrip()


def as_page(notebook: Any, name: str) -> tuple[str, dict[str, bytes]]:
    """Markdown, and the images that it shows by their file names."""
    parts, images = [], {}
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            parts.append(cell.source)
            continue
        parts.append(f"```python\n{cell.source}\n```")
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            kind = next((kind for kind in IMAGES if kind in data), None)
            if kind:
                content = base64.b64decode(data[kind])
                file = f"{name}-{hashlib.sha256(content).hexdigest()[:8]}.{IMAGES[kind]}"
                images[file] = content
                parts.append(f"![What the cell above shows]({file})")
            elif text := text_of(output):
                parts.append(f"```{{ .text .output .no-copy }}\n{text}\n```")
    parts.append(f"[Download this notebook]({name}.ipynb)")
    return "\n\n".join(parts) + "\n", images


def on_files(files: Files, config: Any) -> Files:
    work = Path(config.site_dir).parent / "notebooks"
    work.mkdir(parents=True, exist_ok=True)
    for path in sorted(FOLDER.glob("*.ipynb")):
        text, images = as_page(executed(path, work), path.stem)
        files.append(File.generated(config, f"notebooks/{path.stem}.md", content=text))
        for name, content in images.items():
            files.append(File.generated(config, f"notebooks/{name}", content=content))
    return files
