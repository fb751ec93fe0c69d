"""Trackers: both kernels, with objects whose paths are known."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest
from supervision_samples import theirs

from edgevid import kernels
from edgevid.errors import InputError
from edgevid.kernels import BACKEND, reference
from edgevid.track import TUNING, ByteTracker, OCSortTracker, Tracker, in_frame
from edgevid.types import Detections


@pytest.fixture(params=["numpy", "native"])
def twin(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Each twin in turn, also under the trackers."""
    if request.param == "native" and BACKEND != "native":
        pytest.skip("the native kernels are not built")
    chosen = reference if request.param == "numpy" else importlib.import_module("edgevid.kernels._native")
    monkeypatch.setattr(kernels, "TrackerCore", chosen.TrackerCore)
    return chosen


@pytest.fixture(params=[Tracker, ByteTracker, OCSortTracker])
def make(request: pytest.FixtureRequest, twin: Any) -> Any:
    """Each tracker on each twin."""
    return request.param


def seen(*objects: tuple[float, float], score: float = 0.9, label: int = 0) -> Detections:
    """Boxes 40 wide and 80 high around centers."""
    boxes = [[x - 20, y - 40, x + 20, y + 40] for x, y in objects]
    return Detections.of(boxes=boxes, scores=[score] * len(boxes), labels=[label] * len(boxes))


def scene(seed: int, frames: int = 90, objects: int = 25) -> list[tuple[Detections, float]]:
    """Jittered, missed and doubtful boxes of moving objects at uneven times."""
    random = np.random.default_rng(seed)
    at, speed = random.uniform(0, 1500, (objects, 2)), random.normal(0, 90, (objects, 2))
    size = random.uniform(30, 120, (objects, 2))
    found, time = [], 0.0
    for _ in range(frames):
        time += float(random.uniform(0.02, 0.09))
        center = at + speed * time + random.normal(0, 1.5, (objects, 2))
        there = random.random(objects) > 0.1
        boxes = np.concatenate([center - size / 2, center + size / 2], 1)[there]
        scores = np.clip(random.normal(0.7, 0.25, there.sum()), 0.02, 0.99)
        found.append((Detections.of(boxes=boxes, scores=scores, labels=there.nonzero()[0] % 3), time))
    return found


def test_two_people_who_cross_keep_their_ids(make: Any) -> None:
    tracker = make()
    for n in range(60):
        t = n / 25
        tracks = tracker.update(seen((100 + 160 * t, 300), (500 - 160 * t, 330)), t)
    assert tracks.ids.tolist() == [1, 2]
    assert tracks.boxes[0, 0] > tracks.boxes[1, 0]  # the first one is now to the right


def test_an_object_hidden_for_a_second_comes_back_with_its_id(make: Any) -> None:
    tracker = make(lost_after_s=1.5)
    for n in range(120):
        t = n / 30
        hidden = 2.0 < t < 3.0
        tracks = tracker.update(seen() if hidden else seen((100 + 60 * t, 300)), t)
    assert tracks.ids.tolist() == [1]


def test_coasting_is_told_and_ends(make: Any) -> None:
    tracker = make(coast_s=0.3)
    for n in range(10):
        tracker.update(seen((100 + 10 * n, 300)), n / 10)
    tracks = tracker.update(seen(), 1.0)
    assert (tracks.match.tolist(), tracks.ids.tolist()) == ([-1], [1])
    assert tracks.unseen[0] == pytest.approx(0.1, abs=1e-6)
    assert (tracks.boxes[0, 0] + tracks.boxes[0, 2]) / 2 == pytest.approx(200, abs=6)  # moves on as before
    assert len(tracker.update(seen(), 1.4)) == 0


@pytest.mark.parametrize("seed", range(3))
def test_uneven_frame_times_do_no_harm(make: Any, seed: int) -> None:
    random = np.random.default_rng(seed)
    tracker, t = make(), 0.0
    for _ in range(80):
        t += float(random.choice([1 / 30, 1 / 15, 1 / 10]))
        tracks = tracker.update(seen((100 + 300 * t, 300), (3000 - 300 * t, 900)), t)
    assert tracks.ids.tolist() == [1, 2]


