"""The review page in a real headless Chromium, by keyboard alone; needs what tests/viewer/test_browser.py needs."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import review_samples as samples
from chromium import chromium

from edgevid.insight.review import Review

pytest.importorskip("starlette", reason="the extra viewer is not installed")

from edgevid.viewer.review import review_app
from edgevid.viewer.serve import Server

axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")

WAIT_MS = 15_000


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as made:
        yield made


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return samples.write_folder(tmp_path_factory.mktemp("review") / "kept", 18, audit=0.4)


@pytest.fixture
def review(written: Path, tmp_path: Path) -> Iterator[Review]:
    with Review(shutil.copytree(written, tmp_path / "kept")) as made:
        made.group()
        yield made


@pytest.fixture
def url(review: Review) -> Iterator[str]:
    with Server(review_app(review), port=0) as server:
        yield server.url


def opened(browser: Any, url: str, name: str, *, width: int = 1440, scheme: str = "dark") -> Any:
    """A page whose reviewer has typed a name."""
    page = browser.new_context(viewport={"width": width, "height": 860}, color_scheme=scheme).new_page()
    page.complaints = []
    page.on("console", lambda m: page.complaints.append(m.text) if m.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.set_default_timeout(WAIT_MS)
    page.goto(url)
    page.wait_for_selector("html[data-ready]")
    page.keyboard.type(name)
    page.keyboard.press("Enter")
    return page


def label_all(page: Any, review: Review, most: int = 500) -> int:
    """Labels what the page shows by digits and Enter until its queue is empty; the number of keys."""
    tracks, keys = {row["id"]: row["track"] for row in review.rows("SELECT id, track FROM items")}, 0
    while (item := page.evaluate("document.documentElement.dataset.item")) and keys < most:
        group = page.locator(".card").count()
        for key in [str(samples.truth(tracks[item]) + 1), *(["Enter"] if group > 1 else [])]:
            page.keyboard.press(key)
            keys += 1
    return keys


def saved(page: Any) -> None:
    page.wait_for_selector("#saved:text-is('saved')")


def test_all_is_labeled_by_keyboard_look_alikes_together(browser: Any, url: str, review: Review) -> None:
    page = opened(browser, url, "ann")
    keys = label_all(page, review)
    saved(page)
    items = review.rows("SELECT * FROM items")
    votes = {row["item"]: row["label"] for row in review.rows("SELECT * FROM votes WHERE reviewer = 'ann'")}
    assert votes == {row["id"]: samples.NAMES[samples.truth(row["track"])] for row in items}
    assert keys < 2 * len(items)
    assert "of the verdicts were wrong (95 %)" in page.text_content("#audit")
    assert page.complaints == []


def test_undo_by_both_keys_a_single_one_changed_and_one_taken_out(browser: Any, url: str, review: Review) -> None:
    page = opened(browser, url, "ann")
    for _ in range(18):
        if (cards := page.locator(".card").count()) >= 3:
            break
        page.keyboard.press("ArrowDown")
    assert cards >= 3
    page.keyboard.press("1")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("3")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Backspace")
    page.keyboard.press("Enter")
    saved(page)
    labels = sorted(row["label"] for row in review.rows("SELECT label FROM votes"))
    assert labels == sorted(["circle"] * (cards - 2) + ["cross"])
    page.keyboard.press("n")
    saved(page)
    before = len(review.rows("SELECT * FROM votes"))
    page.keyboard.press("u")
    page.wait_for_selector("#toast:has-text('Undone')")
    assert len(review.rows("SELECT * FROM votes")) < before
    page.keyboard.press("Control+z")
    page.wait_for_selector("#count:text-matches('^0 of')")
    assert review.rows("SELECT * FROM votes") == []
    assert page.complaints == []


def test_enter_rates_the_model_right_and_blind_hides_its_answer(browser: Any, url: str, review: Review) -> None:
    page = opened(browser, url, "ann")
    page.select_option("[name=kind]", "audit")
    page.locator("#stage-title").focus()
    shown = page.evaluate("document.documentElement.dataset.item")
    page.keyboard.press("Enter")
    saved(page)
    (vote,) = review.rows("SELECT v.*, i.label AS model FROM votes v JOIN items i ON i.id = v.item")
    assert (vote["item"], vote["label"], vote["blind"]) == (shown, vote["model"], 0)
    page.keyboard.press("b")
    page.wait_for_selector("#facts:has-text('hidden')")
    assert page.locator("#confirm").is_disabled()
    assert page.locator("#classes .share:text('%')").count() == 0
    page.keyboard.press("Enter")
    page.keyboard.press("2")
    saved(page)
    assert [row["blind"] for row in review.rows("SELECT blind FROM votes ORDER BY id")] == [0, 1]


def test_the_second_pass_is_blind_and_its_agreement_is_stated(browser: Any, url: str, review: Review) -> None:
    for row in review.rows("SELECT * FROM items"):
        review.decide(row["id"], "ann", {row["id"]: samples.NAMES[samples.truth(row["track"])]})
    page = opened(browser, url, "ann")
    page.select_option("[name=queue]", "second")
    page.locator("#stage-title").focus()
    page.wait_for_selector("#facts:has-text('hidden')")
    label_all(page, review)
    saved(page)
    rows = review.rows("SELECT * FROM votes WHERE pass = 2")
    assert len(rows) == len(review.rows("SELECT * FROM second_pass")) > 0
    assert all(row["blind"] for row in rows)
    page.wait_for_selector(f"#agreement:has-text('first and second pass: {len(rows)} items, agreement 100.0 %')")


def test_two_reviewers_at_once_share_the_work(browser: Any, url: str, review: Review) -> None:
    pages = [opened(browser, url, name) for name in ("ann", "bob")]
    tracks = {row["id"]: row["track"] for row in review.rows("SELECT id, track FROM items")}
    for turn in range(200):
        left = [page.evaluate("document.documentElement.dataset.item") for page in pages]
        if not any(left):
            break
        page, item = pages[turn % 2], left[turn % 2]
        if item:
            page.keyboard.press(str(samples.truth(tracks[item]) + 1))
            page.keyboard.press("Enter") if page.locator(".card[aria-current=true]").count() else None
    for page in pages:
        saved(page)
    assert len(review.rows("SELECT * FROM answers")) == len(tracks)
    assert {row["reviewer"] for row in review.rows("SELECT DISTINCT reviewer FROM votes")} == {"ann", "bob"}


def test_what_the_server_did_not_answer_is_sent_again(browser: Any, url: str, review: Review) -> None:
    page = opened(browser, url, "ann")
    page.route("**/api/review", lambda route: route.abort())
    page.keyboard.press("1")
    page.keyboard.press("Enter")
    page.wait_for_selector("#problem:has-text('Not saved yet')")
    assert review.rows("SELECT * FROM decisions") == []
    page.unroute("**/api/review")
    saved(page)
    assert page.locator("#problem").is_hidden()
    assert len(review.rows("SELECT DISTINCT batch FROM decisions")) >= 1


@pytest.mark.parametrize(("width", "scheme"), [(1440, "dark"), (390, "light")])
def test_axe_finds_no_fault(browser: Any, url: str, width: int, scheme: str) -> None:
    page = opened(browser, url, "ann", width=width, scheme=scheme)
    for key in ("1", "Enter", "ArrowDown"):
        page.keyboard.press(key)
    saved(page)
    found = axe.Axe().run(page).response["violations"]
    assert [(fault["id"], fault["impact"]) for fault in found] == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.keyboard.press("?")
    page.wait_for_selector("#help[open]")
    assert [fault["id"] for fault in axe.Axe().run(page).response["violations"]] == []
