"""Segmentation heads on a synthetic set of long videos, and what a bounded look-ahead adds.

    python benchmarks/long_videos.py [--epochs 40] [--cost]

The set is made as 50Salads comes: features, labels of each step, splits. A Markov chain chooses the next of six
actions; an action lasts 3 to 25 s. Pairs of actions look alike but for their first 1.5 s, an action fades into
the next one within 1 s, a tenth of the time shows nothing, and every value has noise: a step alone does not tell its
action. Bars: ASFormer and MS-TCN beat the linear layer per step by 10 points of F1@25, and 16 tracks cost under 4
times one (`--cost`, on an idle machine).
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from actions import feed, timed
from bench import conditions, save, table

from edgevid.actions import ClipSpec
from edgevid.evaluate.actions.data import Corpus
from edgevid.evaluate.actions.extract import folds, read_features
from edgevid.learn.actions.experiment import evaluate
from edgevid.learn.actions.export import Deployment, export_head
from edgevid.learn.actions.fit import TrainOptions, fit
from edgevid.learn.actions.heads import StepLinearHead
from edgevid.learn.actions.segmentation import LAYERS, SegmentationHead
from edgevid.runtime import load_engine, read_recipe

RATE_HZ, WIDTH, ACTIONS, TRAIN, TEST, SECONDS = 4.0, 16, 6, 12, 8, 60
HEAD = {"width": 32, "layers": 5}
TRIALS = (("mstcn", 0.0), ("asformer", 0.0), ("mstcn", 1.0), ("asformer", 1.0), ("mstcn", 0.5), ("mstcn", 2.0))


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


def trained(data: Corpus, halves: list[Corpus], kind: str, lookahead: float, epochs: int) -> dict[str, Any]:
    """Figures of one training, on the test half."""
    options = TrainOptions(
        window=120, lookahead=round(lookahead * RATE_HZ), rate_hz=RATE_HZ, epochs=epochs, batch=4, rate=5e-3
    )
    make: Any = partial(SegmentationHead, kind=kind, **HEAD) if kind != "linear" else StepLinearHead
    fitted = fit(partial(make, data.width, len(data.names)), halves[0], None, options)
    _, segments = evaluate(fitted.head, halves[1], options)
    assert segments is not None
    return {"head": kind, "lookahead_s": lookahead, "cpu_s": round(fitted.cpu_s), **segments._asdict(),
            "loss": [round(one.train_loss, 3) for one in fitted.history[:: max(epochs // 8, 1)]]}  # fmt: skip


def cost(folder: Path, kind: Any) -> dict[str, float]:
    """Milliseconds of a step of 1 and 16 tracks, medians of 5 runs; an untrained head costs as much as a trained."""
    head = SegmentationHead(WIDTH, ACTIONS, kind=kind)
    names = tuple(f"action_{n}" for n in range(ACTIONS))
    recipe = export_head(head, folder, kind, TrainOptions(window=240), Deployment(names, ClipSpec(steps=1), ""))
    with load_engine(folder / read_recipe(recipe).file, device="cpu", threads=1) as engine:
        runs = [[timed(feed(engine, n)) for n in (1, 16)] for _ in range(5)]
    one, many = np.median(runs, axis=0).tolist()
    return {"1": one, "16": many}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=40, help="passes over the data, one cycle of the learning rate")
    parser.add_argument("--cost", action="store_true", help="only the cost of 1 and 16 tracks, of untrained heads")
    options = parser.parse_args()
    where = conditions({"torch": torch.__version__, "numpy": np.__version__})
    with TemporaryDirectory() as folder:
        if options.cost:
            costs = {f"{kind}, {LAYERS} layers": cost(Path(folder) / kind, kind) for kind in ("mstcn", "asformer")}
            rows = [[g, f"{r['1']:.3f}", f"{r['16']:.3f}", f"{r['16'] / r['1']:.2f}"] for g, r in costs.items()]
            print(table(["step of a head, ms", "1 track", "16 tracks", "ratio"], rows))
            save("long_videos_cost", {"ms": costs}, where)
            return
        make(Path(folder))
        data, found = read_features(Path(folder), RATE_HZ), list[dict[str, Any]]()
        (halves,) = folds(Path(folder), data).values()
        name = "long_videos" if options.epochs == 40 else f"long_videos_{options.epochs}_epochs"
        for kind, lookahead in (("linear", 0.0), *TRIALS):
            found.append(trained(data, halves, kind, lookahead, options.epochs))
            save(name, {"set": {"train": TRAIN, "test": TEST, "actions": ACTIONS, "rate_hz": RATE_HZ}, **HEAD,
                                 "epochs": options.epochs, "trials": found}, where)  # fmt: skip
    columns = ("accuracy", "edit", "f1_10", "f1_25", "f1_50")
    rows = [[o["head"], f"{o['lookahead_s']:g}", *(f"{o[c]:.1f}" for c in columns)] for o in found]
    print(table(["head", "look-ahead, s", *columns], rows))


if __name__ == "__main__":
    main()
