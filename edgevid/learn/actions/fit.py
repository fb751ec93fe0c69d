"""Fits temporal heads: clipped gradients, early stopping, class weights, seeds."""

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from edgevid.errors import InputError
from edgevid.evaluate.actions.data import Corpus, Example, check, resample
from edgevid.learn.actions.augment import Augmentation, augment
from edgevid.learn.actions.heads import Head
from edgevid.types import Array


@dataclass(frozen=True, slots=True)
class TrainOptions:
    """How a head is trained."""

    window: int = 20
    """Steps that a window holds; shorter clips are padded on the left."""
    rate_hz: float = 15.0
    """Steps per second of the head's input."""
    epochs: int = 100
    patience: int = 0
    """Epochs without a better validation loss before stopping; 0 never stops early."""
    batch: int = 32
    rate: float = 2e-3
    """Peak of the one-cycle learning rate."""
    decay: float = 0.05
    clip_norm: float = 1.0
    """Largest norm of the gradient: recurrent heads diverge without it."""
    smoothing: float = 0.1
    class_weights: bool = True
    seed: int = 0
    augmentation: Augmentation = field(default_factory=Augmentation)


class Epoch(NamedTuple):
    """The figures of one epoch."""

    train_loss: float
    validation_loss: float
    validation_accuracy: float


@dataclass(frozen=True, slots=True)
class Fitted:
    """A trained head and its history."""

    head: Head
    history: tuple[Epoch, ...]
    best_epoch: int
    cpu_s: float
    options: TrainOptions


def step_of(corpus: Corpus, options: TrainOptions) -> float:
    """Rows of the corpus per step of the head."""
    step = corpus.rate_hz / options.rate_hz
    if step < 1 - 1e-6:
        raise InputError(f"rate: expected at most the data's {corpus.rate_hz:g} Hz, got {options.rate_hz:g}")
    return step


def windows_of(
    corpus: Corpus, options: TrainOptions, rng: np.random.Generator | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Features (N, T, D), valid (N, T) and labels (N, T) of all examples, augmented if `rng` is given."""
    count, window = len(corpus), options.window
    raw = np.zeros((count, window, corpus.examples[0].raw.shape[1]), np.float32)
    valid, labels = np.zeros((count, window), bool), np.zeros((count, window), np.int64)
    for row, example in enumerate(corpus.examples):
        rows, steps = _rows(example, corpus, options, rng)
        keep = min(len(rows), window)
        raw[row, window - keep :], labels[row, window - keep :] = rows[-keep:], steps[-keep:]
        valid[row, window - keep :] = True
    features, valid = corpus.encode(raw, valid)
    return torch.from_numpy(features), torch.from_numpy(valid), torch.from_numpy(labels)


def _rows(
    example: Example, corpus: Corpus, options: TrainOptions, rng: np.random.Generator | None
) -> tuple[Array, Array]:
    step = step_of(corpus, options)
    if rng is None:
        rows = resample(example.raw, step)
    else:
        copies = (example.raw, *corpus.augmentations.get(example.name, ()))
        rows = augment(copies[rng.integers(len(copies))], corpus.joints, step, options.augmentation, rng)
    if (example.labels == example.labels[0]).all():
        return rows, np.full(len(rows), example.labels[0])
    at = np.linspace(0, len(example.labels) - 1, len(rows)).round().astype(np.int64)
    return rows, example.labels[at]


def loss_weights(corpus: Corpus, *, balanced: bool) -> Tensor:
    """(C,) weights that balance the classes; mean 1 over the examples."""
    if not balanced:
        return torch.ones(len(corpus.names))
    labels = np.concatenate([e.labels for e in corpus.examples])
    counts = np.bincount(labels, minlength=len(corpus.names)).astype(np.float64)
    weights = np.where(counts > 0, counts.sum() / np.maximum(counts, 1) / max((counts > 0).sum(), 1), 0)
    return torch.tensor(weights, dtype=torch.float32)


Objective = Callable[[Tensor, Tensor, Tensor, Tensor, float], Tensor]


def clip_loss(logits: Tensor, labels: Tensor, valid: Tensor, weights: Tensor, smoothing: float) -> Tensor:
    """Cross-entropy of the class of each clip's last step."""
    return nn.functional.cross_entropy(logits, labels[:, -1], weight=weights, label_smoothing=smoothing)


def fit(
    make: Callable[[], Head],
    train: Corpus,
    validation: Corpus | None,
    options: TrainOptions,
    *,
    objective: Objective = clip_loss,
) -> Fitted:
    """A head trained on `train`; with `validation` its best epoch is kept, else its last."""
    check(train)
    if options.patience and validation is None:
        raise InputError("patience: expected validation data for early stopping, got none; set patience=0")
    torch.manual_seed(options.seed)
    rng = np.random.default_rng(options.seed)
    head, start = make(), time.process_time()
    optimizer = torch.optim.AdamW(head.parameters(), options.rate, weight_decay=options.decay)
    per_epoch = -(-len(train) // options.batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, options.rate, total_steps=options.epochs * per_epoch, pct_start=0.15
    )
    weights = loss_weights(train, balanced=options.class_weights)
    held = windows_of(validation, options) if validation is not None and len(validation) else None
    history: list[Epoch] = []
    best, best_epoch, best_state = np.inf, 0, None
    for number in range(options.epochs):
        loss = _epoch(head, train, options, rng, optimizer, schedule, weights, objective)
        after = _evaluate(head, held, weights, objective)
        history.append(Epoch(loss, *after))
        if held is not None and after[0] < best:
            best, best_epoch, best_state = after[0], number, copy.deepcopy(head.state_dict())
        if options.patience and number - best_epoch >= options.patience:
            break
    if best_state is not None:
        head.load_state_dict(best_state)
    head.eval()
    best_epoch = len(history) - 1 if best_state is None else best_epoch
    return Fitted(head, tuple(history), best_epoch, time.process_time() - start, options)


def _epoch(
    head: Head, train: Corpus, options: TrainOptions, rng: np.random.Generator,
    optimizer: torch.optim.Optimizer, schedule: torch.optim.lr_scheduler.LRScheduler, weights: Tensor,
    objective: Objective,
) -> float:  # fmt: skip
    head.train()
    features, valid, labels = windows_of(train, options, rng)
    order, losses = torch.from_numpy(rng.permutation(len(train))), []
    for rows in order.split(options.batch):
        logits = head(features[rows], valid[rows])
        loss = objective(logits, labels[rows], valid[rows], weights, options.smoothing)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(head.parameters(), options.clip_norm)
        optimizer.step()
        schedule.step()
        losses.append(float(loss.detach()))
    return float(np.mean(losses))


@torch.no_grad()
def _evaluate(
    head: Head, held: tuple[Tensor, Tensor, Tensor] | None, weights: Tensor, objective: Objective
) -> tuple[float, float]:
    if held is None:
        return float("nan"), float("nan")
    head.eval()
    features, valid, labels = held
    logits = head(features, valid)
    loss = float(objective(logits, labels, valid, weights, 0.0))
    predicted, truth = logits.argmax(-1), labels if head.per_step else labels[:, -1]
    right = (predicted == truth)[valid] if head.per_step else predicted == truth
    return loss, float(right.float().mean())


@torch.no_grad()
def predict(head: Head, corpus: Corpus, options: TrainOptions) -> Array:
    """(N, C) logits of a corpus, (N, T, C) of a head that scores each step."""
    head.eval()
    features, valid, _ = windows_of(corpus, options)
    return np.concatenate([head(f, v).numpy() for f, v in zip(features.split(64), valid.split(64), strict=True)])
