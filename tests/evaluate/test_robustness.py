"""What is correct, wrong and abstained from as images and poses get worse."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tiny_detector
from recognizer_models import clip_model

from edgevid.actions.features import JHMDB15
from edgevid.errors import InputError
from edgevid.evaluate.robustness import IMAGES, OUTCOMES, corrupt_images, corrupt_poses, evaluate, turned
from edgevid.types import Array
from edgevid.video.images import to_jpeg


def crops() -> Array:
    return np.random.default_rng(0).integers(0, 255, (2, 32, 32, 3), np.uint8)


@pytest.mark.parametrize("kind", IMAGES)
def test_corruption_grows_with_its_strength(kind: str) -> None:
    clean, strengths = crops(), IMAGES[kind]
    apart = [
        np.abs(corrupt_images(clean, 0, kind, s).astype(int) - clean).mean() for s in (strengths[0], strengths[-1])
    ]
    assert 0 < apart[0] < apart[1]
    assert corrupt_images(clean, 0, kind, strengths[0]).shape == clean.shape


def test_strength_0_corrupts_nothing() -> None:
    clean = crops()
    assert corrupt_images(clean, 0, "untouched", 0) is clean


def test_corrupted_poses() -> None:
    rows = JHMDB15.rows(np.random.default_rng(0).normal(size=(50, 15, 2)))
    assert (corrupt_poses(rows, 0, "moments lost, %", 50, JHMDB15)[:, -1] == 0).sum() == pytest.approx(25, abs=12)
    np.testing.assert_array_equal(corrupt_poses(rows, 0, "untouched", 0, JHMDB15), rows)
    lost = corrupt_poses(rows, 0, "joints lost, %", 100, JHMDB15)
    np.testing.assert_array_equal(lost, np.broadcast_to(rows[0], (50, 45)))


def test_a_box_turns_with_the_image() -> None:
    """By 90 degrees against the clock, what is right of the center goes above it; the image itself shows that."""
    image = np.zeros((64, 64, 3), np.uint8)
    image[26:38, 44:52] = 255
    matrix = corrupt_images(image[None], 0, "rotation, degrees", 90)[0, ..., 0]
    ys, xs = np.nonzero(matrix > 128)
    np.testing.assert_allclose([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1], [26, 12, 38, 20], atol=1)
    np.testing.assert_allclose(turned(np.array([44.0, 26, 52, 38]), (64, 64), 90), [26, 12, 38, 20], atol=1e-6)
    np.testing.assert_allclose(turned(np.array([0.0, 30, 8, 34]), (64, 64), 0), [0, 30, 8, 34], atol=1e-6)


def test_a_recognizer_abstains_or_is_wrong_in_the_dark(tmp_path: Path) -> None:
    """Bright has the share sigmoid(20 (m - 0.5)) at a mean level m, which is 0.98 in the light: 0.45 at half the light,
    so that the best class, dark, has 0.55. A policy that asks for 0.9 abstains there, and is wrong at a quarter."""
    model = clip_model(tmp_path / "model", "NTCHW")
    for name, level in (("bright/a_1.jpg", 250), ("bright/b_1.jpg", 250), ("dark/c_1.jpg", 5), ("dark/d_1.jpg", 5)):
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(to_jpeg(np.full((48, 64, 3), level, np.uint8)))
    (tmp_path / "p.toml").write_text(
        'format = "edgevid-policy 1"\ntask = "light"\nnames = ["bright", "dark"]\n[decide]\nthreshold = 0.9\n'
    )
    rows = {}
    for policy in (None, tmp_path / "p.toml"):
        found = evaluate(str(model), tmp_path / "data", policy=policy)
        assert [found.values[name] for name in OUTCOMES] == [1, 0, 0]
        rows[policy] = {row[:2]: row[2:] for row in found.tables["By corruption"].rows}
        assert found.values["least: dark, share of the light"] == 0.5
        assert found.values["most wrong: dark, share of the light"] == 0.5
        assert found.values["most wrong: JPEG quality"] == 0
    dark = "dark, share of the light"
    assert rows[None][dark, 0.5] == (0.5, 0.5, 0)
    assert rows[tmp_path / "p.toml"][dark, 0.5] == (0.5, 0, 0.5)
    assert rows[tmp_path / "p.toml"][dark, 0.25] == (0.5, 0.5, 0)


def test_a_detector_misses_and_is_wrong(tmp_path: Path) -> None:
    """The model answers with one person at 8, 8 and one car at 24, 24 whatever the image. The labels hold the person in
    all images, the car in one, in shares of YOLO, and a region in another that does not count. Turned by 45 degrees the
    boxes are elsewhere: each is missed and each answer is wrong."""
    (tmp_path / "tiny.toml").write_text(tiny_detector.RECIPE)
    tiny_detector.model(tmp_path / "tiny.onnx", tiny_detector.PERSON, tiny_detector.CAR)
    labels = {"gate_1": "0 0.25 0.25 0.3125 0.3125\n1 0.75 0.75 0.3125 0.3125\n", "hall_1": "person 3 3 13 13 1.0\n",
              "hall_2": "person 3 3 13 13 1\ncar 19 19 29 29 -1\n"}  # fmt: skip
    black = to_jpeg(np.zeros((32, 32, 3), np.uint8))
    for folder in ("images", "labels", "classes/a"):
        (tmp_path / "data" / folder).mkdir(parents=True)
    for name, text in labels.items():
        (tmp_path / "data" / "images" / f"{name}.jpg").write_bytes(black)
        (tmp_path / "data" / "labels" / f"{name}.txt").write_text(text)
    found = evaluate(str(tmp_path / "tiny.onnx"), tmp_path / "data")
    assert list(found.groups) == ["gate", "hall"]
    rows = {row[:2]: row[2:] for row in found.tables["By corruption"].rows}
    assert rows["untouched", 0.0] == pytest.approx((4 / 5, 1 / 5, 0))  # the car of hall_1 is wrong
    assert rows["noise, sigma of 255", 40] == pytest.approx((4 / 5, 1 / 5, 0))
    assert rows["rotation, degrees", 45] == pytest.approx((0, 6 / 10, 4 / 10), abs=0.07)
    (tmp_path / "data" / "classes" / "a" / "x.jpg").write_bytes(black)
    with pytest.raises(InputError, match="got classes of whole images"):
        evaluate(str(tmp_path / "tiny.onnx"), tmp_path / "data" / "classes")


def test_features_of_long_videos_have_no_corruptions(tmp_path: Path) -> None:
    for folder in ("groundTruth", "features"):
        (tmp_path / "data" / folder).mkdir(parents=True)
    (tmp_path / "data" / "groundTruth" / "gate.txt").write_text("walk\nrun\n")
    np.save(tmp_path / "data" / "features" / "gate.npy", np.zeros((2, 5), np.float32))
    with pytest.raises(InputError, match="got features, which have no corruptions"):
        evaluate(str(clip_model(tmp_path / "model", "NTCHW")), tmp_path / "data")
