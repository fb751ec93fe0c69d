"""Fits heads: augmentations that preserve the action, clipped gradients, early stopping, class weights, checkpoints."""

import copy
import dataclasses
import json
import math
import pickle
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from edgevid.errors import InputError, ModelError, log
from edgevid.evaluate.actions.data import Corpus, Example, check, rows_at
from edgevid.files import atomic_path, sha256
from edgevid.learn.actions.augment import Rng, augment
from edgevid.learn.actions.heads import Head, Pooling, Positions
from edgevid.learn.classifier.network import ImageOptions
from edgevid.types import Array, Progress

CHECKPOINT = "checkpoint.pt"  # In the folder of a training that is not finished
SPEED = 0.25  # Largest logarithm of the change of speed
TRIM = 0.2  # Largest share trimmed off the end, in half of the sequences


def moments(last: int, step: float, lookahead: int, rng: Rng | None) -> tuple[Array, Array]:
    """(T,) each about `step`-th row of those up to `last`, and the row whose class each step gives: `lookahead` steps
    before. Augmented if `rng` is given: another speed, phase and end."""
    speed, start, end = step, 0.0, float(last)
    if rng is not None:
        speed *= float(np.exp(rng.uniform(-SPEED, SPEED)))
        end *= 1 - rng.uniform(0, TRIM) if rng.random() < 0.5 else 1.0
        start = min(rng.uniform(0, min(step, last)), end)
    at = np.arange(start, end + lookahead * speed + 1e-6, speed)
    return np.minimum(at, last), np.round(at - lookahead * speed).astype(np.int64)


@dataclass(frozen=True, slots=True)
class TrainOptions:
    """How a head is trained."""

    window: int = 20  # Steps that a window holds; shorter clips are padded on the left
    lookahead: int = 0  # Steps that a head which scores each step sees beyond the one it scores
    rate_hz: float = 15.0  # Steps per second of the head's input
    epochs: int = 100
    patience: int = 0  # Epochs without a better validation loss before stopping; 0 never stops early
    batch: int = 32
    rate: float = 2e-3  # Peak of the one-cycle learning rate
    decay: float = 0.05
    clip_norm: float = 1.0  # Largest norm of the gradient: recurrent heads diverge without it
    smoothing: float = 0.1
    seed: int = 0
    images: ImageOptions | None = None  # Of heads that take images
    layers: int = 0  # Of the head, or of each of its stages; 0: its own number
    pooling: Pooling | Literal[""] = ""  # Of a Transformer's steps; empty: their maximum
    positions: Positions | Literal[""] = ""  # Of a Transformer's steps; empty: learned


class Epoch(NamedTuple):
    """The figures of one epoch."""

    train_loss: float
    gradient_norm: float  # Mean over the steps, before it is clipped
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
    stopped: str = ""  # Why the training ended before its last epoch


def step_of(corpus: Corpus, options: TrainOptions) -> float:
    """Rows of the corpus per step of the head."""
    step = corpus.rate_hz / options.rate_hz
    if step < 1 - 1e-6:
        raise InputError(f"rate: expected at most the data's {corpus.rate_hz:g} Hz, got {options.rate_hz:g}")
    return step


