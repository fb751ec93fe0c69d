"""The timing loop of every comparison of speed, and the speed of a quantized file."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TypeVar

import numpy as np

from edgevid.optimize.quantize.frames import FrameRunner
from edgevid.runtime import LocalRecipe
from edgevid.runtime.onnxruntime.engine import OrtEngine
from edgevid.types import Frame

T = TypeVar("T")


def take_turns(
    work: Sequence[Callable[[int], T]],
    runs: int,
    warm_up: int = 0,
    on_turn: Callable[[int], None] | None = None,
) -> list[list[T]]:
    """Calls each of `work` in turn, run by run, so that what disturbs one disturbs all.

    Each call gets the number of the run, negative while warming up. Returns one list per callable, of the
    results of its `runs` counted calls. `on_turn` is called with the number after each turn.
    """
    results: list[list[T]] = [[] for _ in work]
    for number in range(-warm_up, runs):
        for call, kept in zip(work, results, strict=True):
            result = call(number)
            if number >= 0:
                kept.append(result)
        if on_turn:
            on_turn(number)
    return results


def median_cpu_ms(
    recipe: LocalRecipe, files: Sequence[Path], frames: Sequence[Frame], *, runs: int = 15, warm_up: int = 3
) -> list[float]:
    """Median processor time in ms/frame of each file on one thread, the files taking turns over `frames`.

    Preprocessing is not counted. ModelError where a file does not run.
    """

    def timed(runner: FrameRunner) -> Callable[[int], float]:
        def run(number: int) -> float:
            inputs = runner.inputs(frames[number % len(frames)])
            start = time.thread_time()  # which a busy machine does not lengthen
            runner.engine.run(inputs)
            return time.thread_time() - start

        return run

    with ExitStack() as stack:
        engines = [stack.enter_context(OrtEngine(p, device="cpu", threads=1)) for p in files]
        work = [timed(FrameRunner(recipe, engine)) for engine in engines]
        return [1000 * float(np.median(seconds)) for seconds in take_turns(work, runs, warm_up)]


def speedup(recipe: LocalRecipe, file: Path) -> float:
    """The speed of `file` relative to the recipe's own model on a gray image: 2.0 is twice as fast."""
    gray = Frame(np.full((480, 640, 3), 114, np.uint8), 0.0, 0)
    model, quantized = median_cpu_ms(recipe, [recipe.local, file], [gray])
    return model / max(quantized, 1e-6)
