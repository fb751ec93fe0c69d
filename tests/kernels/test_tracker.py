"""The tracker's step on both twins: a textbook filter beside it, each stage and each setting by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgevid.kernels import reference
from edgevid.types import Array

IDS, BOXES, SCORES, LABELS, MATCH, AGE, UNSEEN = range(7)
FRAME = 1 / 30


def box(x: float, y: float = 300, w: float = 40, h: float = 80) -> list[float]:
    """Corners around a center."""
    return [x - w / 2, y - h / 2, x + w / 2, y + h / 2]


def step(
    core: Any, time: float, *boxes: list[float], scores: Any = 0.9, labels: Any = 0, coast_s: float = 1.0
) -> tuple[Array, ...]:
    """One update; a single score or label holds for all boxes."""
    n = len(boxes)
    return tuple(
        core.update(
            np.array(boxes, np.float32).reshape(-1, 4),
            np.broadcast_to(np.asarray(scores, np.float32), n).copy(),
            np.broadcast_to(np.asarray(labels, np.int32), n).copy(),
            time,
            coast_s,
        )
    )


def center(tracks: tuple[Array, ...], row: int = 0) -> float:
    return float(tracks[BOXES][row, [0, 2]].mean())


def width(tracks: tuple[Array, ...], row: int = 0) -> float:
    return float(tracks[BOXES][row, 2] - tracks[BOXES][row, 0])


class Textbook:
    """A Kalman filter of one coordinate, position and velocity, in matrices (Kalman 1960)."""

    def __init__(self, z: float, size: float) -> None:
        self.x = np.array([z, 0.0])
        self.p = np.diag([(2 * 0.05 * size) ** 2, (10 * 0.00625 * size * 30) ** 2])

    def predict(self, dt: float, size: float) -> None:
        f = np.array([[1, dt], [0, 1]])
        self.x = f @ self.x
        self.p = f @ self.p @ f.T + np.diag([(0.05 * size) ** 2, (0.00625 * size * 30) ** 2]) * dt * 30

    def update(self, z: float, size: float) -> None:
        k = self.p[:, 0] / (self.p[0, 0] + (0.05 * size) ** 2)
        self.x = self.x + k * (z - self.x[0])
        self.p = self.p - np.outer(k, self.p[0])


def test_each_coordinate_of_a_box_is_a_textbook_filter(twin: Any) -> None:
    # Center x and width are scaled by the width, center y and height by the height, each as it is before
    # the step; at uneven times, and with two steps without a detection, where the size stands still.
    random = np.random.default_rng(3)
    core, time, filters = twin.TrackerCore({"match_thresh": 0.0}), 0.0, []
    for n in range(40):
        dt = float(random.uniform(0.02, 0.07)) if n else 0.0
        time += dt
        z = np.array([400 + 60 * time, 300 - 20 * time, 80 + 10 * time, 160 - 15 * time])
        z += random.normal(0, 2, 4)
        z = np.float32(z).astype(float)
        observed = n not in (20, 21)
        if not filters:
            filters = [Textbook(v, z[2 + i % 2]) for i, v in enumerate(z)]
        else:
            if n in (21, 22):
                filters[2].x[1] = filters[3].x[1] = 0
            sizes = [max(filters[2].x[0], 1), max(filters[3].x[0], 1)]
            for i, f in enumerate(filters):
                f.predict(dt, sizes[i % 2])
            sizes = [filters[2].x[0], filters[3].x[0]]
            if observed:
                for i, (f, v) in enumerate(zip(filters, z, strict=True)):
                    f.update(v, sizes[i % 2])
        tracks = step(core, time, *([box(*z)] if observed else []))
        x, y, w, h = (f.x[0] for f in filters)
        np.testing.assert_allclose(tracks[BOXES][0], box(x, y, w, h), atol=2e-3)
    assert tracks[IDS].tolist() == [1]


def test_a_size_never_falls_below_one_pixel(twin: Any) -> None:
    core = twin.TrackerCore({"match_thresh": 0.0})
    for n in range(8):
        tracks = step(core, n / 2, box(100, 100, 60 - 8 * n, 60 - 8 * n), coast_s=9)
    shrinking = step(core, 4.0, coast_s=9)
    assert width(shrinking) >= 1
    assert width(tracks) >= 1


def test_an_object_smaller_than_a_pixel_is_matched(twin: Any) -> None:
    core = twin.TrackerCore({})
    step(core, 0.0, box(100, 100, 0.9, 0.9))
    assert step(core, FRAME, box(100, 100, 0.9, 0.9))[MATCH].tolist() == [0]


def test_a_coasting_box_neither_grows_nor_shrinks(twin: Any) -> None:
    for change in (3.0, -1.0):
        core = twin.TrackerCore({})
        for n in range(20):
            tracks = step(core, n * FRAME, box(300, w=60 + change * n, h=90 + change * n))
        last = width(tracks)
        # The step right after a detection still grows once; from then on the size is kept.
        widths = [width(step(core, (20 + n) * FRAME)) for n in range(8)]
        assert np.sign(widths[0] - last) == np.sign(change)
        assert widths[1:] == pytest.approx([widths[0]] * 7, abs=1e-4)


def test_a_coasting_box_moves_on_at_its_velocity(twin: Any) -> None:
    core = twin.TrackerCore({})
    for n in range(60):
        tracks = step(core, n * FRAME, box(100 + 3 * n))
    for n in range(60, 68):
        tracks = step(core, n * FRAME)
        assert center(tracks) == pytest.approx(100 + 3 * n, abs=1)


def test_observation_centric_recovery_finds_an_object_that_stopped(twin: Any) -> None:
    # 12 pixels a frame, then hidden for half a second while it stands: the prediction is 180 pixels on,
    # four and a half widths off; the last observation is where it is found.
    def ids(recover: bool) -> list[int]:
        core = twin.TrackerCore({"observation_centric": recover})
        for n in range(30):
            step(core, n * FRAME, box(100 + 12 * n))
        for n in range(30, 45):
            step(core, n * FRAME)
        for n in (45, 46):
            tracks = step(core, n * FRAME, box(100 + 12 * 29), coast_s=0)
        return tracks[IDS].tolist()

    assert ids(True) == [1]
    assert ids(False) == [2]


def test_recovery_weighs_the_overlap_by_the_score(twin: Any) -> None:
    # 20 of 40 aside of the last observation: overlap 1/3. Times 0.9 it is above 0.2, times 0.55 it is not.
    def ids(score: float) -> list[int]:
        core = twin.TrackerCore({"observation_centric": True, "new_track_thresh": 0.5})
        for n in range(30):
            step(core, n * FRAME, box(100 + 12 * n))
        for n in range(30, 45):
            step(core, n * FRAME)
        for n in (45, 46):
            tracks = step(core, n * FRAME, box(100 + 12 * 29 - 20), scores=score, coast_s=0)
        return tracks[IDS].tolist()

    assert ids(0.9) == [1]
    assert ids(0.55) == [2]


def test_after_a_gap_re_update_does_not_reverse_an_object_that_stopped(twin: Any) -> None:
    # It drove 12 px a frame and stood for the 0.8 s in which it was hidden. Walked along the straight line
    # between the two observations, the filter forgets the velocity step by step and stays forward of 0. One
    # plain update takes the whole error of the prediction for a change of velocity, and would reverse.
    core = twin.TrackerCore({"observation_centric": True})
    for n in range(30):
        step(core, n * FRAME, box(100 + 12 * n))
    for n in range(30, 54):
        step(core, n * FRAME)
    stopped = 100 + 12 * 29
    assert step(core, 54 * FRAME, box(stopped))[IDS].tolist() == [1]
    assert 0 < center(step(core, 64 * FRAME)) - stopped < 8


def test_re_update_walks_a_straight_line_of_virtual_observations(twin: Any) -> None:
    # The same as if the detections between had been there, a thirtieth of a second apart (Cao 2023, eq. 8).
    hidden, observed = twin.TrackerCore({"observation_centric": True}), twin.TrackerCore({})
    for n in range(40):
        there = n < 20 or n >= 30
        place = box(100 + 2 * n, 300 - n, 60 + n, 90 + 2 * n)
        one = step(hidden, n * FRAME, *([place] if there else []))
        other = step(observed, n * FRAME, place)
        if there and n != 30:
            np.testing.assert_allclose(one[BOXES], other[BOXES], atol=0.02)


def test_one_missed_frame_is_no_gap(twin: Any) -> None:
    # Less than one and a half frames of 30 fps between two updates: nothing to walk, both filters agree.
    plain, walked = twin.TrackerCore({}), twin.TrackerCore({"observation_centric": True})
    for n in range(20):
        time = n * 0.045
        one, other = (step(core, time, box(100 + 5 * n)) for core in (plain, walked))
        np.testing.assert_array_equal(one[BOXES], other[BOXES])


def test_momentum_prefers_the_detection_ahead(twin: Any) -> None:
    # Two detections that overlap the prediction nearly equally, one ahead and one behind: the direction of
    # travel adds 1/2 and -1/2 of the momentum times the score (OC-SORT's observation-centric momentum).
    def match(momentum: float, ahead_first: bool) -> int:
        core = twin.TrackerCore({"momentum": momentum})
        for n in range(30):
            step(core, n * FRAME, box(100 + 3 * n))
        predicted = center(step(core, 30 * FRAME))
        ahead, behind = box(predicted + 3 + 10), box(predicted + 3 - 9)
        pair = (ahead, behind) if ahead_first else (behind, ahead)
        tracks = step(core, 31 * FRAME, *pair)
        return int(tracks[MATCH][tracks[IDS] == 1][0])

    assert match(0.2, True) == 0
    assert match(0.2, False) == 1
    assert match(0.0, True) == 1  # without it the nearer one, behind


def test_two_observations_are_a_direction(twin: Any) -> None:
    core = twin.TrackerCore({"momentum": 0.5, "match_thresh": 0.0})
    step(core, 0.0, box(100))
    seen = center(step(core, FRAME, box(104)))
    # Of two detections that overlap the prediction nearly equally, the one ahead, although it is farther.
    assert step(core, FRAME + 1e-6, box(seen - 7), box(seen + 8))[MATCH].tolist()[0] == 1


def test_a_tie_of_votes_keeps_the_label(twin: Any) -> None:
    core = twin.TrackerCore({})
    step(core, 0.0, box(100), scores=0.75, labels=1)
    assert step(core, 1e-17, box(100), scores=0.75, labels=2)[LABELS].tolist() == [1]
    assert step(core, 2e-17, box(100), scores=0.75, labels=2)[LABELS].tolist() == [2]


def test_an_object_that_stands_has_no_direction(twin: Any) -> None:
    # 19 of 40 aside: overlap 21/59, times 0.9: 0.32, below the threshold of 0.35. With a direction of travel
    # towards it the momentum would add 0.18.
    core = twin.TrackerCore({"momentum": 0.4, "match_thresh": 0.35})
    for n in range(10):
        step(core, n * FRAME, box(100))
    assert step(core, 10 * FRAME, box(119))[MATCH][0] == -1


def test_momentum_looks_at_a_quarter_of_a_second(twin: Any) -> None:
    # It went right for long and left for the last 0.3 s: its direction of travel is left.
    core = twin.TrackerCore({"momentum": 0.5, "match_thresh": 0.0})
    for n in range(30):
        step(core, n * FRAME, box(100 + 2 * n))
    for n in range(1, 10):
        step(core, (29 + n) * FRAME, box(158 - 2 * n))
    last = 158 - 18
    tracks = step(core, 39 * FRAME, box(last - 9), box(last + 9))
    assert tracks[MATCH][tracks[IDS] == 1].tolist() == [0]


def test_scores_choose_the_stage(twin: Any) -> None:
    # From 0.5: first stage; from 0.1: second, also for objects that were missed before; below: ignored.
    core = twin.TrackerCore({})
    step(core, 0.0, box(100))
    assert step(core, 0.1, box(100), scores=0.5)[MATCH].tolist() == [0]
    assert step(core, 0.2, box(100), scores=0.1)[MATCH].tolist() == [0]
    assert step(core, 0.3, box(100), scores=0.09)[MATCH].tolist() == [-1]
    assert step(core, 0.4, box(100), scores=0.1)[MATCH].tolist() == [0]
    assert step(core, 0.5, box(100), scores=0.5)[MATCH].tolist() == [0]


def test_the_first_stage_weighs_the_overlap_by_the_score(twin: Any) -> None:
    # 13 of 40 aside: overlap 27/53 = 0.509; times 0.6: 0.306.
    for thresh, match in ((0.30, 0), (0.32, -1)):
        core = twin.TrackerCore({"match_thresh": thresh, "new_track_thresh": 0.7})
        step(core, 0.0, box(100))
        assert step(core, 1e-6, box(113), scores=0.6)[MATCH].tolist() == [match]


def test_the_second_stage_asks_for_the_overlap_alone(twin: Any) -> None:
    for thresh, match in ((0.50, 0), (0.52, -1)):
        core = twin.TrackerCore({"second_match_thresh": thresh})
        step(core, 0.0, box(100))
        assert step(core, 1e-6, box(113), scores=0.3)[MATCH].tolist() == [match]


def test_a_new_object_has_its_own_threshold(twin: Any) -> None:
    # Not yet confirmed objects: overlap 27/53 times 0.9 is 0.458.
    for thresh, ids in ((0.45, [1, 2]), (0.47, [1])):
        core = twin.TrackerCore({"new_match_thresh": thresh})
        step(core, 0.0, box(900))
        step(core, 0.1, box(900), box(100))
        assert step(core, 0.1 + 1e-6, box(900), box(113))[IDS].tolist() == ids


def test_what_starts_an_object_and_when_it_is_reported(twin: Any) -> None:
    core = twin.TrackerCore({"new_track_thresh": 0.625, "confirm_after_s": 0.25})
    assert step(core, 0.0, box(100), scores=0.62)[IDS].tolist() == []
    assert step(core, 0.125, box(100), scores=0.625)[IDS].tolist() == []  # no longer the first frame
    assert step(core, 0.25, box(100))[IDS].tolist() == []
    assert step(core, 0.375, box(100))[IDS].tolist() == [1]  # 0.25 s after the first detection


def test_everything_of_the_first_frame_is_reported_at_once(twin: Any) -> None:
    core = twin.TrackerCore({"confirm_after_s": 5.0})
    first = step(core, 7.0, box(100), box(500), scores=[0.6, 0.59])
    assert (first[IDS].tolist(), first[AGE].tolist(), first[UNSEEN].tolist()) == ([1], [0], [0])


def test_ages_and_when_an_object_is_hidden_and_removed(twin: Any) -> None:
    core = twin.TrackerCore({"lost_after_s": 1.0})
    step(core, 10.0, box(100))
    step(core, 10.5, box(100))
    shown = step(core, 10.75, coast_s=0.25)
    assert (shown[AGE].tolist(), shown[UNSEEN].tolist(), shown[MATCH].tolist()) == ([0.75], [0.25], [-1])
    assert step(core, 10.8, coast_s=0.25)[IDS].tolist() == []
    assert step(core, 11.5, coast_s=9.0)[IDS].tolist() == [1]
    assert step(core, 11.6, coast_s=9.0)[IDS].tolist() == []


def test_observed_boxes_are_reported_as_they_were_detected(twin: Any) -> None:
    for observed in (False, True):
        core = twin.TrackerCore({"observed_boxes": observed})
        step(core, 0.0, box(100))
        tracks = step(core, FRAME, box(110))
        assert (tracks[BOXES][0].tolist() == box(110)) is observed
        assert step(core, 2 * FRAME)[BOXES][0, 0] != 90  # while coasting, the prediction


def test_class_aware_matches_its_own_class_only(twin: Any) -> None:
    core = twin.TrackerCore({"class_aware": True})
    step(core, 0.0, box(100), labels=1)
    assert step(core, 0.1, box(100), labels=2)[MATCH].tolist() == [-1]
    assert step(core, 0.2, box(100), labels=1)[MATCH].tolist() == [0]


def test_what_is_not_a_box_is_counted(twin: Any) -> None:
    core = twin.TrackerCore({})
    bad = [[0, 0, 0, 5], [0, 5, 5, 5], [5, 0, 0, 5], [np.nan, 0, 5, 5], [0, 0, np.inf, 5]]
    tracks = step(core, 0.0, *bad, box(100), box(300), scores=[0.9] * 5 + [np.nan, 0.9])
    assert tracks[MATCH].tolist() == [6]
    assert core.rejected == 6
    core.forget()
    assert core.rejected == 6
    assert step(core, 1.0, box(100))[IDS].tolist() == [2]
    core.reset()
    assert core.rejected == 0
    assert step(core, 0.0, box(100))[IDS].tolist() == [1]


def test_an_unknown_setting_is_named(twin: Any) -> None:
    with pytest.raises(ValueError, match="tracker setting: there is no speed"):
        twin.TrackerCore({"speed": 1.0})


def test_boxes_reach_further_the_longer_the_time_between_two_frames(twin: Any) -> None:
    # 100 aside, 40 wide: they touch when both are grown by 30 to every side, and more than that in half a
    # second at 1.6 sizes per second (32 px): the overlap is 4 of 204 wide, times 0.9 above 0.01.
    for reach, match in ((0.0, -1), (1.4, -1), (1.6, 0)):
        core = twin.TrackerCore({"reach": reach, "match_thresh": 0.01})
        step(core, 0.0, box(100))
        assert step(core, 0.5, box(200))[MATCH].tolist() == [match]


def test_no_box_is_grown_by_more_than_one_and_a_half_sizes(twin: Any) -> None:
    # However long the gap: 160 px aside (four widths) touch at 1.5 widths to every side, 161 px do not.
    for x, match in ((158, 0), (161, -1)):
        core = twin.TrackerCore({"reach": 50.0, "match_thresh": 0.0, "lost_after_s": 99.0})
        step(core, 0.0, box(100))
        assert step(core, 5.0, box(100 + x), coast_s=9)[MATCH].tolist() == [match]


def test_a_like_score_is_preferred_where_the_overlap_is_equal(twin: Any) -> None:
    # Two detections 9 px to either side, overlap 31/49 = 0.633: times 0.85 is 0.538, times 0.9 is 0.569. To
    # the 0.75 of before the differences are 0.1 and 0.15: with a weight of 1 the lower one leads.
    for weight, match in ((0.0, 1), (1.0, 0)):
        core = twin.TrackerCore({"score_weight": weight})
        step(core, 0.0, box(100), scores=0.75)
        assert step(core, 1e-6, box(91), box(109), scores=[0.85, 0.9])[MATCH][0] == match


def crowd(shift: float = 0.0) -> list[list[float]]:
    """Twenty people who stand at random in four rows, of slightly different sizes."""
    random = np.random.default_rng(8)
    places = random.permutation(24)[:20] * 60 + random.uniform(0, 12, 20)
    return [box(x + shift, 150 + 180 * (n % 4), 38 + n % 4, 78 + n % 5) for n, x in enumerate(places)]


@pytest.mark.parametrize("pan", [30.0, 45.0, -60.0, 80.0])
def test_a_sudden_pan_keeps_every_id(twin: Any, pan: float) -> None:
    for common, kept in ((True, 20), (False, 0)):
        core = twin.TrackerCore({"common_shift": common, "match_thresh": 0.3})
        for n in range(10):
            before = step(core, n * FRAME, *crowd())
        after = step(core, 10 * FRAME, *crowd(pan))
        known = dict(zip(before[IDS], before[BOXES], strict=True))
        same = [
            i
            for i, here, match in zip(after[IDS], after[BOXES], after[MATCH], strict=True)
            if match >= 0 and abs(here[[0, 2]].mean() - known[i][[0, 2]].mean() - pan) < 8
        ]
        assert (len(same) == kept) if common else (len(same) < 20)


def test_hidden_objects_follow_the_common_motion_of_the_others(twin: Any) -> None:
    # Five stand, one of them is hidden when the camera starts to turn by 6 px a frame: its box goes along.
    for common in (True, False):
        core = twin.TrackerCore({"common_shift": common})
        for n in range(20):
            step(core, n * FRAME, *(box(100 + 100 * i) for i in range(5)))
        for n in range(1, 11):
            tracks = step(core, (19 + n) * FRAME, *(box(100 + 100 * i + 6 * n) for i in range(4)))
        assert center(tracks, 4) - 500 == pytest.approx(60 if common else 0, abs=4)


def test_two_objects_make_no_common_motion(twin: Any) -> None:
    core = twin.TrackerCore({"common_shift": True})
    for n in range(20):
        step(core, n * FRAME, *(box(100 + 100 * i) for i in range(3)))
    for n in range(1, 11):
        tracks = step(core, (19 + n) * FRAME, *(box(100 + 100 * i + 6 * n) for i in range(2)))
    assert center(tracks, 2) == pytest.approx(300, abs=1)


def random_scene(seed: int) -> list[tuple[Array, Array, Array, float]]:
    """Jittered, missed and low-scored boxes of moving objects at uneven times."""
    random = np.random.default_rng(seed)
    at, speed = random.uniform(0, 1500, (25, 2)), random.normal(0, 90, (25, 2))
    size = random.uniform(30, 120, (25, 2))
    frames, time = [], 0.0
    for _ in range(90):
        time += float(random.uniform(0.02, 0.09))
        middle = at + speed * time + random.normal(0, 1.5, (25, 2))
        there = random.random(25) > 0.1
        boxes = np.concatenate([middle - size / 2, middle + size / 2], 1)[there].astype(np.float32)
        scores = np.clip(random.normal(0.7, 0.25, len(boxes)), 0.02, 0.99).astype(np.float32)
        frames.append((boxes, scores, (there.nonzero()[0] % 3).astype(np.int32), time))
    return frames


DEFAULT = {
    "match_thresh": 0.1, "second_match_thresh": 0.6, "new_match_thresh": 0.1, "position_noise": 0.04,
    "reach": 1.2, "score_weight": 0.2, "height_overlap": True, "common_shift": True, "observed_boxes": True,
}  # fmt: skip


@pytest.mark.parametrize("pan", [0.0, 60.0])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"momentum": 0.2, "observation_centric": True, "observed_boxes": True},
        {"class_aware": True},
        DEFAULT,
        {**DEFAULT, "momentum": 0.1, "observation_centric": True, "observed_boxes": False},
    ],
)
def test_both_twins_take_the_same_decisions(native: Any, settings: dict[str, Any], pan: float) -> None:
    # With a camera that jumps every second or so, too.
    cores = native.TrackerCore(settings), reference.TrackerCore(settings)
    for n, (boxes, *rest) in enumerate(random_scene(11)):
        frame = (boxes + np.float32(pan * (n // 20)), *rest)
        for mine, other in zip(*(core.update(*frame, 0.3) for core in cores), strict=True):
            np.testing.assert_allclose(mine, other, atol=2e-3)
