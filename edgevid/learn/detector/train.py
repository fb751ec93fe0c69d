"""Training of the compact detector: resumable, seeded, on the CPU or a GPU."""

from __future__ import annotations

import math
import pickle
import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as together
from rich.progress import Progress

from edgevid.errors import InputError
from edgevid.files.atomic import atomic_path
from edgevid.learn.detector.data import Composer
from edgevid.learn.detector.network import (
    Shape,
    StreetDetector,
    Truth,
    anchor_points,
    loss,
)
from edgevid.types import Array


@dataclass(frozen=True, slots=True)
class Schedule:
    """How long and how fast to learn."""

    steps: int = 12_000
    batch: int = 32
    rate: float = 2e-3
    warm_up: int = 300
    weight_decay: float = 0.02
    average: float = 0.9995
    """Share of the old weights in the running average that is shipped."""
    seed: int = 1
    plain_share: float = 0.0
    """A last part without mosaics and pasting. With few scenes it only learns those by heart: person AP50 on
    unseen photos fell from 0.30 to 0.24 during one of 750 steps."""


def _many() -> bool:
    """Whether several processes train together."""
    return bool(together.is_available() and together.is_initialized())


@contextmanager
def _ahead(batches: Iterator[tuple[Array, ...]], depth: int = 4) -> Iterator[Callable[[], tuple[Array, ...]]]:
    """Gives the next batch, made in a thread while the network learns; the thread ends with the block.

    A mistake made in the thread is raised where the batch is asked for.
    """
    made: queue.Queue[tuple[Array, ...] | BaseException] = queue.Queue(depth)
    over = threading.Event()

    def work() -> None:
        try:
            for batch in batches:
                made.put(batch)
                if over.is_set():
                    return
        except BaseException as error:
            made.put(error)

    def take() -> tuple[Array, ...]:
        batch = made.get()
        if isinstance(batch, BaseException):
            raise batch
        return batch

    thread = threading.Thread(target=work, daemon=True, name="edgevid-batches")
    thread.start()
    try:
        yield take
    finally:
        over.set()
        while thread.is_alive():  # it may wait for room in the queue
            with suppress(queue.Empty):
                made.get(timeout=0.05)
        thread.join()


