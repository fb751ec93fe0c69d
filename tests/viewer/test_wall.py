"""The wall: every camera of a fleet on one page, each with a page of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("starlette", reason="needs the extra viewer")
httpx = pytest.importorskip("httpx", reason="needs httpx")

from wall_scene import wall_of  # noqa: E402

from edgevid.viewer.broadcast import unpack  # noqa: E402

NAMES = ["back yard", "gate"]


def test_a_wall_lists_the_cameras_and_opens_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with wall_of(NAMES, tmp_path, monkeypatch) as url, httpx.Client(base_url=url) as client:
        rows = client.get("/api/cameras").json()
        assert [(row["name"], row["state"], row["n"]) for row in rows] == [(name, "running", 10) for name in NAMES]
        record, jpeg = unpack(client.get("/api/tile/back%20yard").content)
        assert (record["size"], len(record["objects"]), jpeg[:2]) == ([160, 120], 1, b"\xff\xd8")
        assert client.get("/api/tile/other").status_code == 204
        assert "wall.js" in client.get("/").text
        assert "main.js" in client.get("/camera/back%20yard/").text
        assert client.get("/camera/gate/api/latest").json()["frame"] == 9
        assert client.get("/camera/other/").status_code == 404
        assert client.put("/camera/gate/api/annotations", json={"annotations": [], "version": 0}).status_code == 200


@pytest.mark.parametrize(("scheme", "width"), [("dark", 1440), ("light", 390)])
def test_a_browser_shows_the_images_and_a_click_opens_a_camera(
    scheme: str, width: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from chromium import chromium

    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
    with wall_of(NAMES, tmp_path, monkeypatch) as url, chromium() as browser:
        page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
        page.set_default_timeout(10_000)
        complaints: list[str] = []
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(url)
        page.wait_for_selector('.tile canvas[width="160"] >> nth=1')
        page.wait_for_selector(".caption span:has-text('1 object') >> nth=1")
        assert page.text_content("#summary").startswith("2 cameras")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert axe.Axe().run(page).violations_count == 0
        page.click(".tile >> nth=0")
        page.wait_for_selector('html[data-frame]:not([data-frame=""])', state="attached")
        assert page.url == f"{url}camera/back%20yard/"
        page.click("#wall")
        page.wait_for_selector(".tile")
        assert page.url == url
        assert complaints == []
