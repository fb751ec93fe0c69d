"""docs/notebooks/*.ipynb become pages with the outputs of this build: nothing of them is kept in git."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "docs" / "notebooks"
RUNNER = Path(__file__).with_name("run_cells.py")


def executed(path: Path) -> list[dict[str, Any]]:
    """The cells of a notebook, with "outputs" where they have code: run in order by a new Python in an empty folder.
    RuntimeError with what it printed where a cell fails."""
    paths = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]) if _in_place() else None
    environment = {**os.environ, **({"PYTHONPATH": paths} if paths else {})}
    with tempfile.TemporaryDirectory() as folder:
        environment["EDGEVID_SPOOL"] = folder
        command = [sys.executable, str(RUNNER), str(path)]
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{path.name}:\n{done.stderr}")
    cells: list[dict[str, Any]] = json.loads(done.stdout)
    return cells


def _in_place() -> bool:
    """Whether this clone is imported, not an installed package."""
    import edgevid

    return Path(edgevid.__file__).resolve().is_relative_to(ROOT / "edgevid")


def smaller(png: bytes) -> bytes:
    """An image as JPEG: a tenth of the bytes."""
    import cv2
    import numpy as np

    return bytes(cv2.imencode(".jpg", cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR))[1])


def as_page(cells: list[dict[str, Any]], name: str) -> tuple[str, dict[str, bytes]]:
    """Markdown, and the images that it shows by their file names."""
    parts, images = [], {}
    for cell in cells:
        if "outputs" not in cell:
            parts.append(cell["source"])
            continue
        parts.append(f"```python\n{cell['source']}\n```")
        for kind, value in cell["outputs"]:
            if kind == "png":
                content = smaller(base64.b64decode(value))
                file = f"{name}-{hashlib.sha256(content).hexdigest()[:8]}.jpg"
                images[file] = content
                parts.append(f"![What the cell above shows]({file})")
            elif kind == "html":
                parts.append(f'<div class="output">{value}</div>')
            else:
                parts.append(f"```{{ .text .output .no-copy }}\n{value.rstrip()}\n```")
    parts.append(f"[Download this notebook]({name}.ipynb)")
    return "\n\n".join(parts) + "\n", images


def on_files(files: Any, config: Any) -> Any:
    from mkdocs.structure.files import File  # here, as the test of the notebooks runs them without mkdocs

    for path in sorted(FOLDER.glob("*.ipynb")):
        text, images = as_page(executed(path), path.stem)
        files.append(File.generated(config, f"notebooks/{path.stem}.md", content=text))
        for name, content in images.items():
            files.append(File.generated(config, f"notebooks/{name}", content=content))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """A link to a notebook, as GitHub shows it, leads to its page here."""
    return re.sub(r"\((notebooks/\w+)\.ipynb\)", r"(\1.md)", markdown)
