"""From constructed outputs to boxes, scores and labels, for each family of detectors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from detector_outputs import anchors, detect, engine, expect, frame, recipe
from fake_engine import FakeEngine

from edgevid.detect.decode import Decoder
from edgevid.detect.detector import Detector
from edgevid.errors import ModelError
from edgevid.runtime import TensorSpec
from edgevid.runtime.recipe import Decode, DetectorRecipe


def decoder(decode: Decode, *shapes: tuple[int, ...], **more: Any) -> Decoder:
    """The decoder of a recipe over outputs a, b, ... of these shapes."""
    outputs = [TensorSpec("abcdefgh"[n], shape, np.dtype(np.float32)) for n, shape in enumerate(shapes)]
    return Decoder(DetectorRecipe.of(recipe(decode, **more)), outputs)


def test_yolov8_columns_and_its_transposed_form_agree() -> None:
    rows = anchors([10, 12, 4, 6, 0.9, 0.1], [10.5, 12, 4, 6, 0.8, 0.1], [20, 20, 8, 8, 0.1, 0.7])
    columns = detect(Decode("yolo", nms_iou=0.5), {"o": rows.transpose(0, 2, 1)})
    expect(columns, [[16, 18, 24, 30], [32, 32, 48, 48]], [0, 1])
    expect(detect(Decode("yolo", layout="rows", nms_iou=0.5), {"o": rows}), columns.boxes, [0, 1])


def test_yolov5_rows_with_objectness() -> None:
    rows = anchors([10, 12, 4, 6, 0.5, 0.2, 0.9], [20, 20, 8, 8, 0.2, 0.9, 0.9], total=63)
    found = detect(Decode("yolo", layout="rows", objectness=True, nms_iou=0.5), {"o": rows})
    expect(found, [[16, 18, 24, 30]], [1])
    np.testing.assert_allclose(found.scores, [0.45], rtol=1e-6)


def test_end_to_end_is_not_suppressed_again() -> None:
    rows = anchors([2, 4, 10, 12, 0.9, 1], [2, 4, 10, 12, 0.8, 1], [2, 4, 10, 12, 0.1, 1])
    expect(detect(Decode("end-to-end"), {"o": rows}), [[4, 8, 20, 24]] * 2, [1, 1])


def test_ultralytics_rtdetr_of_2026_is_end_to_end_from_centers() -> None:
    rows = anchors([0.5, 0.5, 0.25, 0.5, 0.9, 1])
    how = Decode("end-to-end", box="cxcywh", normalized=True)
    expect(detect(how, {"o": rows}), [[24, 16, 40, 48]], [1])


def test_ultralytics_rtdetr_is_normalized_rows() -> None:
    rows = anchors([0.5, 0.5, 0.25, 0.5, 0.1, 0.9])
    expect(detect(Decode("yolo", layout="rows", normalized=True), {"o": rows}), [[24, 16, 40, 48]], [1])


def test_detr_logits() -> None:
    boxes, logits = anchors([0.5, 0.5, 0.25, 0.5]), anchors([-3, np.log(3)])
    logits[0, 1:] = -9
    how = Decode("boxes-scores", normalized=True, logits=True)
    found = detect(how, {"pred_boxes": boxes, "logits": logits})
    expect(found, [[24, 16, 40, 48]], [1])
    np.testing.assert_allclose(found.scores, [0.75], rtol=1e-6)


def test_dfine_gets_the_input_size_and_gives_labeled_boxes() -> None:
    given: dict[str, Any] = {}

    def answer(inputs: Mapping[str, Any]) -> dict[str, Any]:
        given.update(inputs)
        return {
            "labels": np.array([[1, 0]]),
            "boxes": np.array([[[2, 4, 10, 12], [0, 0, 4, 4]]], np.float32),
            "scores": np.array([[0.9, 0.2]], np.float32),
        }

    specs = (
        TensorSpec("labels", (-1, 2), np.dtype(np.int64)),
        TensorSpec("boxes", (-1, 2, 4), np.dtype(np.float32)),
        TensorSpec("scores", (-1, 2), np.dtype(np.float32)),
    )
    inputs = (
        TensorSpec("images", (-1, 3, 32, 32), np.dtype(np.float32)),
        TensorSpec("orig_target_sizes", (-1, 2), np.dtype(np.int64)),
    )
    how = recipe(Decode("boxes-scores-labels"), outputs=("boxes", "scores", "labels"))
    found = Detector(FakeEngine(inputs, specs, answer), how).detect([frame()])[0]
    expect(found, [[4, 8, 20, 24]], [1])
    assert given["orig_target_sizes"].tolist() == [[32, 32]]


def test_nanodet_plus_single_output() -> None:
    # 32x32 at strides 8, 16: 16 + 4 cells; the one hit is column 1, row 0 of stride 16, at (16, 0).
    output = np.zeros((1, 20, 2 + 32), np.float32)
    output[0, :, 2:] = -50
    output[0, 17, 1] = 0.9
    output[0, 17, [2 + 1, 2 + 8 + 0, 2 + 16 + 0, 2 + 24 + 1]] = 50  # left 1, top 0, right 0.., bottom 1
    output[0, 17, 2 + 16 + 1] = 50  # right evenly 0 or 1: 0.5 strides
    found = detect(Decode("dfl", strides=(8, 16), offset=0.0, nms_iou=0.6), {"o": output})
    expect(found, [[0, 0, 48, 32]], [1])


@pytest.mark.parametrize(
    ("decode", "shape", "expected"),
    [
        (Decode("yolo"), (1, 7, 21), r"\(batch, 6, N\)"),
        (Decode("yolo", layout="rows", objectness=True), (1, 21, 6), r"\(batch, N, 7\)"),
        (Decode("yolox", strides=(8, 16, 32)), (1, 20, 7), r"\(batch, 21, 7\)"),
        (Decode("dfl", strides=(8, 16)), (1, 19, 34), r"\(batch, 20, 2 \+ 4 \* bins\)"),
        (Decode("fastestdet"), (1, 8, 2, 2), r"\(batch, 7, rows, columns\)"),
        (Decode("end-to-end"), (1, 300, 7), r"\(batch, N, 6\)"),
        (Decode("boxes-scores"), (1, 300, 4), "reads 2 outputs"),
    ],
)
def test_outputs_that_do_not_fit_are_named(decode: Decode, shape: tuple[int, ...], expected: str) -> None:
    with pytest.raises(ModelError, match=expected):
        Detector(engine({"o": np.zeros(shape, np.float32)}), recipe(decode))


def test_half_precision_outputs_are_read() -> None:
    rows = anchors([2, 4, 10, 12, 0.9, 1]).astype(np.float16)
    how = recipe(Decode("end-to-end"))
    expect(Detector(engine({"o": rows}), how).detect([frame()])[0], [[4, 8, 20, 24]], [1])


def test_yolox_counts_cells_and_takes_the_exponential_of_sizes() -> None:
    output = np.zeros((1, 20, 7), np.float32)  # 16 cells of stride 8, then 4 of stride 16
    output[0, 19] = [0.5, 0.25, np.log(0.5), np.log(0.25), 0.8, 0.1, 0.5]  # column 1, row 1 of stride 16
    read = decoder(Decode("yolox", strides=(8, 16)), output.shape).read
    boxes, scores, labels, _ = read({"a": output}, 0, 0.25)
    np.testing.assert_allclose(boxes, [[20, 18, 28, 22]], atol=1e-4)  # center (24, 20), size 8 x 4
    np.testing.assert_allclose(scores, [0.4], rtol=1e-6)
    assert labels.tolist() == [1]


def test_yunet_adds_cells_and_takes_the_root_of_class_and_objectness() -> None:
    """At stride 16 of 32 pixels: column 1, row 0; center (24, 4), size 16 x 8, a key point at (20, 12)."""
    how = Decode("yunet", strides=(8, 16), keypoints=1, keypoint_values=2)
    outputs = {
        n: np.zeros((1, cells, last), np.float32)
        for n, (last, cells) in zip(
            "abcdefgh", ((1, 16), (1, 4), (1, 16), (1, 4), (4, 16), (4, 4), (2, 16), (2, 4)), strict=True
        )
    }
    outputs["b"][0, 1], outputs["d"][0, 1] = 0.9, 0.4
    outputs["f"][0, 1], outputs["h"][0, 1] = [0.5, 0.25, 0, np.log(0.5)], [0.25, 0.75]
    read = decoder(how, *(array.shape for array in outputs.values()), names=("face",)).read
    boxes, scores, labels, points = read(outputs, 0, 0.25)
    np.testing.assert_allclose(boxes, [[16, 0, 32, 8]], atol=1e-4)
    np.testing.assert_allclose(scores, [0.6], rtol=1e-6)
    np.testing.assert_allclose(points, [[20, 12]], atol=1e-4)
    assert labels.tolist() == [0]


def test_fastestdet_is_a_share_of_the_input() -> None:
    output = np.zeros((1, 7, 2, 2), np.float32)
    output[0, :, 0, 1] = [0.5, 0, 0, 0, 0, 0.5, 0]  # column 1, row 0 of 2 x 2
    boxes, scores, labels, _ = decoder(Decode("fastestdet"), output.shape).read({"a": output}, 0, 0.25)
    np.testing.assert_allclose(boxes, [[8, -8, 24, 8]], atol=1e-4)  # center (16, 0), sigmoid(0) of 32 wide
    np.testing.assert_allclose(scores, [0.5], rtol=1e-5)  # 0.5^0.6 * 0.5^0.4
    assert labels.tolist() == [0]


def test_each_image_of_a_batch_has_its_own_boxes() -> None:
    rows = np.concatenate([anchors([2, 4, 10, 12, 0.9, 1]), anchors([1, 1, 3, 3, 0.8, 0])])
    read = decoder(Decode("end-to-end"), rows.shape)
    assert [read.read({"a": rows}, row, 0.25)[2].tolist() for row in (0, 1)] == [[1], [0]]
    assert len(read.read({"a": rows}, 1, 0.85)[0]) == 0


def test_levels_of_a_head_are_ordered_by_their_shapes() -> None:
    # Exporters order them differently: here distances come first, and the coarse level before the fine one.
    shapes = [(1, 4, 32), (1, 16, 32), (1, 4, 2), (1, 16, 2)]
    read = decoder(Decode("dfl", strides=(8, 16), offset=0.0), *shapes)
    assert [spec.name for spec in read.outputs] == ["d", "c", "b", "a"]
    with pytest.raises(ModelError, match=r"\(batch, 4, 2\) and \(batch, 16, 4 \* bins\)"):
        decoder(Decode("dfl", strides=(8, 16)), (1, 16, 32), (1, 5, 32), (1, 16, 2), (1, 4, 2))


def test_named_outputs_are_read_in_the_order_of_the_recipe() -> None:
    shapes, how = [(1, 9, 2), (1, 9, 4), (1, 3, 3)], Decode("boxes-scores")
    assert [s.name for s in decoder(how, *shapes, outputs=("b", "a")).outputs] == ["b", "a"]
    with pytest.raises(ModelError, match=r"expected outputs \['z'\] of its recipe, got \['a', 'b', 'c'\]"):
        decoder(how, *shapes, outputs=("b", "z"))
    with pytest.raises(ModelError, match="reads 2 outputs, the model has 3: a, b, c"):
        decoder(how, *shapes)
