"""The training loop of the detector: resumable, seeded, on the CPU or a GPU."""

import copy
import math
import pickle
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.distributed as distributed
from torch import Tensor

from edgevid.errors import InputError
from edgevid.files.atomic import atomic_path
from edgevid.learn.detector.data import Composer
from edgevid.learn.detector.export import read_onnx
from edgevid.learn.detector.network import Shape, StreetDetector, Truth, anchor_points, loss
from edgevid.run.watchdog import uninterrupted
from edgevid.types import Array, Progress

BATCHES_AHEAD = 4  # Composed while the network trains


@dataclass(frozen=True, slots=True)
class Schedule:
    """Steps, batch size and optimizer settings of a training."""

    steps: int = 12_000
    batch: int = 32
    learning_rate: float = 2e-3
    warmup_steps: int = 300
    weight_decay: float = 0.02
    ema_decay: float = 0.9995  # Decay of the exponential moving average of the weights, which is exported
    seed: int = 1
    sizes: tuple[tuple[int, int], ...] = ()
    """Widths and heights of the input in equal parts of the schedule, the network's own in the last (which is
    not listed): small images first take less time (Tan 2021, progressive learning)."""

    frozen: bool = False  # Whether batch normalization keeps its statistics, as in fine-tuning on few images

    def size(self, step: int, own: tuple[int, int]) -> tuple[int, int]:
        """Width and height of a step's images, of a network whose own size is `own`."""
        return (*self.sizes, own)[step * (len(self.sizes) + 1) // self.steps]


def _is_distributed() -> bool:
    """Whether several processes train one network."""
    return bool(distributed.is_available() and distributed.is_initialized())


@contextmanager
def _prefetch(batches: Iterator[tuple[Array, ...]]) -> Iterator[Callable[[], tuple[Array, ...]]]:
    """Composes batches in a thread during training; yields a function for the next one. The thread ends with
    the block; an error in it is raised by that function."""
    with ThreadPoolExecutor(1, "edgevid-batches") as pool:
        ahead = deque(pool.submit(next, batches, ()) for _ in range(BATCHES_AHEAD))

        def take() -> tuple[Array, ...]:
            ahead.append(pool.submit(next, batches, ()))  # nothing behind the last batch
            return ahead.popleft().result()

        try:
            yield take
        finally:
            pool.shutdown(cancel_futures=True)


class Trainer:
    """Trains on a Composer's images and saves everything needed to resume."""

    def __init__(self, composer: Composer, schedule: Schedule, shape: Shape, *, device: str = "cpu",
                 network: StreetDetector | None = None) -> None:  # fmt: skip
        torch.manual_seed(schedule.seed)
        self.composer, self.schedule, self.device = composer, schedule, torch.device(device)
        layout: dict[str, Any] = {"memory_format": torch.channels_last}
        network = (network or StreetDetector(shape)).to(self.device)
        self.average = copy.deepcopy(network)
        self.network = network.to(**layout)
        decayed = [p for p in self.network.parameters() if p.ndim > 1]
        plain = [p for p in self.network.parameters() if p.ndim <= 1]
        groups = [{"params": decayed}, {"params": plain, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, lr=schedule.learning_rate, weight_decay=schedule.weight_decay)
        self.shape, self.step = shape, 0
        # A CPU without matrix units takes 1.4 times as long in bfloat16 as in float32.
        self._half = self.device.type != "cpu" or torch.cpu._is_amx_tile_supported()

    def start_from(self, path: Path) -> int:
        """Loads the averaged weights of another training where name and shape agree; returns how many. Raises
        InputError where the file is neither a checkpoint of a training nor an ONNX of `export_onnx`."""
        given = read_onnx(path).state_dict() if path.suffix == ".onnx" else self._saved(path)["average"]
        own = self.network.state_dict()
        taken = {name: w for name, w in given.items() if name in own and own[name].shape == w.shape}
        for network in (self.network, self.average):
            network.load_state_dict(own | taken)
        return len(taken)

    def run(self, checkpoint: Path, *, save_every: int = 500,
            progress: Progress = lambda done, total, text: None) -> list[float]:  # fmt: skip
        """Trains to the end of the schedule, resuming from `checkpoint` if it exists; returns the losses. `progress` is
        called after every step, with the mean loss of the last 50. Where `torch.distributed` is initialized, its
        processes train one network, each on its own batches; the first of them saves and reports."""
        if checkpoint.exists():
            state = self._saved(checkpoint)
            self.step = state["step"]
            for name in ("network", "average", "optimizer"):
                getattr(self, name).load_state_dict(state[name])
            self.composer.resume(self.step)
        losses: list[float] = []
        own, steps = (self.shape.width, self.shape.height), range(self.step, self.schedule.steps)
        sizes = (self.schedule.size(step, own) for step in steps)
        batches = self.composer.batches(self.schedule.batch, sizes)
        first = not _is_distributed() or distributed.get_rank() == 0
        with _prefetch(batches) as next_batch:
            while self.step < self.schedule.steps:
                try:
                    with uninterrupted():
                        losses.append(self.train_step(next_batch()))
                except KeyboardInterrupt:
                    if first:
                        self.save(checkpoint)
                    raise
                if first and (self.step % save_every == 0 or self.step == self.schedule.steps):
                    self.save(checkpoint)
                if first:
                    recent = losses[-50:]
                    progress(self.step, self.schedule.steps, f"training, loss {sum(recent) / len(recent):.3f}")
        return losses

    def train_step(self, batch: tuple[Array, ...]) -> float:
        """One step on images (B, H, W, 3) uint8 with boxes, labels and weights; returns the loss."""
        s = self.schedule
        warm = min(1.0, (self.step + 1) / s.warmup_steps)
        cooled = 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * self.step / s.steps))
        for group in self.optimizer.param_groups:
            group["lr"] = s.learning_rate * warm * cooled
        images, boxes, labels, weights = (torch.from_numpy(a).to(self.device) for a in batch)
        pixels = images.permute(0, 3, 1, 2).float().mul_(1 / 255)  # keeps the order in memory: channels last
        shape = replace(self.shape, width=pixels.shape[3], height=pixels.shape[2])
        points, strides = (t.to(self.device) for t in anchor_points(shape))
        self.network.train(not s.frozen)
        value = self.loss(pixels, Truth(boxes, labels, weights), points, strides)
        self.optimizer.zero_grad(set_to_none=True)
        value.backward()
        self._average_gradients()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 10.0)
        self.optimizer.step()
        self.step += 1
        self._update_average()
        return float(value.detach())

    def loss(self, pixels: Tensor, truth: Truth, points: Tensor, strides: Tensor) -> Tensor:
        """The loss of a batch of images (B, 3, H, W) in 0..1; benchmarks/ tries others."""
        return loss(self.forward(pixels), truth, points, strides)

    def forward(self, pixels: Tensor) -> Tensor:
        """The raw output (B, 4 + C, N) of images (B, 3, H, W) in 0..1."""
        with torch.autocast(self.device.type, torch.bfloat16, self._half):
            raw: Tensor = self.network(pixels)
        return raw

    def _average_gradients(self) -> None:
        """Averages the gradients of all processes."""
        if not _is_distributed():
            return
        gradients = [weight.grad for weight in self.network.parameters() if weight.grad is not None]
        flat = torch.cat([g.flatten() for g in gradients])
        distributed.all_reduce(flat)
        flat /= distributed.get_world_size()
        for gradient, part in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(part.view_as(gradient))

    @torch.no_grad()
    def _update_average(self) -> None:
        """Updates the moving average of the weights; its decay grows over the first steps."""
        keep = min(self.schedule.ema_decay, (1 + self.step) / (10 + self.step))
        for old, new in zip(self.average.state_dict().values(), self.network.state_dict().values(), strict=True):
            if old.dtype.is_floating_point:
                old.lerp_(new.to(old.dtype), 1 - keep)
            else:
                old.copy_(new)

    def save(self, path: Path) -> None:
        """Writes everything needed to resume."""
        state = {name: getattr(self, name).state_dict() for name in ("network", "average", "optimizer")}
        state |= {"step": self.step, "schedule": asdict(self.schedule)}
        with atomic_path(path) as new:
            torch.save(state, new)

    def _saved(self, path: Path) -> dict[str, Any]:
        """A checkpoint's content, tensors and numbers only: loading it runs no code."""
        try:
            state: dict[str, Any] = torch.load(path, map_location=self.device, weights_only=True)
            state["average"], state["step"]
        except (OSError, RuntimeError, KeyError, TypeError, EOFError, pickle.UnpicklingError) as error:
            raise InputError(f"{path}: expected a checkpoint of this training, got another") from error
        return state
