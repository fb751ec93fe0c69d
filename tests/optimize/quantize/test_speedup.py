"""The speedup of a quantized file."""

from __future__ import annotations

from edgevid.optimize.quantize.speedup import speedup
from edgevid.runtime.recipe import LocalRecipe


def test_the_speedup_is_a_ratio_of_two_files_that_run(net: LocalRecipe) -> None:
    assert net.local is not None
    assert speedup(net, net.local) > 0
