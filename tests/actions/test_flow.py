"""Optical flow of crops, its histograms and networks, and the two streams together."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from flow_models import flow_model, scene, texture
from recognizer_models import feature_model, pose_model

from edgevid.actions import load_extractor
from edgevid.actions.clip import ClipExtractor, extract_newest
from edgevid.actions.flow import BINS, CELLS, SIDE, FlowHistograms, TwoStreamExtractor, crop_flow
from edgevid.detect.preprocess import crop
from edgevid.errors import InputError, MissingExtraError, ModelError
from edgevid.types import Clips, Frame

WHOLE = np.float32([0, 0, 112, 112])


def test_flow_is_that_of_what_moves_before_the_wall() -> None:
    crops = np.stack([scene(28, 28), scene(31, 26)])[None]
    (flow,) = crop_flow(crops, np.tile(WHOLE, (1, 2, 1)), (112, 112))[0]
    np.testing.assert_allclose(np.median(flow[34:50, 36:52], axis=(0, 1)), [3, -2], atol=0.3)
    assert np.abs(np.median(flow[80:], axis=(0, 1))).max() < 0.1


def test_neither_a_camera_that_turns_nor_a_box_that_moves_is_motion() -> None:
    wide = texture(112, 160, 0)
    turned = np.stack([wide[:, :112], wide[:, 4:116]])[None]
    assert np.abs(crop_flow(turned, np.tile(WHOLE, (1, 2, 1)), (112, 112))).mean() < 0.3
    frame = Frame(scene(40, 40), 0.0, 0)
    boxes = np.float32([[20, 20, 80, 80], [26, 17, 92, 83]])  # it moves and grows
    crops = crop(frame, boxes, (112, 112))
    still = crop_flow(crops[None], boxes[None], (112, 112))
    assert np.median(np.abs(still)) < 0.1
    assert np.median(np.abs(crop_flow(crops[None], boxes[None, :1].repeat(2, 1), (112, 112)))) > 1


@pytest.mark.parametrize(("step", "turn"), [((3, 0), 0), ((0, 3), 2), ((-3, 0), 4), ((0, -3), 6)])
def test_a_histogram_tells_where_and_in_which_direction(step: tuple[int, int], turn: int) -> None:
    """A square that fills the cell of the second row and third column moves by 3 of 112 pixels."""
    crops = np.stack([scene(56, 28), scene(56 + step[0], 28 + step[1])])[None]
    rows = FlowHistograms().extract(crops, np.tile(WHOLE, (1, 2, 1)))
    cells = rows.reshape(CELLS, CELLS, BINS)
    assert cells[1, 2].argmax() == turn
    assert np.unravel_index(cells.max(2).argmax(), (CELLS, CELLS)) == (1, 2)
    assert cells[1, 2, turn] == pytest.approx(np.sqrt(3 / SIDE), rel=0.2)


@pytest.mark.parametrize(
    ("shape", "layout"), [((2, 1, 112, 112), "NCTHW"), ((1, 2, 112, 112), "NTCHW"), ((1, 112, 112, 2), "NTHWC")]
)
def test_a_network_of_flow_gets_shares_of_its_bound(tmp_path: Path, shape: tuple[int, ...], layout: str) -> None:
    """A sixteenth of the image moves by (2, -1) pixels of 4."""
    extractor = load_extractor(flow_model(tmp_path, shape, layout))
    assert isinstance(extractor, ClipExtractor)
    assert (extractor.steps, extractor.width) == (2, 2)
    crops = np.stack([scene(56, 28), scene(58, 27)])[None]
    found = extractor.extract(crops, np.tile(WHOLE, (1, 2, 1)))
    np.testing.assert_allclose(found[0], [0.5 / 16, -0.25 / 16], rtol=0.3)


def test_a_network_of_colors_is_no_network_of_flow(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"expected a NCTHW input \(N, 2, 1, 112, 112\)"):
        load_extractor(flow_model(tmp_path, (3, 1, 112, 112)))


def test_two_streams_stand_after_each_other(tmp_path: Path) -> None:
    """The newest crop in pixels, and what moved since the moment before; a moment that is missing does not move."""
    both = load_extractor(feature_model(tmp_path / "f"), flow="hof")
    assert isinstance(both, TwoStreamExtractor)
    assert (both.steps, both.width) == (2, 3 + 128)
    pixels = np.stack([[scene(56, 28), scene(59, 28)]] * 2)
    clips = Clips.of(ids=[1, 2], pixels=pixels, times=[[0.0, 0.1], [np.nan, 0.1]], boxes=np.tile(WHOLE, (2, 2, 1)))
    times, rows = extract_newest(both, clips)
    np.testing.assert_array_equal(times, [0.1, 0.1])
    np.testing.assert_array_equal(rows[:, :3], load_extractor(tmp_path / "f").extract(pixels[:, 1], clips.boxes[:, 1]))
    np.testing.assert_array_equal(rows[:1, 3:], FlowHistograms().extract(pixels[:1], clips.boxes[:1]))
    assert rows[0, 3:].max() > 0.1
    assert rows[1, 3:].max() == 0
    network = load_extractor(tmp_path / "f", flow=flow_model(tmp_path / "flow"))
    assert extract_newest(network, clips)[1].shape == (2, 3 + 2)


def test_what_cannot_be_a_stream_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pose_model(tmp_path / "pose")
    with pytest.raises(InputError, match="got the pose model pose-test; cut an extractor out of an image model"):
        load_extractor(tmp_path / "pose", flow="hof")
    with pytest.raises(InputError, match="expected 'hof', or a network with flow_bound"):
        load_extractor(feature_model(tmp_path / "f"), flow=tmp_path / "f")
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(MissingExtraError, match=r"Optical flow needs the package 'cv2'.*edgevid\[opencv\]"):
        load_extractor(tmp_path / "f", flow="hof")
