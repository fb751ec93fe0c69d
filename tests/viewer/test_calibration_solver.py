"""What the calibration page gets for its points: grid, errors and warnings, or one sentence."""

from __future__ import annotations

import json

import numpy as np
import pytest

from edgevid.speed.calibration import make_calibration, rectangle
from edgevid.viewer.calibration import _cell, from_page, solve, to_page

SIZE = (960, 540)
CORNERS = [[200, 450], [750, 450], [550, 200], [400, 200]]
BODY = {"rectangle": {"pixels": CORNERS, "width_m": 7, "length_m": 30}}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"width_m": None}, "Rectangle.width_m: expected a number of at least 0.001, got None"),
        ({"width_m": 0}, "at least 0.001, got 0"),
        ({"width_m": "seven"}, "got 'seven'"),
        ({"width_m": True}, "got True"),
        ({"length_m": 1e9}, "numbers up to 1e+06"),
        ({"pixels": CORNERS[:3]}, "Rectangle.pixels: expected 4 points [u, v]"),
        ({"pixels": [*CORNERS, [1, 2]]}, "expected 4 points [u, v]"),
        ({"pixels": [[1, 2, 3]] * 4}, "expected 4 points [u, v]"),
        ({"pixels": [CORNERS[n] for n in (0, 1, 3, 2)]}, "The four pixels cross over"),
    ],
)
def test_each_mistake_of_a_rectangle_is_one_sentence(change: dict, words: str) -> None:
    answer = solve({"rectangle": {**BODY["rectangle"], **change}}, SIZE)
    assert not answer["ok"]
    assert words in answer["error"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"region": {"pixels": [[0, 0], [9, 9]]}}, "Region.pixels: expected at least 3 points [u, v]"),
        ({"region": {"pixels": [[0, 0], [900, 500], [900, 0], [0, 500]]}}, "cross itself"),
        ({"region": {"pixels": [[0, 1], [950, 1], [950, 500]]}}, "beyond the horizon"),
        ({"lens": {"k1": 4}}, "Lens.k1: expected a number from -1 to 1, got 4"),
        ({"lens": 3}, "Lens: expected a table [lens], got 3"),
        ({"points": 3}, "Points: expected tables [[points]], got 3"),
        ({"points": [{"pixel": [1, 2], "meter": [1, 2]}] * 201}, "Expected at most 200 points, got 201"),
        ({"more": 1}, "unknown key"),
    ],
)
def test_each_mistake_is_one_sentence(change: dict, words: str) -> None:
    answer = solve({**BODY, **change}, SIZE)
    assert not answer["ok"]
    assert words in answer["error"]


def test_an_existing_calibration_comes_back_as_it_was() -> None:
    area = [[150, 480], [800, 480], [560, 190], [390, 190]]
    made = from_page({**BODY, "region": {"pixels": area}, "lens": {"k1": -0.05, "focal_px": 900}}, SIZE)
    page = to_page(made)
    assert page == {**BODY, "region": {"pixels": area}, "lens": {"k1": -0.05, "focal_px": 900}}
    again = from_page(page, SIZE)
    np.testing.assert_allclose(again.homography, made.homography)
    meters = np.vstack([rectangle(7, 30), [[3.5, 10]]])
    pixels = np.vstack([CORNERS, made.image[:1] * 0 + [470, 330]])
    five = to_page(make_calibration(pixels, meters, SIZE))
    assert five.keys() == {"points"}
    assert five["points"][4] == {"pixel": [470, 330], "meter": [3.5, 10]}


def test_a_rectangle_gives_the_grid_and_the_report_of_its_calibration() -> None:
    answer = solve(BODY, SIZE)
    made = make_calibration(np.array(CORNERS, float), rectangle(7, 30), SIZE)
    assert (answer["ok"], answer["outliers"]) == (True, [])
    assert [round(one, 6) for one in answer["error_px"]] == [0, 0, 0, 0]
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
    rows = [{"pixel": pixel, "meter": meter} for pixel, meter in zip(pixels.tolist(), meters, strict=True)]
    answer = solve({"points": rows}, SIZE)
    assert answer["outliers"] == [4]
    assert max(answer["error_px"]) == answer["error_px"][4] > 10
    assert "contradict point 5" in answer["warnings"][0]


@pytest.mark.parametrize("body", [None, [1], "rectangle", 3, {}, {"rectangle": None}])
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
    made = from_page(
        {"rectangle": {"pixels": CORNERS, "width_m": width, "length_m": length}, "region": {"pixels": CORNERS}}, SIZE
    )
    assert _cell(made) == pytest.approx(cell)


def test_what_is_not_finite_is_null_on_the_page() -> None:
    flat = [[200, 400], [600, 400], [600, 100], [200, 100]]  # straight above: no camera can be measured
    answer = solve({"rectangle": {"pixels": flat, "width_m": 40, "length_m": 30}}, SIZE)
    assert answer["ok"] is True
    assert answer["camera"] is None
    json.dumps(answer, allow_nan=False)