def windows_of(corpus: Corpus, options: TrainOptions, rng: np.random.Generator | None = None, *,
               whole: bool = False) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Features (N, T, D), valid (N, T) and labels (N, T) of all examples, augmented if `rng` is given: the last steps
    that fit a window or, `whole`, all. A label is -1 where a step has none."""
    sampled = [sample(example, corpus, options, rng) for example in corpus.examples]
    count, window = len(corpus), max(len(rows) for rows, _ in sampled) if whole else options.window
    raw = np.zeros((count, window, corpus.examples[0].raw.shape[1]), np.float32)
    valid, labels = np.zeros((count, window), bool), np.full((count, window), -1)
    for row, (rows, steps) in enumerate(sampled):
        keep = min(len(rows), window)
        raw[row, window - keep :], labels[row, window - keep :] = rows[-keep:], steps[-keep:]
        valid[row, window - keep :] = True
    features, valid = corpus.encode(raw, valid)
    return torch.from_numpy(features), torch.from_numpy(valid), torch.from_numpy(labels)


def sample(example: Example, corpus: Corpus, options: TrainOptions,
           rng: np.random.Generator | None = None) -> tuple[Array, Array]:  # fmt: skip
    """Rows (T, R) of an example at the head's rate, and the class of each step. With `rng` they are augmented, and a
    random window of an example whose classes change."""
    at, scored = moments(len(example.raw) - 1, step_of(corpus, options), options.lookahead, rng)
    labels = np.where(scored < 0, -1, example.labels[np.minimum(scored, len(example.labels) - 1)])
    if rng is None:
        return rows_at(example.raw, at), labels
    if len(at) > options.window and (example.labels != example.labels[0]).any():
        first = int(rng.integers(len(at) - options.window + 1))
        at, labels = (one[first : first + options.window] for one in (at, labels))
    copies = (example.raw, *corpus.augmentations.get(example.name, ()))
    return augment(rows_at(copies[rng.integers(len(copies))], at), corpus.layout, rng), labels


def loss_weights(corpus: Corpus) -> Tensor:
    """(C,) weights that balance the classes; mean 1 over the examples."""
    labels = np.concatenate([e.labels for e in corpus.examples])
    counts = np.bincount(labels, minlength=len(corpus.names)).astype(np.float64)
    weights = np.where(counts > 0, counts.sum() / np.maximum(counts, 1) / max((counts > 0).sum(), 1), 0)
    return torch.tensor(weights, dtype=torch.float32)


class _Course:
    """A training between two epochs: all that continues it."""

    def __init__(self, head: Head, options: TrainOptions, batches: int) -> None:
        self.head, self.rng = head, np.random.default_rng(options.seed)
        self.optimizer = torch.optim.AdamW(head.parameters(), options.rate, weight_decay=options.decay)
        cycle, steps = torch.optim.lr_scheduler.OneCycleLR, options.epochs * batches
        self.schedule = cycle(self.optimizer, options.rate, total_steps=steps, pct_start=0.15)
        self.history: list[Epoch] = []
        self.best, self.best_epoch, self.cpu_s = math.inf, 0, 0.0
        self.best_state = copy.deepcopy(head.state_dict())

    def save(self, path: Path, key: str) -> None:
        """Writes everything needed to resume the training that `key` stands for."""
        state = {k: v.state_dict() if hasattr(v, "state_dict") else v for k, v in vars(self).items()}
        random = {"torch": torch.get_rng_state(), "rng": json.dumps(self.rng.bit_generator.state)}
        with atomic_path(path) as new:
            torch.save({**state, **random, "key": key, "history": [tuple(e) for e in self.history]}, new)

    def resume(self, path: Path, key: str) -> None:
        """Continues where `path` is a checkpoint of the same training; any other is replaced."""
        try:
            state = torch.load(path, weights_only=True)
            if state.pop("key") != key:
                raise KeyError
        except (OSError, RuntimeError, KeyError, TypeError, EOFError, pickle.UnpicklingError):
            log.warning("%s: of other data or options: the training starts from the beginning", path)
            return
        torch.set_rng_state(state.pop("torch"))
        self.rng.bit_generator.state = json.loads(state.pop("rng"))
        self.history = [Epoch(*e) for e in state.pop("history")]
        for name, value in state.items():
            own = getattr(self, name)
            own.load_state_dict(value) if hasattr(own, "load_state_dict") else setattr(self, name, value)


def fit(make: Callable[[], Head], train: Corpus, validation: Corpus | None, options: TrainOptions, *,
        checkpoint: Path | None = None, progress: Progress = lambda done, total, text: None) -> Fitted:  # fmt: skip
    """A head trained on `train`; with `validation` its best epoch is kept, else its last. `checkpoint` is written after
    each epoch, and resumed where it is of the same training. A loss or gradient that is no number ends the training:
    the best epoch before is kept; ModelError where there is none."""
    check(train)
    if options.patience and validation is None:
        raise InputError("patience: expected validation data for early stopping, got none; set patience=0")
    torch.manual_seed(options.seed)
    course = _Course(make(), options, -(-len(train) // options.batch))
    weights = loss_weights(train)
    marks = [dataclasses.asdict(options), train.names, [(e.name, e.content, e.label) for e in train.examples]]
    key = sha256(json.dumps([*marks, str(course.head)], default=str))
    if checkpoint and checkpoint.exists():
        course.resume(checkpoint, key)
    start, stopped = time.process_time() - course.cpu_s, ""
    for number in range(len(course.history), options.epochs):
        if options.patience and number - 1 - course.best_epoch >= options.patience:
            stopped = f"no better validation loss in {options.patience} epochs"
            break
        loss, norm = _epoch(course, train, options, weights)
        if not math.isfinite(loss + norm):
            stopped = f"loss {loss:g} and gradient norm {norm:g} in epoch {number + 1}"
            break
        after = _evaluate(course.head, validation, options, weights)
        course.history.append(Epoch(loss, norm, *after))
        if not validation or after[0] < course.best:
            course.best, course.best_epoch = after[0], number
            course.best_state = copy.deepcopy(course.head.state_dict())
        course.cpu_s = time.process_time() - start
        if checkpoint:
            course.save(checkpoint, key)
        progress(number + 1, options.epochs, f"training, loss {loss:.3f}")
    if not course.history:
        raise ModelError(f"training: expected a finite loss, got {stopped}: check the images, or lower the learning "
                         "rate")  # fmt: skip
    course.head.load_state_dict(course.best_state)
    course.head.eval()
    return Fitted(course.head, tuple(course.history), course.best_epoch, course.cpu_s, options, stopped)


def _epoch(course: _Course, train: Corpus, options: TrainOptions, weights: Tensor) -> tuple[float, float]:
    """Mean loss and gradient norm of the steps; it ends at the first that is no number."""
    head, steps = course.head, list[tuple[float, float]]()
    head.train()
    for rows in torch.from_numpy(course.rng.permutation(len(train))).split(options.batch):
        if len(rows) == 1 < min(options.batch, len(train)):  # batch normalization takes two
            continue
        features, valid, labels = windows_of(train.pick(rows.numpy()), options, course.rng)
        logits = head(features, valid)
        loss = head.loss(logits, labels, valid, weights, options.smoothing) + head.penalty
        course.optimizer.zero_grad()
        loss.backward()
        norm = nn.utils.clip_grad_norm_(head.parameters(), options.clip_norm)
        steps.append((float(loss.detach()), float(norm)))
        if not math.isfinite(sum(steps[-1])):
            return steps[-1]
        course.optimizer.step()
        course.schedule.step()
    loss, norm = np.mean(steps, axis=0).tolist()
    return loss, norm


@torch.no_grad()
def _evaluate(head: Head, held: Corpus | None, options: TrainOptions, weights: Tensor) -> tuple[float, float]:
    if not held:
        return float("nan"), float("nan")
    head.eval()
    losses, right = list[float](), list[Tensor]()
    for features, valid, labels in _parts(head, held, options):
        logits, known = head(features, valid), valid & (labels >= 0)
        losses += [float(head.loss(logits, labels, valid, weights, 0.0))] * len(labels)
        hits = logits.argmax(-1) == (labels if head.per_step else labels[:, -1])
        right.append(hits[known] if head.per_step else hits)
    return float(np.mean(losses)), float(torch.cat(right).float().mean())


def _parts(head: Head, corpus: Corpus, options: TrainOptions) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Windows of many examples at a time; of a head that scores each step one whole example."""
    for rows in np.split(np.arange(len(corpus)), range(size := 1 if head.per_step else 64, len(corpus), size)):
        yield windows_of(corpus.pick(rows), options, whole=head.per_step)


@torch.no_grad()
def predict(head: Head, corpus: Corpus, options: TrainOptions) -> Array:
    """(N, C) logits of the windows of a corpus, (N, T, C) of a head that scores each step."""
    features, valid, _ = windows_of(corpus, options)
    head.eval()
    parts = zip(features.split(64), valid.split(64), strict=True)
    return np.asarray(torch.cat([head(f, v) for f, v in parts]).numpy())


@torch.no_grad()
def predict_steps(head: Head, corpus: Corpus, options: TrainOptions) -> list[tuple[Array, Array]]:
    """Of each whole example the true classes (T,) and the logits (T, C) of the steps that have a class."""
    head.eval()
    parts = ((head(f, v), labels, v & (labels >= 0)) for f, v, labels in _parts(head, corpus, options))
    return [(labels[known].numpy(), logits[known].numpy()) for logits, labels, known in parts]
