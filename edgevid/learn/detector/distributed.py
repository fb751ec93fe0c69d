"""Training of the compact detector from a data folder, by one process or by several that learn together.

On a CPU, processes with a core each learn faster than one with as many threads: 143 frames per second against
90, measured with two cores. Each composes images of its own; their gradients are averaged in every step.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import torch
import torch.distributed
import torch.multiprocessing

from edgevid.detect.detector import Detector
from edgevid.errors import InputError
from edgevid.learn.detector.data import Composer, load
from edgevid.learn.detector.network import CLASSES, Shape, StreetDetector
from edgevid.learn.detector.pseudo_labels import Teacher
from edgevid.learn.detector.train import Schedule, Trainer

SEED_STEP = 1000
"""Between the seeds of two processes, so that they compose different images."""


@dataclass(frozen=True, slots=True)
class Task:
    """What is to be learned, from which images, and where it is kept."""

    data: Path
    """Folder with images/ and labels/."""
    checkpoint: Path
    schedule: Schedule = Schedule()
    """Its batch is of all processes together."""
    shape: Shape = Shape()
    views: Mapping[str, Any] = field(default_factory=dict)
    """How the images are composed: what `Composer` takes by name."""
    teacher: str | None = None
    """Model that looks at every composed image too (see `detector_teacher`): slower, and better."""
    start: Path | None = None
    """Checkpoint of another training whose weights are taken where they fit, unless this one has begun."""
    save_every: int = 500
    threads: int = 1
    """Of each process."""


def train(task: Task, *, device: str = "cpu", processes: int = 1) -> StreetDetector:
    """Trains to the end of the task's schedule and returns the averaged network, on the CPU.

    Goes on from the task's checkpoint where there is one. A program that asks for several processes must be
    guarded by `if __name__ == "__main__":`, as each of them imports it. Raises InputError for several
    processes on a device other than the CPU, a batch that they cannot share, and data or checkpoints that
    cannot be read.
    """
    if processes < 1:
        raise InputError(f"processes: expected 1 or more, got {processes}")
    if processes > 1 and device != "cpu":
        raise InputError(f"processes: expected 1 on {device} (several are for the CPU), got {processes}")
    if task.schedule.batch % processes:
        raise InputError(f"batch: expected a multiple of {processes} processes, got {task.schedule.batch}")
    trainer = _trainer(task, 0, processes, device)
    if processes == 1:
        trainer.run(task.checkpoint, save_every=task.save_every)
    else:
        with _company(task, processes):
            trainer.run(task.checkpoint, save_every=task.save_every)
    average: StreetDetector = trainer.average.cpu()
    return average


def _trainer(task: Task, rank: int, processes: int, device: str) -> Trainer:
    torch.set_num_threads(task.threads)
    cv2.setNumThreads(1)
    seed = task.schedule.seed + SEED_STEP * rank
    shape, pictures = task.shape, load(task.data, CLASSES)
    teacher = None
    if task.teacher:
        teacher = Teacher(Detector.load(task.teacher, score_threshold=0.05, threads=1), CLASSES)
    composer = Composer(pictures, shape.width, shape.height, seed=seed, teacher=teacher, **task.views)
    share = replace(task.schedule, batch=task.schedule.batch // processes)
    trainer = Trainer(composer, share, shape, device=device)
    if task.start and not task.checkpoint.exists() and not trainer.start_from(task.start):
        raise InputError(f"{task.start}: expected a checkpoint with weights of this network, none fits")
    return trainer


@contextmanager
def _company(task: Task, processes: int) -> Iterator[None]:
    """The other processes, connected to this one; they end with the block, however it ends."""
    with tempfile.TemporaryDirectory() as folder:
        meeting = f"file://{folder}/meeting"
        others = torch.multiprocessing.start_processes(
            _other, (task, processes, meeting), nprocs=processes - 1, join=False
        )
        try:
            _meet(meeting, 0, processes)
            yield
            while not others.join():
                pass
        except RuntimeError:  # the connection is lost where another process ended: say why it did
            others.join(timeout=30)
            raise
        finally:
            if torch.distributed.is_initialized():
                torch.distributed.destroy_process_group()
            for process in others.processes:
                if process.is_alive():
                    process.terminate()
                process.join()


def _other(number: int, task: Task, processes: int, meeting: str) -> None:
    """One of the other processes, from 0."""
    rank = number + 1
    trainer = _trainer(task, rank, processes, "cpu")
    _meet(meeting, rank, processes)
    trainer.run(task.checkpoint)
    torch.distributed.destroy_process_group()


def _meet(meeting: str, rank: int, processes: int) -> None:
    torch.distributed.init_process_group("gloo", init_method=meeting, rank=rank, world_size=processes)
