"""The ablation's networks: what only the training has leaves no trace in the exported function."""

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")

from edgevid.learn.detector.data import Sample, write_image  # noqa: E402
from edgevid.learn.detector.distributed import Task, train_detector  # noqa: E402
from edgevid.learn.detector.network import Shape, StreetDetector  # noqa: E402
from edgevid.learn.detector.train import Schedule, Trainer  # noqa: E402

SMALL = Shape(96, 64, (8, 8, 16, 16, 16), (1, 1, 1), 16)


@pytest.fixture(autouse=True)
def _scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
    for name in ("OMP_NUM_THREADS", "OMP_WAIT_POLICY"):  # which the script sets
        monkeypatch.setenv(name, "1")


def test_branches_begin_as_additions_of_zero_and_fold_into_one_convolution() -> None:
    from detector_ablation import Branches, branched, folded

    torch.manual_seed(3)
    images = torch.rand(2, 3, 64, 96)
    plain = StreetDetector(SMALL).eval()
    with torch.no_grad():
        before = plain(images)
        network = branched(plain).eval()
        assert torch.equal(network(images), before)
        for layer in network.modules():
            if isinstance(layer, Branches):
                for norm in (layer.norm, layer.point_norm, layer.same_norm):
                    if norm is not None:
                        norm.weight.uniform_(-1, 1)
                        norm.bias.normal_()
                        norm.running_mean.normal_()
                        norm.running_var.uniform_(0.5, 2)
        expected, one = network(images), folded(network)
        assert not any(isinstance(layer, Branches) for layer in one.modules())
        assert torch.allclose(one(images), expected, rtol=1e-4, atol=1e-4)


def test_single_views_begin_at_their_step_and_stay_after_an_interruption() -> None:
    from detector_ablation import Composing

    sample = Sample(np.zeros((64, 96, 3), np.uint8), np.zeros((0, 4), np.float32), np.zeros(0, np.int64),
                    np.zeros(0, np.float32), "a")  # fmt: skip
    composer = Composing([sample], 96, 64, single_from=2, mosaic=0.5, paste=0.4)
    batches = composer.batches(1, [(96, 64)] * 3)
    shares = [(next(batches), composer.mosaic, composer.paste)[1:] for _ in range(3)]
    assert shares == [(0.5, 0.4), (0.5, 0.4), (0.0, 0.0)]
    resumed = Composing([sample], 96, 64, single_from=2, mosaic=0.5, paste=0.4)
    resumed.resume(2)
    next(resumed.batches(1, [(96, 64)]))
    assert resumed.mosaic == resumed.paste == 0.0


def test_rounded_layers_have_255_steps_and_gradients() -> None:
    from detector_ablation import _Rounded

    layer = torch.nn.Conv2d(1, 1, 1, bias=False)
    torch.nn.init.constant_(layer.weight, 1.0)
    values = torch.linspace(0, 1, 1000).reshape(1, 1, 1, -1)
    rounded = _Rounded(layer)(values)
    assert len(rounded.unique()) == 256
    assert float((rounded - values).detach().abs().max()) <= 0.5 / 255 + 1e-6
    rounded.sum().backward()
    assert float(layer.weight.grad) == pytest.approx(500, rel=1e-2)


def test_a_training_with_the_teacher_adds_the_loss_of_its_scores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import detector_teacher

    cells, losses = 8 * 12 + 4 * 6 + 2 * 3, []
    monkeypatch.setattr(detector_teacher, "Teacher", lambda: lambda pixels: (torch.full((2, cells, 6), 0.5), []))

    class Kept(detector_teacher.Distilling):
        def loss(self, *given: torch.Tensor) -> torch.Tensor:
            losses.append(super().loss(*given))
            losses.append(Trainer.loss(self, *given))
            return losses[0]

    write_image(tmp_path, "a_1", np.full((64, 96, 3), 80, np.uint8), "car 20 20 60 50 1\n")
    task = Task(tmp_path, tmp_path / "checkpoint.pt", Schedule(steps=1, batch=2), SMALL, trainer=Kept)
    network = train_detector(task)
    both, labeled = (float(one.detach()) for one in losses)
    # At the prior of 0.01 each of the six classes of a cell is 0.49 below the teacher's 0.5.
    expected = detector_teacher.WEIGHT * 6 * 2 * 0.49**2 * -(np.log(0.01) + np.log(0.99)) / 2
    assert both - labeled == pytest.approx(expected, rel=0.05)
    assert network.state_dict().keys() == StreetDetector(SMALL).state_dict().keys()
