"""A small corpus of rising and falling features, for the tests of action training."""

from __future__ import annotations

import numpy as np

from edgevid.evaluate.actions.data import Corpus, Example


def corpus(counts: tuple[int, ...] = (6, 6), groups: int = 3, length: int = 12, seed: int = 0) -> Corpus:
    """Four features: class 0 rises in the first one, class 1 falls."""
    rng = np.random.default_rng(seed)
    examples = []
    for label, count in enumerate(counts):
        for i in range(count):
            raw = rng.normal(0, 0.1, (length, 4)).astype(np.float32)
            raw[:, 0] += np.linspace(-1, 1, length) * (1 if label == 0 else -1)
            group = f"{label}-{i % groups}"
            examples.append(Example(f"{label}/{i}", group, raw, np.full(length, label)))
    return Corpus(("rise", "fall"), tuple(examples), 8.0)
