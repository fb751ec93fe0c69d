"""Fitting: windows, weights, early stopping, seeds."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from action_corpus import corpus

from edgevid.errors import InputError, ModelError

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
    weights = loss_weights(corpus((9, 3))).numpy()
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


def test_an_interrupted_training_ends_as_one_that_was_not(tmp_path: Path) -> None:
    train, held = split_by_group(corpus((12, 12), groups=4), 0.25)
    options = TrainOptions(window=12, rate_hz=8.0, epochs=6, batch=8, rate=5e-3)
    whole = fit(lambda: RecurrentHead(4, 2, hidden=16), train, held, options)

    def stop(done: int, total: int, text: str) -> None:
        if done == 3:
            raise KeyboardInterrupt

    file = tmp_path / "checkpoint.pt"
    with pytest.raises(KeyboardInterrupt):
        fit(lambda: RecurrentHead(4, 2, hidden=16), train, held, options, checkpoint=file, progress=stop)
    steps: list[int] = []
    again = fit(
        lambda: RecurrentHead(4, 2, hidden=16), train, held, options, checkpoint=file,
        progress=lambda done, total, text: steps.append(done),
    )  # fmt: skip
    assert steps == [4, 5, 6]
    assert again.history == whole.history
    for a, b in zip(whole.head.parameters(), again.head.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_checkpoint_of_another_training_is_not_continued(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file, steps = tmp_path / "checkpoint.pt", list[int]()
    fit(lambda: LinearHead(4, 2), corpus(), None, SMALL, checkpoint=file)
    other = dataclasses.replace(SMALL, seed=5)
    fit(lambda: LinearHead(4, 2), corpus(), None, other, checkpoint=file, progress=lambda n, *_: steps.append(n))
    assert steps == list(range(1, 13))
    assert "of other data or options" in caplog.text


def test_a_loss_that_is_no_number_ends_the_training_and_the_best_epoch_is_kept() -> None:
    calls = []

    class Breaking(LinearHead):
        def loss(self, logits: torch.Tensor, *rest: object) -> torch.Tensor:
            calls.append(1)
            return logits.sum() * (float("nan") if len(calls) > 4 else 0.1)

    fitted = fit(lambda: Breaking(4, 2), corpus(), None, SMALL)
    assert len(fitted.history) == 2  # of two steps each
    assert "loss nan" in fitted.stopped
    assert all(bool(torch.isfinite(p).all()) for p in fitted.head.parameters())
    assert fitted.history[0].gradient_norm > 0
    with pytest.raises(ModelError, match="finite loss"):
        fit(lambda: Breaking(4, 2), corpus(), None, SMALL)
