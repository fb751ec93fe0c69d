"""The HTML of a report: whole, escaped, without anything from elsewhere; its plots, and heat maps by hand."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from report_samples import NOON, Day, write

from edgevid.errors import InputError
from edgevid.report import Report, Store, page
from edgevid.report.page import heat_maps
from edgevid.speed import make_calibration, write_calibration

pytest.importorskip("duckdb")
EVIL = "<script>alert('1')</script>&\"gate"


def report_of(tmp_path: Path, *days: Day) -> Report:
    (tmp_path / "day.jsonl").unlink(missing_ok=True)
    return Report(Store([write(tmp_path / "day.jsonl", *days)]), 60)


def a_day(camera: str = "gate") -> Day:
    day = Day(camera)
    for track in range(60):
        day.vehicle(track, 2.0 * track, 40.0 + track % 20)
    day.add("enter", 10, 1, place=EVIL, class_name=EVIL, count=1)
    day.add("stopped", 15, 1, place=EVIL, class_name=EVIL, seconds=2.0)
    day.add("stream-lost", 125, reason=EVIL)
    day.add("stream-back", 150)
    return day


class Tags(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_a_page_loads_nothing_and_escapes_what_comes_from_data(tmp_path: Path) -> None:
    html = page(report_of(tmp_path, a_day("a&b<i>"), a_day()))
    tags = Tags(html).found
    assert not {tag for tag, _ in tags} & {"script", "link", "iframe", "img", "i>"}
    assert not [value for _, attributes in tags for name, value in attributes.items() if name in ("src", "href")]
    assert "url(" not in html
    assert EVIL not in html
    assert "&lt;script&gt;alert" in html
    assert "<h2>a&amp;b&lt;i&gt;</h2>" in html
    titles = re.findall(r"<figcaption><b>(.*?)</b>", html)
    assert titles[:3] == ["gate", "Speed, km/h", "all tracks"]
    assert "; observed 8%</title>" in html  # the last minute: five seconds before the stream was lost


def test_bars_stand_on_each_other_and_reach_their_counts(tmp_path: Path) -> None:
    day = Day()
    for track, direction in enumerate(["backward"] * 3 + ["forward"]):
        day.add("cross", 1 + track, track, place="gate", direction=direction, class_name="car")
    html = page(report_of(tmp_path, day))
    bars = re.findall(r'<path class="bars c(\d)" d="M0.08 ([\d.]+)h0.84V([\d.]+)h-0.84z"', html)
    assert bars[:2] == [("0", "0.0000", "0.7500"), ("1", "0.7500", "1.0000")]


def test_an_object_is_where_its_boxes_are_and_between_them(tmp_path: Path) -> None:
    """From (10, 20) to (630, 20) in 62 s: one second in each cell of ten pixels."""
    day = Day()
    day.add("track-ended", 70, 1, seconds=62.0, first_box=(0, 0, 20, 25), box=(620, 0, 640, 25), class_name="car")
    (found,) = heat_maps(report_of(tmp_path, day), "gate", (640, 360), None)
    assert (found.plane, found.cell, found.seconds.shape) == ("image", 10.0, (36, 64))
    assert found.seconds.sum() == pytest.approx(62.0)
    assert found.seconds[2, 2:62] == pytest.approx(np.ones(60), abs=0.5)
    assert found.seconds[[0, 1, 3, 4]].sum() == 0


def test_a_heat_map_on_the_ground_is_in_meters(tmp_path: Path) -> None:
    """A plane on which ten pixels are a meter; the object goes along y = 30 m."""
    pixels = np.array([[0.0, 0.0], [640.0, 0.0], [640.0, 640.0], [0.0, 640.0]])
    day = Day()
    day.add("track-ended", 70, 1, seconds=60.0, first_box=(90, 0, 110, 302), box=(290, 0, 310, 302))
    report = report_of(tmp_path, day)
    _, ground = heat_maps(report, "gate", None, make_calibration(pixels, pixels / 10, (640, 640)))
    assert ground.plane == "ground"
    assert ground.seconds.sum() == pytest.approx(60.0)
    rows, columns = np.nonzero(ground.seconds)
    spread = ground.cell * np.array([np.ptp(rows), np.ptp(columns)])
    assert spread == pytest.approx([0.0, 20.0], abs=1.01)


def test_image_and_calibration_are_of_one_camera(tmp_path: Path) -> None:
    from edgevid.video.images import to_jpeg

    pixels = np.array([[0.0, 0.0], [64.0, 0.0], [64.0, 64.0], [0.0, 64.0]])
    plane, photo = tmp_path / "plane.toml", tmp_path / "photo.jpg"
    write_calibration(plane, make_calibration(pixels, pixels / 10, (64, 64)))
    photo.write_bytes(to_jpeg(np.zeros((64, 64, 3), np.uint8)))
    html = page(report_of(tmp_path, a_day()), plane, photo)
    assert html.count("data:image/jpeg;base64,") == 1
    assert "on the ground" in html
    with pytest.raises(InputError, match="choose it with --camera"):
        page(report_of(tmp_path, a_day(), a_day("yard")), plane)
    photo.write_bytes(b"no image")
    with pytest.raises(InputError, match="--image: expected an image"):
        page(report_of(tmp_path, a_day()), image=photo)


def test_a_camera_whose_events_have_no_boxes_and_no_lines(tmp_path: Path) -> None:
    day = Day(start=NOON)
    day.add("stream-lost", 1, reason="away")
    html = page(report_of(tmp_path, day))
    assert "<h2>gate</h2>" in html


@pytest.mark.parametrize("width", [390, 1440])
def test_no_page_scrolls_sideways(tmp_path: Path, width: int) -> None:
    playwright = pytest.importorskip("playwright.sync_api")
    if not Path("/usr/bin/chromium").exists():
        pytest.skip("Chromium is not installed")
    (tmp_path / "report.html").write_text(page(report_of(tmp_path, a_day())), encoding="utf-8")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path="/usr/bin/chromium")
        view = browser.new_page(viewport={"width": width, "height": 800})
        requests: list[str] = []
        view.on("request", lambda request: requests.append(request.url))
        view.goto((tmp_path / "report.html").as_uri())
        assert view.evaluate("document.documentElement.scrollWidth") == width
        assert len(requests) == 1
        browser.close()
