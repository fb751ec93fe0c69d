"""The training loop."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch: pip install 'edgevid[train]'")
pytest.importorskip("onnx", reason="export needs onnx")
from detector_samples import squares  # noqa: E402

from edgevid.detect.detector import Detector  # noqa: E402
from edgevid.errors import InputError  # noqa: E402
from edgevid.learn.detector.data import Composer, Sample, load  # noqa: E402
from edgevid.learn.detector.export import export_onnx, write_recipe  # noqa: E402
from edgevid.learn.detector.network import CLASSES, Deployed, Shape  # noqa: E402
from edgevid.learn.detector.train import Schedule, Trainer  # noqa: E402
from edgevid.types import Frame  # noqa: E402

SMALL = Shape(96, 64, (8, 8, 16, 16, 16), (1, 1, 1), 16)


def test_training_converges_resumes_and_exports(tmp_path: Path) -> None:
    samples = load(squares(tmp_path / "data", 12), CLASSES)
    composer = Composer(samples, SMALL.width, SMALL.height, seed=1, mosaic=0.0, paste=0.0)
    torch.set_num_threads(1)
    schedule = Schedule(steps=60, batch=8, learning_rate=4e-3, warmup_steps=10, ema_decay=0.9)
    first = Trainer(composer, Schedule(**{**vars_of(schedule), "steps": 30}), SMALL)
    losses = first.run(tmp_path / "c.pt")
    second = Trainer(composer, schedule, SMALL)
    losses += second.run(tmp_path / "c.pt")
    assert second.step == 60
    assert len(losses) == 60
    assert np.mean(losses[-10:]) < 0.75 * np.mean(losses[:5])  # 0.55 to 0.61 by processor
    onnx_file = export_onnx(second.average, tmp_path / "squares.onnx")
    recipe = write_recipe(tmp_path, onnx_file.name, second.average, name="squares", summary="red squares")
    detector = Detector.load(recipe, score_threshold=0.05)
    sample = samples[0]
    found = detector.detect([Frame(sample.image, 0.0, 0)])[0]
    x = torch.from_numpy(sample.image).permute(2, 0, 1)[None].float() / 255
    with torch.no_grad():
        direct = Deployed(second.average.eval())(x)[0, 4:].max()
    # Half-stored weights move scores by thousandths; the deployed path is the training's own pixels.
    assert float(found.scores.max(initial=0)) == pytest.approx(float(direct), abs=0.01)


def test_the_thread_that_composes_ends_with_the_training(tmp_path: Path) -> None:
    class Breaking(Composer):
        def compose(self) -> Sample:
            raise InputError("no image")

    def composing() -> int:
        return sum(thread.name.startswith("edgevid-batches") for thread in threading.enumerate())

    samples = load(squares(tmp_path / "data"), CLASSES)
    good = Composer(samples, SMALL.width, SMALL.height)
    Trainer(good, Schedule(steps=2, batch=2), SMALL).run(tmp_path / "c.pt")
    assert composing() == 0
    with pytest.raises(InputError, match="no image"):  # an error in the thread is raised here
        Trainer(Breaking(samples, 96, 64), Schedule(steps=2, batch=2), SMALL).run(tmp_path / "d.pt")
    assert composing() == 0


def vars_of(schedule: Schedule) -> dict[str, float]:
    return {name: getattr(schedule, name) for name in schedule.__dataclass_fields__}


def test_weights_of_another_training_are_loaded_where_they_fit(tmp_path: Path) -> None:
    composer = Composer(load(squares(tmp_path / "data"), CLASSES), SMALL.width, SMALL.height)
    given = Trainer(composer, Schedule(steps=1, batch=2, seed=1), SMALL)
    given.run(tmp_path / "c.pt")
    wider = Shape(96, 64, (8, 8, 16, 16, 24), (1, 1, 1), 16)  # the last stage is another
    taker = Trainer(composer, Schedule(seed=2), wider)
    before = taker.network.state_dict()["stages.2.0.0.weight"].clone()
    taken = taker.start_from(tmp_path / "c.pt")
    assert 0 < taken < len(taker.network.state_dict())
    stem = given.average.state_dict()["stem.0.0.weight"]
    for network in (taker.network, taker.average):
        torch.testing.assert_close(network.state_dict()["stem.0.0.weight"], stem)
    torch.testing.assert_close(taker.network.state_dict()["stages.2.0.0.weight"], before)
    (tmp_path / "no.pt").write_bytes(b"nothing of the kind")
    for wrong in ("no.pt", "absent.pt"):
        with pytest.raises(InputError, match="checkpoint"):
            taker.start_from(tmp_path / wrong)
