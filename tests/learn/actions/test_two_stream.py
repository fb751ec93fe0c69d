"""Two streams from labeled videos to a live track: what only motion tells is learned, and streamed as trained."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from flow_models import flow_model, texture
from recognizer_models import feature_model

from edgevid.actions import SequenceRecognizer, load_recognizer
from edgevid.evaluate.actions.extract import clips_of, timed_rows
from edgevid.evaluate.recognition import replay_rows
from edgevid.runtime import read_recipe
from edgevid.video.writer import VideoWriter

torch = pytest.importorskip("torch", reason="training needs torch: pip install 'edgevid[train]'")

from edgevid.learn.actions.train import TrainConfig, train_actions  # noqa: E402

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A square crosses a wall to the right in 1.5 s, or to the left: the same images in the opposite order."""
    folder = tmp_path_factory.mktemp("videos")
    for number in range(10):
        rng = np.random.default_rng(number)
        x, y = (int(rng.integers(low, high)) for low, high in ((0, 24), (0, 84)))
        images = []
        for step in range(12):
            image = texture(112, 112, number) // 2
            image[y : y + 28, x + 5 * step : x + 5 * step + 28] = texture(28, 28, 100 + number)
            images.append(image)
        for label, order in (("right", images), ("left", images[::-1])):
            path = folder / label / f"{chr(97 + number)}.mp4"
            path.parent.mkdir(exist_ok=True)
            with VideoWriter(path, fps=8.0) as writer:
                for step, image in enumerate(order):
                    writer.write(image, step / 8)
    return folder


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEVID_CACHE", str(tmp_path / "cache"))


def config(folder: Path, videos: Path, flow: str) -> TrainConfig:
    extractor = str(feature_model(folder / "f"))
    return TrainConfig(videos, "gru", folder / "out", 1, 40, 8.0, 8, extractor=extractor, flow=flow, test=0.4,
                       patience=0, threads=1)  # fmt: skip


def test_what_only_motion_tells_takes_two_streams(tmp_path: Path, videos: Path) -> None:
    alone, both = (train_actions(config(tmp_path / name, videos, name)).trials[0] for name in ("", "hof"))
    assert max(alone.accuracy, alone.baseline) <= 0.75  # the colors are those of the other class
    assert (both.accuracy, both.kernels["ridge"]) == (1.0, 1.0)


@pytest.mark.parametrize("flow", ["hof", "network"])
def test_a_live_track_gets_the_rows_and_scores_of_the_training(tmp_path: Path, videos: Path, flow: str) -> None:
    model = flow if flow == "hof" else str(flow_model(tmp_path / "flow"))
    outcome = train_actions(config(tmp_path, videos, model))
    assert max(outcome.parity.window, outcome.parity.stream, outcome.parity.pipeline) < 1e-5
    assert read_recipe(outcome.recipe).tables["head"]["flow"] == (flow if flow == "hof" else "../flow")
    recognizer, offline = (load_recognizer(outcome.recipe, threads=1) for _ in range(2))
    assert isinstance(recognizer, SequenceRecognizer)
    assert isinstance(offline, SequenceRecognizer)
    assert recognizer.spec.steps == 2
    path = videos / "right" / "a.mp4"
    expected = replay_rows(offline, 1, timed_rows(path, offline.extractor, recognizer.spec)[1])
    found = [one for clips in clips_of(path, recognizer.spec) for one in recognizer.recognize(clips).values]
    known = [one for one in expected if one is not None]
    assert len(found) == len(known) >= 10
    np.testing.assert_allclose(found, known, atol=1e-5)