def test_a_dropped_second_of_a_steadily_moving_object(make: Any) -> None:
    tracker = make(lost_after_s=2.0)
    for n in range(30):
        tracker.update(seen((100 + 3 * n, 300)), n / 30)
    assert tracker.update(seen((100 + 3 * 60, 300)), 2.0).ids.tolist() == [1]


def test_a_class_that_wavers_does_not_break_the_id_unless_asked(make: Any) -> None:
    careless, strict = make(), make(class_aware=True)
    for n in range(12):
        here = seen((200 + n, 300), label=n // 4 % 2)
        one, two = careless.update(here, n / 25), strict.update(here, n / 25)
    assert one.ids.tolist() == [1]
    assert one.labels.tolist() == [0]
    assert two.ids.max() > 1


def test_a_label_is_what_most_of_the_score_speaks_for(make: Any) -> None:
    tracker = make()
    labels = [0, 0, 2, 0, 0, 2, 0, 0, 2, 0]  # 0.9 against 0.55: class 0 always leads
    for n, label in enumerate(labels):
        found = seen((200 + n, 300), score=0.55 if label else 0.9, label=label)
        assert tracker.update(found, n / 25).labels.tolist() == [0]
    # From here on it is class 2: seven sightings stand at 0.9 and three at 0.55 against it (4.65, less
    # what was forgotten), so nine at 0.55 turn the label.
    for n in range(10, 19):
        tracks = tracker.update(seen((200 + n, 300), score=0.55, label=2), n / 25)
    assert (tracks.ids.tolist(), tracks.labels.tolist()) == ([1], [2])


def test_a_label_is_forgotten_slowly_while_nothing_is_seen(make: Any) -> None:
    tracker = make(lost_after_s=10.0)
    for n in range(20):
        tracker.update(seen((200, 300), label=0), n / 10)
    assert tracker.update(seen((200, 300), label=1), 9.0).labels.tolist() == [1]  # 18 exp(-7.1 / 2) = 0.5


def test_neighbors_of_different_height_are_told_apart(twin: Any) -> None:
    # An object 100 high, and two detections that overlap it equally: one of its own height and foot, a
    # third aside, (60 / 140 = 3/7), one of its width and place whose height is 3/7 of it. Overlap
    # alone cannot tell; the vertical extents agree by 1 and by 3/7.
    tracker = Tracker(height_overlap=True, match_thresh=0.9, new_match_thresh=0.95)
    same = Detections.of(boxes=[[100, 100, 200, 200]], scores=[0.9], labels=[0])
    for n in range(3):
        tracker.update(same, n / 25)
    short, tall = [100, 100, 200, 100 + 300 / 7], [140, 100, 240, 200]
    both = Detections.of(boxes=[short, tall], scores=[0.9, 0.9], labels=[0, 0])
    tracks = tracker.update(both, 3 / 25)
    assert tracks.match[tracks.ids == 1].tolist() == [1]


def standing(twin: Any, *found: tuple[float, float], pause_s: float = 0.04) -> tuple[list[int], list[int]]:
    """Ids and matches of a tracker that knows an object 40 wide and 80 high at (300, 300), and `pause_s` later gets
    detections of its size around other centers."""
    tracker = Tracker()
    for n in range(4):
        tracker.update(seen((300, 300)), n / 25)
    tracks = tracker.update(seen(*found), 3 / 25 + pause_s)
    return tracks.ids.tolist(), tracks.match.tolist()


def test_the_foot_decides_between_detections_that_overlap_alike(twin: Any) -> None:
    # Grown by 1.2 * 0.04: 43.84 x 87.68. 8 px lower both factors are 79.68 / 95.68, together 0.6935; 8 px aside overlap
    # is 35.84 / 51.84 = 0.6914, and the foot where it was: a tenth of the height costs 0.5 / 1.4 * 0.1 = 0.036.
    assert standing(twin, (300, 308), (308, 300)) == ([1], [1])


def test_the_foot_counts_less_the_longer_the_time_between_two_frames(twin: Any) -> None:
    # After 0.5 s, grown by 0.6: 88 x 176. 8 px lower (168 / 184) ** 2 = 0.834, 9.5 px aside 78.5 / 97.5: 0.026 less
    # times the score. The foot costs 0.5 / 6 * 0.1 = 0.008; as after 0.04 s it would cost 0.036.
    assert standing(twin, (300, 308), (309.5, 300), pause_s=0.5) == ([1], [0])


def test_a_far_foot_never_prevents_a_match_that_has_no_rival(twin: Any) -> None:
    # Half a height lower: (47.68 / 127.68) ** 2 * 0.9 = 0.126 of the needed 0.1; the foot would cost 0.18.
    assert standing(twin, (300, 340)) == ([1], [0])


@pytest.mark.parametrize("fps", [1.0, 2.0, 3.0])
def test_a_walker_at_one_to_three_frames_a_second_is_in_every_record(twin: Any, fps: float) -> None:
    # 1.4 m/s at 100 px per meter, a man 60 px wide and 175 px high, with another who stands 5 m aside.
    tracker, random, ids = Tracker(), np.random.default_rng(4), []
    for n in range(20):
        at = np.array([[100 + 140 * n / fps, 400], [1500, 900]])
        half = np.array([30, 87.5]) + random.normal(0, 1.5, (2, 2))
        found = Detections.of(boxes=np.concatenate([at - half, at + half], 1), scores=[0.8, 0.9], labels=[0, 0])
        tracks = tracker.update(found, n / fps)
        ids.append(tracks.ids[tracks.match >= 0].tolist())
    assert ids == [[1, 2]] * 20


def test_a_predicted_box_that_left_the_frame_is_not_reported(twin: Any) -> None:
    # 15 px a frame to the right, last detected at 625 of 640: 5 px remain in it, then none; another stands.
    tracker, left = Tracker(coast_s=1.0), []
    for n in range(15):
        tracker.update(seen((415 + 15 * n, 100), (300, 300)), n / 25)
    for n in range(15, 18):
        tracks = tracker.update(seen((300, 300)), n / 25)
        assert tracks.ids.tolist() == [1, 2]
        left.append(in_frame(tracks, (640, 480)).ids.tolist())
    assert left == [[1, 2], [1, 2], [2]]
    assert in_frame(tracker.update(seen((700, 300)), 18 / 25), (640, 480)).ids.tolist() == [2]


def test_columns_need_not_lie_together_in_memory(make: Any) -> None:
    one, two = make(), make()
    boxes = np.array([[0, 0, 40, 80], [900, 0, 940, 80]], np.float32)
    strided = Detections(np.asfortranarray(boxes), np.full(4, 0.9, np.float32)[::2], np.zeros(4, np.int32)[::2])
    plain = Detections.of(boxes=boxes, scores=[0.9, 0.9], labels=[0, 0])
    assert one.update(strided, 0.0).boxes.tolist() == two.update(plain, 0.0).boxes.tolist()


def test_doubtful_detections_carry_a_known_object_but_start_none(make: Any) -> None:
    tracker = make()
    for n in range(20):
        here = seen((200 + n, 300), score=0.9 if n < 5 else 0.3)
        other = seen((800, 300), score=0.3)
        both = Detections.of(
            boxes=np.concatenate([here.boxes, other.boxes]),
            scores=np.concatenate([here.scores, other.scores]),
            labels=[0, 0],
        )
        tracks = tracker.update(both, n / 25)
    assert tracks.ids.tolist() == [1]
    assert tracks.match.tolist() == [0]


def test_a_single_false_alarm_is_never_shown(make: Any) -> None:
    tracker = make()
    shown = []
    for n in range(10):
        found = seen((100, 300), (900, 300)) if n == 4 else seen((100, 300))
        shown.append(tracker.update(found, n / 25).ids.tolist())
    assert all(ids == [1] for ids in shown)


def test_confirmation_can_ask_for_time(make: Any) -> None:
    tracker = make(confirm_after_s=0.3)
    tracker.update(seen((100, 100)), 0.0)
    counts = [len(tracker.update(seen((100, 100), (600, 300)), n / 10)) for n in range(1, 6)]
    assert counts == [1, 1, 1, 2, 2]  # first seen at 0.1 s, confirmed from 0.4 s


def test_ids_belong_to_the_instance_and_start_again_after_reset(make: Any) -> None:
    one, two = make(), make()
    assert one.update(seen((1, 1)), 0.0).ids.tolist() == two.update(seen((9, 9)), 5.0).ids.tolist() == [1]
    one.update(seen((500, 500)), 0.1)
    one.update(Detections.of(boxes=[[0, 0, np.nan, 1]], scores=[0.9], labels=[0]), 0.2)
    assert one.rejected == 1
    one.reset()
    assert one.rejected == 0
    assert one.update(seen((900, 300)), 0.0).ids.tolist() == [1]  # reported at once, as in a first frame


def test_the_order_of_detections_does_not_matter(make: Any) -> None:
    one, two = make(), make()
    random = np.random.default_rng(5)
    for detections, time in scene(2, frames=40, objects=12):
        order = random.permutation(len(detections))
        a, b = one.update(detections, time), two.update(detections[order], time)
        assert sorted(map(tuple, a.boxes.round(2).tolist())) == sorted(map(tuple, b.boxes.round(2).tolist()))


def test_empty_frames_and_odd_boxes(make: Any) -> None:
    tracker = make()
    assert len(tracker.update(Detections.empty(), 0.0)) == 0
    odd = Detections.of(
        boxes=[[0, 0, 10, 10], [np.nan, 0, 1, 1], [5, 5, 5, 9], [0, 0, 4, np.inf]], scores=[0.9] * 4, labels=[0] * 4
    )
    tracks = [tracker.update(odd, n / 10) for n in (1, 2)][-1]
    assert tracks.match.tolist() == [0]
    assert tracker.rejected == 6


def test_match_points_into_the_detections_that_came(make: Any) -> None:
    tracker = make()
    found = Detections.of(
        boxes=[[np.nan] * 4, [0, 0, 40, 80], [900, 0, 940, 80]], scores=[0.9, 0.9, 0.8], labels=[0, 1, 2]
    )
    tracks = [tracker.update(found, n / 10) for n in (1, 2)][-1]
    assert sorted(tracks.match.tolist()) == [1, 2]
    assert tracks.labels.tolist() == found.labels[tracks.match].tolist()


def test_five_thousand_detections(twin: Any) -> None:
    if twin is reference:
        pytest.skip("the specification is slow on purpose")
    tracker = ByteTracker()
    x, y = np.meshgrid(np.arange(100) * 30, np.arange(50) * 50)
    boxes = np.stack([x, y, x + 25, y + 45], -1).reshape(-1, 4)
    found = Detections.of(boxes=boxes, scores=np.full(5000, 0.9), labels=np.zeros(5000))
    for n in range(3):
        tracks = tracker.update(found, n / 25)
    assert len(tracks) == 5000
    assert len(set(tracks.ids.tolist())) == 5000


def test_memory_stays_flat_over_ten_thousand_objects(twin: Any) -> None:
    if twin is reference:
        pytest.skip("the specification is slow on purpose")
    tracker, most = ByteTracker(lost_after_s=0.2), 0
    for n in range(20_000):
        tracks = tracker.update(seen(((n // 2) % 7 * 300, 300)), n / 25)
        most = max(most, len(tracks))
    assert tracks.ids.max() > 5000
    assert most <= 8


def test_wrong_settings_and_times_are_refused_in_words(make: Any) -> None:
    with pytest.raises(InputError, match=r"track_high_thresh: expected 0 to 1, got 3"):
        make(track_high_thresh=3)
    with pytest.raises(InputError, match=r"lost_after_s: expected seconds of at least 0"):
        make(lost_after_s=-1)
    with pytest.raises(InputError, match=r"expected one of track_high_thresh, .* got 'sped'"):
        make(sped=1)
    for name in TUNING:
        make(**{name: 0})
    for value in (-1, float("nan"), float("inf")):
        with pytest.raises(InputError, match="position_noise: expected a number of at least 0"):
            make(position_noise=value)
    tracker = make()
    tracker.update(seen((1, 1)), 2.0)
    for time in (2.0, 1.0, float("nan"), float("inf")):
        with pytest.raises(InputError, match=r"more than the last 2 s"):
            tracker.update(seen((1, 1)), time)


def test_the_default_tracker_reports_boxes_as_they_were_seen(twin: Any) -> None:
    tracker = Tracker()
    for n in range(5):
        found = seen((100 + 7 * n, 300))
        tracks = tracker.update(found, n / 25)
        assert tracks.boxes.tolist() == found.boxes.tolist()


def test_a_new_frame_size_ends_every_object_and_ids_go_on(make: Any) -> None:
    tracker = make()
    for n in range(10):
        before = tracker.update(seen((100, 100)), n / 10)
    tracker.resize((640, 360))
    for n in range(10, 20):
        after = tracker.update(seen((100, 100)), n / 10)
    assert before.ids.tolist() == [1]
    assert after.ids.tolist() == [2]
    with pytest.raises(InputError, match="expected more than the last"):
        tracker.update(seen((100, 100)), 1.5)


def test_only_oc_sort_recovers_an_object_where_it_was_last_observed(twin: Any) -> None:
    # 12 px a frame, hidden for half a second while it stands: the prediction is 180 px on.
    def ids(make: Any) -> list[int]:
        tracker = make(coast_s=0.0)
        for n in range(30):
            tracker.update(seen((100 + 12 * n, 300)), n / 30)
        for n in range(30, 45):
            tracker.update(seen(), n / 30)
        for n in (45, 46):
            tracks = tracker.update(seen((100 + 12 * 29, 300)), n / 30)
        return [int(i) for i in tracks.ids]

    assert ids(OCSortTracker) == [1]
    assert ids(ByteTracker) == [2]
    assert ids(Tracker) == [2]


def test_oc_sort_walks_the_gap_and_bytetrack_does_not(twin: Any) -> None:
    # 3 px a frame, then hidden for 1.5 s in which it falls back by 20 px. Walked along the gap, the filter
    # knows the mean velocity of the gap; one plain update takes more of the error for braking.
    def drift(make: Any) -> float:
        tracker = make(coast_s=1.0, lost_after_s=5.0)
        for n in range(30):
            tracker.update(seen((100 + 3 * n, 300)), n / 30)
        for n in range(30, 75):
            tracker.update(seen(), n / 30)
        place = 100 + 3 * 75 - 20
        assert tracker.update(seen((place, 300)), 75 / 30).ids.tolist() == [1]
        return float(tracker.update(seen(), 85 / 30).boxes[0, [0, 2]].mean()) - place

    assert drift(OCSortTracker) - drift(ByteTracker) > 0.8


def test_the_momentum_of_oc_sort_prefers_the_detection_ahead(twin: Any) -> None:
    def match(make: Any) -> list[int]:
        tracker = make()
        for n in range(30):
            tracker.update(seen((100 + 3 * n, 300)), n / 30)
        pair = seen((190 + 10, 300), (190 - 9, 300))
        tracks = tracker.update(pair, 1.0)
        return [int(m) for m in tracks.match[tracks.ids == 1]]

    assert match(OCSortTracker) == [0]
    assert match(ByteTracker) == [1]


def test_a_coasting_box_keeps_its_size(twin: Any) -> None:
    tracker = ByteTracker(coast_s=1.0)
    for n in range(20):
        half = 20 + 2 * n
        found = Detections.of(boxes=[[300 - half, 300 - half, 300 + half, 300 + half]], scores=[0.9], labels=[0])
        tracker.update(found, n / 30)
    sizes = [np.ptp(tracker.update(seen(), (20 + n) / 30).boxes[0, [0, 2]]) for n in range(10)]
    assert sizes[1:] == pytest.approx([sizes[0]] * 9, abs=1e-3)


@pytest.mark.parametrize("name", ["track_high_thresh", "track_low_thresh", "new_track_thresh"])
def test_scores_are_0_to_1(make: Any, name: str) -> None:
    for value in (0, 1):
        make(**{name: value})
    for value in (-0.01, 1.01, float("nan")):
        with pytest.raises(InputError, match=f"{name}: expected 0 to 1"):
            make(**{name: value})


@pytest.mark.parametrize("name", ["lost_after_s", "coast_s", "confirm_after_s"])
def test_seconds_are_at_least_0(make: Any, name: str) -> None:
    make(**{name: 0})
    for value in (-0.01, float("nan")):
        with pytest.raises(InputError, match=f"{name}: expected seconds of at least 0"):
            make(**{name: value})


def test_the_defaults_of_a_tracker(make: Any) -> None:
    # Scores 0.6, 0.5 and 0.1; a second until an object is removed; 0.3 s of coasting; confirmed at once.
    tracker = make()
    assert tracker.update(seen((100, 300), score=0.59), 0.0).ids.tolist() == []
    tracker.update(seen((100, 300), score=0.6), 0.125)
    assert tracker.update(seen((100, 300), score=0.5), 0.25).match.tolist() == [0]
    assert tracker.update(seen((100, 300), score=0.1), 0.375).match.tolist() == [0]
    assert tracker.update(seen((100, 300), score=0.09), 0.5).match.tolist() == [-1]
    assert tracker.update(seen(), 0.6875).ids.tolist() == []  # 0.3125 s after it was last detected
    assert tracker.update(seen((100, 300), score=0.1), 0.75).match.tolist() == [0]  # missed, and continued
    assert tracker.update(seen((100, 300)), 1.375).ids.tolist() == [1]
    tracker.update(seen(), 2.4375)  # more than a second
    late = [tracker.update(seen((100, 300)), t).ids.tolist() for t in (2.5, 2.625)]
    assert late == [[], [2]]


def test_a_list_of_rows_is_an_array_and_another_list_is_rejected() -> None:
    assert Tracker().update([[0, 0, 4, 4, 0.9, 2]], 0.0).labels.tolist() == [2]
    assert len(Tracker().update([], 0.0)) == 0
    for wrong in ([0, 0, 4, 4], [[0, 0, 4]], [[0, 0, 4, "x"]], ([[0, 0, 4, 4]], [0.9], [2])):
        with pytest.raises(InputError, match=r"tracker: expected Detections, .*, got "):
            Tracker().update(wrong, 0.0)


def test_scores_in_percent_or_labels_in_their_place_are_rejected() -> None:
    with pytest.raises(InputError, match=r"scores from 0 to 1, got scores from 0\.9 to 90"):
        Tracker().update([[0, 0, 4, 4, 90, 2], [0, 0, 4, 4, 0.9, 2]], 0.0)


@pytest.mark.parametrize(
    ("other", "ours"),
    [
        # supervision.ByteTrack and trackers.ByteTrackTracker: a score that starts an object
        ({"track_activation_threshold": 0.25}, {"new_track_thresh": 0.25, "track_high_thresh": 0.25}),
        (
            {"track_activation_threshold": 0.7, "high_conf_det_threshold": 0.6},
            {"new_track_thresh": 0.7, "track_high_thresh": 0.6},
        ),
        ({"lost_track_buffer": 45}, {"lost_after_s": 1.5}),  # frames at 30 fps, whatever the rate
        ({"track_buffer": 15, "frame_rate": 10}, {"lost_after_s": 0.5}),
        ({"minimum_matching_threshold": 0.7}, {"match_thresh": 0.3}),  # theirs a cost, the kernel's a similarity
        ({"match_thresh": 0.7}, {"match_thresh": 0.3}),
        ({"minimum_iou_threshold": 0.15}, {"match_thresh": 0.15}),
        ({"minimum_consecutive_frames": 1}, {"confirm_after_s": 0.0}),
        ({"minimum_consecutive_frames": 3, "frame_rate": 10}, {"confirm_after_s": 0.15}),
        # ByteTrack, SORT, OC-SORT
        ({"track_thresh": 0.5}, {"track_high_thresh": 0.5, "new_track_thresh": 0.6}),
        ({"det_thresh": 0.4}, {"track_high_thresh": 0.4, "new_track_thresh": 0.4}),
        ({"max_age": 5, "frame_rate": 10}, {"lost_after_s": 0.5}),
        ({"iou_threshold": 0.3, "inertia": 0.1}, {"match_thresh": 0.3, "momentum": 0.1}),
        ({"min_hits": 2}, {"confirm_after_s": 0.5 / 30}),
        # BoT-SORT's three stages, in trackers
        ({"minimum_iou_threshold_second_assoc": 0.4}, {"second_match_thresh": 0.4}),
        ({"minimum_iou_threshold_unconfirmed_assoc": 0.4}, {"new_match_thresh": 0.4}),
        ({"tracker_type": "bytetrack", "fuse_score": True, "mot20": False}, {}),
    ],
)
def test_parameters_of_other_trackers_keep_their_meaning(
    other: dict[str, Any], ours: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[dict[str, float]] = []
    monkeypatch.setattr(kernels, "TrackerCore", given.append)
    Tracker(**other)
    Tracker()
    changed = {name: value for name, value in given[0].items() if given[1].get(name) != value}
    assert changed == pytest.approx({n: v for n, v in ours.items() if given[1].get(n) != v})
    assert {n: given[0][n] for n in ours} == pytest.approx(ours)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"track_thresh": 0.5, "high_conf_det_threshold": 0.6}, "one setting of track_high_thresh"),
        ({"lost_after_s": 2.0, "track_buffer": 30}, "track_buffer: expected one setting of lost_after_s"),
        ({"tracker_type": "botsort"}, "tracker_type: expected 'bytetrack', the only one here, got 'botsort'"),
        ({"fuse_score": False}, "fuse_score: expected True"),
        ({"with_reid": True}, "with_reid: edgevid's trackers have no setting of appearance"),
        ({"delta_t": 3}, "delta_t: edgevid's trackers have no setting of a span of frames"),
        ({"lost_track_bufer": 3}, "did you mean 'lost_track_buffer'"),
        ({"track_buffer": "30 frames"}, "track_buffer: expected a number, got '30 frames'"),
        ({"match_thresh": 1.2}, "match_thresh: expected 0 to 1, got 1.2"),
        ({"frame_rate": 0}, "frame_rate: expected frames per second, got 0"),
    ],
)
def test_parameters_without_one_meaning_are_answered(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Tracker(**settings)


def test_three_consecutive_frames_confirm_in_the_third(make: Any) -> None:
    tracker = make(minimum_consecutive_frames=3, frame_rate=10)
    tracker.update(seen())
    counts = [len(tracker.update(seen((100, 300)))) for _ in range(4)]
    assert counts == [0, 0, 1, 1]


def test_supervisions_detections_come_back_with_ids_row_by_row(make: Any) -> None:
    tracker = make(frame_rate=10)
    given = theirs([[600, 20, 640, 90], [100, 20, 140, 90], [300, 20, 340, 90]], [0.9, 0.3, 0.8])
    found = tracker.update(given)
    assert found is not given
    assert given.tracker_id is None
    assert found.tracker_id.tolist() == [1, -1, 2]
    assert found.xyxy.tolist() == given.xyxy.tolist()
    kept = tracker.update_with_detections(theirs([[300, 20, 340, 90], [602, 20, 642, 90], [0, 0, 9, 9]]))
    assert sorted(kept.tracker_id.tolist()) == [1, 2]
    assert len(tracker.update(theirs([])).tracker_id) == 0


def test_frames_without_a_time_are_tracked_as_those_at_the_rate(make: Any) -> None:
    counted, timed = make(frame_rate=25), make()
    for n in range(30):
        found = seen((100 + 5 * n, 300)) if n % 7 else seen()
        assert counted.update(found).boxes.tolist() == timed.update(found, n / 25).boxes.tolist()
    assert counted.update_with_detections(seen((250, 300))).ids.tolist() == [1]


def test_an_array_of_boxes_scores_and_labels_is_tracked(make: Any) -> None:
    tracks = make().update(np.array([[0, 0, 40, 80, 0.9, 2.0]]), 0.0)
    assert (tracks.ids.tolist(), tracks.labels.tolist()) == ([1], [2])
