"""Heads: streaming equals the full pass, padding and batches change nothing."""

from __future__ import annotations

import pytest

from edgevid.errors import InputError

torch = pytest.importorskip("torch", reason="training needs torch: pip install 'edgevid[train]'")

from edgevid.learn.actions.experiment import make_head  # noqa: E402
from edgevid.learn.actions.fit import TrainOptions  # noqa: E402
from edgevid.learn.actions.heads import Head, RecurrentHead, TransformerHead  # noqa: E402
from edgevid.learn.actions.segmentation import SegmentationHead  # noqa: E402

torch.set_num_threads(1)

CAUSAL = {
    "gru": lambda: RecurrentHead(4, 3, hidden=16, window=8),
    "lstm": lambda: RecurrentHead(4, 3, cell="lstm", hidden=16, window=8),
    "gru of 3 layers": lambda: RecurrentHead(4, 3, hidden=16, window=8, layers=3),
    "transformer": lambda: TransformerHead(4, 3, width=16, window=8),
    "cls": lambda: TransformerHead(4, 3, width=16, window=8, pooling="cls", layers=3),
    "mean, sinusoidal": lambda: TransformerHead(4, 3, width=16, window=8, pooling="mean", positions="sinusoidal"),
    "cls, no positions": lambda: TransformerHead(4, 3, width=16, window=8, pooling="cls", positions="none"),
    "asformer": lambda: SegmentationHead(4, 3, kind="asformer", width=16, layers=3),
    "mstcn": lambda: SegmentationHead(4, 3, kind="mstcn", width=16, layers=3),
}
ALL = {
    **CAUSAL,
    "both ways": lambda: RecurrentHead(4, 3, hidden=16, bidirectional=True),
    "transformer offline": lambda: TransformerHead(4, 3, width=16, causal=False),
    "cls offline": lambda: TransformerHead(4, 3, width=16, causal=False, pooling="cls", positions="sinusoidal"),
    "asformer offline": lambda: SegmentationHead(4, 3, kind="asformer", width=16, layers=3, causal=False),
    "mstcn offline": lambda: SegmentationHead(4, 3, kind="mstcn", width=16, layers=3, causal=False),
}


def shaken(head: Head) -> Head:
    """With every weight moved, so that no zero initialization hides a fault."""
    torch.manual_seed(1)
    for p in head.parameters():
        p.data.add_(0.1 * torch.randn_like(p))
    return head.eval()


@pytest.mark.parametrize("kind", CAUSAL)
@torch.no_grad()
def test_streaming_equals_the_full_pass(kind: str) -> None:
    head = shaken(CAUSAL[kind]())
    x = torch.randn(3, 25, 4)  # longer than the window: what is forgotten must be forgotten alike
    states, steps = head.states(3), []
    for t in range(x.shape[1]):
        logits, states = head.step(x[:, t], states)
        steps.append(logits)
    whole = head(x, torch.ones(3, 25, dtype=torch.bool))
    streamed = torch.stack(steps, 1) if head.per_step else steps[-1]
    assert float((whole - streamed).abs().max()) < 1e-5


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("pad", [5, 12])
@torch.no_grad()
def test_left_padding_changes_nothing(kind: str, pad: int) -> None:
    head = shaken(ALL[kind]())
    x = torch.randn(2, 10, 4)
    valid = torch.ones(2, 10 + pad, dtype=torch.bool)
    valid[:, :pad] = False
    padded = head(torch.cat((torch.randn(2, pad, 4), x), 1), valid)
    plain = head(x, valid[:, pad:])
    assert float((padded[:, pad:] if head.per_step else padded).sub(plain).abs().max()) < 1e-5


@pytest.mark.parametrize("kind", ALL)
@torch.no_grad()
def test_a_batch_is_as_many_singles_and_padding_alone_is_no_nan(kind: str) -> None:
    head = shaken(ALL[kind]())
    x, valid = torch.randn(4, 9, 4), torch.ones(4, 9, dtype=torch.bool)
    batched = head(x, valid)
    apart = torch.cat([head(x[i : i + 1], valid[i : i + 1]) for i in range(4)])
    assert float((batched - apart).abs().max()) < 1e-5
    assert bool(torch.isfinite(head(x, torch.zeros_like(valid))).all())


@pytest.mark.parametrize("kind", ["both ways", "transformer offline", "asformer offline"])
def test_a_head_that_uses_later_steps_cannot_be_streamed(kind: str) -> None:
    with pytest.raises(InputError, match="cannot be streamed"):
        ALL[kind]().states(1)


def test_heads_reject_unusable_options() -> None:
    with pytest.raises(InputError, match="gru, lstm"):
        make_head("rnn", 4, 2, TrainOptions(window=8))
    with pytest.raises(InputError, match="at least 2 classes, got 4 and 1"):
        RecurrentHead(4, 1)
