"""The timing loop of every comparison of speed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

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