class Trainer:
    """Learns from a Composer's images and keeps everything needed to go on after an interruption."""

    def __init__(self, composer: Composer, schedule: Schedule, shape: Shape, *, device: str = "cpu") -> None:
        torch.manual_seed(schedule.seed)
        self.composer, self.schedule, self.device = composer, schedule, torch.device(device)
        layout: dict[str, Any] = {"memory_format": torch.channels_last}
        self.network = StreetDetector(shape).to(self.device).to(**layout)
        self.average = StreetDetector(shape).to(self.device)
        self.average.load_state_dict(self.network.state_dict())
        decayed = [p for p in self.network.parameters() if p.ndim > 1]
        plain = [p for p in self.network.parameters() if p.ndim <= 1]
        groups = [
            {"params": decayed, "weight_decay": schedule.weight_decay},
            {"params": plain, "weight_decay": 0.0},
        ]
        self.optimizer = torch.optim.AdamW(groups, lr=schedule.rate)
        self.points, self.strides = (t.to(self.device) for t in anchor_points(shape))
        self.step = 0

    def start_from(self, path: Path) -> int:
        """Takes the averaged weights of another training, where name and shape agree; returns how many.

        Raises InputError where the file is no checkpoint of a training.
        """
        given = self._saved(path)["average"]
        own = self.network.state_dict()
        taken = {name: w for name, w in given.items() if name in own and own[name].shape == w.shape}
        for network in (self.network, self.average):
            network.load_state_dict(own | taken)
        return len(taken)

    def run(self, checkpoint: Path, *, save_every: int = 500, keep_every: int = 0) -> list[float]:
        """Trains to the end of the schedule, resuming from `checkpoint` if it exists; returns the losses.

        With `keep_every` the averaged weights of every so many steps stay beside the checkpoint. Where
        `torch.distributed` is initialized, its processes train one network together, each on batches of its
        own, and the first of them saves.
        """
        if checkpoint.exists():
            self.restore(checkpoint)
            self.composer.go_on(self.step)
        losses: list[float] = []
        batches = self.composer.batches(self.schedule.batch)
        first = not _many() or together.get_rank() == 0
        with Progress(disable=not first) as progress, _ahead(batches) as next_batch:
            task = progress.add_task("training", total=self.schedule.steps, completed=self.step)
            while self.step < self.schedule.steps:
                if self.step >= self.schedule.steps * (1 - self.schedule.plain_share):
                    self.composer.mosaic = self.composer.paste = 0.0
                losses.append(self.learn(next_batch()))
                if first and (self.step % save_every == 0 or self.step == self.schedule.steps):
                    self.save(checkpoint)
                if first and keep_every and self.step % keep_every == 0:
                    torch.save(
                        {"average": self.average.state_dict(), "step": self.step},
                        checkpoint.with_name(f"{checkpoint.stem}-{self.step}.pt"),
                    )
                recent = sum(losses[-50:]) / len(losses[-50:])
                progress.update(task, completed=self.step, description=f"training, loss {recent:.3f}")
        return losses

    def learn(self, batch: tuple[Array, ...]) -> float:
        """One step on images (B, H, W, 3) uint8 with boxes, labels and weights; returns the loss."""
        for group in self.optimizer.param_groups:
            group["lr"] = self._rate()
        images, boxes, labels, weights = (torch.from_numpy(a).to(self.device) for a in batch)
        pixels = images.permute(0, 3, 1, 2).float().mul_(1 / 255)  # keeps the order in memory: channels last
        self.network.train()
        with torch.autocast(self.device.type, dtype=torch.bfloat16):
            raw = self.network(pixels)
        value = loss(raw, Truth(boxes, labels, weights), self.points, self.strides)
        self.optimizer.zero_grad(set_to_none=True)
        value.backward()
        self._agree()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 10.0)
        self.optimizer.step()
        self.step += 1
        self._follow()
        return float(value.detach())

    def _agree(self) -> None:
        """Averages the gradients of the processes that train together."""
        if not _many():
            return
        weights = list(self.network.parameters())
        for weight in weights:
            if weight.grad is None:  # a batch without any object says nothing about boxes
                weight.grad = torch.zeros_like(weight)
        gradients = [w.grad for w in weights if w.grad is not None]
        flat = torch.cat([g.flatten() for g in gradients])
        together.all_reduce(flat)
        flat /= together.get_world_size()
        for gradient, part in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(part.view_as(gradient))

    def _rate(self) -> float:
        s = self.schedule
        warm = min(1.0, (self.step + 1) / s.warm_up)
        return s.rate * warm * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * self.step / s.steps)))

    @torch.no_grad()
    def _follow(self) -> None:
        """Moves the running average a little towards the weights; its memory grows with the steps."""
        keep = min(self.schedule.average, (1 + self.step) / (10 + self.step))
        for old, new in zip(
            self.average.state_dict().values(), self.network.state_dict().values(), strict=True
        ):
            if old.dtype.is_floating_point:
                old.lerp_(new.to(old.dtype), 1 - keep)
            else:
                old.copy_(new)

    def save(self, path: Path) -> None:
        """Everything needed to go on, written beside and moved into place."""
        state = {
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "schedule": asdict(self.schedule),
        }
        with atomic_path(path) as new:
            torch.save(state, new)

    def restore(self, path: Path) -> None:
        """Goes on from a saved state."""
        state = self._saved(path)
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step = state["step"]

    def _saved(self, path: Path) -> dict[str, Any]:
        """A checkpoint's content, tensors and numbers only: a file cannot run code."""
        try:
            state: dict[str, Any] = torch.load(path, map_location=self.device, weights_only=True)
            state["average"], state["step"]
        except (OSError, RuntimeError, KeyError, TypeError, EOFError, pickle.UnpicklingError) as error:
            raise InputError(
                f"{path}: expected a checkpoint written by this training, got another"
            ) from error
        return state
