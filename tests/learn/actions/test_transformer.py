"""The Transformer head: what it attends to, and the maximum over its window."""

from __future__ import annotations

import pytest

from edgevid.errors import InputError

torch = pytest.importorskip("torch", reason="training needs torch: pip install 'edgevid[train]'")

from edgevid.learn.actions.heads import Layer, TransformerHead  # noqa: E402

torch.set_num_threads(1)


def silenced(head: TransformerHead) -> TransformerHead:
    """Its layers add nothing, so that only the projections and the maximum are left."""
    with torch.no_grad():
        for layer in head.stack:
            for last in (layer.attention.outward, layer.feed[-1]):
                last.weight.zero_()
                last.bias.zero_()
    return head.eval()


@torch.no_grad()
def test_logits_are_of_the_maximum_over_the_last_window() -> None:
    torch.manual_seed(0)
    head, x = silenced(TransformerHead(4, 3, width=8, window=3)), torch.randn(2, 5, 4)
    valid = torch.ones(2, 5, dtype=torch.bool)
    steps = head.norm(head.inward(x))
    torch.testing.assert_close(head(x, valid), head.outward(steps[:, 2:].max(dim=1).values))
    valid[:, :4] = False
    torch.testing.assert_close(head(x, valid), head.outward(steps[:, 4]), atol=1e-3, rtol=0)


@torch.no_grad()
def test_logits_are_of_the_mean_over_the_last_window_or_of_the_token() -> None:
    torch.manual_seed(0)
    x, valid = torch.randn(2, 5, 4), torch.ones(2, 5, dtype=torch.bool)
    head = silenced(TransformerHead(4, 3, width=8, window=3, pooling="mean"))
    steps = head.norm(head.inward(x))
    torch.testing.assert_close(head(x, valid), head.outward(steps[:, 2:].mean(dim=1)))
    valid[:, :3] = False
    torch.testing.assert_close(head(x, valid), head.outward(steps[:, 3:].mean(dim=1)))
    head = TransformerHead(4, 3, width=8, window=3, pooling="cls").eval()
    assert "recent" not in head.states(1)
    before, x[:, 4] = head(x, valid), 0
    assert not torch.equal(head(x, valid), before)  # the token attends to the steps before it
    torch.testing.assert_close(silenced(head)(x, valid), head.outward(head.norm(head.token)).expand(2, 3))


@torch.no_grad()
def test_two_layers_reach_twice_the_window_back_and_no_further() -> None:
    """A window of 3: the maximum reaches 2 steps back, and each of two layers 2 more: 6 in all."""
    changes = dict.fromkeys((0, 6, 7, 11), False)
    for seed in range(10):  # a maximum may hide the farthest step of one network
        torch.manual_seed(seed)
        head, x = TransformerHead(4, 3, width=8, window=3).eval(), torch.randn(1, 12, 4)
        valid = torch.ones(1, 12, dtype=torch.bool)
        before = head(x, valid)
        for back in changes:
            changed = x.clone()
            changed[0, 11 - back] += 1
            changes[back] |= bool((head(changed, valid) != before).any())
    assert changes == {0: True, 6: True, 7: False, 11: False}


@torch.no_grad()
def test_a_layer_without_weights_passes_its_input() -> None:
    layer, x = Layer(8, 4, causal=True).eval(), torch.randn(2, 5, 8)
    for weight in layer.parameters():
        weight.zero_()
    torch.testing.assert_close(layer(x, torch.ones(2, 5, dtype=torch.bool)), x)
    states = {"count": torch.zeros(2, dtype=torch.int64), **layer.attention.states(2)}
    out, _ = layer.step(x[:, 0], states)
    torch.testing.assert_close(out, x[:, 0])


def test_states_are_empty_windows() -> None:
    """The count of steps; keys and values of each layer and head; the encoded steps for the maximum."""
    states = TransformerHead(4, 3, width=8, window=5).states(2)
    rings = {f"layer{layer}_{name}": (2, 4, 5, 2) for layer in range(2) for name in ("keys", "values")}
    assert {name: tuple(value.shape) for name, value in states.items()} == {"count": (2,), "recent": (2, 5, 8), **rings}
    assert not any(value.any() for value in states.values())


def test_unusable_options_are_rejected() -> None:
    with pytest.raises(InputError, match="TransformerHead uses later steps and cannot be streamed"):
        TransformerHead(4, 3, width=8, causal=False).states(1)
