"""Typicality: conformal p-values that a clip is like those of the training."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgevid.actions.recognizer import softmax
from edgevid.actions.typicality import Typicality, pool
from edgevid.errors import FileFormatError
from edgevid.types import Scores

RNG = np.random.default_rng(0)
CENTERS = np.array([[2.0, 0, 0, 0, 0], [0, 2, 0, 0, 0], [0, 0, 2, 0, 0]])


def clips(labels: np.ndarray, centers: np.ndarray = CENTERS) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Logits of a head that looks at the first three features only, windows, and their valid steps."""
    features = centers[labels][:, None] + RNG.normal(0, 0.5, (len(labels), 8, 5))
    return 3 * features.mean(1)[:, :3], features, np.ones((len(labels), 8), bool)


def known() -> Typicality:
    labels, held = np.arange(90) % 3, np.arange(99) % 3
    _, features, valid = clips(labels)
    return Typicality.fit(features, valid, labels, 3).calibrated(*clips(held))


def test_p_values_of_known_clips_are_uniform_and_those_of_others_are_low() -> None:
    typicality = known()
    own = typicality(*clips(np.arange(600) % 3))[:, 0]
    assert abs(own.mean() - 0.5) < 0.06
    assert abs((own < 0.1).mean() - 0.1) < 0.05
    other = typicality(*clips(np.zeros(200, int), np.array([[2.0, 0, 0, 3, -3]])))[:, 0]
    # Sure of class 0 by the features that the head knows, unlike by the others.
    assert np.median(other) == pytest.approx(0.01)


def test_the_p_value_is_the_share_of_held_out_clips_that_are_as_unlike() -> None:
    typicality = known()
    sums = typicality.held_out
    assert len(sums) == 99
    assert (np.diff(sums) >= 0).all()
    far = typicality(*clips(np.zeros(5, int), 50 * np.ones((1, 5))))
    assert far.shape == (5, 1)
    assert far[:, 0].tolist() == pytest.approx([1 / 100] * 5)  # none is: the clip itself counts
    assert typicality(*clips(np.arange(30) % 3)).min() >= np.float32(1 / 100)


def test_half_a_window_is_too_little_to_tell() -> None:
    logits, features, valid = clips(np.zeros(3, int))
    valid[0, :4] = False
    valid[1, 1:6] = False  # few frames a second, but over the whole window
    found = known()(logits, features, valid)[:, 0]
    assert np.isnan(found[0])
    assert (found[1:] > 0).all()


def test_padding_does_not_count() -> None:
    _, features, valid = clips(np.zeros(1, int))
    valid[0, :3] = False
    spoiled = features.copy()
    spoiled[0, :3] = 1e6
    np.testing.assert_allclose(pool(spoiled, valid), pool(features, valid))
    kept = features[0, 3:]
    at = (np.arange(len(kept)) + 0.5) / len(kept)
    course = [np.sqrt(2) * np.cos(np.pi * k * at) @ kept / len(kept) for k in (1, 2, 3)]  # of a cosine transform
    np.testing.assert_allclose(
        pool(features, valid)[0], np.concatenate([kept.mean(0), kept.std(0), *course]), atol=1e-6
    )


def test_a_file_gives_the_same_and_another_head_s_is_rejected(tmp_path: Path) -> None:
    typicality, path = known(), tmp_path / "typicality.npz"
    typicality.write(path)
    some = clips(np.arange(60) % 3)
    again = Typicality.read(path, features=5, classes=3)
    np.testing.assert_allclose(again(*some), typicality(*some), atol=0.011)  # prototypes in half precision
    with pytest.raises(FileFormatError, match="train it again"):
        Typicality.read(path, features=5, classes=4)
    path.write_bytes(b"PK")
    with pytest.raises(FileFormatError, match="arrays center"):
        Typicality.read(path, features=5, classes=3)


def test_many_training_clips_are_thinned_by_class(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgevid.actions.typicality.LARGEST", 500)
    labels = np.repeat([0, 1, 2], (60, 20, 10))
    _, features, valid = clips(labels)
    made = Typicality.fit(features, valid, labels, 3)
    assert made.prototypes.shape == (20, 25)
    typicality = made.calibrated(*clips(np.arange(60) % 3))
    assert typicality(*clips(np.full(50, 2))).mean() > 0.3  # the rarest class has its prototypes


def test_the_opinion_is_mixed_in_where_held_out_clips_say_so() -> None:
    labels, held = np.arange(90) % 3, np.arange(300) % 3
    _, features, valid = clips(labels)
    made = Typicality.fit(features, valid, labels, 3)
    assert made.calibrated(*clips(held)).mixture.tolist() == [1, 0]  # without their classes: the head alone
    logits, windows, steps = clips(held)
    assert made.calibrated(logits, windows, steps, held).mixture[1] > 0
    blind = RNG.normal(0, 1, logits.shape)  # a head that knows nothing
    mixed = made.calibrated(blind, windows, steps, held)
    share, weight = mixed.mixture
    assert share <= 0.25 < weight
    logits, windows, steps = clips(np.arange(60) % 3)
    given = Scores.of(ids=np.arange(60), values=softmax(RNG.normal(0, 1, logits.shape)), times=np.zeros(60))
    found = mixed.assess(given, logits, windows, steps)
    np.testing.assert_allclose(found.values.sum(1), 1, rtol=1e-5)
    head, own = softmax(share * np.log(given.values)), softmax(weight * mixed.opinion(windows, steps))
    left = 1 - (head * own).sum(1, keepdims=True)
    np.testing.assert_allclose(found.values, head * own + left * (head + own) / 2, rtol=1e-4)
    assert (found.values.argmax(1) == np.arange(60) % 3).mean() > 0.9
    np.testing.assert_array_equal(found.typicality, mixed(logits, windows, steps))


def test_where_head_and_opinion_disagree_neither_is_sure() -> None:
    """Head 0.8, 0.2; opinion 0.9, 0.1 or 0.1, 0.9: products 0.72, 0.02, which leave 0.26; and 0.08, 0.18, 0.74."""
    made = replace(known(), mixture=np.array([1, 1], np.float32))
    logs = np.log([[0.9, 0.1], [0.1, 0.9]])
    found = made.mixed(np.array([[0.8, 0.2], [0.8, 0.2]]), logs)
    expected = [[0.72 + 0.26 * 0.85, 0.02 + 0.26 * 0.15], [0.08 + 0.74 * 0.45, 0.18 + 0.74 * 0.55]]
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    for mixture, one in (([0, 1], [0.9, 0.1]), ([1, 0], [0.8, 0.2]), ([0.5, 0], [2 / 3, 1 / 3])):  # one of them alone
        alone = replace(made, mixture=np.array(mixture, np.float32)).mixed(np.array([[0.8, 0.2]]), logs[:1])
        np.testing.assert_allclose(alone, [one], rtol=1e-5)
