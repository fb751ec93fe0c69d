"""What the evaluators are worth: shuffled labels, the coverage of their intervals, and time next to their references.

    python benchmarks/evaluate.py [--shuffles 100] [--only shuffles,intervals,time]

Shuffles: clips of random skeletons with random labels train a head; `evaluate actions` gets as many clips that it was
trained on as new ones. A shuffle deceives where its accuracy is above chance by more than 3 sigma and no note names the
leak. Next to it: the accuracy on clips that were trained on, for a recipe that does not state them. Intervals: shares
of scenes whose clips depend on each other, 500 data sets a number of scenes; plain percentiles next to ours. Time:
20 random sequences of 40 frames in memory, and COCO files; trackeval and pycocotools where they are installed.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from bench import conditions, save, table

TESTS = Path(__file__).resolve().parents[1] / "tests" / "evaluate"
sys.path.insert(0, str(TESTS))


def shuffles(count: int) -> dict[str, Any]:
    """How many of so many shuffles deceive."""
    from test_recognition import CLIPS, shuffled

    from edgevid.evaluate.recognition import evaluate

    limit, rows = 1 / 3 + 3 * np.sqrt(2 / 9 / CLIPS), []
    for seed in range(count):
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
            recipe, train, mixed = shuffled(Path(folder) / "a", seed)
            found = evaluate(str(recipe), mixed)
            named = any("were trained on" in note for note in found.notes)
            forgotten = recipe.with_name("forgotten.toml")
            forgotten.write_text(recipe.read_text().partition("[trained]")[0])
            leak = evaluate(str(forgotten), train).values["accuracy"]
        rows.append((found.values["accuracy"], named, leak))
        print(f"shuffle {seed}: {rows[-1]}", file=sys.stderr)
    accuracy, named, leak = (np.array(column) for column in zip(*rows, strict=True))
    return {
        "shuffles": count, "limit": float(limit), "above the limit": int((accuracy > limit).sum()),
        "above it without a note": int(((accuracy > limit) & ~named).sum()),
        "accuracy, mean": float(accuracy.mean()), "on clips that were trained on, mean": float(leak.mean()),
    }  # fmt: skip


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
    options = parser.parse_args()
    for part in options.only.split(","):
        made = {"time": times, "intervals": intervals, "shuffles": lambda: shuffles(options.shuffles)}[part]()
        print(table(*made) if part == "intervals" else json.dumps(made, indent=1))
        where = conditions({}) | {"command": f"python benchmarks/evaluate.py --only {part}"}
        save(f"evaluate_{part}", {"head": made[0], "rows": made[1]} if part == "intervals" else made, where)


if __name__ == "__main__":
    main()
