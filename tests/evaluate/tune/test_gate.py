"""Tuning of the gate: what a threshold loses, and the promise of the one that is chosen."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from edgevid.evaluate.tune.gate import GateTrial, choose, try_gates
from edgevid.site.build import LoadedSite
from edgevid.site.file import Site
from edgevid.types import Detections, Frame
from edgevid.zones import Line

SIZE, FPS = (320, 180), 10.0


class Passing:
    """Every two seconds an object of 30x60 pixels appears, walks for a second and goes; the odd ones are 30 gray levels
    brighter than the road, the even ones 100."""

    names = ("person",)

    @staticmethod
    def at(n: int) -> tuple[int, int] | None:
        """Its left edge and its gray level in frame n."""
        number, step = divmod(n, 20)
        return (100 + 4 * step, 120 if number % 2 else 190) if step < 10 else None

    def frames(self, objects: int) -> Iterator[Frame]:
        for n in range(20 * objects):
            image = np.full((SIZE[1], SIZE[0], 3), 90, np.uint8)
            if (found := self.at(n)) is not None:
                image[60:120, found[0] : found[0] + 30] = found[1]
            yield Frame(image, n / FPS, n)

    def detect(self, frames: Any) -> list[Detections]:
        found = self.at(frames[0].index)
        if found is None:
            return [Detections.empty()]
        return [Detections.of(boxes=[[found[0], 60, found[0] + 30, 120]], scores=[0.9], labels=[0])]


def site(**fields: Any) -> LoadedSite:
    return LoadedSite(Site(max_gap_s=2.0, **fields))


def test_what_a_threshold_loses_is_counted_by_object() -> None:
    """At 8 all is found. At 20, 40 gray levels, an object of 30 is found at most once in the two seconds to the next
    detection: half of the objects are lost, or most of them."""
    strict, loose, blind = try_gates(site(), Passing(), Passing().frames(6), SIZE, thresholds=(8.0, 20.0, 90.0))
    assert strict.lost == 0
    assert not strict.drawn.any()
    assert strict.hota == pytest.approx(1, abs=0.02)
    assert strict.inferred < 0.85
    assert 0.3 < loose.lost <= 0.5
    assert len(loose.drawn) == 6
    assert not loose.drawn[::2].any()
    assert loose.drawn[1::2].any()
    assert blind.inferred < loose.inferred < strict.inferred
    assert blind.hota < loose.hota < strict.hota


def test_events_that_are_missed_are_counted() -> None:
    """Each object crosses the line, and its track ends: two events each."""
    lines = (Line("gate", (130, 0), (130, 180)),)
    strict, blind = try_gates(site(lines=lines), Passing(), Passing().frames(6), SIZE, thresholds=(8.0, 90.0))
    assert (strict.events, strict.missed) == (12, 0)
    assert blind.missed > 3


def trial(threshold: float, lost: int, objects: int = 100, missed: int = 0) -> GateTrial:
    return GateTrial(threshold, 0.5, lost / objects, np.arange(objects) < lost, 0.9, 20, missed)


def test_the_loosest_threshold_before_the_first_failure_is_chosen() -> None:
    """With 100 objects 5 % are certified (95 %) up to one lost: Clopper-Pearson 4.66 % for 1, 6.16 % for 2."""
    trials = [trial(2, 0), trial(4, 1), trial(8, 2), trial(16, 0)]
    assert choose(trials, 0.05, 0.05) is trials[1]
    assert choose(trials, 0.07, 0.05) is trials[3]
    assert choose([trial(2, 0, objects=58)], 0.05, 0.05) is None
    assert choose([trial(2, 0, objects=59)], 0.05, 0.05) is not None
    assert choose([], 0.05, 0.05) is None


def test_a_threshold_that_misses_events_is_not_chosen() -> None:
    """At most one of 20."""
    trials = [trial(2, 0, missed=1), trial(4, 0, missed=2)]
    assert choose(trials, 0.05, 0.05) is trials[0]


def test_without_objects_nothing_is_promised() -> None:
    empty = (Frame(np.zeros((90, 160, 3), np.uint8), n / FPS, n + 10) for n in range(10))  # Passing is away then
    (found,) = try_gates(site(), Passing(), empty, (160, 90), thresholds=(8.0,))
    assert (found.lost, len(found.drawn), found.inferred) == (0, 0, 0.1)
    assert choose([found], 0.05, 0.05) is None
