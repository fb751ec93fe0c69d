"""What the second opinion of a head adds on JHMDB: accuracy, and the errors that are gone when 20 % are rejected.

    python benchmarks/opinion.py [--data FOLDER] [--cache FOLDER] [--seeds 3]
    python benchmarks/opinion.py --choose          how both are put together, from the training parts alone

A Transformer head is trained on the training part of each official split, as `edgevid train actions` does. The test
part is divided by blocks of ten clips, which keeps most scenes on one side: each half chooses the mixture for the
other, so that no clip is judged by a mixture that it helped to choose. Rejected are the 20 % of least confidence;
AURC and E-AURC are of all clips. `--cache` keeps trained heads.

`--choose` trains heads (60 epochs) on two thirds of the source videos of a training part and compares ways to put both
together on the other third, half of whose videos choose the mixture for the other half; Ctrl-C ends it, and what is
done counts. The shipped way is "product and mean", `Typicality.mixed`.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from abstain import sources
from bench import conditions, save, table
from sklearn.model_selection import StratifiedGroupKFold
from unlike import SPLITS, Case, asked, of_windows

from edgevid.actions.recognizer import softmax
from edgevid.actions.typicality import MIXTURES, Typicality
from edgevid.evaluate.actions.data import read_skeletons
from edgevid.evaluate.tune.risk import curve
from edgevid.learn.actions.experiment import make_head
from edgevid.learn.actions.fit import TrainOptions, fit, windows_of
from edgevid.types import Array

SHARE = 0.2
WAYS = ("head, max softmax", "log pool", "head and opinion")


def main() -> None:
    choosing = "--choose" in sys.argv
    sys.argv = [one for one in sys.argv if one != "--choose"]
    options = asked(__doc__, "runs/opinion")
    if choosing:
        choose(options.data, options.cache)
        return
    rows = [judged(options.data, options.cache, split, seed) for split in SPLITS for seed in range(options.seeds)]
    body = []
    for split in SPLITS:
        for way in WAYS:
            of = [row[way] for row in rows if row["split"] == split]
            mean = {key: float(np.mean([one[key] for one in of])) for key in of[0]}
            body.append([str(split), way, f"{mean['accuracy']:.1%}", f"{mean['errors removed']:.1%}",
                         f"{mean['aurc']:.4f}", f"{mean['e_aurc']:.4f}"])  # fmt: skip
    print(table(["split", "probabilities", "accuracy", "errors removed at 20 %", "AURC", "E-AURC"], body))
    print(f"wrote {save('opinion', {'trainings': rows}, conditions({'torch': torch.__version__}))}")


def judged(data: Path, cache: Path, split: int, seed: int) -> dict[str, Any]:
    """Both ways on one split's test part."""
    case = Case(data, cache, split, seed, False)
    with np.load(data / f"GT_train_{split}.npz") as file:
        names = tuple(sorted(set(map(str, file["label"]))))
    train, test = (read_skeletons(data / f"GT_{part}_{split}.npz", names) for part in ("train", "test"))
    case.parts, case.path = {"train": train, "test": test}, cache / f"full_{split}_{seed}.pt"
    _, parts = case.outputs()
    own, new = parts["train"], parts["test"]
    known = Typicality.fit(own["features"], own["valid"], own["labels"], len(names))
    half, shares = np.arange(len(new["labels"])) // 10 % 2 == 0, softmax(new["logits"])
    mixed, mixtures = np.zeros_like(shares), []
    for chosen, other in ((half, ~half), (~half, half)):
        made = known.calibrated(*(new[k][chosen] for k in ("logits", "features", "valid", "labels")))
        mixed[other] = made.mixed(shares[other], made.opinion(new["features"][other], new["valid"][other]))
        mixtures.append(made.mixture.tolist())
    described = known.opinion(new["features"], new["valid"])
    whole = {"logits": new["logits"], "opinion": described, "labels": new["labels"], "scenes": np.where(half, 0, 1)}
    before = pooled(log_pool, whole)  # as it was put together before
    found = {way: figures(values, new["labels"]) for way, values in zip(WAYS, (shares, before, mixed), strict=True)}
    print(split, seed, mixtures, found, flush=True)
    return {"split": split, "seed": seed, "mixtures": mixtures, **found}


Pool = Callable[[Array, Array, tuple[float, float]], Array]  # Probabilities from logits, opinion and mixture


def log_pool(logits: Array, opinion: Array, mixture: tuple[float, float]) -> Array:
    return softmax(mixture[0] * np.log(np.maximum(softmax(logits), 1e-12)) + mixture[1] * opinion)


def linear_pool(logits: Array, opinion: Array, mixture: tuple[float, float]) -> Array:
    """In shares of the head; where the opinion does not count, the head alone."""
    share = mixture[0] if mixture[1] else 1.0
    return share * softmax(logits) + (1 - share) * softmax(2 * mixture[1] * opinion)


