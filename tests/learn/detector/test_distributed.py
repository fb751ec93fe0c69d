"""Training in several processes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="training needs torch: pip install 'edgevid[train]'")
pytest.importorskip("onnx", reason="export needs onnx")
from detector_samples import squares  # noqa: E402

from edgevid.errors import InputError  # noqa: E402
from edgevid.learn.detector.distributed import Task, train_detector  # noqa: E402
from edgevid.learn.detector.network import Shape  # noqa: E402
from edgevid.learn.detector.train import Schedule  # noqa: E402

SMALL = Shape(96, 64, (8, 8, 16, 16, 16), (1, 1, 1), 16)

AVERAGES = """
import sys
sys.path[:] = [p for p in sys.path if p]  # the installed package, not the checkout's without kernels
import numpy as np
import torch
from edgevid.learn.detector.distributed import leave
from edgevid.learn.detector.network import Shape
from edgevid.learn.detector.data import Composer, Sample
from edgevid.learn.detector.train import Schedule, Trainer

rank = int(sys.argv[1])
torch.distributed.init_process_group("gloo", init_method=f"file://{sys.argv[2]}", rank=rank, world_size=2)
nothing = np.zeros((0, 4), np.float32), np.zeros(0, np.int64), np.zeros(0, np.float32)
composer = Composer([Sample(np.zeros((64, 96, 3), np.uint8), *nothing, "a")], 96, 64)
trainer = Trainer(composer, Schedule(steps=1), Shape(96, 64, (8, 8, 16, 16, 16), (1, 1, 1), 16))
weights = list(trainer.network.parameters())
for weight in weights:
    weight.grad = torch.full_like(weight, 1.0 + 2 * rank)
trainer._average_gradients()
for n, weight in enumerate(weights):
    assert float((weight.grad - 2.0).abs().max()) == 0.0, n
torch.distributed.barrier()  # a process that leaves first aborts the other one
leave()
"""
"""One of two processes: gradients of 1 in the first and of 3 in the second become 2."""


def test_distributed_processes_average_their_gradients(tmp_path: Path) -> None:
    calls = [[sys.executable, "-c", AVERAGES, str(rank), str(tmp_path / "meeting")] for rank in range(2)]
    both = [subprocess.Popen(call, stderr=subprocess.PIPE, text=True) for call in calls]
    for process in both:
        _, scored = process.communicate(timeout=120)
        assert process.returncode == 0, scored


def test_several_processes_train_one_network_and_resume(tmp_path: Path) -> None:
    data, checkpoint = squares(tmp_path), tmp_path / "checkpoint.pt"
    for steps in (3, 5):
        task = Task(data, checkpoint, Schedule(steps=steps, batch=4, warmup_steps=2), SMALL)
        network = train_detector(task, processes=2)
        assert torch.load(checkpoint, weights_only=True)["step"] == steps
    weights = torch.load(checkpoint, weights_only=True)["average"]
    assert all(torch.equal(value, weights[name]) for name, value in network.state_dict().items())
    assert not torch.distributed.is_initialized()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"processes": 0}, "1 or more"),
        ({"processes": 3}, "multiple of 3"),
        ({"processes": 2, "device": "cuda:0"}, "expected 1 on cuda:0"),
    ],
)
def test_work_that_processes_cannot_share_is_rejected(tmp_path: Path, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        train_detector(Task(tmp_path, tmp_path / "c.pt"), **settings)


def test_weights_of_another_network_are_rejected(tmp_path: Path) -> None:
    other = {"average": {"elsewhere": torch.zeros(1)}, "step": 1}
    torch.save(other, tmp_path / "other.pt")
    task = Task(squares(tmp_path), tmp_path / "c.pt", Schedule(steps=1), SMALL, start=tmp_path / "other.pt")
    with pytest.raises(InputError, match=r"other\.pt.*none fits"):
        train_detector(task)


def test_a_process_that_fails_ends_the_others(tmp_path: Path) -> None:
    data = squares(tmp_path)
    task = Task(data, tmp_path / "c.pt", Schedule(steps=10**6, batch=4), SMALL, augmentations={"zoom": Once((1, 2))})
    with pytest.raises(torch.multiprocessing.ProcessRaisedException, match="ufunc"):
        train_detector(task, processes=2)
    assert not torch.distributed.is_initialized()


class Once(tuple):  # type: ignore[type-arg]
    """A range of zooms that arrives in another process as words."""

    def __reduce__(self) -> Any:
        return str, ("no zoom",)
