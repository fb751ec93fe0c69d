"""A fleet of still cameras on a wall, for tests of its pages."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from loop_samples import SquareDetector, frames_of

from edgevid import Fleet, Site
from edgevid.pipeline import Pipeline
from edgevid.run import fleet as room
from edgevid.video.images import ArraySource
from edgevid.viewer.config import View
from edgevid.viewer.wall import wall


class Square(SquareDetector):
    recipe = type("recipe", (), {"name": "squares", "local": None})


@contextmanager
def wall_of(names: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of the wall once each camera has shown ten frames; they end with the block."""
    monkeypatch.setenv("EDGEVID_SPOOL", str(tmp_path))
    monkeypatch.setattr(room, "build_pipeline", lambda *_, **__: Pipeline(Square()))
    held = threading.Event()

    def frames() -> Any:
        yield from (frame.image for frame in frames_of((160, 120)))
        held.wait(60)

    def source(*_: Any, **__: Any) -> ArraySource:
        made = ArraySource(frames())
        made.size = (160, 120)
        return made

    monkeypatch.setattr(room, "open_video", source)
    fleet = Fleet([Site(source=name, name=name) for name in names])
    with wall(fleet, View({"host": "127.0.0.1", "port": 0})) as url:
        thread = threading.Thread(target=fleet.run)
        thread.start()
        end = time.monotonic() + 20
        while time.monotonic() < end and any(
            row["n"] < 10 for row in httpx.get(f"{url}api/cameras").json() or [{"n": 0}]
        ):
            time.sleep(0.02)
        try:
            yield url
        finally:
            held.set()
            thread.join(20)
    assert not thread.is_alive()