def product_and_mean(logits: Array, opinion: Array, mixture: tuple[float, float]) -> Array:
    """What the product leaves of 1, much where both disagree, goes to the mean of both: `Typicality.mixed`."""
    head, own = softmax(mixture[0] * np.log(np.maximum(softmax(logits), 1e-12))), softmax(mixture[1] * opinion)
    both = head * own
    return both + (1 - both.sum(1, keepdims=True)) * (head + own) / 2 if mixture[1] else head


POOLS: dict[str, Pool] = {"log pool": log_pool, "linear pool": linear_pool, "product and mean": product_and_mean}


def choose(data: Path, cache: Path) -> None:
    """Each way's figures by split, over the folds of its training part."""
    folds: dict[int, list[dict[str, Array]]] = {}
    with contextlib.suppress(KeyboardInterrupt):
        for split in SPLITS:
            for fold in range(3):
                folds.setdefault(split, []).append(fold_of(data, cache, split, fold))
    rows: list[dict[str, Any]] = []
    for split, found in folds.items():
        ways = {name: [pooled(pool, one) for one in found] for name, pool in POOLS.items()}
        for name, values in ({"head, max softmax": [softmax(one["logits"]) for one in found]} | ways).items():
            wrong = [v.argmax(1) != one["labels"] for v, one in zip(values, found, strict=True)]
            least = [w[np.argsort(v.max(1), kind="stable")[: int(SHARE * len(w))]]
                     for v, w in zip(values, wrong, strict=True)]  # fmt: skip
            errors = int(sum(map(np.sum, wrong)))
            rows.append({
                "split": split, "folds": len(found), "probabilities": name, "errors": errors,
                "accuracy": float(1 - np.concatenate(wrong).mean()),
                "errors removed": float(sum(map(np.sum, least)) / errors),
                "AURC": float(np.mean([curve(v.max(1), w).aurc for v, w in zip(values, wrong, strict=True)])),
                "log loss": float(np.mean([-np.log(v[np.arange(len(v)), one["labels"]] + 1e-9).mean()
                                           for v, one in zip(values, found, strict=True)])),
            })  # fmt: skip
    print(
        table(list(rows[0]), [[f"{v:.4g}" if isinstance(v, float) else str(v) for v in row.values()] for row in rows])
    )
    where = conditions({"torch": torch.__version__}) | {"command": "python benchmarks/opinion.py --choose"}
    print(f"wrote {save('opinion_choice', {'folds': rows}, where)}")


def fold_of(data: Path, cache: Path, split: int, fold: int) -> dict[str, Array]:
    """Logits and opinions of a head for the third of a training part that it was not trained on."""
    path = cache / f"inner_{split}_{fold}.npz"
    if not path.exists():
        with np.load(data / f"GT_train_{split}.npz") as file:
            names = tuple(sorted(set(map(str, file["label"]))))
        corpus = read_skeletons(data / f"GT_train_{split}.npz", names)
        labels = corpus.labels
        scenes = sources(data, split, np.array(names)[labels])
        cut = [*StratifiedGroupKFold(3, shuffle=True, random_state=0).split(labels, labels, scenes)][fold]
        options = TrainOptions(20, rate_hz=15.0, epochs=60, seed=fold)
        own, new = (corpus.pick(rows) for rows in cut)
        make = lambda: make_head("transformer", own.width, len(names), options)  # noqa: E731
        head = fit(make, own, None, options).head.eval()
        train, held = (of_windows(head, *(one.numpy() for one in windows_of(part, options)[:2])) for part in (own, new))
        known = Typicality.fit(train["features"], train["valid"], own.labels, len(names))
        np.savez(path, logits=held["logits"], opinion=known.opinion(held["features"], held["valid"]),
                 labels=new.labels, scenes=scenes[cut[1]])  # fmt: skip
    with np.load(path) as file:
        return {key: file[key] for key in ("logits", "opinion", "labels", "scenes")}


def pooled(pool: Pool, found: dict[str, Array]) -> Array:
    """Probabilities of each half of the source videos, by the mixture that makes the other half likeliest."""
    logits, opinion, labels = found["logits"], found["opinion"], found["labels"]
    half, made = np.isin(found["scenes"], np.unique(found["scenes"])[::2]), np.zeros_like(logits)
    for chosen in (half, ~half):
        rows = np.arange(chosen.sum())
        likely = [np.log(pool(logits[chosen], opinion[chosen], one)[rows, labels[chosen]] + 1e-9).sum()
                  for one in MIXTURES]  # fmt: skip
        made[~chosen] = pool(logits[~chosen], opinion[~chosen], MIXTURES[int(np.argmax(likely))])
    return made


def figures(shares: Array, labels: Array) -> dict[str, float]:
    """Accuracy, share of the errors among the 20 % of least confidence, and areas under the risk-coverage curve."""
    wrong, confidence = shares.argmax(1) != labels, shares.max(1)
    least = np.argsort(confidence, kind="stable")[: int(SHARE * len(labels))]
    found = curve(confidence, wrong)
    return {"accuracy": float(1 - wrong.mean()), "errors removed": float(wrong[least].sum() / wrong.sum()),
            "aurc": found.aurc, "e_aurc": found.e_aurc}  # fmt: skip


if __name__ == "__main__":
    main()
