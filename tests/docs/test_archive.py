"""docs/archive.md: its commands, its query and its program run on a folder of recordings."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from walk_through import DOCS, walk_through

from edgevid.synthetic.render import RenderedStreet
from edgevid.video.writer import VideoWriter

PAGE = DOCS / "archive.md"
pytest.importorskip("pyarrow", reason="pyarrow is not installed")
duckdb = pytest.importorskip("duckdb", reason="duckdb is not installed")


def test_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recordings").mkdir()
    (tmp_path / "gate.toml").write_text('source = "gate.mp4"\n[detect]\nmodel = "street-nano"\n')
    with VideoWriter(tmp_path / "recordings" / "gate_20260131_120000.mp4", fps=10) as video:
        for frame in RenderedStreet(seconds=1.0, fps=10):
            video.write(frame.image[::2, ::2].copy(), frame.time)
    archived, classes, forgotten = walk_through(PAGE)
    assert "done: 1, 0:00:01 long, in results; failed: 0" in archived
    text = PAGE.read_text()
    (query,) = re.findall(r"```sql\n(.*?)```", text, re.DOTALL)
    ((name, seconds, cars, mean_s),) = duckdb.sql(query).fetchall()
    assert (name[:20], seconds) == ("gate_20260131_120000", 1.0)
    assert 0 < mean_s < 1
    assert re.search(rf"^car +{cars}\b", classes, re.MULTILINE)
    assert "objects" in forgotten
    (program,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    (tmp_path / "program.py").write_text(program)
    done = subprocess.run([sys.executable, "program.py"], capture_output=True, text=True, check=True)
    assert re.fullmatch(rf"{name} 10 \n", done.stdout)
