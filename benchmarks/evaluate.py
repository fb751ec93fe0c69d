"""What the evaluators are worth: shuffled labels, the coverage of their intervals, and time next to their references.

    python benchmarks/evaluate.py [--shuffles 100] [--only shuffles,intervals,time] [--of skeletons,images]

Shuffles: random skeletons and random images with random labels train a head and a classifier; `evaluate actions`
gets as many clips that they were trained on as new ones; policies are tuned on the held-out scores, and `evaluate
abstain` gets these, new ones as `evaluate actions --scores` writes them, and those of clips that were trained on: of a
recipe without hashes, and together with new ones in a table that states which are which. `evaluate robustness` gets
trained clips and new ones. A shuffle deceives a command where the share of right verdicts is above chance by more than
3 sigma and no note warns of it. Intervals: shares of scenes whose clips depend on each other, 500 data sets a number of
scenes; plain percentiles next to ours. Time: 20 random sequences of 40 frames in memory, and COCO files; trackeval and
pycocotools where they are installed.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from bench import conditions, save, table

CHANCE = 1 / 3
WARNINGS = ("were trained on", "was trained on is not stated", "tuned on these scores", "confidences differ")
TESTS = Path(__file__).resolve().parents[1] / "tests" / "evaluate"
sys.path.insert(0, str(TESTS))


class Found(NamedTuple):
    """What one command says of a model of random labels."""

    share: float  # Of right ones; NaN where nothing is emitted
    judged: float  # Of how many clips or verdicts
    notes: Sequence[str]

    @property
    def deceives(self) -> bool:
        """Whether it is above chance by more than 3 sigma and no note warns of it."""
        above = self.share > CHANCE + 3 * np.sqrt(CHANCE * (1 - CHANCE) / max(self.judged, 1))
        return bool(above and not any(word in note for word in WARNINGS for note in self.notes))


def shuffles(count: int, of: Sequence[str]) -> dict[str, Any]:
    """How many of so many shuffles deceive, by command and what it was given."""
    rows: list[dict[str, Found]] = []
    with contextlib.suppress(KeyboardInterrupt):  # what is done counts
        for seed in range(count):
            with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
                own = [KINDS[kind](Path(folder) / kind, seed) for kind in of]
                rows.append({name: one for found in own for name, one in found.items()})
            print(f"shuffle {seed}: { {name: round(one.share, 3) for name, one in rows[-1].items()} }", file=sys.stderr)
    made: dict[str, Any] = {"shuffles": len(rows), "of": [*of], "chance": CHANCE}
    for name in rows[0]:
        some = [row[name] for row in rows]
        share, judged = (np.array([getattr(one, key) for one in some], float) for key in ("share", "judged"))
        above = share > CHANCE + 3 * np.sqrt(CHANCE * (1 - CHANCE) / np.maximum(judged, 1))
        made[name] = {"share right, mean": float(np.nanmean(share)), "above chance plus 3 sigma": int(above.sum()),
                      "of them without a warning": sum(one.deceives for one in some),
                      "judged, mean": float(judged.mean())}  # fmt: skip
    return made


def of_skeletons(folder: Path, seed: int) -> dict[str, Found]:
    """A head on clips that it was trained on and as many new ones, on the held-out ones of its training, and policies
    tuned on its scores."""
    from test_recognition import shuffled

    from edgevid.abstain import write_policy
    from edgevid.evaluate import robustness, verdicts
    from edgevid.evaluate.recognition import evaluate
    from edgevid.evaluate.tune.scores import read_scores
    from edgevid.evaluate.tune.search import Target, tune

    folder.mkdir()
    recipe, train, mixed = shuffled(folder / "a", seed)
    forgotten = recipe.with_name("forgotten.toml")
    forgotten.write_text(recipe.read_text().partition("[trained]")[0])
    truths = {"trained and new": (recipe, mixed, "new"), "held out": (recipe, train.with_name("A_test_1.npz"), "held"),
              "trained, recipe without hashes": (forgotten, train, "trained, not stated")}  # fmt: skip
    made = {f"evaluate actions: {name}": of_accuracy(evaluate(str(model), truth, scores=folder / f"{scores}.npz"))
            for name, (model, truth, scores) in truths.items()}  # fmt: skip
    robustness.POSES = {}  # only the clips as they are
    damaged = robustness.evaluate(str(recipe), mixed)
    right, wrong, _ = damaged.tables["By corruption"].rows[0][2:]
    made["evaluate robustness: trained and new"] = Found(
        right / max(right + wrong, 1e-9), (right + wrong) * len(damaged.groups), damaged.notes)  # fmt: skip
    new, old = (np.load(folder / f"{name}.npz") for name in ("new", "trained, not stated"))
    both = {key: np.concatenate([new[key], old[key]]) for key in ("values", "labels", "tracks", "times", "typicality")}
    seen = np.arange(len(both["values"])) >= len(new["values"])
    np.savez(folder / "trained and new, stated.npz", **both, names=new["names"], trained=seen)
    tuned = recipe.with_name("scores.npz")
    for target in (Target("knee"), Target("abstain-rate", 0.2)):
        report = tune(read_scores(tuned), target)
        emitted = int(report.emitted.sum())
        made[f"tune policy: {target.kind}"] = Found(1 - report.measured_risk, emitted, report.warnings)
        write_policy(folder / "policy.toml", report.policy())
        more = ("new", "trained, not stated", "trained and new, stated")
        for name, scores in (("its own scores", tuned), *((n, folder / f"{n}.npz") for n in more)):
            found = verdicts.evaluate(folder / "policy.toml", scores)
            judged = found.values["coverage"] * len(found.groups)
            made[f"evaluate abstain: {target.kind}, {name}"] = Found(1 - found.values["risk"], judged, found.notes)
    return made


def of_images(folder: Path, seed: int) -> dict[str, Found]:
    """A classifier on images that it was trained on and as many new ones, and on its held-out ones."""
    import cv2

    from edgevid.evaluate.recognition import evaluate
    from edgevid.learn.actions.train import TrainConfig, train_actions
    from edgevid.learn.classifier.network import ImageAugmentation, ImageOptions

    rng, clips = np.random.default_rng(seed), 60
    labels, rows = rng.permutation(np.arange(2 * clips) % 3), []
    folder.mkdir()
    for n, label in enumerate(labels.tolist()):
        cv2.imwrite(str(folder / f"{n}.png"), cv2.resize(rng.integers(0, 256, (6, 6, 3), np.uint8), (24, 24)))
        rows.append(f"{n}.png,{'abc'[label]},scene {n}")
    for name, some in (("known", rows[:clips]), ("mixed", rows)):
        (folder / f"{name}.csv").write_text("\n".join(["path,label,group", *some]) + "\n")
    images = ImageOptions(24, 24, augmentation=ImageAugmentation(flip=False))
    config = TrainConfig(folder / "known.csv", "compact", folder / "head", seeds=1, epochs=10, rate_hz=4.0, window=1,
                         extractor="", images=images, threads=1)  # fmt: skip
    outcome = train_actions(config)
    judged = int(outcome.report.support.sum())
    return {"train classifier: held out": Found(outcome.held_out.value, judged, []),
            "evaluate actions: images": of_accuracy(evaluate(str(outcome.recipe), folder / "mixed.csv"))}  # fmt: skip


KINDS = {"skeletons": of_skeletons, "images": of_images}


def of_accuracy(found: Any) -> Found:
    """The accuracy of an evaluation of clips, of those with a verdict."""
    judged = sum(row[-1] for row in found.tables["By class"].rows[:-2])
    return Found(found.values["accuracy"], judged, found.notes)


def intervals(sets: int = 500) -> tuple[list[str], list[list[str]]]:
    """Coverage of 95 % intervals: ours, and plain percentiles."""
    from test_evaluation import of_shares

    from edgevid.evaluate.evaluation import Evaluation

    rng, rows = np.random.default_rng(0), []
    for scenes in (3, 5, 8, 15, 40):
        inside = np.zeros(2)
        for _ in range(sets):
            right = rng.binomial(10, rng.beta(6, 4, scenes))
            one = of_shares(right.tolist())
            ours = Evaluation(one.task, one.groups, one.group, one.measure, draws=400).figures()["accuracy"]
            drawn = rng.multinomial(scenes, np.full(scenes, 1 / scenes), 400) @ right / (10 * scenes)
            plain = np.quantile(drawn, [0.025, 0.975])
            inside += ours.low <= 0.6 <= ours.high, plain[0] <= 0.6 <= plain[1]
        rows.append([str(scenes), *(f"{100 * v / sets:.1f} %" for v in inside)])
    return ["scenes", "inside, expanded", "inside, percentiles"], rows


def times() -> dict[str, float]:
    """Seconds of the metrics alone."""
    from test_detection import random_coco, written
    from test_tracking import of_trackeval, random_tracks

    from edgevid.evaluate.detection import evaluate
    from edgevid.evaluate.tracking import count_tracks

    pairs = [random_tracks(n) for n in range(20)]
    made = {}

    def timed(name: str, function: Any) -> None:
        begin = time.perf_counter()
        with contextlib.suppress(ImportError), contextlib.redirect_stdout(io.StringIO()):
            function()
            made[name] = time.perf_counter() - begin

    timed("tracking, edgevid", lambda: [count_tracks(*pair) for pair in pairs])
    timed("tracking, trackeval", lambda: of_trackeval(pairs))
    with tempfile.TemporaryDirectory() as folder:
        truth, found = written(Path(folder), *random_coco(0, 2000))

        def reference() -> None:
            from pycocotools.coco import COCO
            from pycocotools.cocoeval import COCOeval

            known = COCO(str(truth))
            judged = COCOeval(known, known.loadRes(str(found)), "bbox")
            judged.evaluate()
            judged.accumulate()

        timed("detection, 2000 images, edgevid", lambda: evaluate(found, truth))
        timed("detection, 2000 images, pycocotools", reference)
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shuffles", type=int, default=100)
    parser.add_argument("--only", default="shuffles,intervals,time")
    parser.add_argument("--of", default=",".join(KINDS))
    options = parser.parse_args()
    kinds = options.of.split(",")
    for part in options.only.split(","):
        made = {"time": times, "intervals": intervals, "shuffles": lambda: shuffles(options.shuffles, kinds)}[part]()
        print(table(*made) if part == "intervals" else json.dumps(made, indent=1))
        of = f" --of {options.of}" if part == "shuffles" else ""
        where = conditions({}) | {"command": f"python benchmarks/evaluate.py --only {part}{of}"}
        name = part if part != "shuffles" or len(kinds) > 1 else f"shuffles_{kinds[0]}"
        save(f"evaluate_{name}", {"head": made[0], "rows": made[1]} if part == "intervals" else made, where)


if __name__ == "__main__":
    main()
