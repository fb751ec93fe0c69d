"""Overlap, suppression and decoding: both twins, against values worked by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgevid.kernels import reference


def f32(values: Any) -> np.ndarray:
    return np.asarray(values, np.float32)


def test_iou_of_known_boxes(twin: Any) -> None:
    # Half of each 2x2 box is shared: 2 / (4 + 4 - 2); a touching edge shares nothing.
    a = f32([[0, 0, 2, 2]])
    b = f32([[1, 0, 3, 2], [2, 0, 4, 2], [0, 0, 2, 2], [5, 5, 5, 5], [np.nan, 0, 1, 1]])
    np.testing.assert_allclose(twin.iou(a, b), [[1 / 3, 0, 1, 0, 0]], rtol=1e-6)


@pytest.mark.parametrize(("n", "m"), [(0, 3), (3, 0), (0, 0)])
def test_iou_of_nothing(twin: Any, n: int, m: int) -> None:
    assert twin.iou(np.zeros((n, 4), np.float32), np.zeros((m, 4), np.float32)).shape == (n, m)


def test_a_nearer_box_over_a_fifth_of_the_bottom_edge_hides_it(twin: Any) -> None:
    own = [0, 0, 100, 100]
    hiding = [[79, 50, 300, 150], [-200, 50, 21, 150], [0, 50, 100, 102.5], [0, 99, 100, 150]]
    free = [[80, 50, 300, 150], [-200, 50, 20, 150], [0, 50, 100, 102], [0, 100, 100, 150], [0, 50, np.nan, 150]]
    for other, hidden in [*((one, True) for one in hiding), *((one, False) for one in free)]:
        assert twin.is_occluded(np.array([own, other], float)).tolist() == [hidden, False]
    assert twin.is_occluded(np.zeros((0, 4))).tolist() == []


def test_both_twins_hide_the_same_of_many_boxes() -> None:
    native = pytest.importorskip("edgevid.kernels._native")
    corners = np.random.default_rng(3).uniform(0, 3000, (400, 2))
    boxes = np.concatenate([corners, corners + np.random.default_rng(4).uniform(5, 120, (400, 2))], 1)
    found = native.is_occluded(boxes)
    assert 20 < found.sum() < 380
    assert (found == reference.is_occluded(boxes)).all()


def test_nms_keeps_the_best_of_each_class(twin: Any) -> None:
    boxes = f32([[0, 0, 10, 10], [1, 0, 11, 10], [0, 0, 10, 10], [50, 50, 60, 60]])
    scores, labels = f32([0.6, 0.9, 0.7, 0.5]), np.array([0, 0, 1, 0], np.int32)
    assert twin.nms(boxes, scores, labels, 0.5).tolist() == [1, 2, 3]
    assert twin.nms(boxes, scores, labels, 0.5, class_aware=False).tolist() == [1, 3]
    assert twin.nms(boxes, scores, labels, 0.5, max_detections=1).tolist() == [1]


def test_nms_keeps_a_box_at_exactly_the_threshold(twin: Any) -> None:
    boxes = f32([[0, 0, 2, 2], [0, 0, 2, 1]])  # overlap exactly 1/2
    scores, labels = f32([0.9, 0.8]), np.zeros(2, np.int32)
    assert twin.nms(boxes, scores, labels, 0.5).tolist() == [0, 1]
    assert twin.nms(boxes, scores, labels, 0.49).tolist() == [0]


def test_nms_takes_the_earlier_row_on_a_tie(twin: Any) -> None:
    boxes, labels = f32([[0, 0, 4, 4]] * 3), np.zeros(3, np.int32)
    assert twin.nms(boxes, f32([0.5, 0.5, 0.5]), labels, 0.5).tolist() == [0]


def test_nms_drops_nan(twin: Any) -> None:
    boxes = f32([[0, 0, 4, 4], [np.nan, 0, 4, 4], [9, 9, 12, 12]])
    kept = twin.nms(boxes, f32([np.nan, 0.9, 0.5]), np.zeros(3, np.int32), 0.5)
    assert kept.tolist() == [2]


def test_nms_of_five_thousand_scattered_boxes_keeps_all(twin: Any) -> None:
    corner = np.stack(np.meshgrid(np.arange(100), np.arange(50)), axis=-1).reshape(-1, 2) * 10
    boxes = f32(np.concatenate([corner, corner + 8], axis=1))
    scores = np.linspace(0.9, 0.3, 5000, dtype=np.float32)
    kept = twin.nms(boxes, scores, np.zeros(5000, np.int32), 0.5, max_detections=5000)
    assert kept.tolist() == list(range(5000))


def test_columns_of_yolov8(twin: Any) -> None:
    output = np.zeros((4 + 3, 5), np.float32)
    output[:, 3] = [100, 50, 20, 10, 0.1, 0.8, 0.3]
    output[:, 4] = [100, 50, 20, 10, 0.2, 0.1, 0.2]
    boxes, scores, labels = twin.decode_columns(output[:4], output[4:], 0.25)
    np.testing.assert_array_equal(boxes, f32([[90, 45, 110, 55]]))
    np.testing.assert_array_equal(scores, f32([0.8]))
    assert labels.tolist() == [1]
    assert labels.dtype == np.int32


def test_rows_of_yolov5_multiply_objectness(twin: Any) -> None:
    output = f32([[100, 50, 20, 10, 0.5, 0.2, 0.8], [100, 50, 20, 10, 0.2, 0.9, 0.9]])
    found = twin.decode_rows(output[:, :4], output[:, 5:], 0.25, objectness=output[:, 4])
    np.testing.assert_allclose(found[1], [0.4], rtol=1e-6)
    assert found[2].tolist() == [1]


def test_rows_of_logits_and_corners(twin: Any) -> None:
    boxes, scores = f32([[1, 2, 5, 9], [1, 2, 5, 9]]), f32([[-3, np.log(3)], [-3, -2]])
    found = twin.decode_rows(boxes, scores, 0.5, xyxy=True, logits=True)
    np.testing.assert_array_equal(found[0], boxes[:1])
    np.testing.assert_allclose(found[1], [0.75], rtol=1e-6)  # 1 / (1 + 1/3)


def test_yolox_adds_the_cell_and_multiplies_the_stride(twin: Any) -> None:
    # 32x32 input, strides 8, 16, 32: 16 + 4 + 1 cells. Cell 5 is x=1, y=1 of stride 8; cell 18 is
    # x=0, y=1 of stride 16.
    output = np.zeros((21, 5 + 2), np.float32)
    output[5] = [0.5, 0.25, np.log(2), 0, 1.0, 0.9, 0.1]
    output[18] = [0.5, 0.5, 0, 0, 0.8, 0.1, 0.5]
    boxes, scores, labels = twin.decode_yolox(output, 32, 32, [8, 16, 32], 0.3)
    np.testing.assert_allclose(boxes, [[4, 6, 20, 14], [0, 16, 16, 32]], atol=1e-5)
    np.testing.assert_allclose(scores, [0.9, 0.4], rtol=1e-6)
    assert labels.tolist() == [0, 1]


def test_dfl_distances_are_expected_bins(twin: Any) -> None:
    scores = np.zeros((6, 2), np.float32)
    scores[4, 1] = 0.9  # column 1, row 1 of a grid of 3 columns
    raw = np.full((6, 4, 8), -100, np.float32)
    raw[4, 0, 2] = raw[4, 1, 1] = raw[4, 2, 3] = 0  # certain: 2, 1, 3 strides
    raw[4, 3, 4] = raw[4, 3, 5] = 0  # even between 4 and 5: 4.5 strides
    found = twin.decode_dfl(scores, raw.reshape(6, 32), 3, 8.0, 0.5, 0.5)
    np.testing.assert_allclose(found[0], [[12 - 16, 12 - 8, 12 + 24, 12 + 36]], rtol=1e-6)
    at_corner = twin.decode_dfl(scores, raw.reshape(6, 32), 3, 8.0, 0.0, 0.5)
    np.testing.assert_allclose(at_corner[0], [[8 - 16, 8 - 8, 8 + 24, 8 + 36]], rtol=1e-6)
    assert found[2].tolist() == [1]
    large = twin.decode_dfl(scores, (raw + 60).reshape(6, 32), 3, 8.0, 0.5, 0.5)  # exp(120) is no float32
    np.testing.assert_allclose(large[0], found[0], rtol=1e-6)


def test_fastestdet_formulas(twin: Any) -> None:
    output = np.zeros((5 + 2, 4), np.float32)
    output[:, 3] = [0.5, 0, np.arctanh(0.5), 0, 0, 0.2, 0.25]  # cell x=1, y=1 of 2x2
    boxes, scores, labels = twin.decode_fastestdet(output, 2, 100, 60, 0.1)
    # center ((1+0)/2*100, (1+.5)/2*60) = (50, 45), half of the input each side.
    np.testing.assert_allclose(boxes, [[25, 30, 75, 60]], rtol=1e-5)
    np.testing.assert_allclose(scores, [0.5**0.6 * 0.25**0.4], rtol=1e-5)
    assert labels.tolist() == [1]


def test_end_to_end_rows(twin: Any) -> None:
    output = f32([[1, 2, 3, 4, 0.9, 7], [1, 2, 3, 4, 0.1, 7], [1, 2, 1, 4, 0.9, 7], [1, 2, 3, 4, 0.9, -1]])
    boxes, scores, labels = twin.decode_end_to_end(output, 0.25)
    np.testing.assert_array_equal(boxes, f32([[1, 2, 3, 4]]))
    assert (scores.tolist(), labels.tolist()) == ([np.float32(0.9)], [7])


def test_a_score_at_the_threshold_is_not_above_it(twin: Any) -> None:
    half, box = np.float32(0.5), [10, 10, 4, 4]
    above = np.nextafter(half, np.float32(1))
    for best, count in ((half, 0), (above, 1)):
        rows = f32([[*box, best, 0.25]])
        assert len(twin.decode_rows(rows[:, :4], rows[:, 4:], 0.5)[0]) == count
        columns = np.ascontiguousarray(rows.T)
        assert len(twin.decode_columns(columns[:4], columns[4:], 0.5)[0]) == count
        assert len(twin.decode_yolox(f32([[*box[:2], 0, 0, 1, best]]), 8, 8, [8], 0.5)[0]) == count
        assert len(twin.decode_yolox(f32([[*box[:2], 0, 0, best, 1]]), 8, 8, [8], 0.5)[0]) == count
        assert len(twin.decode_dfl(f32([[best]]), np.ones((1, 32), np.float32), 1, 8.0, 0.5, 0.5)[0]) == count
        assert len(twin.decode_end_to_end(f32([[0, 0, 4, 4, best, 1]]), 0.5)[0]) == count
        objectness = f32([1.0])
        assert len(twin.decode_rows(rows[:, :4], rows[:, 4:], 0.5, objectness)[0]) == count
        assert len(twin.decode_rows(rows[:, :4], f32([[1.0, 0]]), 0.5, f32([best]))[0]) == count


def test_a_threshold_of_0_takes_every_logit_and_one_of_1_none(twin: Any) -> None:
    boxes, logits = f32([[1, 2, 5, 9]]), f32([[-40.0, -50.0]])
    assert len(twin.decode_rows(boxes, logits, 0.0, None, True, True)[0]) == 1
    assert len(twin.decode_rows(boxes, -logits, 0.999, None, True, True)[0]) == 1
    assert len(twin.decode_rows(boxes, -logits, 1.0, None, True, True)[0]) == 0


def test_labels_of_an_end_to_end_model_are_whole_numbers_below_a_million(twin: Any) -> None:
    for label, found in ((-0.5, []), (0.0, [0]), (2.6, [3]), (999_999.0, [999_999]), (1e6, [])):
        assert twin.decode_end_to_end(f32([[1, 2, 3, 4, 0.9, label]]), 0.5)[2].tolist() == found


def test_nan_and_infinite_boxes_are_dropped(twin: Any) -> None:
    output = np.tile(f32([[50], [50], [10], [10], [0.9]]), (1, 4))
    output[0, 0], output[2, 1], output[4, 2] = np.nan, np.inf, np.nan
    boxes, _, _ = twin.decode_columns(output[:4], output[4:], 0.25)
    np.testing.assert_array_equal(boxes, f32([[45, 45, 55, 55]]))


def test_nothing_above_the_threshold_is_a_correct_empty(twin: Any) -> None:
    output = np.zeros((84, 100), np.float32)
    boxes, scores, labels = twin.decode_columns(output[:4], output[4:], 0.25)
    assert (boxes.shape, scores.shape, labels.shape) == ((0, 4), (0,), (0,))


@pytest.mark.parametrize("score", [0.0, 0.05, 0.5, 0.99])
@pytest.mark.parametrize("seed", range(3))
def test_the_twins_agree_on_random_outputs(native: Any, seed: int, score: float) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.random((1029, 17), dtype=np.float32) ** 8
    boxes = rng.uniform(0, 200, (1029, 4)).astype(np.float32)
    scores[rng.random(scores.shape) < 0.01] = np.nan
    yolox = np.concatenate([rng.normal(0, 1, (1029, 4)), scores], axis=1).astype(np.float32)
    columns = np.ascontiguousarray(scores.T)
    calls: list[tuple[str, tuple[Any, ...]]] = [
        ("decode_columns", (np.ascontiguousarray(boxes.T), columns, score)),
        ("decode_rows", (boxes, scores[:, 1:], score, scores[:, 0])),
        ("decode_rows", (boxes, scores - 1, score, None, True, True)),
        ("decode_yolox", (yolox, 224, 224, [8, 16, 32], score)),
        ("decode_dfl", (scores, rng.normal(0, 2, (1029, 32)).astype(np.float32), 33, 8.0, 0.5, score)),
        ("decode_fastestdet", (np.ascontiguousarray(yolox.T), 21, 352, 352, score)),
    ]
    for name, arguments in calls:
        ours, expected = getattr(native, name)(*arguments), getattr(reference, name)(*arguments)
        assert ours[2].tolist() == expected[2].tolist(), name
        np.testing.assert_allclose(ours[0], expected[0], rtol=1e-4, atol=1e-3, err_msg=name)
        np.testing.assert_allclose(ours[1], expected[1], rtol=1e-5, err_msg=name)
        kept = native.nms(*ours, 0.5), reference.nms(*ours, 0.5)
        assert kept[0].tolist() == kept[1].tolist(), name
    np.testing.assert_allclose(native.iou(boxes, boxes), reference.iou(boxes, boxes), atol=1e-6)


def test_wrong_shapes_are_errors_of_the_native_twin(native: Any) -> None:
    with pytest.raises(ValueError, match="one row for each cell"):
        native.decode_yolox(np.zeros((20, 7), np.float32), 32, 32, [8, 16, 32], 0.3)
    with pytest.raises(ValueError, match="boxes of shape"):
        native.iou(np.zeros((2, 3), np.float32), np.zeros((2, 4), np.float32))


def test_yolox_classes_that_are_all_nan_are_no_object(twin: Any) -> None:
    output = np.full((4, 8), np.nan, np.float32)
    output[:, 4] = -0.5  # times no class at all (-inf) it would exceed a score below zero
    assert len(twin.decode_yolox(output, 16, 16, [8], -1.0)[0]) == 0
