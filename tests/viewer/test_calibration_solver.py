"""What the calibration page gets for its points: grid, errors and warnings, or one sentence."""

from __future__ import annotations

import json

import numpy as np
import pytest

from edgevid.speed.calibration import make_calibration, rectangle
from edgevid.viewer.calibration import _cell, from_page, solve, to_page

SIZE = (960, 540)
CORNERS = [[200, 450], [750, 450], [550, 200], [400, 200]]
BODY = {"mode": "rectangle", "rectangle": CORNERS, "width": 7, "length": 30}


@pytest.mark.parametrize(
    ("change", "words", "incomplete"),
    [
        ({"width": None}, "Enter the rectangle's width", True),
        ({"width": 0}, "positive size", False),
        ({"width": "seven"}, "a number for width", False),
        ({"width": True}, "a number for width", False),
        ({"length": 1e9}, "below a million", False),
        ({"rectangle": CORNERS[:3]}, "4 to 200 points", False),
        ({"rectangle": [*CORNERS, [1, 2]]}, "4 corners", False),
        ({"rectangle": [[1, 2, 3]] * 4}, "4 to 200 points", False),
        ({"rectangle": [CORNERS[n] for n in (0, 1, 3, 2)]}, "cross over", False),
        ({"region": [[0, 0], [9, 9]]}, "3 to 200 points", False),
        ({"region": [[0, 0], [900, 500], [900, 0], [0, 500]]}, "cross itself", False),
        ({"region": [[0, 1], [950, 1], [950, 500]]}, "beyond the horizon", False),
        ({"lens": {"k1": 4}}, "K1 from -1 to 1", False),
        ({"lens": 3}, "object as lens", False),
        ({"mode": "points", "points": 3}, "a list of", False),
        ({"mode": "points", "points": [{"u": 1, "v": 2, "x": None, "y": 2}]}, "1 without meters", True),
    ],
)
def test_each_mistake_is_one_sentence(change: dict, words: str, incomplete: bool) -> None:
    answer = solve({**BODY, **change}, SIZE)
    assert not answer["ok"]
    assert words.lower() in answer["error"].lower()
    assert answer["incomplete"] is incomplete


def test_points_need_all_their_meters() -> None:
    rows = [{"u": u, "v": v, "x": x, "y": y} for (u, v), (x, y) in zip(CORNERS, rectangle(7, 30), strict=True)]
    assert solve({"mode": "points", "points": rows}, SIZE)["ok"]
    answer = solve({"mode": "points", "points": [*rows, {"u": 5, "v": 5, "x": 1, "y": None}]}, SIZE)
    assert answer["error"] == "Enter the meters of point 5, or remove it"
    for key, number in (("u", 3), ("y", 4)):
        wrong = [{**row, key: "a"} if n == number else row for n, row in enumerate(rows, 1)]
        answer = solve({"mode": "points", "points": wrong}, SIZE)
        assert answer["error"] == f"Expected a number for point {number}, got 'a'"


def test_an_existing_calibration_comes_back_as_it_was() -> None:
    area = [[150, 480], [800, 480], [560, 190], [390, 190]]
    made = from_page({**BODY, "region": area, "lens": {"k1": -0.05, "focal": 900}}, SIZE)
    page = to_page(made)
    assert page["mode"] == "rectangle"
    assert (page["width"], page["length"]) == (7, 30)
    assert page["region"] == area
    again = from_page(page, SIZE)
    np.testing.assert_allclose(again.homography, made.homography)
    meters = np.vstack([rectangle(7, 30), [[3.5, 10]]])
    pixels = np.vstack([CORNERS, made.image[:1] * 0 + [470, 330]])
    five = to_page(make_calibration(pixels, meters, SIZE))
    assert five["mode"] == "points"
    assert len(five["points"]) == 5
    assert five["region"] is None


def test_a_rectangle_gives_the_grid_and_the_report_of_its_calibration() -> None:
    answer = solve(BODY, SIZE)
    made = make_calibration(np.array(CORNERS, float), rectangle(7, 30), SIZE)
    assert (answer["ok"], answer["exact"], answer["outliers"]) == (True, True, [])
    assert [round(one["px"], 6) for one in answer["errors"]] == [0, 0, 0, 0]
    np.testing.assert_allclose(
        answer["region"], np.array(made.region.exterior.coords)[:-1], atol=0.05001
    )  # rounded to a tenth
    assert [one["place"] for one in answer["scales"]] == ["near", "middle", "far"]
    for one in answer["scales"]:
        expected = made.ground_sample_distance(np.array([one["pixel"]]))[0]
        assert one["along"] == pytest.approx(expected)
        np.testing.assert_allclose(made.to_ground(np.array([one["pixel"]]))[0], one["meter"], atol=1e-6)
    along = next(line for line in answer["grid"] if line["label"] == "20 m")
    meters = made.to_ground(np.array(along["points"]))
    assert meters[:, 1] == pytest.approx(np.full(len(meters), 20.0), abs=0.3)
    json.dumps(answer, allow_nan=False)


def test_five_points_have_errors_and_a_contradicting_one_is_named() -> None:
    meters = [[0, 0], [7, 0], [7, 30], [0, 30], [3.5, 10], [3.5, 20], [0, 15], [7, 15]]
    made = make_calibration(np.array(CORNERS, float), rectangle(7, 30), SIZE)
    pixels = made.to_image(np.array(meters, float))
    pixels[4] += [40, 0]
    rows = [{"u": u, "v": v, "x": x, "y": y} for (u, v), (x, y) in zip(pixels, meters, strict=True)]
    answer = solve({"mode": "points", "points": rows}, SIZE)
    assert answer["exact"] is False
    assert answer["outliers"] == [4]
    assert max(one["px"] for one in answer["errors"]) == answer["errors"][4]["px"] > 10
    assert "contradict point 5" in answer["warnings"][0]


@pytest.mark.parametrize("body", [None, [1], "rectangle", 3, {}, {"mode": "rectangle", "rectangle": None}])
def test_what_is_no_calibration_is_one_sentence(body: object) -> None:
    answer = solve(body, SIZE)
    assert answer["ok"] is False
    assert answer["error"][0].isupper()
    assert "calibration:" not in answer["error"]


@pytest.mark.parametrize(
    ("width", "length", "cell"),
    [
        (7, 30, 2),  # a third of the width is 2.33
        (14, 300, 10),  # 24 cells along: 12.5
        (100, 100, 10),  # 8 cells along: 12.5
        (1, 2, 0.2),  # 8 cells along: 0.25
    ],
)
def test_a_cell_is_some_across_and_not_too_many_along(width: float, length: float, cell: float) -> None:
    made = from_page({**BODY, "width": width, "length": length, "region": CORNERS}, SIZE)
    assert _cell(made) == pytest.approx(cell)


def test_what_is_not_finite_is_null_on_the_page() -> None:
    flat = [[200, 400], [600, 400], [600, 100], [200, 100]]  # straight above: no camera can be measured
    answer = solve({**BODY, "rectangle": flat, "width": 40, "length": 30}, SIZE)
    assert answer["ok"] is True
    assert answer["camera"] is None
    json.dumps(answer, allow_nan=False)
