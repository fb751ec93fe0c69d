"""Heads on skeletons, next to kernel machines on the same features, with true joints and as a pose model finds them.

    python benchmarks/skeletons.py [--data ../shared/data/actions] [--cache FOLDER] [--heads transformer] [--seeds 3]
    python benchmarks/skeletons.py --heads gru,graph,transformer/mean,transformer/max/none --seeds 1 --sets jhmdb

A head may name its pooling and its positions after slashes; heads other than the Transformer as the command trains it
are saved as skeletons_heads.json.

JHMDB: 14 actions, 15 joints in 2-D, three official splits. MSRAction3D: 20 actions, 20 joints in 3-D (Kinect), the
cross-subject split: subjects 1, 3, 5, 7 and 9 train, the others are held out. Options are those of `edgevid train
actions`. Every training is cached, so that an interrupted run continues. "with opinion" is the deployed recognizer:
half of the held-out clips by turns weigh the second opinion for the other half. Estimated-like joints are the same
held-out clips, spoiled as `benchmarks/pose_noise.py` measured MoveNet to do. Differences are paired over clips (2,000
resamples of the clips, all seeds of a clip together).
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bench import conditions, save, table

from edgevid.actions import Typicality, softmax
from edgevid.evaluate.actions.data import Corpus
from edgevid.learn.actions.augment import as_estimated
from edgevid.learn.actions.experiment import SOLVERS, describe, make_head, training_windows
from edgevid.learn.actions.fit import TrainOptions, fit, predict
from edgevid.learn.actions.train import official_splits, window_of
from edgevid.types import Array

WAYS = ("head", "with opinion", "svm", "ridge")


def judged(train: Corpus, test: Corpus, kind: str, options: TrainOptions, path: Path) -> dict[str, Array]:
    """(2, N) answers of each way with true and with estimated-like joints, from the cache where present."""
    if path.exists():
        with np.load(path) as file:
            return dict(file)
    make = lambda: make_head(kind.split("/")[0], train.width, len(train.names), options, layout=train.layout)  # type: ignore[arg-type]  # noqa: E731
    head, found = fit(make, train, None, options).head, {way: [] for way in WAYS}
    rng, layout = np.random.default_rng(options.seed), test.layout
    assert layout is not None
    spoiled = tuple(replace(one, raw=as_estimated(one.raw, layout, rng)) for one in test.examples)
    own, half = training_windows(head, train, options), np.arange(len(test)) // 10 % 2 == 0
    machines = {way: Typicality.fit(*own, len(train.names), solve) for way, solve in SOLVERS.items()}
    for held in (test, replace(test, examples=spoiled)):
        logits, windows = predict(head, held, options), describe(head, held, options)
        for way, machine in machines.items():
            found[way].append(machine.opinion(*windows).argmax(1))
        found["head"].append(logits.argmax(1))
        mixed = np.zeros(len(held), int)
        for chosen in (half, ~half):
            clear = [predict(head, test, options), *describe(head, test, options)]  # weighed on true joints
            made = machines["ridge"].calibrated(*(one[chosen] for one in clear), test.labels[chosen])
            mixed[~chosen] = made.mixed(softmax(logits), made.opinion(*windows)).argmax(1)[~chosen]
        found["with opinion"].append(mixed)
    made = {way: np.array(answers) for way, answers in found.items()} | {"labels": test.labels}
    np.savez(path, **made)
    return made


def compared(right: Array, other: Array) -> dict[str, float]:
    """Mean of (S, N) right answers minus those of another way, and its 95 % interval over clips."""
    gain, rng = (right.astype(float) - other).mean(0), np.random.default_rng(0)
    means = gain[rng.integers(0, len(gain), (2000, len(gain)))].mean(1)
    return {
        "gain": float(gain.mean()),
        "low": float(np.quantile(means, 0.025)),
        "high": float(np.quantile(means, 0.975)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data/actions"))
    parser.add_argument("--cache", type=Path, default=Path("runs/skeletons"))
    parser.add_argument("--heads", default="transformer")
    parser.add_argument("--sets", default="jhmdb,msr")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=100)
    given = parser.parse_args()
    torch.set_num_threads(1)
    given.cache.mkdir(parents=True, exist_ok=True)
    data = {f"jhmdb {name}": one[:2] for name, one in official_splits(given.data / "jhmdb_skeleton").items()}
    data["msr"] = official_splits(given.data / "msraction3d_skeletons.zip")["cross-subject"][:2]
    sets, rows, made = given.sets.split(","), [], dict[str, dict[str, object]]()
    for kind in given.heads.split(","):
        for group in sets:
            cells = []
            for name, (train, test) in data.items():
                for seed in range(given.seeds) if name.startswith(group) else ():
                    more: Any = dict(zip(("pooling", "positions"), kind.split("/")[1:], strict=False))
                    options = TrainOptions(window_of(train, 15.0), epochs=given.epochs, seed=seed, **more)
                    path = given.cache / f"{name.replace(' ', '_')}_{kind.replace('/', '_')}_{seed}.npz"
                    one = judged(train, test, kind, options, path)
                    cells.append((name, {way: one[way] == one["labels"] for way in WAYS}))
                    print(
                        name,
                        kind,
                        seed,
                        {w: [round(float(v.mean()), 3) for v in cells[-1][1][w]] for w in WAYS},
                        flush=True,
                    )
            splits = list(dict.fromkeys(name for name, _ in cells))
            right = {way: np.concatenate([np.stack([c[way] for n, c in cells if n == s]) for s in splits], axis=2)
                     for way in WAYS}  # fmt: skip
            gains = {way: compared(right["with opinion"][:, 0], right[way][:, 0]) for way in ("svm", "ridge")}
            share = {way: {"true joints": float(v[:, 0].mean()), "estimated-like": float(v[:, 1].mean())}
                     for way, v in right.items()}  # fmt: skip
            made[f"{group} {kind}"] = {"accuracy": share, "with opinion over": gains, "trainings": len(cells)}
            for way in WAYS:
                over = f"{gains[way]['low']:+.3f} to {gains[way]['high']:+.3f}" if way in gains else ""
                shown = [f"{100 * share[way][key]:.1f} %" for key in ("true joints", "estimated-like")]
                rows.append([group, kind if way in ("head", "with opinion") else "", way, *shown, over])
    print(table(["data", "head", "way", "true joints", "estimated-like", "head with opinion over it"], rows))
    name = "skeletons" if given.heads == "transformer" else "skeletons_heads"
    save(name, {"results": made}, conditions({"torch": torch.__version__}))


if __name__ == "__main__":
    main()
