"""The viewer in a real headless Chromium: what is displayed, clicked, typed, and how accessible it is.

Needs what tests/support/chromium.py needs, and the package axe-playwright-python.
"""

from __future__ import annotations

import dataclasses
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import viewer_scene as scene
from chromium import api, chromium
from event_samples import an_event

from edgevid.insight.review import Review
from edgevid.site.file import read_site
from edgevid.viewer.serve import Server

pytest.importorskip("starlette", reason="the extra viewer is not installed")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")

DESK, PHONE = {"width": 1440, "height": 900}, {"width": 390, "height": 844}
PAINTED = 'html[data-frame]:not([data-frame=""])'


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as made:
        yield made


@pytest.fixture
def site(tmp_path: Path) -> Path:
    return tmp_path / "yard.toml"


@pytest.fixture
def state(site: Path) -> Iterator[Any]:
    made = scene.make_state(site_file=site)
    with scene.Player(made):
        yield made


@pytest.fixture
def url(state) -> Iterator[str]:
    with Server(application(state), port=0) as server:
        yield server.url


def opened(browser: Any, url: str, size: dict = DESK, *, scheme: str = "dark", phone: bool = False) -> Any:
    """A page whose first image is painted; its complaints are collected in `page.complaints`."""
    context = browser.new_context(viewport=size, color_scheme=scheme, has_touch=phone, is_mobile=phone)
    page = context.new_page()
    page.complaints = []
    page.on("console", lambda m: page.complaints.append(m.text) if m.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.set_default_timeout(8000)
    page.goto(url)
    page.wait_for_selector(PAINTED, state="attached")
    return page


@pytest.fixture
def page(browser, url) -> Iterator[Any]:
    made = opened(browser, url)
    yield made
    assert made.complaints == []
    made.context.close()


def application(state: Any) -> Any:
    from edgevid.viewer.app import viewer_app

    return viewer_app(state)


def at(page: Any, x: float, y: float) -> tuple[float, float]:
    """Where a point in frame pixels is in the window."""
    box = page.locator("#overlay").bounding_box()
    scale = min(box["width"] / 640, box["height"] / 360)
    left, top = (box["width"] - 640 * scale) / 2, (box["height"] - 360 * scale) / 2
    return box["x"] + left + x * scale, box["y"] + top + y * scale


def expect(page: Any, selector: str, words: str) -> None:
    api.expect(page.locator(selector)).to_contain_text(words)


def test_values_are_shown_and_abstentions_have_a_reason(page) -> None:
    expect(page, "#title", "yard.mp4 · made by hand")
    expect(page, "#notes", "A scene made for a test.")
    expect(page, "#connection", "playing")
    rows = page.locator("#objects tbody tr")
    api.expect(rows).to_have_count(3)
    api.expect(rows.nth(0)).to_have_text(re.compile(r"person 1walk 83\u202f%uncertain"))
    api.expect(rows.nth(1)).to_have_text(re.compile(r"person 2abstained: too smalltrack too short"))
    api.expect(rows.nth(2)).to_have_text(re.compile("car 752\u202f±\u202f2\u202fkm/h"))
    expect(page, "#timings-table", "detect12.00\u202fms")
    expect(page, "#events", "person 1 entered crossing")
    expect(page, "#events", "person 1: walk 83\u202f%")


def test_a_click_opens_an_object_and_escape_closes_it(page) -> None:
    page.mouse.click(*at(page, 495, 195))
    expect(page, "#object-title", "car 7")
    expect(page, "#object", "52\u202f±\u202f2\u202fkm/h ↑")
    expect(page, "#object", "predicted, not detected")
    expect(page, "#object", "42.5, 10.5 m")
    page.keyboard.press("Escape")
    api.expect(page.locator("#object")).to_be_hidden()


def test_the_keyboard_reaches_everything(page) -> None:
    for title in ("person 1", "person 2", "car 7", "person 1"):
        page.keyboard.press("n")
        expect(page, "#object-title", title)
    page.keyboard.press("p")
    expect(page, "#object-title", "car 7")
    page.keyboard.press("u")
    expect(page, "#object", "mph")
    for key, layer in (("b", "boxes"), ("t", "trails"), ("g", "grid"), ("z", "annotations")):
        button = page.locator(f'[data-layer="{layer}"]')
        before = button.get_attribute("aria-pressed")
        page.keyboard.press(key)
        api.expect(button).to_have_attribute("aria-pressed", "false" if before == "true" else "true")
    page.keyboard.press("l")
    expect(page, '[data-layer="labels"]', "short")
    page.keyboard.press("d")
    api.expect(page.locator("html")).to_have_attribute("data-theme", "light")
    page.keyboard.press("?")
    expect(page, "#help", "Pause or resume")
    page.keyboard.press("Escape")
    api.expect(page.locator("#help")).to_be_hidden()
    expect(page, "#object-title", "car 7")  # Escape closed the help alone
    page.keyboard.press("?")
    page.locator("#keys-on").uncheck()
    page.keyboard.press("Escape")
    page.keyboard.press("n")
    expect(page, "#object-title", "car 7")


def test_pause_stops_the_pipeline_and_a_step_lets_one_frame_through(page, state) -> None:
    page.keyboard.press(" ")
    expect(page, "#connection", "paused")
    page.wait_for_timeout(150)
    held = state.broadcast.published
    page.wait_for_timeout(200)
    assert state.broadcast.published == held
    page.locator("#step").click()
    page.wait_for_selector(f'html[data-frame="{held + 1}"]', state="attached")
    assert state.broadcast.published == held + 1
    page.locator("#pause").click()
    expect(page, "#connection", "playing")


def test_a_snapshot_contains_image_and_boxes(page, tmp_path: Path) -> None:
    with page.expect_download() as waiting:
        page.keyboard.press("s")
    assert re.fullmatch(r"edgevid[ _]yard\.mp4.*\.png", waiting.value.suggested_filename)
    waiting.value.save_as(tmp_path / "shot.png")
    image = cv2.imread(str(tmp_path / "shot.png"))
    assert image.shape == (720, 1280, 3)
    gray = np.ptp(image.astype(int), axis=2) < 12
    assert (~gray[120:480, 860:1120]).sum() > 200  # the colored corners of car 7, on a gray image


def test_a_zone_is_drawn_changed_and_deleted_and_the_site_file_follows(page, state, site: Path) -> None:
    page.keyboard.press("e")
    page.locator("#draw-zone").click()
    for point in ((420, 40), (600, 40), (600, 130), (420, 130)):
        page.mouse.click(*at(page, *point))
    page.keyboard.press("Enter")
    expect(page, "#editor", "Saved to the site file.")
    zone = read_site(site).zones[1]
    assert zone.name == "zone 1"
    assert np.allclose(zone.points, [(420, 40), (600, 40), (600, 130), (420, 130)], atol=1)
    page.locator("#annotation-name").fill("parking")
    page.locator("#annotation-name").press("Tab")
    page.locator("#annotation-dwell_s").fill("30")
    page.locator("#annotation-dwell_s").press("Tab")
    api.expect(page.locator("#editor ul")).to_contain_text("parking")
    wait_until(page, lambda: read_site(site).zones[1].dwell_s == 30)
    page.mouse.move(*at(page, 600, 130))
    page.mouse.down()
    page.mouse.move(*at(page, 620, 150), steps=3)
    page.mouse.up()
    wait_until(page, lambda: np.allclose(read_site(site).zones[1].points[2], (620, 150), atol=1.5))
    wait_until(page, lambda: "parking" in {one.name for one in state.monitor.zones})  # and it counts already
    page.locator("#editor-undo").click()
    wait_until(page, lambda: np.allclose(read_site(site).zones[1].points[2], (600, 130), atol=1.5))
    page.get_by_label("Delete parking").click()
    wait_until(page, lambda: [one.name for one in read_site(site).zones] == ["crossing"])


def test_a_line_takes_two_clicks_and_a_bad_polygon_is_rejected_with_a_reason(page, site: Path) -> None:
    page.keyboard.press("e")
    page.locator("#draw-line").click()
    page.mouse.click(*at(page, 350, 200))
    page.mouse.click(*at(page, 350, 340))
    wait_until(page, lambda: site.exists() and len(read_site(site).lines) == 2)
    page.locator("#annotation-points").fill("350, 340; 350, 200")
    page.locator("#annotation-points").press("Tab")
    wait_until(page, lambda: read_site(site).lines[1].start == (350, 340))
    page.locator("#draw-zone").click()
    for point in ((420, 40), (600, 130), (600, 40), (420, 130)):
        page.mouse.click(*at(page, *point))
    page.keyboard.press("Enter")
    expect(page, "#toast", "does not cross itself")
    page.complaints = [words for words in page.complaints if "422" not in words]


OTHERS = {"kind": "line", "name": "theirs", "ground": False, "points": [[500, 40], [500, 200]]}


def another_user_adds_a_line(state: Any) -> None:
    """Another viewer's edit, from the newest places."""
    now = state.annotations()
    state.set_annotations([*now["annotations"], OTHERS], now["version"])


def test_a_drag_does_not_take_away_what_another_user_drew_meanwhile(page, state, site: Path) -> None:
    page.keyboard.press("e")
    page.get_by_role("button", name="▱ crossing").click()
    page.mouse.move(*at(page, 300, 340))
    page.mouse.down()
    page.mouse.move(*at(page, 310, 345), steps=3)
    another_user_adds_a_line(state)
    page.wait_for_timeout(200)  # the broadcast is there
    page.mouse.move(*at(page, 320, 350), steps=3)
    page.mouse.up()
    expect(page, "#toast", "another user changed")
    expect(page, "#editor ul", "theirs")
    assert [one.name for one in read_site(site).lines] == ["gate", "theirs"]
    page.mouse.move(*at(page, 300, 340))  # and again, from what is there now
    page.mouse.down()
    page.mouse.move(*at(page, 320, 350), steps=3)
    page.mouse.up()
    wait_until(page, lambda: np.allclose(read_site(site).zones[0].points[2], (320, 350), atol=1.5))
    assert [one.name for one in read_site(site).lines] == ["gate", "theirs"]
    page.complaints = [words for words in page.complaints if "409" not in words]


def test_quick_changes_outrun_a_slow_server_and_none_is_lost(page, state, site: Path, monkeypatch) -> None:
    at_once = state.set_annotations

    def slowly(*given: Any) -> Any:
        time.sleep(0.25)
        return at_once(*given)

    monkeypatch.setattr(state, "set_annotations", slowly)
    page.keyboard.press("e")
    page.get_by_role("button", name="▱ crossing").click()
    page.mouse.move(*at(page, 300, 340))
    page.mouse.down()
    page.mouse.move(*at(page, 310, 340), steps=2)
    page.mouse.up()
    for _ in range(4):
        page.keyboard.press("ArrowRight")
        page.wait_for_timeout(90)
    wait_until(page, lambda: np.allclose(read_site(site).zones[0].points[2], (314, 340), atol=1.5))
    page.wait_for_timeout(600)
    assert np.allclose(read_site(site).zones[0].points[2], (314, 340), atol=1.5)


def test_undo_keeps_the_annotations_of_others(page, state, site: Path) -> None:
    page.keyboard.press("e")
    page.get_by_label("Delete gate").click()
    wait_until(page, lambda: site.exists() and not read_site(site).lines)
    another_user_adds_a_line(state)
    expect(page, "#editor ul", "theirs")
    page.locator("#editor-undo").click()
    expect(page, "#toast", "nothing to undo")
    assert [one.name for one in read_site(site).lines] == ["theirs"]


def test_what_is_being_typed_stays_when_another_user_draws(page, state) -> None:
    page.keyboard.press("e")
    page.get_by_role("button", name="▱ crossing").click()
    page.locator("#annotation-name").fill("half a na")
    another_user_adds_a_line(state)
    page.wait_for_timeout(200)
    api.expect(page.locator("#annotation-name")).to_have_value("half a na")
    assert "half a na" not in {one["name"] for one in state.annotations()["annotations"]}
    page.locator("#annotation-name").fill("crossing")
    page.locator("#annotation-name").press("Tab")
    expect(page, "#editor ul", "theirs")


def test_images_that_are_decoded_late_are_not_shown_after_newer_ones(browser, url: str) -> None:
    page = browser.new_page(viewport=DESK)
    page.add_init_script("""
        const made = window.createImageBitmap.bind(window);
        let calls = 0;
        window.shown = [];
        window.createImageBitmap = async (...given) => {
          if (calls++ % 2 === 0) await new Promise((done) => setTimeout(done, 250));
          return made(...given);
        };
        addEventListener("DOMContentLoaded", () => new MutationObserver(() =>
          window.shown.push(Number(document.documentElement.dataset.frame)),
        ).observe(document.documentElement, { attributeFilter: ["data-frame"] }));
    """)
    page.goto(url)
    wait_until(page, lambda: page.evaluate("window.shown.length") > 8)
    shown = page.evaluate("window.shown")
    assert shown == sorted(shown)
    page.close()


def wait_until(page: Any, condition: Any) -> None:
    for _ in range(300):  # a busy machine takes seconds
        try:
            if condition():
                return
        except (OSError, IndexError):
            pass
        page.wait_for_timeout(50)
    assert condition()


def test_a_live_camera_is_frozen_in_this_page_alone(browser) -> None:
    state = scene.make_state(live=True)
    with scene.Player(state), Server(application(state), port=0) as server:
        page = opened(browser, server.url)
        expect(page, "#connection", "live")
        page.keyboard.press(" ")
        expect(page, "#connection", "frozen")
        page.wait_for_timeout(100)
        shown, published = page.locator("html").get_attribute("data-frame"), state.broadcast.published
        page.wait_for_timeout(250)
        assert page.locator("html").get_attribute("data-frame") == shown
        assert state.broadcast.published > published
        page.keyboard.press(".")
        api.expect(page.locator("html")).not_to_have_attribute("data-frame", shown)
        page.context.close()


def test_the_page_reconnects(browser) -> None:
    state = scene.make_state()
    with scene.Player(state):
        with Server(application(state), port=0) as server:
            page, port = opened(browser, server.url), server.port
        expect(page, "#connection", "reconnecting")
        with Server(application(state), port=port):
            expect(page, "#connection", "playing")
        page.context.close()


def test_a_token_is_required_and_then_stored(browser, state) -> None:
    with Server(application(state), port=0, token="a-long-token") as server:
        page = browser.new_page()
        page.goto(server.address)
        assert blocking(page) == []
        page.locator("#token").fill("a-long-token")
        page.get_by_role("button", name="Open").click()
        page.wait_for_selector(PAINTED, state="attached")
        assert "token" not in page.url
        page.close()


def blocking(page: Any) -> list[str]:
    """Axe's faults that are serious or critical."""
    found = axe.Axe().run(page).response["violations"]
    return [
        f"{one['id']}: {node['html'][:120]}"
        for one in found
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"]
    ]


@pytest.mark.parametrize("scheme", ["dark", "light"])
@pytest.mark.parametrize("phone", [False, True], ids=["1440", "390"])
def test_no_serious_fault_of_accessibility(browser, url: str, scheme: str, phone: bool) -> None:
    page = opened(browser, url, PHONE if phone else DESK, scheme=scheme, phone=phone)
    page.keyboard.press("n")
    expect(page, "#object-title", "person 1")
    page.keyboard.press("e")
    page.get_by_role("button", name="▱ crossing").click()
    assert blocking(page) == []
    wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wide == 0  # nothing sticks out sideways
    page.keyboard.press("Escape")
    page.locator("#help-open").click()
    assert blocking(page) == []
    assert page.complaints == []
    page.context.close()


@pytest.fixture
def recorded(tmp_path: Path) -> Iterator[Any]:
    scene.make_recordings(tmp_path / "rec")
    made = scene.make_state(recordings=tmp_path / "rec")
    with scene.Player(made), Server(application(made), port=0) as server:
        made.url = server.url
        yield made


def test_an_event_of_before_has_a_card_whose_clip_plays(browser, recorded) -> None:
    page = opened(browser, recorded.url)
    cards = page.locator("#events li")
    api.expect(cards).to_have_count(2)
    expect(page, "#events li.card", "car 7 crossed gate ◂ backward, 72\u202f±\u202f2\u202fkm/h")
    wait_until(page, lambda: page.evaluate("document.querySelector('#events img').naturalWidth") == 260)
    page.locator("#events .clip").click()
    expect(page, "#player-title", "car 7 crossed gate")
    wait_until(page, lambda: page.evaluate("document.querySelector('video').currentTime") > 1.0)
    assert page.evaluate("document.querySelector('video').duration") == pytest.approx(6.0, abs=0.1)
    api.expect(page.locator("#screen")).to_be_hidden()
    with page.expect_download() as waiting:
        page.locator("#player-save").click()
    assert waiting.value.suggested_filename == "gate-00000001-20260131T120001Z-event.mp4"
    page.locator("#player-close").click()
    api.expect(page.locator("#screen")).to_be_visible()
    assert page.complaints == []
    page.context.close()


def test_an_object_that_is_gone_shows_its_best_moment(browser, recorded) -> None:
    page = opened(browser, recorded.url)
    page.locator("#events .shot").click()
    expect(page, "#moment-title", "car 7")
    wait_until(page, lambda: page.evaluate("document.querySelector('#moment img').naturalWidth") == 260)
    page.get_by_role("button", name="Without drawing").click()
    assert "drawn" not in page.evaluate("document.querySelector('#moment img').src")
    assert blocking(page) == []
    page.keyboard.press("Escape")
    api.expect(page.locator("#moment")).to_be_hidden()
    page.context.close()


def test_events_are_filtered_by_the_keyboard_alone(browser, recorded) -> None:
    page = opened(browser, recorded.url)
    page.locator(".filters summary").focus()
    page.keyboard.press("Enter")
    page.locator("[name=class]").focus()
    page.keyboard.press("p")  # person
    api.expect(page.locator("#events li")).to_have_count(1)
    expect(page, "#events", "person 8 entered crossing")
    page.locator("[name=min_kmh]").focus()
    page.keyboard.type("50")
    expect(page, "#events-none", "No event passes this filter.")
    page.locator("#events-clear").focus()
    page.keyboard.press("Enter")
    api.expect(page.locator("#events li")).to_have_count(2)
    page.context.close()


@pytest.mark.parametrize("scheme", ["dark", "light"])
@pytest.mark.parametrize("phone", [False, True], ids=["1440", "390"])
def test_recordings_on_the_timeline_are_reached_and_accessible(browser, recorded, scheme: str, phone: bool) -> None:
    page = opened(browser, recorded.url, PHONE if phone else DESK, scheme=scheme, phone=phone)
    slider = page.locator("#timeline-at")
    api.expect(slider).to_be_visible()
    page.locator(".filters summary").click()
    assert blocking(page) == []
    wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wide == 0
    page.wait_for_timeout(300)  # the list of recordings is there
    slider.focus()
    page.keyboard.press("ArrowLeft")
    expect(page, "#player-title", "Recording · gate")
    wait_until(page, lambda: page.evaluate("document.querySelector('video').readyState") >= 2)
    assert blocking(page) == []
    page.locator("#player-close").click()
    assert page.complaints == []
    page.context.close()


def test_a_card_is_used_by_the_keyboard_alone(browser, recorded) -> None:
    page = opened(browser, recorded.url)
    page.locator("#events .shot").focus()
    page.keyboard.press("Enter")
    expect(page, "#moment-title", "car 7")
    page.keyboard.press("Escape")
    for _ in range(2):  # the object, then its clip
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page, "#player-title", "car 7 crossed gate")
    wait_until(page, lambda: page.evaluate("document.querySelector('video').currentTime") > 0.1)
    page.keyboard.press("Escape")  # the video has the focus
    api.expect(page.locator("#screen")).to_be_visible()
    page.locator("#events .clip").focus()
    page.keyboard.press("Tab")
    with page.expect_download() as waiting:
        page.keyboard.press("Enter")
    assert waiting.value.suggested_filename == "gate-00000001-20260131T120001Z-event.mp4"
    page.locator("#timeline-at").focus()
    page.keyboard.press("ArrowLeft")
    expect(page, "#player-title", "Recording · gate")
    page.keyboard.press("Escape")
    api.expect(page.locator("#screen")).to_be_visible()
    page.context.close()


