"""Thresholds of bands of image quality: the promise over all bands together, and what is emitted that was withheld.

    python benchmarks/bands.py [--repeats 500]

Simulated tunings whose true risk is known: of 1,500 tracks 60 % are in sound images, where a verdict of confidence s
errs with probability 0.36 (1 - s)^2; 25 % in dark ones, where it errs twice as often; 10 % in blurred ones, where a
third of all verdicts is wrong whatever the confidence; 5 % in damaged ones, too few for a threshold. `--max-risk 0.05`
with 95 %: the promise is kept where the true risk in every band, and so in all together, is at most 5 %. Next to it:
one threshold for all tracks, as if there were no bands, and sound images only.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
from bench import conditions, save, table

from edgevid.abstain.policy import NEVER, Settings
from edgevid.errors import InputError
from edgevid.evaluate.tune.scores import make_table
from edgevid.evaluate.tune.search import Target, tune
from edgevid.types import Array

RISK, TRACKS = 0.05, 1500
SHARES = {"": 0.6, "dark": 0.25, "blurred": 0.1, "damaged": 0.05}


def errs(band: Array, s: Array) -> Array:
    """The probability that a verdict is wrong."""
    hard = np.where(np.isin(band, ("blurred", "damaged")), 1 / 3, 0.36 * (1 - s) ** 2)
    return np.where(band == "dark", 2 * hard, hard)


def draw(seed: int, tracks: int) -> tuple[Array, Array, dict[str, Array]]:
    """Bands, confidences from 0 to 1, and the columns of a table of two classes."""
    rng = np.random.default_rng(seed)
    band, s = rng.choice([*SHARES], tracks, p=[*SHARES.values()]), rng.random(tracks)
    values = np.stack([(1 + s) / 2, (1 - s) / 2], 1)
    return band, s, {"values": values, "labels": (rng.random(tracks) < errs(band, s)).astype(int), "bands": band}


def tuned(columns: dict[str, Array]) -> Settings:
    """The settings of the promise; those that emit nothing where it cannot be given."""
    try:
        return tune(make_table(columns, values="probabilities"), Target("max-risk", RISK), fit=False).settings
    except InputError:
        return Settings(NEVER)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=500)
    repeats = parser.parse_args().repeats
    band, s, _ = draw(10**6, 200_000)
    confidence, wrong, masks = ((1 + s) / 2).astype(np.float32), errs(band, s), [band == key for key in SHARES]
    rows: dict[str, list[list[float]]] = {}
    for seed in range(repeats):
        _, _, columns = draw(seed, TRACKS)
        sound = columns["bands"] == ""
        plain = {key: column for key, column in columns.items() if key != "bands"}
        own, one, only = map(tuned, (columns, plain, {key: column[sound] for key, column in plain.items()}))
        limits = {"one of each band": {"": own.threshold, **own.per_band}, "sound images only": {"": only.threshold},
                  "one for all": dict.fromkeys(SHARES, one.threshold)}  # fmt: skip
        for name, by_band in limits.items():
            emitted = [mask & (confidence >= by_band.get(key, NEVER)) for key, mask in zip(SHARES, masks, strict=True)]
            counts = np.array([some.sum() for some in emitted])
            errors = np.array([wrong[some].sum() for some in emitted])
            rows.setdefault(name, []).append([
                errors.sum() <= RISK * counts.sum(), (errors <= RISK * counts).all(), counts.sum() / len(band),
                counts[1] / masks[1].sum()])  # fmt: skip
    heads = ("promise held, all images", "promise held, every band", "emitted", "emitted of the dark")
    found: dict[str, Any] = {
        name: dict(zip(heads, np.mean(some, 0).tolist(), strict=True)) for name, some in rows.items()
    }
    print(table(["thresholds", *heads], [[name, *(f"{v:.1%}" for v in one.values())] for name, one in found.items()]))
    print(f"wrote {save('bands', {'repeats': repeats, 'risk': RISK, **found}, conditions({'numpy': np.__version__}))}")


if __name__ == "__main__":
    main()
