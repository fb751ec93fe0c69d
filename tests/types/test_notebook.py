"""How values show themselves: a few lines in a terminal, tables and images in Jupyter."""

from __future__ import annotations

from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
from event_samples import an_event
from result_samples import sample_result

from edgevid.types import Clips, Detections, Event, Frame, Mask, SpeedReport, Tracks
from edgevid.video.images import read_image


class Cells(HTMLParser):
    """The texts of a table's cells, by row; fails where elements are not closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.open: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1] in ("td", "th"):
            self.rows[-1][-1] += data


def test_a_result_in_a_terminal_is_a_few_lines() -> None:
    _, result = sample_result(2)
    assert str(result) == (
        "Result: frame 4, 0.160 s, 640x360, 2 tracks, 0 detections, 0 events\n"
        "  id  class   score  box                speed           action\n"
        "  1   person  0.9    64, 108, 128, 288  10.0 ± 0.5 m/s  run\n"
        "  2   person  0.9    512, 108, 576, 288  OFF_PLANE       TOO_SMALL"
    ).replace("64, 108, 128, 288  10", "64, 108, 128, 288   10").replace("box      ", "box       ")
    _, large = sample_result(1000)
    assert len(str(large).splitlines()) == 11
    assert str(large).endswith("... 992 more")
    assert max(map(len, str(large).splitlines())) < 110


def test_tables_show_the_columns_that_have_values() -> None:
    table = Detections.of(boxes=[[0, 1, 2, 3.25]], scores=[0.5], labels=[7])
    assert repr(table) == "Detections: 1 row\n  box            score  label\n  0, 1, 2, 3.25  0.5    7"
    assert repr(Tracks.empty()) == "Tracks: 0 rows"
    masks = np.empty(1, object)
    masks[0] = Mask(np.ones((2, 2), bool), 0, 0)
    masked = replace(table, masks=masks)
    assert repr(masked).splitlines()[1].split() == ["box", "score", "label", "mask"]
    clips = Clips.of(ids=[3], pixels=np.zeros((1, 16, 8, 8, 3)), times=np.zeros((1, 16)), boxes=np.zeros((1, 16, 4)))
    assert "uint8 (16, 8, 8, 3)" in repr(clips)
    assert len(repr(SpeedReport()).splitlines()) == 3


def test_html_is_well_formed_escaped_and_cut_with_a_count() -> None:
    _, result = sample_result(100)
    result = replace(result, names={"class": ("<b>&person",), "action": ("walk", "run")},
                     events=(an_event(1, class_name="<script>", place="gate"),))  # fmt: skip
    text = result._repr_html_()
    cells = Cells(text).rows
    assert cells[0] == ["id", "class", "score", "box", "speed", "action"]
    assert cells[1][:2] == ["1", "<b>&person"]
    assert cells[-1] == ["cross", "2026-01-31T12:00:01.000Z", "<script>", "gate"]
    assert len(cells) == 1 + 24 + 2
    assert "... 76 more" in text
    assert "<script>" not in text
    assert len(Cells(result.speeds._repr_html_()).rows) == 25 + 0 + 2


def test_an_event_shows_only_what_it_has() -> None:
    assert repr(an_event(1, track=7)) == (
        "Event(id='gate-1-000001', kind='cross', utc='2026-01-31T12:00:01.000Z', time_s=1.0, camera='gate', "
        "run='gate-1', track=7)"
    )
    assert eval(repr(an_event(1, track=7)), {"Event": Event}) == an_event(1, track=7)


@pytest.mark.parametrize("size", [(7, 5), (2560, 3)])
def test_a_frame_is_a_png_of_its_pixels(size: tuple[int, int], tmp_path: Any) -> None:
    image = np.random.default_rng(1).integers(0, 256, (size[1], size[0], 3), np.uint8)
    (tmp_path / "a.png").write_bytes(Frame(image, 0.0, 0)._repr_png_())
    step = -(-size[0] // 1280)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), image[::step, ::step])


def test_jupyter_takes_what_they_offer() -> None:
    formatters = pytest.importorskip("IPython.core.formatters", reason="needs IPython: pip install ipython")
    offered = formatters.DisplayFormatter()
    frame, result = sample_result()
    for value in (result, result.tracks, result.detections, result.speeds, result.verdicts["action"]):
        found, _ = offered.format(value)
        assert {"text/plain", "text/html"} == set(found)
        assert found["text/html"].startswith(("<table>", "<h4>"))
    assert {"text/plain", "image/png"} == set(offered.format(frame)[0])
