"""Fitting: windows, weights, early stopping, seeds."""

from __future__ import annotations

import numpy as np
import pytest
from action_corpus import corpus

from edgevid.errors import InputError

torch = pytest.importorskip("torch", reason="training needs torch: pip install 'edgevid[train]'")

from edgevid.learn.actions.fit import TrainOptions, fit, loss_weights, windows_of  # noqa: E402
from edgevid.learn.actions.heads import LinearHead, RecurrentHead  # noqa: E402
from edgevid.learn.actions.train import split_by_group  # noqa: E402

torch.set_num_threads(1)

SMALL = TrainOptions(window=12, rate_hz=8.0, epochs=12, batch=8, rate=5e-3)


def test_short_clips_are_padded_on_the_left() -> None:
    data = corpus(length=5)
    features, valid, labels = windows_of(data, SMALL)
    assert features.shape == (12, 12, 4)
    assert valid[0].tolist() == [False] * 7 + [True] * 5
    assert not features[0, :7].any()
    assert labels[:, -1].tolist() == data.labels.tolist()


def test_class_weights_balance_the_classes() -> None:
    weights = loss_weights(corpus((9, 3)), balanced=True).numpy()
    np.testing.assert_allclose(weights * [9, 3], [6, 6])


def test_training_learns_stops_early_and_keeps_the_best() -> None:
    train, held = split_by_group(corpus((12, 12), groups=4), 0.25)
    options = TrainOptions(window=12, rate_hz=8.0, epochs=40, batch=8, rate=5e-3, patience=3)
    fitted = fit(lambda: RecurrentHead(4, 2, hidden=16), train, held, options)
    assert len(fitted.history) <= 40
    losses = [e.validation_loss for e in fitted.history]
    assert losses[fitted.best_epoch] == min(losses)
    assert fitted.history[fitted.best_epoch].validation_accuracy == 1.0
    with pytest.raises(InputError, match="validation data"):
        fit(lambda: LinearHead(4, 2), train, None, options)


def test_a_seed_gives_the_same_head() -> None:
    heads = [fit(lambda: LinearHead(4, 2), corpus(), None, SMALL).head for _ in range(2)]
    for a, b in zip(heads[0].parameters(), heads[1].parameters(), strict=True):
        torch.testing.assert_close(a, b)
