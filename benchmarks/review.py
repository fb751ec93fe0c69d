"""Injected label errors: how many `edgevid data errors` lists, and what mending them is worth on clean labels.

    python benchmarks/review.py [--jhmdb GT_train_1.npz] [--seeds 5]       (pip install 'edgevid[cluster]')

Digits: scikit-learn's 1,797 images of 8x8; 4, 10 and 20 % of the labels become another class, drawn evenly. What is
listed without being a mere outlier counts as found. Mended: on half of the digits with 10 % wrong labels, those found
get their true label; a model that is trained before and after it is judged on the other half with clean labels, by a
paired bootstrap over its images; "all mended" has no wrong label left. JHMDB: the clips of a skeleton file, by mean and
standard deviation over time of the features that heads are trained on; scenes are not known there. The settings are
those of the program, chosen before, on neither.
"""

from __future__ import annotations

import argparse
from importlib import metadata
from pathlib import Path

import numpy as np
from bench import conditions, save, table
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from edgevid.evaluate.verdicts import TrackScores, compare
from edgevid.insight.label_errors import find_label_errors, out_of_fold, read_labeled

MODELS = {
    "logistic regression": lambda: make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)),
    "support vector machine": lambda: make_pipeline(StandardScaler(), SVC()),
}


def spoiled(labels: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """Labels of which a share is another class."""
    classes, wrong = labels.max() + 1, rng.choice(len(labels), round(share * len(labels)), replace=False)
    found = labels.copy()
    found[wrong] = (labels[wrong] + rng.integers(1, classes, len(wrong))) % classes
    return found


def found_rows(features: np.ndarray, given: np.ndarray, seed: int) -> tuple[np.ndarray, float]:
    """Items whose label is held to be wrong, the surest first, and the estimated share of wrong ones."""
    found = find_label_errors(out_of_fold(features, given, seed=seed), given, features)
    rows = [row for row, kind in zip(found.rows.tolist(), found.kinds, strict=True) if kind != "outlier"]
    return np.array(rows, int), found.noise


def detection(name: str, features: np.ndarray, labels: np.ndarray, shares: tuple[float, ...], seeds: int) -> list:
    rows = []
    for share in shares:
        results = []
        for seed in range(seeds):
            given = spoiled(labels, share, np.random.default_rng(seed))
            listed, noise = found_rows(features, given, seed)
            hits, wrong = np.cumsum(given[listed] != labels[listed]), (given != labels).sum()
            half = int(np.searchsorted(hits, wrong / 2)) + 1  # Items to look at until half of the wrong are found
            results.append((hits[-1] / len(listed), hits[-1] / wrong, noise, wrong / 2 / half))
        mean, least = np.mean(results, axis=0), np.min(results, axis=0)
        rows.append([name, f"{share:.0%}", f"{mean[0]:.3f} ({least[0]:.3f})", f"{mean[1]:.3f} ({least[1]:.3f})",
                     f"{mean[3]:.3f} ({least[3]:.3f})", f"{mean[2]:.1%}"])  # fmt: skip
        print(rows[-1], flush=True)
    return rows


def mending(features: np.ndarray, labels: np.ndarray, seeds: int) -> list:
    scores: dict[tuple[str, str], list[np.ndarray]] = {}
    groups: list[str] = []
    for seed in range(seeds):
        rng = np.random.default_rng(100 + seed)
        order = rng.permutation(len(labels))
        train, test = order[: len(order) // 2], order[len(order) // 2 :]
        given = spoiled(labels[train], 0.1, rng)
        listed, _ = found_rows(features[train], given, seed)
        mended = given.copy()
        mended[listed] = labels[train][listed]
        groups += [f"image {row}" for row in test]
        for model, make in MODELS.items():
            for state, used in (("as given", given), ("mended", mended), ("all mended", labels[train])):
                wrong = make().fit(features[train], used).predict(features[test]) != labels[test]
                scores.setdefault((model, state), []).append(wrong)
    rows = []
    for model in MODELS:
        found = {s: np.concatenate(scores[model, s]) for s in ("as given", "mended", "all mended")}
        blank, items = np.zeros(len(groups), int), tuple(map(str, range(len(groups))))
        tracks = [
            TrackScores(items, ("-",), blank, blank[:, None], blank == 0, found[s]) for s in ("as given", "mended")
        ]
        gain = compare(*tracks, groups).figures()["accuracy"]
        rows.append([model, *(f"{1 - wrong.mean():.2%}" for wrong in found.values()), f"{100 * gain.value:+.2f}",
                     f"{100 * gain.low:+.2f} to {100 * gain.high:+.2f}"])  # fmt: skip
        print(rows[-1], flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jhmdb", type=Path, help="a skeleton file of docs/actions.md")
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    where = conditions({"scikit-learn": metadata.version("scikit-learn")})
    features, labels = load_digits(return_X_y=True)
    rows = detection("digits", features, labels, (0.04, 0.1, 0.2), options.seeds)
    if options.jhmdb:
        read = read_labeled(options.jhmdb)
        rows += detection("JHMDB", read.features, read.labels, (0.1,), options.seeds)
    head = ["data", "wrong labels", "precision, mean (least)", "recall, mean (least)",
            "precision of the first ones, until half are found", "estimated share"]  # fmt: skip
    gains = mending(features, labels, options.seeds)
    gain_head = ["model on clean test labels", "as given", "mended", "all mended", "gain, points", "95 % interval"]
    print(table(head, rows), table(gain_head, gains), sep="\n\n")
    found = {"head": head, "rows": rows, "mending": {"head": gain_head, "rows": gains}, "seeds": options.seeds}
    print(save("review", found, where))


if __name__ == "__main__":
    main()
