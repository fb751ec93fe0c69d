"""What the second opinion of a head adds on JHMDB: accuracy, and the errors that are gone when 20 % are rejected.

    python benchmarks/opinion.py [--data FOLDER] [--cache FOLDER] [--seeds 3]

A Transformer head is trained on the training part of each official split, as `edgevid train actions` does. The test
part is divided by blocks of ten clips, which keeps most scenes on one side: each half chooses the mixture for the
other, so that no clip is judged by a mixture that it helped to choose. Rejected are the 20 % of least confidence;
AURC and E-AURC are of all clips. `--cache` keeps trained heads.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from bench import conditions, save, table
from unlike import SPLITS, Case, asked

from edgevid.actions.recognizer import softmax
from edgevid.actions.typicality import Typicality
from edgevid.evaluate.actions.data import read_skeletons
from edgevid.evaluate.tune.risk import curve
from edgevid.types import Array

SHARE = 0.2
WAYS = ("head, max softmax", "head and opinion")


def main() -> None:
    options = asked(__doc__, "runs/opinion")
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
    found = {way: figures(values, new["labels"]) for way, values in zip(WAYS, (shares, mixed), strict=True)}
    print(split, seed, mixtures, found, flush=True)
    return {"split": split, "seed": seed, "mixtures": mixtures, **found}


def figures(shares: Array, labels: Array) -> dict[str, float]:
    """Accuracy, share of the errors among the 20 % of least confidence, and areas under the risk-coverage curve."""
    wrong, confidence = shares.argmax(1) != labels, shares.max(1)
    least = np.argsort(confidence, kind="stable")[: int(SHARE * len(labels))]
    found = curve(confidence, wrong)
    return {"accuracy": float(1 - wrong.mean()), "errors removed": float(wrong[least].sum() / wrong.sum()),
            "aurc": found.aurc, "e_aurc": found.e_aurc}  # fmt: skip


if __name__ == "__main__":
    main()
