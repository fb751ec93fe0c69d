"""Clips: sampling by the stream's clock, crops worked by hand, memory, budget."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from edgevid.actions.clip_buffer import ClipBuffer, ClipSpec
from edgevid.actions.clip_spec import union_box
from edgevid.errors import InputError
from edgevid.types import Array, Clips, Frame, Scores, Tracks

BOX = (40.0, 40.0, 80.0, 80.0)


def tracks(ids: list[int], boxes: list[tuple[float, ...]] | None = None, unseen: float = 0.0) -> Tracks:
    n = len(ids)
    return Tracks.of(
        ids=ids,
        boxes=boxes or [BOX] * n,
        scores=[0.9] * n,
        labels=[0] * n,
        match=range(n),
        age=[1.0] * n,
        unseen=[unseen] * n,
    )


def frame(time: float, value: int | None = None, image: Array | None = None) -> Frame:
    if image is None:
        image = np.full((120, 160, 3), 50 if value is None else value, np.uint8)
    return Frame(image, time, 0)


def spec(**more: object) -> ClipSpec:
    base: dict[str, object] = {
        "steps": 4, "rate_hz": 8.0, "width": 8, "height": 8, "stride_s": 0.0, "smoothing_s": 0.0,
        "context": 1.0,
    }  # fmt: skip
    return ClipSpec(**{**base, **more})  # type: ignore[arg-type]


def film(buffer: ClipBuffer, times: list[float], ids: tuple[int, ...] = (1,)) -> list[Clips]:
    """Clips of frames whose gray value is their index."""
    found = []
    for i, time in enumerate(times):
        clips = buffer.update(frame(time, i), tracks(list(ids)))
        found.append(Clips(clips.ids, clips.pixels.copy(), clips.times, clips.boxes))
    return found


def test_each_moment_holds_its_nearest_frame() -> None:
    times = [0.0, 0.04, 0.08, 0.12, 0.16, 0.20, 0.24, 0.28, 0.32, 0.36, 0.40]
    last = [c for c in film(ClipBuffer(spec()), times) if len(c)][-1]
    # Moments 0, .125, .25, .375; nearest frames 0, .12, .24, .36; the last closes at .40.
    np.testing.assert_allclose(last.times[0], [0.0, 0.12, 0.24, 0.36])
    assert last.pixels[0, :, 4, 4, 0].tolist() == [0, 3, 6, 9]


def test_the_same_clip_at_any_frame_rate() -> None:
    for fps in (16, 24, 40, 80):
        times = [i / fps for i in range(fps + 1)]
        last = [c for c in film(ClipBuffer(spec()), times) if len(c)][-1]
        np.testing.assert_allclose(last.times[0], [0.625, 0.75, 0.875, 1.0], atol=0.5 / fps + 1e-9)


def test_a_gap_in_the_stream_is_a_masked_black_step() -> None:
    clips = film(ClipBuffer(spec()), [0.0, 0.125, 0.5])[-1]
    assert np.isnan(clips.times[0]).tolist() == [False, True, True, False]
    assert clips.pixels[0, 1:3].max() == 0
    assert clips.boxes[0, 1:3].max() == 0


def test_a_new_object_has_left_padding() -> None:
    clips = film(ClipBuffer(spec()), [10.0])[0]
    assert np.isnan(clips.times[0]).tolist() == [True, True, True, False]


def test_an_old_lap_of_the_ring_never_shows() -> None:
    times = [i / 8 for i in range(7)] + [2.0]
    clips = film(ClipBuffer(spec()), times)[-1]
    assert np.isnan(clips.times[0]).tolist() == [True, True, True, False]
    assert clips.pixels[0, 3, 0, 0, 0] == 7


def test_min_steps_and_stride_hold_an_object_back() -> None:
    buffer = ClipBuffer(spec(min_steps=3, stride_s=0.25))
    due = [len(c) for c in film(buffer, [i / 8 for i in range(8)])]
    assert due == [0, 0, 1, 0, 1, 0, 1, 0]


def test_a_coasting_box_is_not_trusted_for_long() -> None:
    buffer = ClipBuffer(spec(max_unseen_s=0.25))
    buffer.update(frame(0.0), tracks([1]))
    clips = buffer.update(frame(0.125), tracks([1], unseen=0.3))
    assert len(clips) == 0
    clips = buffer.update(frame(0.25), tracks([1], unseen=0.2))
    assert np.isnan(clips.times[0]).tolist() == [True, False, True, False]


def test_small_and_broken_boxes_are_not_cut() -> None:
    buffer = ClipBuffer(spec(min_side=24))
    nan = float("nan")
    clips = buffer.update(frame(0.0), tracks([1, 2, 3], [BOX, (0, 0, 100, 23), (nan, nan, nan, nan)]))
    assert clips.ids.tolist() == [1]


def test_letterbox_pads_outside_the_box() -> None:
    buffer = ClipBuffer(spec(steps=1, fit="letterbox", pad=7, min_side=0))
    clips = buffer.update(frame(0.0, 200), tracks([1], [(60, 20, 80, 60)]))  # 20 x 40 in 8 x 8: 4 columns
    assert clips.pixels[0, 0, 4, :, 0].tolist() == [7, 7, 200, 200, 200, 200, 7, 7]


def test_beyond_the_frame_is_padding() -> None:
    buffer = ClipBuffer(spec(steps=1, pad=9))
    clips = buffer.update(frame(0.0, 200), tracks([1], [(-40, 0, 40, 80)]))
    assert clips.pixels[0, 0, 4].mean(axis=1).tolist() == [9, 9, 9, 9, 200, 200, 200, 200]


def test_the_union_keeps_the_camera_still() -> None:
    image = np.zeros((120, 160, 3), np.uint8)
    image[:, 60:] = 240  # an edge that a per-frame box would see moving
    buffer = ClipBuffer(spec(steps=2, policy="union", width=16, height=16))
    buffer.update(frame(0.0, image=image), tracks([1], [(40, 40, 72, 72)]))
    clips = buffer.update(frame(0.125, image=image), tracks([1], [(48, 40, 80, 72)]))
    assert clips.boxes[0].tolist() == [[40, 36, 80, 76]] * 2  # the union 40..80 x 40..72 made square
    assert np.abs(clips.pixels[0, 0].astype(int) - clips.pixels[0, 1]).max() <= 2
    assert clips.pixels[0, 0, 8, :7].max() < 20
    assert clips.pixels[0, 0, 8, 9:].min() > 220


def test_a_far_walk_falls_back_to_each_box() -> None:
    far = np.array([[0, 0, 10, 10], [40, 0, 50, 10]], np.float32)
    near = np.array([[0, 0, 10, 10], [5, 0, 15, 10]], np.float32)
    assert union_box(far) is None
    assert union_box(near).tolist() == [0, 0, 15, 10]  # type: ignore[union-attr]


def test_the_box_is_smoothed_over_seconds_not_frames() -> None:
    buffer = ClipBuffer(spec(steps=1, smoothing_s=0.1))
    buffer.update(frame(0.0), tracks([1], [(40, 40, 80, 80)]))
    clips = buffer.update(frame(0.125), tracks([1], [(50, 40, 90, 80)]))
    moved = 10 * (1 - np.exp(-1.25))
    np.testing.assert_allclose(clips.boxes[0, 0], [40 + moved, 40, 80 + moved, 80], atol=1e-4)


def test_ten_thousand_tracks_leave_memory_flat() -> None:
    buffer = ClipBuffer(spec(), capacity=4)
    sizes = lambda: {name: one.nbytes for name, one in vars(buffer).items() if isinstance(one, np.ndarray)}  # noqa: E731
    before = sizes()
    for i in range(10_000):
        buffer.update(frame(i / 8), tracks([i + 1]))
    assert sizes() == before
    assert len(buffer) == 1
    assert len(buffer._free) == 3


def test_a_reused_slot_shows_nothing_of_its_last_owner() -> None:
    buffer = ClipBuffer(spec(), capacity=1)
    film(buffer, [0.0, 0.125, 0.25])
    clips = buffer.update(frame(0.375, 99), tracks([2]))
    assert clips.ids.tolist() == [2]
    assert clips.pixels[0, :3].max() == 0
    assert clips.pixels[0, 3].min() == 99


def test_objects_without_room_are_counted() -> None:
    buffer = ClipBuffer(spec(), capacity=2)
    clips = buffer.update(frame(0.0), tracks([1, 2, 3]))
    assert clips.ids.tolist() == [1, 2]
    assert buffer.rejected == 1
    assert 3 in buffer.update(frame(0.125), tracks([2, 3])).ids


def test_the_budget_is_kept_and_the_new_come_first() -> None:
    buffer = ClipBuffer(spec(steps=1), budget=16, burst=2)
    total, first = 0, []
    for i in range(81):
        ids = [1, 2] if i < 40 else [1, 2, 3]
        clips = buffer.update(frame(i / 8), tracks(ids))
        total += len(clips)
        if i == 40:
            first = clips.ids.tolist()
    assert 3 in first
    assert total <= 2 + 10 * 16


def test_uncertain_objects_are_due_before_certain_ones() -> None:
    buffer = ClipBuffer(spec(steps=1), budget=8, burst=2)
    buffer.update(frame(0.0), tracks([1, 2]))
    buffer.update_confidence(Scores.of(ids=[1, 2], values=[[0.99, 0.01], [0.5, 0.5]], times=[0, 0]))
    assert buffer.update(frame(0.125), tracks([1, 2])).ids.tolist() == [2]


def test_changed_objects_are_due_before_static_ones() -> None:
    buffer = ClipBuffer(spec(steps=1), budget=8, burst=2)
    boxes: list[tuple[float, ...]] = [(0, 0, 40, 40), (80, 0, 120, 40)]
    buffer.update(frame(0.0), tracks([1, 2], boxes))
    image = np.full((120, 160, 3), 50, np.uint8)
    image[:, 80:] = 250
    assert buffer.update(frame(0.125, image=image), tracks([1, 2], boxes)).ids.tolist() == [2]


def test_time_must_not_run_backwards() -> None:
    buffer = ClipBuffer(spec())
    buffer.update(frame(1.0), tracks([1]))
    with pytest.raises(InputError, match="reset"):
        buffer.update(frame(0.5), tracks([1]))
    buffer.reset()
    assert len(buffer.update(frame(0.5), tracks([1]))) == 1
    with pytest.raises(InputError, match="nan"):
        buffer.update(frame(float("nan")), tracks([1]))


def test_no_objects_no_clips() -> None:
    clips = ClipBuffer(spec()).update(frame(0.0), Tracks.empty())
    assert len(clips) == 0
    assert clips.pixels.shape == (0, 4, 8, 8, 3)


def test_a_box_belongs_to_its_own_frame() -> None:
    buffer = ClipBuffer(spec(steps=1))
    buffer.update(frame(0.0, 1), tracks([1]))
    buffer.update(frame(0.12, 2), tracks([1], [(0, 0, 40, 40)]))  # nearest to 0.125
    clips = buffer.update(frame(0.17, 3), tracks([1], [(80, 80, 120, 120)]))
    assert clips.times.tolist() == [[0.12]]
    assert clips.boxes[0, 0].tolist() == [0, 0, 40, 40]
    assert clips.pixels[0, 0, 4, 4, 0] == 2


def test_a_frame_for_each_of_two_moments_that_close_together() -> None:
    clips = film(ClipBuffer(spec(steps=2)), [0.2, 0.4])[-1]  # nearest to 0.25 and to 0.375
    assert clips.times.tolist() == [[0.2, 0.4]]


def test_an_object_hidden_at_the_nearest_frame_is_taken_from_the_other() -> None:
    buffer = ClipBuffer(spec(steps=1, max_unseen_s=0.0))
    buffer.update(frame(0.10, 1), tracks([1]))
    clips = buffer.update(frame(0.13, 2), tracks([1], unseen=0.03))
    assert clips.times.tolist() == [[0.10]]
    buffer.update(frame(0.24, 3), tracks([1], unseen=0.1))
    clips = buffer.update(frame(0.28, 4), tracks([1]))
    assert clips.times.tolist() == [[0.28]]


def test_key_points_are_those_of_each_cropped_frame() -> None:
    """Nearest frames of the moments, as above; the points of frame i are i everywhere."""
    buffer = ClipBuffer(spec())
    times = [0.0, 0.04, 0.08, 0.12, 0.16, 0.20, 0.24, 0.28, 0.32, 0.36, 0.40]
    found = []
    for i, time in enumerate(times):
        points = np.full((1, 5, 3), i, np.float32)
        found.append(buffer.update(frame(time, i), dataclasses.replace(tracks([1]), keypoints=points)))
    last = [clips for clips in found if len(clips)][-1]
    assert last.keypoints.shape == (1, 4, 5, 3)
    assert last.keypoints[0, :, 0, 0].tolist() == [0, 3, 6, 9]
    assert film(ClipBuffer(spec()), times)[-1].keypoints.shape[2] == 0
