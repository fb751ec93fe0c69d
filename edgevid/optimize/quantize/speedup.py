"""How much faster a quantized file runs than its float model on this processor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from edgevid.optimize.quantize.frames import FrameRunner
from edgevid.optimize.timing import take_turns, thread_seconds
from edgevid.runtime import LocalRecipe
from edgevid.runtime.onnxruntime.engine import OrtEngine
from edgevid.types import Frame

MIN_SPEEDUP = 1.05
"""Less than this is no noticeable gain."""


def median_cpu_ms(
    recipe: LocalRecipe, files: Sequence[Path], frames: Sequence[Frame], *, runs: int = 15, warm_up: int = 3
) -> list[float]:
    """Median processor time in ms/frame of each file on one thread, the files taking turns over `frames`.

    Preprocessing is not counted. ModelError where a file does not run.
    """
    with ExitStack() as stack:
        engines = [stack.enter_context(OrtEngine(p, device="cpu", threads=1)) for p in files]
        work = [_timed(FrameRunner(recipe, engine), frames) for engine in engines]
        return [1000 * float(np.median(seconds)) for seconds in take_turns(work, runs, warm_up)]


def _timed(runner: FrameRunner, frames: Sequence[Frame]) -> Callable[[int], float]:
    def run(number: int) -> float:
        inputs = runner.inputs(frames[number % len(frames)])
        return thread_seconds(lambda: runner.engine.run(inputs))

    return run


def speedup(recipe: LocalRecipe, file: Path) -> float:
    """The speed of `file` relative to the recipe's own model on a gray image: 2.0 is twice as fast."""
    gray = Frame(np.full((480, 640, 3), 114, np.uint8), 0.0, 0)
    model, quantized = median_cpu_ms(recipe, [recipe.local, file], [gray])
    return model / max(quantized, 1e-6)


def slow_warning(variant: str, ratio: float) -> str:
    """The warning for a file without a gain."""
    how = "slower than" if ratio < 1 / MIN_SPEEDUP else "no faster than"
    return (
        f"{variant} is {how} FP32 on this processor ({ratio:.2f}x its speed): use FP32 here, and measure "
        "with edgevid bench where it will run"
    )