def test_an_object_of_an_earlier_round_is_not_taken_for_the_one_with_its_number_now(browser) -> None:
    state = scene.make_state()
    with scene.Player(state), Server(application(state), port=0) as server:
        page = opened(browser, server.url)
        expect(page, "#events time >> nth=0", "0:00.0")
        state.broadcast.send(type="rounds", rounds=[(0.0, 0.0), (1000.0, 0.0)])
        expect(page, "#events time >> nth=0", "1 · 0:00.0")
        page.locator("#events li button").first.click()
        expect(page, "#toast", "is no longer tracked")
        page.context.close()


def test_a_camera_that_is_away_is_not_called_live(browser) -> None:
    state = scene.make_state(live=True)
    with scene.Player(state), Server(application(state), port=0) as server:
        page = opened(browser, server.url)
        expect(page, "#connection", "live")
        for number, kind, text in ((1, "stream-lost", "stream lost"), (2, "stream-back", "live")):
            state.add_event(dataclasses.replace(an_event(number), kind=kind))
            expect(page, "#connection", text)
        page.context.close()


def test_an_operator_may_edit_after_the_size_of_the_stream_changed(page, state) -> None:
    width, height = state.size
    state.resize((width * 2, height * 2))
    sized = "async (width) => (await import('/static/state.js')).state.hello.size[0] === width"
    page.wait_for_function(sized, arg=width * 2)
    api.expect(page.locator("#edit")).to_be_visible()


