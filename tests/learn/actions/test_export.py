"""The exported head is verified against the trained one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from action_corpus import corpus

from edgevid.actions.clip_spec import ClipSpec
from edgevid.errors import ParityError
from edgevid.runtime.recipe import read_recipe

torch = pytest.importorskip("torch", reason="training needs torch: pip install 'edgevid[train]'")

from edgevid.learn.actions.experiment import make_head  # noqa: E402
from edgevid.learn.actions.export import Deployment, check_parity, export_head  # noqa: E402
from edgevid.learn.actions.fit import TrainOptions  # noqa: E402
from edgevid.learn.actions.heads import Head, Pooling, Positions, TransformerHead  # noqa: E402

torch.set_num_threads(1)

SMALL = TrainOptions(window=12, rate_hz=8.0, epochs=12, batch=8, rate=5e-3)


def _spec() -> ClipSpec:
    return ClipSpec(steps=1, rate_hz=8.0, width=8, height=8, stride_s=0.0, min_side=1)


def shaken(head: Head) -> Head:
    """With every weight moved, so that no zero initialization hides a fault."""
    torch.manual_seed(1)
    for p in head.parameters():
        p.data.add_(0.1 * torch.randn_like(p))
    return head.eval()


@pytest.mark.parametrize(("pooling", "positions", "layers"), [("cls", "sinusoidal", 3), ("mean", "none", 1)])
def test_pooling_positions_and_layers_are_exported_and_stated(
    tmp_path: Path, pooling: Pooling, positions: Positions, layers: int
) -> None:
    options = replace(SMALL, pooling=pooling, positions=positions, layers=layers)
    head = shaken(make_head("transformer", 4, 2, options))
    recipe = read_recipe(export_head(head, tmp_path, "test", options, Deployment(("rise", "fall"), _spec(), "../f")))
    found = check_parity(head, tmp_path, corpus(), options)
    assert max(found.window, found.stream, found.pipeline) < 1e-5
    assert recipe.tables["trained"] == {"pooling": pooling, "positions": positions, "layers": layers}
    rings = [name for name in recipe.tables["head"]["states"] if name.endswith("_keys")]
    assert rings == [f"layer{number}_keys" for number in range(layers)]


def test_an_export_that_differs_is_rejected(tmp_path: Path) -> None:
    head = shaken(TransformerHead(4, 2, width=16, window=12))
    deployment = Deployment(("rise", "fall"), _spec(), "../features")  # type: ignore[arg-type]
    export_head(head, tmp_path, "test", SMALL, deployment)
    check_parity(head, tmp_path, corpus(), SMALL)
    head.outward.weight.data += 0.01
    with pytest.raises(ParityError, match="window path"):
        check_parity(head, tmp_path, corpus(), SMALL)
