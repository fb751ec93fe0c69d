"""Options that several commands share."""

from __future__ import annotations

import pytest

from edgevid.cli.options import check_unit, one_source, parse_lines, parse_size, split_names
from edgevid.errors import InputError
from edgevid.zones import Line


def test_names_are_separated_by_commas() -> None:
    assert split_names(" person, car ,,traffic light") == ("person", "car", "traffic light")
    assert split_names(" , ") == split_names("") == ()


def test_a_unit_is_one_that_the_overlay_draws() -> None:
    for unit in ("km/h", "mph", "m/s"):
        check_unit(unit)
    with pytest.raises(InputError, match=r"unit: expected one of km/h, mph, m/s, got 'knots'"):
        check_unit("knots")


def test_a_list_that_was_given_without_a_name_is_a_mistake() -> None:
    assert split_names(None, "--classes") == ()
    for text in ("", " , "):
        with pytest.raises(InputError, match="--classes: expected names"):
            split_names(text, "--classes")


def test_a_source_is_given_once() -> None:
    assert one_source("a.mp4", "") == one_source("", "a.mp4") == one_source("a.mp4", "a.mp4") == "a.mp4"
    with pytest.raises(InputError, match=r"got a.mp4 and b.mp4"):
        one_source("a.mp4", "b.mp4")
    with pytest.raises(InputError, match=r"got none.*`edgevid x`"):
        one_source("", "", example="edgevid x")


def test_a_size_is_a_side_or_height_and_width() -> None:
    assert [parse_size(text, "--imgsz") for text in ("640", "384x640", "384,640")] == [640, (384, 640), (384, 640)]
    for text in ("0", "axb", "1x2x3", "", "-5"):
        with pytest.raises(InputError, match="--imgsz: expected pixels"):
            parse_size(text, "--imgsz")


def test_lines_of_the_command_line() -> None:
    found = parse_lines(["0,300,640,300", "gate=0,0.5,1,0.5"])
    assert found == (Line("line 1", (0, 300), (640, 300)), Line("gate", (0, 0.5), (1, 0.5), relative=True))
    assert parse_lines(None) == ()


@pytest.mark.parametrize("text", ["", "1,2,3", "a,b,c,d", "1,2,3,nan", "gate=1 2 3 4"])
def test_what_is_no_line_is_one_sentence(text: str) -> None:
    with pytest.raises(InputError, match=r"--line: expected x1,y1,x2,y2, such as 0,300,640,300 in pixels"):
        parse_lines([text])
