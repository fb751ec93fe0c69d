"""Splits of labeled sequences into training and test parts: by source video, never by clip."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edgevid.errors import InputError
from edgevid.evaluate.actions.data import Corpus, read_skeletons


def split_by_group(corpus: Corpus, share: float, *, seed: int = 0) -> tuple[Corpus, Corpus]:
    """(rest, held out): about `share` of the examples of every class, whole groups at a time.

    InputError where a class has one group only: a split would put one scene on both sides.
    """
    if not 0 < share < 1:
        raise InputError(f"split: expected a share between 0 and 1, got {share}")
    rng = np.random.default_rng(seed)
    held: set[str] = set()
    groups = sorted({e.group for e in corpus.examples})
    labels, group_of = corpus.labels, np.array([e.group for e in corpus.examples])
    for label, name in enumerate(corpus.names):
        mine = [g for g in groups if ((group_of == g) & (labels == label)).any()]
        if len(mine) < 2:
            raise InputError(
                f"split: class {name!r} comes from one video or scene only ({', '.join(mine) or 'none'}): "
                "training and test would see the same scene. Add clips from at least one more video, "
                "or name the groups in a CSV"
            )
        expected = share * float((labels == label).sum())
        taken = float(sum(((group_of == g) & (labels == label)).sum() for g in mine if g in held))
        free = [g for g in mine if g not in held]
        order = rng.permutation(len(free))
        for i in order[: len(free) - 1]:
            size = float(((group_of == free[i]) & (labels == label)).sum())
            if taken and taken + size / 2 > expected:
                continue
            held.add(free[i])
            taken += size
            if taken >= expected:
                break
    out = np.isin(group_of, sorted(held))
    return corpus.pick(np.flatnonzero(~out)), corpus.pick(np.flatnonzero(out))


def official_splits(folder: Path) -> dict[str, tuple[Corpus, Corpus]]:
    """(train, test) of every pair *_train_K.npz and *_test_K.npz in a folder of skeleton files.

    Each holds `joints` (sum of T, J, 2), `offsets` (N + 1,) and `label` (N,); see docs/actions.md.
    """
    found = {}
    for train in sorted(folder.glob("*_train_*.npz")):
        test = train.with_name(train.name.replace("_train_", "_test_"))
        if not test.is_file():
            raise InputError(f"{train.name}: its test half {test.name} is missing next to it")
        names = tuple(sorted({str(s) for s in np.load(train)["label"]}))
        found[train.stem.rpartition("_")[2]] = (read_skeletons(train, names), read_skeletons(test, names))
    return found
