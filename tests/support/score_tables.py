"""Score tables of made-up classifiers, for the tests of tuning."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edgevid.evaluate.tune.risk import apply_temperature
from edgevid.evaluate.tune.scores import ScoreTable, make_table
from edgevid.types import Array

NAMES = np.array(["walk", "run", "fall"])


def drawn(
    tracks: int, *, frames: int = 1, seed: int = 0, sharpness: float = 2.0, flat: float = 0.4
) -> dict[str, Array]:
    """Honest probabilities of tracks, made too sure by `sharpness`; frames of a track are alike."""
    rng = np.random.default_rng(seed)
    honest = np.repeat(rng.dirichlet([flat] * 3, tracks), frames, axis=0)
    first = honest[::frames]
    labels = (first.cumsum(1)[:, :2] < rng.random((tracks, 1))).sum(1)
    noisy = apply_temperature(honest * rng.uniform(0.8, 1.2, honest.shape), 1 / sharpness)
    return {
        "values": noisy, "labels": np.repeat(labels, frames), "names": NAMES,
        "tracks": np.repeat(np.arange(tracks), frames), "times": np.tile(np.arange(frames) / 5, tracks),
    }  # fmt: skip


def table(tracks: int = 600, **how: float) -> ScoreTable:
    return make_table(drawn(tracks, **how))  # type: ignore[arg-type]


def spread(confidences: list[float], wrong: list[int], names: int = 3) -> ScoreTable:
    """Verdicts for class 0 with these confidences; the wrong ones have label 1."""
    rest = [[(1 - c) / (names - 1)] * (names - 1) for c in confidences]
    values = np.array([[c, *r] for c, r in zip(confidences, rest, strict=True)])
    return make_table({"values": values, "labels": np.array(wrong)}, values="probabilities")


def csv_of(path: Path, columns: dict[str, Array], *, labels: bool = True) -> Path:
    head = ["track", "time", *(["label"] if labels else []), *columns["names"]]
    lines = [",".join(head)]
    for row in range(len(columns["values"])):
        cells = [f"t{columns['tracks'][row]}", f"{columns['times'][row]:.3f}"]
        cells += [columns["names"][columns["labels"][row]]] if labels else []
        lines.append(",".join([*cells, *(f"{v:.9f}" for v in columns["values"][row])]))
    path.write_text("\n".join(lines) + "\n")
    return path
