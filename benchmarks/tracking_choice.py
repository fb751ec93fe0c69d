"""The default tracker's settings, chosen by leaving one data set out at a time.

    python benchmarks/tracking_choice.py DATA     (tracking_data.py says what DATA holds)

Each candidate changes settings of the default. A data set's value is its mean HOTA over the conditions; a
candidate is chosen for a data set by the mean of the others, which is what a user's own data would meet. The
default is right where the same candidate wins whichever set is left out, or wins by less than the spread.
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path

import numpy as np
from bench import conditions, save, table
from tracker_peers import edgevid_tracker
from tracking_data import GROUPS, everything
from tracking_quality import counts, track

CONDITIONS = ("full", "every2", "every3", "every5", "drop1", "drop2", "drop3")
ALONE = {
    "position_noise": (0.04, 0.05, 0.06),
    "reach": (0.0, 0.8, 1.2, 2.0),
    "match_thresh": (0.86, 0.9, 0.92),
    "second_match_thresh": (0.3, 0.4, 0.5),
    "new_match_thresh": (0.7, 0.9),
    "lost_after_s": (0.7, 1.0, 2.0),
    "height_overlap": (False, True),
    "common_shift": (False, True),
    "momentum": (0.0, 0.1),
    "observation_centric": (False, True),
    "observed_boxes": (False, True),
}
"""Each alone; score_weight and position_noise together, as they were chosen last."""


def candidates() -> list[dict[str, float]]:
    """The default, then every other setting."""
    together = [
        {"score_weight": w, "position_noise": p}
        for w, p in itertools.product((0.0, 0.1, 0.15, 0.2, 0.25), (0.04, 0.05))
    ]
    return [{}, *together, *({name: value} for name, values in ALONE.items() for value in values)]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("data", type=Path)
    options.add_argument("--conditions", nargs="*", default=list(CONDITIONS))
    options.add_argument("--first", type=int, help="only so many candidates")
    asked = options.parse_args()
    chosen, values = everything(asked.data), {}
    for settings in candidates()[: asked.first]:
        name = ", ".join(f"{key}={value}" for key, value in settings.items()) or "default"
        parts: dict[str, list[float]] = {group: [] for group in GROUPS}
        for kind in asked.conditions:
            every: dict = {}
            for s in chosen:
                whole, _ = counts(s, kind, track(edgevid_tracker("Tracker", **settings), s, kind))
                every[s.group] = every[s.group] + whole if s.group in every else whole
            for group, sum_ in every.items():
                parts[group].append(100 * sum_.hota)
        values[name] = {group: float(np.mean(parts[group])) for group in GROUPS}
        print(name, {group: round(value, 2) for group, value in values[name].items()}, flush=True)
    rows = [
        [name, *(f"{by[g]:.2f}" for g in GROUPS), f"{np.mean(list(by.values())):.2f}"] for name, by in values.items()
    ]
    best = {left: max(values, key=lambda name: sum(values[name][g] for g in GROUPS if g != left)) for left in GROUPS}
    rows.append(["chosen without it", *(best[g] for g in GROUPS), ""])
    head = ["mean HOTA over conditions", *GROUPS, "mean"]
    print(table(head, rows))
    if not asked.first:
        save("tracking_choice", {"head": head, "rows": rows, "conditions of frames": asked.conditions}, conditions())


if __name__ == "__main__":
    main()
