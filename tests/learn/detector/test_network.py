"""Assignment, loss and the decoded output."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="training needs torch: pip install 'edgevid[train]'")
pytest.importorskip("onnx", reason="export needs onnx")

from edgevid.learn.detector.network import (  # noqa: E402
    CLASSES,
    Deployed,
    Shape,
    StreetDetector,
    Truth,
    anchor_points,
    assign,
    complete_iou,
    loss,
    to_boxes,
)

SMALL = Shape(96, 64, (8, 8, 16, 16, 16), (1, 1, 1), 16)


def test_anchors_inside_an_object_are_assigned_to_it() -> None:
    points, _ = anchor_points(SMALL)
    expected = torch.tensor([[[16.0, 8.0, 48.0, 40.0]]])
    truth = Truth(expected, torch.tensor([[2]]), torch.tensor([[1.0]]))
    boxes = expected[:, :1].expand(1, len(points), 4)
    scores = torch.full((1, len(points), len(CLASSES)), 0.5)
    owner, quality, counts = assign(scores, boxes, truth, points)
    inside = ((points > expected[0, 0, :2]) & (points < expected[0, 0, 2:])).all(1)
    assert 0 < int((owner[0] == 0).sum()) <= 10
    assert bool(inside[owner[0] == 0].all())
    assert quality.max() == pytest.approx(1.0)
    assert bool(counts.all())
    ignored = Truth(expected, torch.tensor([[2]]), torch.tensor([[-1.0]]))
    owner, _, counts = assign(scores, boxes, ignored, points)
    assert int((owner >= 0).sum()) == 0
    assert bool((counts[0] == ~inside).all())


def test_complete_iou_of_known_pairs() -> None:
    a = torch.tensor([[0.0, 0, 2, 2], [0, 0, 2, 2]])
    b = torch.tensor([[0.0, 0, 2, 2], [2, 0, 4, 2]])
    # The second pair shares nothing; centers 2 apart, hull 4 x 2: 0 - 4 / 20.
    assert complete_iou(a, b).tolist() == pytest.approx([1.0, -0.2], abs=1e-5)


def test_the_deployed_output_is_the_decoded_one() -> None:
    network = StreetDetector(SMALL).eval()
    x = torch.rand(1, 3, SMALL.height, SMALL.width)
    points, strides = anchor_points(SMALL)
    with torch.no_grad():
        raw, out = network(x), Deployed(network).eval()(x)
    boxes = to_boxes(raw[:, :4], points, strides)[0]
    size = boxes[:, 2:] - boxes[:, :2]
    torch.testing.assert_close(out[0, 2:4].T, size)
    torch.testing.assert_close(out[0, :2].T, (boxes[:, :2] + boxes[:, 2:]) / 2)


def test_a_batch_without_objects_has_a_finite_gradient_of_every_weight() -> None:
    network = StreetDetector(SMALL)
    empty = Truth(torch.zeros(1, 1, 4), torch.zeros(1, 1), torch.zeros(1, 1))
    value = loss(network(torch.rand(1, 3, SMALL.height, SMALL.width)), empty, *anchor_points(SMALL))
    value.backward()
    assert float(value.detach()) > 0
    gradients = [weight.grad for weight in network.parameters()]
    assert all(one is not None and bool(one.isfinite().all()) for one in gradients)
