"""The default tracker's settings, chosen by leaving one data set out at a time.

    python benchmarks/tracking_choice.py DATA     (tracking_data.py says what DATA holds)

Each candidate changes settings of the default. A data set's value is its mean HOTA over the conditions; a
candidate is chosen for a data set by the mean of the others, which is what a user's own data would meet. The
default is right where nothing is chosen whose lead over it on those others is beyond its 95 % interval (bootstrap
over sequences). `--conditions` takes all of tracking_data.py's; all together take an hour.
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path

import numpy as np
from bench import conditions, save, table
from tracker_peers import edgevid_tracker
from tracking_data import GROUPS, Sequence, everything
from tracking_quality import reported_counts, track

from edgevid.evaluate.tracking import TrackCounts

CONDITIONS = ("full", "every3")
DRAWS = 500
ALONE = {
    "position_noise": (0.03, 0.05, 0.06),
    "reach": (0.0, 0.8, 1.6, 2.0),
    "match_thresh": (0.86, 0.92),
    "second_match_thresh": (0.3, 0.5),
    "new_match_thresh": (0.7, 0.95),
    "lost_after_s": (0.7, 1.5, 2.0),
    "height_overlap": (False,),
    "common_shift": (False,),
    "momentum": (0.1,),
    "observation_centric": (True,),
    "observed_boxes": (False,),
}
"""Each alone; score_weight and position_noise together, as they were chosen last."""


def candidates() -> dict[str, dict[str, float]]:
    """The default, then every other setting, by name."""
    together = [
        {"score_weight": w, "position_noise": p}
        for w, p in itertools.product((0.0, 0.1, 0.15, 0.2, 0.25), (0.04, 0.05))
        if (w, p) not in ((0.2, 0.04), (0.2, 0.05))
    ]
    several = [{}, *together, *({name: value} for name, values in ALONE.items() for value in values)]
    return {", ".join(f"{k}={v}" for k, v in one.items()) or "default": one for one in several}


def measured(settings: dict[str, float], chosen: list[Sequence], kinds: list[str]) -> np.ndarray:
    """(conditions, sequences, counts) of one candidate."""
    make = edgevid_tracker("Tracker", **settings)
    return np.array([[reported_counts(s, kind, track(make, s, kind)).vector for s in chosen] for kind in kinds])


def values(counts: np.ndarray, chosen: list[Sequence], drawn: dict[str, np.ndarray]) -> np.ndarray:
    """(groups,) mean HOTA over the conditions in percent, each sequence as often as it was `drawn` for its group."""
    own = np.array([s.group for s in chosen])
    sums = [[TrackCounts.of(drawn[g] @ kind[own == g]).hota for kind in counts] for g in GROUPS]
    return 100 * np.mean(sums, 1)


def draws(chosen: list[Sequence]) -> list[dict[str, np.ndarray]]:
    """How often each sequence counts: once in the first draw, then resampled within its group."""
    random, sizes = np.random.default_rng(0), {g: sum(s.group == g for s in chosen) for g in GROUPS}
    resampled = [{g: random.multinomial(n, [1 / n] * n) for g, n in sizes.items()} for _ in range(DRAWS)]
    return [{g: np.ones(n) for g, n in sizes.items()}, *resampled]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("data", type=Path)
    options.add_argument("--conditions", nargs="*", default=list(CONDITIONS))
    options.add_argument("--first", type=int, help="only so many candidates")
    asked = options.parse_args()
    chosen, counts = everything(asked.data), {}
    all_draws = draws(chosen)
    for name, settings in list(candidates().items())[: asked.first]:
        counts[name] = measured(settings, chosen, asked.conditions)
        print(name, values(counts[name], chosen, all_draws[0]).round(2).tolist(), flush=True)
    by = {name: values(one, chosen, all_draws[0]) for name, one in counts.items()}
    rows = [[name, *(f"{v:.2f}" for v in one), f"{one.mean():.2f}"] for name, one in by.items()]
    picks, leads = ["chosen without it"], ["its lead over the default on the others"]
    for left in range(len(GROUPS)):
        rest = np.arange(len(GROUPS)) != left
        best = max(by, key=lambda name, rest=rest: by[name][rest].mean())
        pair = [np.array([values(counts[n], chosen, d)[rest].mean() for d in all_draws]) for n in (best, "default")]
        lead, (low, high) = (pair[0] - pair[1])[0], np.percentile((pair[0] - pair[1])[1:], [2.5, 97.5])
        picks.append(best)
        leads.append(f"{lead:+.2f} ({low:+.2f} to {high:+.2f})")
    rows += [[*picks, ""], [*leads, ""]]
    head = ["mean HOTA over conditions", *GROUPS, "mean"]
    print(table(head, rows))
    if not asked.first:
        where = conditions() | {"command": "python benchmarks/tracking_choice.py DATA"}
        save("tracking_choice", {"head": head, "rows": rows, "conditions of frames": asked.conditions}, where)


if __name__ == "__main__":
    main()
