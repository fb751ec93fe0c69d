"""The overlay: readable at every size, cached, and safe with odd boxes."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from result_samples import random_result, sample_result

from edgevid.errors import InputError
from edgevid.output.labels import GRAY, INK, Covered, Glyphs
from edgevid.output.overlay import Overlay, Style, _texts, color_of, contact_sheet, speed_text, verdict_text
from edgevid.types import Detections, DisplaySpeed, Frame, Reason, Result, SpeedReport, Verdicts


@pytest.mark.parametrize("size", [(640, 480), (1920, 1080), (3840, 2160)])
def test_the_overlay_draws_boxes_and_labels_at_every_size(size: tuple[int, int]) -> None:
    frame, result = sample_result(3, size)
    drawn = Overlay().draw(frame, result)
    assert drawn.shape == frame.image.shape
    assert (frame.image == 90).all()  # the frame itself is untouched
    x1, y1, _, y2 = result.tracks.boxes[0].astype(int)
    edge = drawn[(y1 + y2) // 2, max(0, x1 - 1) : x1 + 2]
    assert (np.abs(edge.astype(int) - color_of(1)).sum(1) < 90).any()
    letters = Style.of(*size).text
    assert letters >= 0.36
    assert letters == pytest.approx(0.5 * min(size) / 720, rel=0.05) or size[1] == 480


def test_neighboring_ids_have_colors_that_tell_them_apart() -> None:
    colors = np.array([color_of(n) for n in range(1, 60)], float)
    steps = np.abs(np.diff(colors, axis=0)).sum(1)
    assert steps.min() > 60
    assert color_of(7) == color_of(7)
    luma = colors @ [0.299, 0.587, 0.114]
    assert np.ptp(luma) < 90  # equally light: none is lost


def test_trails_and_labels_end_with_their_tracks() -> None:
    overlay = Overlay()
    frame, result = sample_result()
    overlay.draw(frame, result)
    plates = {i: plate for i, (_, plate) in overlay._plates.items()}
    again = overlay.draw(frame, result)
    assert all(overlay._plates[i][1] is plate for i, plate in plates.items())  # drawn once
    other = Overlay()
    other.draw(frame, result)
    other._plates.clear()
    assert np.array_equal(again, other.draw(frame, result))
    assert set(overlay._trails) == set(plates) == {1, 2}
    empty = sample_result(0)[1]
    overlay.draw(frame, empty)
    assert overlay._trails == overlay._plates == {}


def crowd(seed: int, count: int = 50) -> tuple[Frame, Result]:
    """Objects close to each other, some at the borders, with speeds and verdicts of every kind."""
    random, result = np.random.default_rng(seed), random_result(count, seed)
    corner = random.uniform((-20, 40), (620, 330), (count, 2))
    size = random.uniform(12, 40, (count, 1)) * np.array([[1.0, 2.2]])
    result.tracks.boxes[:] = np.concatenate([corner, corner + size], 1)
    names = {"class": ("person", "car", "bus", "truck"), "action": ("walk", "run")}
    return Frame(np.full((360, 640, 3), 90, np.uint8), result.time, 0), dataclasses.replace(result, names=names)


@pytest.mark.parametrize("seed", range(4))
def test_labels_of_a_crowd_cover_neither_each_other_nor_the_border(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    placed: list[tuple[int, int, int, int]] = []

    def note(image: np.ndarray, plate: np.ndarray, x: int, y: int) -> None:
        placed.append((x, y, x + plate.shape[1], y + plate.shape[0]))

    monkeypatch.setattr("edgevid.output.overlay.blit", note)
    frame, result = crowd(seed)
    Overlay(show_status=False).draw(frame, result, counts=("gate: in 3, out 4",))
    assert len(placed) > 25
    for n, (x1, y1, x2, y2) in enumerate(placed):
        assert min(x1, y1) >= 0
        assert x2 <= 640
        assert y2 <= 360
        assert not any(x1 < c and a < x2 and y1 < d and b < y2 for a, b, c, d in placed[:n])


def test_a_label_without_room_leaves_a_mark_and_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    frame, result = crowd(0)
    monkeypatch.setattr(Covered, "place", lambda *_, **__: None)
    notes: list[str] = []
    plate = Glyphs.plate
    monkeypatch.setattr(
        Glyphs, "plate", lambda self, lines, edge: notes.extend(t for t, _ in lines) or plate(self, lines, edge)
    )
    drawn = Overlay().draw(frame, result)
    assert "50 labels without room (white squares)" in notes
    inside = [row for row in result.tracks.boxes.astype(int) if 0 <= row[0] < 630 and row[1] < 350]
    assert all((drawn[y, x] == INK).all() for x, y, _, _ in inside)


def test_a_short_label_keeps_the_error_and_marks_what_abstained() -> None:
    result = sample_result()[1]  # all is emitted of the first object, the second abstains
    (whole, short, tiny), (_, silent, _) = _texts(result, "km/h", False)
    assert [text for text, _ in whole] == ["person 1", "run 80%", "36 ±2 km/h"]
    assert short == [("person 1 run 36±2", INK)]
    assert silent == [("person 2 – –", INK)]
    assert tiny == [("#1…", INK)]
    assert _texts(result, "km/h", True)[0][0][0] == ("person 1 0.90", INK)
    bare = dataclasses.replace(result, verdicts={}, speeds=SpeedReport())
    assert _texts(bare, "km/h", False)[0] == [[("person 1", INK)]] * 2 + [[("#1", INK)]]


def test_letters_are_drawn_once_and_those_of_other_scripts_when_met() -> None:
    letters = Glyphs(0.5, 3)
    assert letters.size([("ii", INK)])[0] < letters.size([("WW", INK)])[0]
    before = letters._shades.shape[1]
    plate = letters.plate([("Hof Süd", INK), ("", GRAY)], (1, 2, 3))
    assert letters._shades.shape[1] > before  # the ü
    assert plate.shape[1::-1] == letters.size([("Hof Süd", INK), ("", GRAY)])
    assert (plate[:, 0] == (1, 2, 3)).all()
    after = letters._shades.shape[1]
    letters.plate([("Süd", GRAY)], INK)
    assert letters._shades.shape[1] == after
    plus, both = (letters.plate([(text, INK)], INK)[:, 7:].astype(int) for text in "+±")
    assert (both > 128).sum() > (plus > 128).sum()  # its line below


@pytest.mark.parametrize("wrong", [Detections.empty(), None, np.zeros((4, 4, 3), np.uint8)])
def test_other_things_than_a_result_are_answered(wrong: object) -> None:
    with pytest.raises(InputError, match=r"expected a frame and its Result, got Frame and .*Pipeline"):
        Overlay().draw(sample_result()[0], wrong)  # type: ignore[arg-type]


def test_odd_boxes_do_not_break_the_drawing() -> None:
    frame, result = sample_result()
    result.tracks.boxes[0] = [-500, -50, 9000, 9000]
    result.tracks.boxes[1] = [np.nan] * 4
    assert Overlay().draw(frame, result).shape == frame.image.shape
    with pytest.raises(InputError, match="unit"):
        Overlay(unit="knots")


def test_a_contact_sheet_puts_images_in_rows() -> None:
    images = [np.full((90, 160, 3), 40 * n, np.uint8) for n in range(5)]
    assert contact_sheet(images, columns=3, width=80).shape == (90, 240, 3)


NAN = float("nan")


@pytest.mark.parametrize(
    ("speed", "text"),
    [
        (DisplaySpeed("live", 14.5, 0.36, 90.0, 0.0, Reason.OK), "52 ±2 km/h"),
        (DisplaySpeed("smoothed", 14.5, 0.36, 90.0, 0.52, Reason.OK), "52 ±2 km/h, 0.5 s ago"),
        (DisplaySpeed("live", NAN, NAN, NAN, 0.0, Reason.OCCLUDED), "no speed: occluded"),
    ],
)
def test_a_speed_shows_its_standard_error_and_age_or_the_reason_for_none(speed: DisplaySpeed, text: str) -> None:
    assert speed_text(speed, "km/h")[0] == text


@pytest.mark.parametrize(
    ("task", "label", "reason", "text"),
    [
        ("action", 0, Reason.OK, "walk 83%"),
        ("action", -1, Reason.TOO_SMALL, "abstained: too small"),
        ("pose", -1, Reason.LOW_MARGIN, "pose abstained: low margin"),
        ("pose", 4, Reason.OK, "4 83%"),
    ],
)
def test_a_verdict_shows_its_confidence_or_the_reason_of_the_abstention(
    task: str, label: int, reason: Reason, text: str
) -> None:
    (row,) = Verdicts.of(ids=[1], labels=[label], confidence=[0.83], reason=[reason])
    result = dataclasses.replace(sample_result()[1], names={"action": ("walk", "run")})
    assert verdict_text(task, row, result)[0] == text
