"""How much faster a quantized file runs than the model it was made of, on the processor at hand."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from edgevid.optimize.quantize.frames import Feed
from edgevid.runtime import Recipe
from edgevid.runtime.onnxruntime.engine import OrtEngine
from edgevid.types import Frame

ROUNDS, WARM_UP = 15, 3
WORTH = 1.05
"""Less than this is no gain that anybody would notice."""


def pace(recipe: Recipe, file: Path) -> float:
    """Median time of `recipe`'s model over that of `file` on one thread: 1.5 is half as fast again.

    Processor time of the thread, the two taking turns on a gray image, so that a busy machine does not
    count. ModelError where one of them does not run.
    """
    gray = Frame(np.full((480, 640, 3), 114, np.uint8), 0.0, 0)
    assert recipe.local is not None
    spent: list[list[float]] = [[], []]
    with ExitStack() as stack:
        engines = [stack.enter_context(OrtEngine(p, device="cpu", threads=1)) for p in (recipe.local, file)]
        feeds = [Feed(recipe, engine) for engine in engines]
        for turn in range(WARM_UP + ROUNDS):
            for feed, list_ in zip(feeds, spent, strict=True):
                inputs = feed.inputs(gray)
                begin = time.thread_time()
                feed.engine.run(inputs)
                if turn >= WARM_UP:
                    list_.append(time.thread_time() - begin)
    model, quantized = (float(np.median(s)) for s in spent)
    return model / max(quantized, 1e-9)


def slow(variant: str, faster: float) -> str:
    """What to tell of a file that gains nothing."""
    how = "slower than" if faster < 1 / WORTH else "no faster than"
    return (
        f"{variant} is {how} FP32 on this processor ({faster:.2f}x its speed): run FP32 here, and measure "
        "with edgevid bench where it will run"
    )