def test_those_who_may_only_look_are_not_offered_more(browser, state) -> None:
    tokens = {"token": "of-operators", "viewer_token": "of-viewers"}
    with Server(application(state), port=0, **tokens) as server:
        page = opened(browser, f"{server.address}?token=of-viewers")
        api.expect(page.locator("#edit")).to_be_hidden()
        api.expect(page.locator("#pause")).to_be_disabled()
        page.context.close()


def test_a_verdict_is_rated_by_keyboard_and_the_rating_is_shown(browser, state, tmp_path: Path) -> None:
    state.review = Review(tmp_path, later=True)
    with Server(application(state), port=0, token="operator-token", viewer_token="visitor-token") as server:
        page = opened(browser, f"{server.address}?token=operator-token")
        card = page.locator("#events li:has(.rating)")
        api.expect(card).to_have_count(1)  # the other event names no verdict
        card.get_by_role("button", name="person 1", exact=True).focus()
        for key, rating in (("r", "Right"), ("w", "Wrong")):
            page.keyboard.press(key)
            api.expect(card.locator("[aria-pressed=true]")).to_have_text(rating)
        (vote,) = state.review.rows("SELECT * FROM votes")
        assert (vote["item"].split("~", 1)[1], vote["label"]) == ("action~1~walk", "(wrong)")
        assert [fault["id"] for fault in axe.Axe().run(page).response["violations"]] == []
        visitor = opened(browser, f"{server.address}?token=visitor-token")
        expect(visitor, "#events .rating", "Rated: Wrong")
        assert visitor.locator("#events .rating button").count() == 0
        visitor.click("#tabs >> text=Review")
        expect(visitor, "#agreement", "Ratings of events: 0 right, 1 wrong.")
        expect(visitor, "#none", "No verdict to review yet.")
        assert visitor.locator("#confirm").is_hidden()
        visitor.click("#tabs >> text=Live")
        visitor.wait_for_selector(PAINTED, state="attached")
        visitor.complaints = [words for words in visitor.complaints if "422" not in words]  # no audit sample
        assert page.complaints == visitor.complaints == []
