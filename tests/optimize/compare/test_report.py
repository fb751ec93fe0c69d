"""Comparison reports: what they show, and that they are self-contained."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from edgevid.errors import InputError
from edgevid.optimize.compare.gate import ParityReport, compare_engines
from edgevid.optimize.compare.report import check_target, page, write_report
from edgevid.runtime import FakeEngine, Recipe, TensorSpec
from edgevid.runtime.engine import InputSpec
from edgevid.runtime.recipe import Decode
from edgevid.types import Frame

SPEC = InputSpec(64, 64, std=(1.0, 1.0, 1.0))
DECODE = Decode("yolo", layout="rows", score_threshold=0.5, nms_iou=0.5)
MISSED, MATCHED, EXTRA = (16, 16, 20, 20, 0.9, 0), (48, 48, 20, 20, 0, 0.9), (48, 16, 20, 20, 0.8, 0)


def engine(*boxes: tuple[float, ...], width: int = 6, shape: tuple[int, ...] | None = None) -> FakeEngine:
    made = np.zeros(shape or (1, 8, width), np.float32)
    made.reshape(-1, made.shape[-1])[: len(boxes)] = np.reshape(boxes, (-1, made.shape[-1]))
    image = TensorSpec("images", (1, 3, 64, 64), np.dtype(np.float32))
    out = TensorSpec("output <1>", made.shape, np.dtype(np.float32))
    return FakeEngine((image,), (out,), lambda _: {"output <1>": made})


def recipe(task: str = "detect", names: tuple[str, ...] = ("person", "a & b")) -> Recipe:
    decode = DECODE if task == "detect" else None
    return Recipe("test", task, "test.onnx", Path("test"), input=SPEC, decode=decode, names=names)


def report(**more: float) -> ParityReport:
    frames = [Frame(np.full((64, 128, 3), 90, np.uint8), float(n), n) for n in range(2)]
    a, b = engine(MISSED, MATCHED), engine((*MATCHED[:5], 0.7), EXTRA)
    return compare_engines(a, b, recipe(), frames, names=("fp32", "int8 <new>"), **more)


class Tags(HTMLParser):
    """Open tags minus closed ones, and what would be fetched."""

    EMPTY = ("meta", "br", "image", "rect", "use", "circle", "path", "img")
    # The page leaves out </p> nowhere, so every other tag must be closed.

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [v or "" for k, v in attrs if k in ("href", "src")]
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [v or "" for k, v in attrs if k in ("href", "src")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_whole_and_fetches_nothing() -> None:
    text = page(report(), {"processor": "made <up>", "versions": {"numpy": "2"}})
    tags = Tags(text)
    assert tags.open == []
    assert all(link.startswith(("data:image/jpeg;base64,", "#")) for link in tags.links)
    assert "http" not in text
    assert len([link for link in tags.links if link.startswith("data:")]) == 2  # once a frame, used twice


def test_the_page_shows_result_metrics_and_conditions() -> None:
    text = page(report(), {"processor": "made <up>", "versions": {"numpy": "2"}})
    assert "Rejected" in text
    assert "int8 &lt;new&gt; agrees with fp32 on 50.0 % of 8 boxes" in text
    assert "2 missed, 2 extra" in text
    assert "made &lt;up&gt;" in text
    assert "numpy 2" in text
    assert "output &lt;1&gt;" in text
    assert "prefers-color-scheme:dark" in text
    assert ">Passed<" in page(report(min_agreement=0.4), {})


def test_engines_that_agree_have_no_worst_frames() -> None:
    frames = [Frame(np.zeros((64, 64, 3), np.uint8), 0.0, 0)]
    same = compare_engines(engine(MATCHED), engine(MATCHED), recipe(), frames)
    text = page(same, {})
    assert "No frame differs" in text
    assert '<svg viewBox="0 0 64 64"' not in text


def test_reports_of_classifiers_name_both_classes(tmp_path: Path) -> None:
    how = recipe("classify", ("cat", "dog"))
    a, b = (engine(row, shape=(1, 2)) for row in ((2, 0), (0, 2)))
    made = compare_engines(a, b, how, [np.zeros((20, 30, 3), np.uint8)])
    assert re.search(r"<em> cat 0\.88</em>.*<em> dog 0\.88</em>", page(made, {}), re.DOTALL)


def test_reports_are_written_by_their_suffix(tmp_path: Path) -> None:
    made = report()
    assert write_report(made, tmp_path / "r.html").read_text(encoding="utf-8").startswith("<!doctype html>")


def test_targets_that_cannot_be_written_are_errors_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"ends in \.html"):
        check_target(tmp_path / "r.png")
    with pytest.raises(InputError, match="there is no folder"):
        check_target(tmp_path / "absent" / "r.html")
