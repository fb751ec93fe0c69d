"""The overlay: readable at every size, cached, and safe with odd boxes."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from result_samples import sample_result

from edgevid.errors import InputError
from edgevid.output.overlay import (
    Overlay,
    Style,
    color_of,
    contact_sheet,
    label_bitmap,
    speed_text,
    verdict_text,
)
from edgevid.types import DisplaySpeed, Reason, Verdicts


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


def test_labels_are_cached_and_trails_end_with_their_tracks() -> None:
    overlay = Overlay()
    frame, result = sample_result()
    before = label_bitmap.cache_info().hits
    overlay.draw(frame, result)
    overlay.draw(frame, result)
    assert label_bitmap.cache_info().hits > before
    assert set(overlay._trails) == {1, 2}
    empty = sample_result(0)[1]
    overlay.draw(frame, empty)
    assert overlay._trails == {}


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
        (DisplaySpeed("live", 14.5, 0.36, 90.0, 0.0, Reason.OK), "52 +-2 km/h"),
        (DisplaySpeed("smoothed", 14.5, 0.36, 90.0, 0.52, Reason.OK), "52 +-2 km/h, 0.5 s ago"),
        (DisplaySpeed("live", NAN, NAN, NAN, 0.0, Reason.OCCLUDED), "no speed: occluded"),
    ],
)
def test_a_speed_shows_its_standard_error_and_age_or_the_reason_for_none(
    speed: DisplaySpeed, text: str
) -> None:
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
