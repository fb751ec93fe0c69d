"""The page of a comparison in a real headless Chromium, which draws it: what it shows, and that it fetches nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chromium import chromium
from compare_samples import always, engine, frames, recipe

from edgevid.optimize.compare.gate import ParityReport, compare_engines, write_report

MISSED, MATCHED, EXTRA = (16, 16, 20, 20, 0.9, 0), (48, 48, 20, 20, 0, 0.9), (48, 16, 20, 20, 0.8, 0)
CONDITIONS = {"processor": "made <up>", "versions": {"numpy": "2"}}
Opened = Callable[[ParityReport], Any]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as made:
        yield made


@pytest.fixture
def opened(browser: Any, tmp_path: Path) -> Iterator[Opened]:
    """Opens the page of a report; it must fetch nothing and report no error."""
    page, faults = browser.new_page(), list[str]()
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("request", lambda request: faults.append(request.url))

    def show(report: ParityReport) -> Any:
        path = write_report(report, tmp_path / "r.html", CONDITIONS)
        page.goto(path.as_uri())
        assert [fault for fault in faults if not fault.startswith(("file:", "data:"))] == []
        return page

    yield show
    page.close()


def report(**more: Any) -> ParityReport:
    a, b = always(MISSED, MATCHED), always((*MATCHED[:5], 0.7), EXTRA)
    return compare_engines(a, b, recipe(names=("person", "a & b")), frames(2), names=("fp32", "int8 <new>"), **more)


def marks(page: Any, side: int) -> list[tuple[str, str, str]]:
    """Kind, tooltip and label of each mark on the first frame of one model."""
    script = "all => all.map(g => [g.className.baseVal, g.querySelector('title').textContent, " \
             "g.querySelector('text')?.textContent ?? ''])"  # fmt: skip
    found = page.locator(".pair").first.locator("svg").nth(side)
    return [tuple(row) for row in found.locator("g").evaluate_all(script)]


def test_the_page_shows_result_metrics_and_conditions(opened: Opened) -> None:
    page = opened(report())
    text = page.inner_text("main")
    assert page.title() == "int8 <new> against fp32"
    assert "Rejected" in text
    assert "int8 <new> agrees with fp32 on 50.0 % of 8 boxes at IoU 0.5" in text
    for shown in ("50.0 %", "floor 99.0 %, the default for fp32", "2 missed, 2 extra", "0 of 2", "0.200"):
        assert shown in page.inner_text(".cards")
    assert page.locator(".scatter circle").count() == 2
    assert page.locator("table").last.inner_text() == "processor\tmade <up>\nversions\tnumpy 2"
    assert page.locator(".grid th").all_inner_texts()[:3] == ["output", "max |a-b|", "mean |a-b|"]
    assert page.locator(".grid tbody tr").count() == 1
    passed = opened(report(min_agreement=0.4))
    assert passed.locator(".passed .verdict b").inner_text() == "Passed"
    assert passed.locator(".bar i").bounding_box()["width"] > passed.locator(".bar u").bounding_box()["x"] / 2


def test_the_marks_distinguish_missed_from_extra(opened: Opened) -> None:
    page = opened(report())
    assert page.locator("article").count() == 2
    assert marks(page, 0) == [
        ("matched", "a & b: 0.90 and 0.70", "0.90"),
        ("missed", "missed: person 0.90", "person 0.90"),
        ("absent", "absent here: person 0.80", ""),
    ]
    assert marks(page, 1) == [
        ("matched", "a & b: 0.90 and 0.70", "0.70"),
        ("absent", "absent here: person 0.90", ""),
        ("extra", "extra: person 0.80", "person 0.80"),
    ]
    missed, absent = (page.locator(f".{kind} rect.box").first.bounding_box() for kind in ("missed", "absent"))
    image = page.locator("article image").first.bounding_box()
    assert [missed[k] - image[k] for k in "xy"] == pytest.approx([6 / 64 * image["width"]] * 2, abs=3)
    assert absent["y"] == pytest.approx(missed["y"], abs=3)


@pytest.mark.parametrize(("score", "label"), [(0.85, ""), (0.75, "0.75")])
def test_a_score_is_written_where_it_drifted_by_a_tenth(opened: Opened, score: float, label: str) -> None:
    made = compare_engines(always(MATCHED), always((*MATCHED[:5], score)), recipe(), frames(), min_agreement=0.0)
    assert marks(opened(made), 1) == [("matched", f"car: 0.90 and {score:.2f}", label)]


def test_joints_of_poses_are_small_squares(opened: Opened) -> None:
    pose = np.tile(np.array([0.5, 0.5, 0.9], np.float32), (1, 1, 17, 1))  # y, x, score
    moved = pose.copy()
    moved[0, 0, 3, :2] = 0.75
    moved[0, 0, 4, 2] = 0.2  # not detected: neither model's joint is matched, and only one is drawn
    a, b = (engine(lambda _, made=made: made, shape=(1, 1, 17, 3)) for made in (pose, moved))
    page = opened(compare_engines(a, b, recipe(task="pose", decode=None, names=()), frames()))
    left, right = marks(page, 0), marks(page, 1)
    assert sum(kind == "matched" for kind, *_ in left) == 15
    assert [text for kind, text, _ in left if kind == "missed"] == ["joint 3: 0.90", "joint 4: 0.90"]
    assert [text for kind, text, _ in right if kind == "extra"] == ["joint 3: 0.90"]


def test_classes_are_named_and_have_no_marks(opened: Opened) -> None:
    a, b = (engine(lambda _, row=row: np.array([row], np.float32), shape=(1, 2)) for row in ((2, 0), (np.nan, 2)))
    page = opened(compare_engines(a, b, recipe(task="classify", decode=None, names=("cat", "dog")), frames()))
    assert page.locator("em").all_inner_texts() == ["cat 0.88", "not finite nan"]
    assert marks(page, 0) == []


def test_engines_that_agree_have_no_worst_frames(opened: Opened) -> None:
    page = opened(compare_engines(always(MATCHED), always(MATCHED), recipe(), frames()))
    assert "No frame differs" in page.inner_text("main")
    assert page.locator("article").count() == 0
