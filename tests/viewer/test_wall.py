"""The wall: every camera of a fleet on one page, each with a page of its own."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("starlette", reason="needs the extra viewer")
httpx = pytest.importorskip("httpx")

from loop_samples import SquareDetector, frames_of  # noqa: E402

from edgevid import Fleet, Site  # noqa: E402
from edgevid.pipeline import Pipeline  # noqa: E402
from edgevid.run import fleet as room  # noqa: E402
from edgevid.video.images import ArraySource  # noqa: E402
from edgevid.viewer.broadcast import unpack  # noqa: E402
from edgevid.viewer.session import View  # noqa: E402
from edgevid.viewer.wall import wall  # noqa: E402


class Square(SquareDetector):
    recipe = type("recipe", (), {"name": "squares", "local": None})


def test_a_wall_lists_the_cameras_and_opens_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEVID_SPOOL", str(tmp_path))
    monkeypatch.setattr(room, "build_pipeline", lambda *_, **__: Pipeline(Square()))
    held = threading.Event()

    def frames() -> Any:
        yield from (frame.image for frame in frames_of((160, 120)))
        held.wait(20)

    def source(*_: Any, **__: Any) -> ArraySource:
        made = ArraySource(frames())
        made.size = (160, 120)
        return made

    monkeypatch.setattr(room, "open_video", source)
    fleet = Fleet([Site(source=name, name=name) for name in ("gate", "back yard")])
    with wall(fleet, View({"host": "127.0.0.1", "port": 0})) as url, httpx.Client(base_url=url) as client:
        thread = threading.Thread(target=fleet.run)
        thread.start()
        end = time.monotonic() + 20
        while time.monotonic() < end and [row["n"] for row in client.get("/api/cameras").json()] != [10, 10]:
            time.sleep(0.02)
        rows = client.get("/api/cameras").json()
        assert [(row["name"], row["state"], row["n"]) for row in rows] == [
            ("back yard", "running", 10),
            ("gate", "running", 10),
        ]
        record, jpeg = unpack(client.get("/api/tile/back%20yard").content)
        assert (record["size"], len(record["objects"]), jpeg[:2]) == ([160, 120], 1, b"\xff\xd8")
        assert client.get("/api/tile/other").status_code == 204
        assert "wall.js" in client.get("/").text
        assert "main.js" in client.get("/camera/back%20yard/").text
        assert client.get("/camera/gate/api/latest").json()["frame"] == 9
        assert client.get("/camera/other/").status_code == 404
        assert client.put("/camera/gate/api/annotations", json={"annotations": [], "version": 0}).status_code == 200
        held.set()
        thread.join(20)
        assert not thread.is_alive()
