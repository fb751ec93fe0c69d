"""Segmentation heads on a synthetic set of long videos, and what a bounded look-ahead adds.

    python benchmarks/long_videos.py [--epochs 60] [--cost]

The set is made as 50Salads comes: features, labels of each step, splits. A Markov chain chooses the next of eight
actions; an action lasts 3 to 25 s. Pairs of actions look alike but for their first 1.5 s, an action fades into
the next one within 1 s, a tenth of the time shows nothing, and every value has noise: a step alone does not tell its
action. Bars: ASFormer and MS-TCN beat the linear layer per step by 10 points of F1@25; steps equal whole windows
within 1e-5; 16 tracks cost under 4 times one. `--cost` measures only the last, on an idle machine.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from actions import heads
from bench import RESULTS, conditions, save, table

from edgevid.learn.actions.train import TrainConfig, train_actions

RATE_HZ, WIDTH, ACTIONS, TRAIN, TEST, SECONDS = 4.0, 24, 8, 24, 12, 60
TRIALS = (("mstcn", 0.0), ("asformer", 0.0), ("mstcn", 1.0), ("mstcn", 0.5), ("mstcn", 2.0))


def make(folder: Path) -> None:
    """Writes the set: TRAIN and TEST videos of about SECONDS seconds."""
    rng = np.random.default_rng(0)
    looks = np.repeat(rng.normal(0, 1, (ACTIONS // 2, WIDTH)), 2, axis=0)
    cues = rng.normal(0, 1, (ACTIONS, WIDTH))
    follows = rng.dirichlet(np.full(ACTIONS, 0.5), ACTIONS) * (1 - np.eye(ACTIONS)) + 1e-3
    for name in ("features", "groundTruth", "splits"):
        (folder / name).mkdir()
    (folder / "mapping.txt").write_text("".join(f"{n} action_{n}\n" for n in range(ACTIONS)))
    names = [f"video-{n}" for n in range(TRAIN + TEST)]
    for name in names:
        labels, clean, action = list[int](), list[np.ndarray](), int(rng.integers(ACTIONS))
        while len(labels) < SECONDS * RATE_HZ:
            steps = int(RATE_HZ * np.clip(rng.gamma(3.0, 3.0), 3, 25))
            shown = np.repeat(looks[action][None], steps, axis=0)
            shown[: int(1.5 * RATE_HZ)] += cues[action]
            labels += [action] * steps
            clean.append(shown)
            chances = follows[action] * (np.arange(ACTIONS) != action)
            action = int(rng.choice(ACTIONS, p=chances / chances.sum()))
        rows = np.concatenate(clean)
        wide = np.pad(rows, ((int(RATE_HZ / 2),) * 2, (0, 0)), mode="edge")
        rows = np.mean([wide[n : n + len(rows)] for n in range(int(RATE_HZ) + 1)], axis=0)
        for start in rng.choice(len(rows), max(1, len(rows) // 40), replace=False):
            rows[start : start + 4] = 0
        rows = rows + rng.normal(0, 1.0, rows.shape)
        np.save(folder / "features" / f"{name}.npy", rows.T.astype(np.float32))
        (folder / "groundTruth" / f"{name}.txt").write_text("".join(f"action_{n}\n" for n in labels))
    for half, chosen in (("train", names[:TRAIN]), ("test", names[TRAIN:])):
        (folder / "splits" / f"{half}.split1.bundle").write_text("".join(f"{name}.txt\n" for name in chosen))


def trained(data: Path, out: Path, head: str, lookahead: float, epochs: int) -> dict[str, Any]:
    """Figures of one training, by the code of `edgevid train actions`."""
    config = TrainConfig(data, head, out, seeds=1, epochs=epochs, rate_hz=RATE_HZ, feature_rate=RATE_HZ, window=240,
                         layers=5, lookahead=lookahead, threads=1)  # fmt: skip
    outcome = train_actions(config, report=print)
    (trial,) = outcome.trials
    return {
        "head": head, "lookahead_s": lookahead, "epochs": epochs, "cpu_s": round(outcome.cpu_s),
        "segments": trial.segments and trial.segments._asdict(),
        "baseline": trial.baseline_segments and trial.baseline_segments._asdict(),
        "streamed_difference": outcome.parity.stream, "pipeline_difference": outcome.parity.pipeline,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=60, help="passes over the data, one cycle of the learning rate")
    parser.add_argument("--cost", action="store_true", help="only the cost of 1 and 16 tracks, of untrained heads")
    options = parser.parse_args()
    where = conditions({"torch": torch.__version__, "numpy": np.__version__})
    path = RESULTS / "long_videos.json"
    known = {k: v for k, v in json.loads(path.read_text()).items() if k != "conditions"} if path.is_file() else {}
    with TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        data.mkdir()
        make(data)
        if options.cost:
            costs = {}
            for head in ("mstcn", "asformer"):
                trained(data, Path(folder) / head, head, 0.0, 1)
                costs |= heads(Path(folder) / head / "recipe.toml")
            rows = [[g, f"{r['1']:.3f}", f"{r['16']:.3f}", f"{r['16'] / r['1']:.2f}"] for g, r in costs.items()]
            print(table(["head, ms", "1 track", "16 tracks", "ratio"], rows))
            save("long_videos", {**known, "cost": {"conditions": where, "ms": costs}}, known.get("of", where))
            return
        found: list[dict[str, Any]] = []
        for number, (head, lookahead) in enumerate(TRIALS):
            found.append(trained(data, Path(folder) / str(number), head, lookahead, options.epochs))
            save("long_videos", {**known, "trials": found}, where)
    columns = ("accuracy", "edit", "f1_10", "f1_25", "f1_50")
    rows = [["linear layer per step", "0", *(f"{found[0]['baseline'][c]:.1f}" for c in columns)]]
    rows += [[o["head"], f"{o['lookahead_s']:g}", *(f"{o['segments'][c]:.1f}" for c in columns)] for o in found]
    print(table(["head", "look-ahead, s", *columns], rows))


if __name__ == "__main__":
    main()
