"""Two levels, classes and then their parents, and the rejection of images of poor quality.

    python benchmarks/levels.py [--data FOLDER] [--videos FOLDER] [--repeats 500]

Levels: the share answered at an equal certified risk, flat and with parents. On simulated tunings the true risks, of
the emitted classes and of all that is emitted, are known, so broken promises are counted. On JHMDB the scores are
out-of-fold ones of the training part (a kernel ridge model of the pose features, folds by source video), judged on the
test part. A parent excludes at least half of the classes.

Quality: the first frame of each second of the shared videos, and copies of it: darkened to 12 % with noise of 2,
blurred by a Gaussian of 3 pixels, JPEG at quality 10, overexposed. The limits were chosen on COCO's photos and clips
of actions.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from abstain import jhmdb
from bench import conditions, save, table
from sklearn.model_selection import StratifiedGroupKFold

from edgevid import Frame, Reason, open_video
from edgevid.abstain.policy import NEVER, Settings, members
from edgevid.actions.recognizer import softmax
from edgevid.errors import InputError
from edgevid.evaluate.tune.risk import curve, fit_temperature, fixed_sequence
from edgevid.evaluate.tune.scores import ScoreTable, gather, make_table
from edgevid.evaluate.tune.search import Target, passes, tune
from edgevid.health.view_monitor import ImageQuality, Quality, measure
from edgevid.types import Array

GROUPS = {
    "moves along": ("jump", "push", "run", "walk"), "gets up or down": ("pick", "pullup", "sit", "stand"),
    "uses hands": ("clap", "pour", "wave"), "plays ball": ("catch", "golf", "throw"),
}  # fmt: skip
SIMULATED = {f"parent {g}": tuple(f"class {3 * g + n}" for n in range(3)) for g in range(4)}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    shared = Path(__file__).resolve().parents[2] / "shared/data"
    parser.add_argument("--data", type=Path, default=shared / "actions/jhmdb_skeleton")
    parser.add_argument("--videos", type=Path, default=shared / "videos")
    parser.add_argument("--repeats", type=int, default=500)
    options = parser.parse_args()
    where = conditions({"opencv": cv2.__version__, "numpy": np.__version__})
    found: dict[str, Any] = {"simulated": simulated(options.repeats), "issued": issued(8 * options.repeats)}
    found |= {"groups": GROUPS, "jhmdb": real(options.data), "quality": quality(options.videos)}
    print(f"wrote {save('levels', found, where)}")


# Two levels ----------------------------------------------------------------------------------------


def answers(scores: ScoreTable, settings: Settings) -> tuple[Array, Array, Array, Array]:
    """(leaf emitted, leaf wrong, parent emitted, parent wrong) of each track."""
    made = gather(scores, settings)
    leaf = passes(made, settings, scores.names)
    parent, wrong = np.zeros(len(leaf), bool), np.zeros(len(leaf), bool)
    if settings.tree:
        rest = made.parents(members(scores.names, settings), ~leaf)
        parent[~leaf], wrong[~leaf] = rest.confidence >= settings.parent_threshold, rest.wrong
    return leaf, made.wrong & leaf, parent, wrong & parent


def tuned(ours: ScoreTable, settings: Settings, risk: float) -> Settings:
    """The tuned settings; where the risk cannot be certified, those that emit nothing."""
    try:
        return tune(ours, Target("max-risk", risk), settings=settings, fit=False).settings
    except InputError:
        return replace(settings, threshold=NEVER, parent_threshold=NEVER)


def compared(ours: ScoreTable, theirs: ScoreTable, tree: dict[str, tuple[str, ...]], risk: float) -> dict[str, Any]:
    """Tuned on `ours`: shares answered of `theirs` and risks there, flat and with parents."""
    row: dict[str, Any] = {"risk": risk}
    for name, settings in (("flat", Settings()), ("tree", Settings(tree=tree))):
        settings = tuned(ours, settings, risk)
        leaf, wrong, parent, mistaken = answers(theirs, settings)
        row |= {f"{name} answered": float((leaf | parent).mean()), f"{name} parents": float(parent.mean())}
        row[f"{name} leaf risk"] = float(wrong.sum() / max(leaf.sum(), 1))
        row[f"{name} parent risk"] = float(mistaken.sum() / max(parent.sum(), 1))
        row[f"{name} risk"] = float((wrong | mistaken).sum() / max((leaf | parent).sum(), 1))
    return row


def draw(n: int, rng: np.random.Generator) -> ScoreTable:
    """Tracks of 12 classes: sure of the parent, less of the class; the model is surer than it should be."""
    groups = rng.dirichlet(np.full(4, 0.06), n)
    inside = rng.dirichlet(np.full(3, 0.15), (n, 4))
    honest = (groups[:, :, None] * inside).reshape(n, 12)
    labels = (honest.cumsum(1)[:, :-1] < rng.random((n, 1))).sum(1)
    values = honest**1.5 + 1e-6
    names = np.array([name for below in SIMULATED.values() for name in below])
    return make_table({"values": values / values.sum(1, keepdims=True), "labels": labels, "names": names})


def simulated(repeats: int) -> list[dict[str, Any]]:
    """Promises of tunings on 1,000 tracks each, judged on 100,000 others."""
    population, rows = draw(100_000, np.random.default_rng(1)), []
    whole = gather(population, Settings())
    below = members(population.names, Settings(tree=SIMULATED))
    own = below.argmax(1)[whole.labels]
    parents = whole.probabilities @ below
    best, sums = parents.argmax(1), parents.max(1).astype(np.float64)
    for risk in (0.05, 0.1):
        kept, issued_files, made = 0, 0, []
        for seed in range(repeats):
            ours = draw(1000, np.random.default_rng(1000 + seed))
            flat, tree = (tuned(ours, one, risk) for one in (Settings(), Settings(tree=SIMULATED)))
            issued_files += tree.threshold < NEVER
            leaf = whole.confidence >= tree.threshold
            parent = ~leaf & (sums >= tree.parent_threshold)
            wrong = np.where(leaf, whole.wrong, best != own)[leaf | parent]
            risks = [whole.wrong[leaf].mean() if leaf.any() else 0, wrong.mean() if len(wrong) else 0]
            kept += max(risks) <= risk
            made.append([(whole.confidence >= flat.threshold).mean(), leaf.mean(), parent.mean()])
        flat_share, leaf_share, parent_share = np.mean(made, axis=0).tolist()
        row = {
            "risk": risk,
            "repeats": repeats,
            "promise held": kept / repeats,
            "files": issued_files / repeats,
            "flat answered": flat_share,
        }
        rows.append(row | {"tree answered": leaf_share + parent_share, "tree parents": parent_share})
    keys = list(rows[0])
    print(table(keys, [[f"{row[key]:.4g}" for key in keys] for row in rows]), "\n")
    return rows


def issued(repeats: int, risk: float = 0.05) -> list[dict[str, Any]]:
    """How often `--max-risk` gives a file, and how often what it promises is broken: of all tunings, of the files."""
    rows = []
    for n in (100, 200, 300, 1000):
        rng, found = np.random.default_rng(n), []
        for _ in range(repeats):
            s = rng.random(n)
            found.append(fixed_sequence(curve(s, rng.random(n) < 0.36 * (1 - s) ** 2), risk, 0.05))
        files = np.array([t for t in found if t is not None])
        broken = int((0.12 * (1 - files) ** 2 > risk).sum())  # the true risk above a threshold t is 0.12 (1 - t)^2
        rows.append({"tracks": n, "files": len(files) / repeats, "broken of all": broken / repeats})
        rows[-1] |= {"broken of files": broken / max(len(files), 1), "repeats": repeats}
    print(table(list(rows[0]), [[f"{v:.4g}" for v in row.values()] for row in rows]), "\n")
    return rows


def real(folder: Path) -> list[dict[str, Any]]:
    rows = []
    for split in (1, 2, 3):
        train, test, labels, truth, groups = jhmdb(folder, split)
        names, y = np.unique(labels, return_inverse=True)
        folds = StratifiedGroupKFold(5, shuffle=True, random_state=0).split(train, y, groups)
        held = np.zeros((len(y), len(names)))
        for rest, fold in folds:
            held[fold] = opinions(train[rest], y[rest], train[fold], len(names))
        other = opinions(train, y, test, len(names))
        sharp = fit_temperature(softmax(held), y)
        parts = ((held, y), (other, np.searchsorted(names, truth)))
        ours, theirs = (make_table({"values": softmax(v / sharp), "labels": t, "names": names}) for v, t in parts)
        for risk in (0.05, 0.07, 0.1, 0.15):
            row = {"split": split, "accuracy": float((other.argmax(1) == parts[1][1]).mean())}
            rows.append(row | compared(ours, theirs, GROUPS, risk))
    keys = list(rows[0])
    print(table(keys, [[f"{row[key]:.3g}" for key in keys] for row in rows]), "\n")
    return rows


def opinions(train: Array, labels: Array, test: Array, classes: int) -> Array:
    """Kernel ridge regression of the directions of standardized features."""
    middle, spread = train.mean(0), train.std(0) + 1e-6
    unit = [(x - middle) / spread for x in (train, test)]
    ours, theirs = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in unit)
    kernel = np.exp(ours @ ours.T - 1) + 0.01 * np.eye(len(ours))
    return np.asarray(np.exp(theirs @ ours.T - 1) @ np.linalg.solve(kernel, np.eye(classes)[labels]))


# Image quality -------------------------------------------------------------------------------------


def copies(image: Array, rng: np.random.Generator) -> dict[str, Array]:
    dark = np.clip(image * 0.12 + rng.normal(0, 2, image.shape), 0, 255).astype(np.uint8)
    coded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 10])[1]
    return {
        "original": image, "dark": dark, "blurred": cv2.GaussianBlur(image, (0, 0), 3),
        "JPEG 10": np.asarray(cv2.imdecode(coded, 1)),
        "overexposed": np.clip(2.2 * image + 60.0, 0, 255).astype(np.uint8),
    }  # fmt: skip


MEASURED = {
    "dark": lambda q: -q.bright, "blurred": lambda q: -q.sharpness, "JPEG 10": lambda q: q.blockiness,
    "overexposed": lambda q: q.saturated,
}  # fmt: skip
EXPECTED = {
    "original": Reason.OK, "dark": Reason.DARK, "blurred": Reason.BLURRED, "JPEG 10": Reason.DAMAGED,
    "overexposed": Reason.OVEREXPOSED,
}  # fmt: skip


def quality(folder: Path) -> dict[str, Any]:
    rng, found, spent, videos = np.random.default_rng(0), {k: list[Quality]() for k in EXPECTED}, [], {}
    false = 0
    for path in sorted(folder.iterdir()):
        monitor, checked, wrong = ImageQuality(), 0, 0
        with open_video(path) as video:
            for frame in video:
                before, start = monitor.quality, time.thread_time()  # of the processor
                state = monitor.update(frame)
                spent.append(time.thread_time() - start)
                wrong += state is not Reason.OK
                if monitor.quality is before:
                    continue
                checked += 1
                for name, image in copies(frame.bgr, rng).items():
                    found[name].append(measure(Frame.from_bgr(image)))
        false += wrong
        videos[path.name] = {"frames": frame.index + 1, "checks": checked, "frames withheld": wrong}
    judge = ImageQuality().judge
    rows: dict[str, Any] = {}
    for name, some in found.items():
        rows[name] = {"images": len(some), "named": float(np.mean([judge(q) is EXPECTED[name] for q in some]))}
        rows[name]["withheld"] = float(np.mean([judge(q) is not Reason.OK for q in some]))
        if name in MEASURED:
            own, other = (np.array([MEASURED[name](q) for q in found[k]]) for k in ("original", name))
            pairs = (other[:, None] > own).mean() + (other[:, None] == own).mean() / 2
            rows[name]["auroc"] = float(pairs)
    checks = np.sort(spent)[-len(found["original"]) :]
    cost = {"ms per frame, mean": 1e3 * float(np.mean(spent)), "ms per check, median": 1e3 * float(np.median(checks))}
    heads = list(rows["dark"])
    print(table(["copy", *heads], [[k, *(f"{r[h]:.4g}" if h in r else "" for h in heads)] for k, r in rows.items()]))
    print({k: round(v, 3) for k, v in cost.items()}, f"{false} of {len(spent)} frames of the originals withheld\n")
    return {"copies": rows, "videos": videos, "cost": cost, "false": false / len(spent), "frames": len(spent)}


if __name__ == "__main__":
    main()
