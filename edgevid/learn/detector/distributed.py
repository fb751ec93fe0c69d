"""Training of the detector from a data folder, in one process or distributed over several; and what a detector finds in
labeled images of clips that it was not trained on.

On a CPU, processes with a core each train faster than one with as many threads: 143 frames per second against
90, measured with two cores. Each composes its own images; their gradients are averaged in every step."""

import os
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed
import torch.multiprocessing

from edgevid._opencv import cv2
from edgevid.detect.detector import Detector
from edgevid.errors import InputError
from edgevid.evaluate.boxes import AREA, TRUE, Box, BoxTable, aligned
from edgevid.evaluate.detection import match
from edgevid.learn.detector.data import Composer, Sample, load
from edgevid.learn.detector.network import CLASSES, Shape, StreetDetector
from edgevid.learn.detector.train import Schedule, Trainer
from edgevid.types import Frame, Progress

SEED_STEP = 1000  # Between the seeds of two processes, so that they compose different images


@dataclass(frozen=True, slots=True)
class Task:
    """Data, schedule and checkpoint of a training."""

    data: Path  # Folder with images/ and labels/
    checkpoint: Path
    schedule: Schedule = Schedule()  # Its batch is the sum over all processes
    shape: Shape = Shape()
    augmentations: Mapping[str, Any] = field(default_factory=dict)  # Keyword arguments of `Composer`
    start: Path | None = None
    """Checkpoint or ONNX of another training: its weights are loaded where they fit, unless this one has begun."""
    held_out: tuple[str, ...] = ()  # Clips that are not learned from
    save_every: int = 500
    trainer: type[Trainer] = Trainer  # Another one may have another loss


def train_detector(task: Task, *, device: str = "cpu", processes: int = 1,
                   progress: Progress = lambda done, total, text: None) -> StreetDetector:  # fmt: skip
    """Trains to the end of the task's schedule and returns the averaged network, on the CPU.

    Resumes from the task's checkpoint if it exists. A program that uses several processes must be guarded by
    `if __name__ == "__main__":`, as each of them imports it. Raises InputError for several processes on a device other
    than the CPU, a batch that they cannot share, and data or checkpoints that cannot be read."""
    if processes < 1:
        raise InputError(f"processes: expected 1 or more, got {processes}")
    if processes > 1 and device != "cpu":
        raise InputError(f"processes: expected 1 on {device} (several are for the CPU), got {processes}")
    if task.schedule.batch % processes:
        raise InputError(f"batch: expected a multiple of {processes} processes, got {task.schedule.batch}")
    trainer = _trainer(task, 0, processes, device)
    with _workers(task, processes) if processes > 1 else nullcontext():
        trainer.run(task.checkpoint, save_every=task.save_every, progress=progress)
    average: StreetDetector = trainer.average.cpu()
    return average


def _trainer(task: Task, rank: int, processes: int, device: str) -> Trainer:
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    seed = task.schedule.seed + SEED_STEP * rank
    shape, samples = task.shape, [one for one in load(task.data, CLASSES) if one.clip not in task.held_out]
    composer = Composer(samples, shape.width, shape.height, seed=seed, **task.augmentations)
    share = replace(task.schedule, batch=task.schedule.batch // processes)
    trainer = task.trainer(composer, share, shape, device=device)
    if task.start and not task.checkpoint.exists() and not trainer.start_from(task.start):
        raise InputError(f"{task.start}: expected a checkpoint with weights of this network, none fits")
    return trainer


@contextmanager
def _workers(task: Task, processes: int) -> Iterator[None]:
    """The other processes, connected to this one; they end with the block."""
    with tempfile.TemporaryDirectory() as folder:
        rendezvous = f"file://{folder}/meeting"
        start, given = torch.multiprocessing.start_processes, (task, processes, rendezvous)
        others = start(_worker, given, nprocs=processes - 1, join=False)
        try:
            _connect(rendezvous, 0, processes)
            yield
            while not others.join():
                pass
        except RuntimeError:  # the connection is lost when a process ends: report why it did
            others.join(timeout=30)
            raise
        finally:
            if torch.distributed.is_initialized():
                torch.distributed.destroy_process_group()
            for process in others.processes:
                if process.is_alive():
                    process.terminate()
                process.join()


def _worker(number: int, task: Task, processes: int, rendezvous: str) -> None:
    """One of the other processes, from 0."""
    trainer = _trainer(task, number + 1, processes, "cpu")
    _connect(rendezvous, number + 1, processes)
    trainer.run(task.checkpoint)
    leave()


def leave() -> None:
    """Ends this process at once, its work done.

    A thread of gloo frees the last tensors a moment after the group is destroyed; where Python finalizes in
    that moment, the thread aborts the process, and a finished training would be reported as failed."""
    torch.distributed.destroy_process_group()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _connect(rendezvous: str, rank: int, processes: int) -> None:
    torch.distributed.init_process_group("gloo", init_method=rendezvous, rank=rank, world_size=processes)


def draw_clips(clips: Sequence[str], share: float, seed: int) -> tuple[str, ...]:
    """A share of the different `clips`, drawn by `seed`; at least one of several, none of one."""
    names = np.random.default_rng(seed).permutation(sorted(set(clips)))
    return tuple(names[: min(max(1, round(share * len(names))), len(names) - 1)].tolist())


def average_precisions(detector: Detector, samples: Sequence[Sample]) -> dict[str, float]:
    """AP50 of each class that `samples` have; what is found in ignored regions counts neither way."""
    true, found = list[Box](), list[Box]()
    for n, one in enumerate(samples):
        for box, label, weight in zip(one.boxes, one.labels, one.weights, strict=True):
            true.append(Box("", n, CLASSES[label], tuple(box), role=TRUE if weight > 0 else AREA))
        for row in detector.detect([Frame(np.ascontiguousarray(one.image), 0.0, n)])[0]:
            found.append(Box("", n, detector.names[row.label], tuple(row.box), row.score))
    frames = [("", n) for n in range(len(samples))]
    truth, given, _ = aligned(BoxTable.of(true, frames), BoxTable.of(found, frames))
    made = match(truth, given, np.zeros(len(frames), int), 1)
    ones = np.ones(1, int)
    return {name: float(m.metrics(ones, 0.5)[1]) for name, m in zip(truth.names, made, strict=True) if m.truth.any()}
