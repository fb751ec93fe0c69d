"""Attention over time with padding, causality and a window; and the same, one step at a time."""

from __future__ import annotations

import torch
from torch import Tensor, nn

HIDDEN = -1e4
"""Added to forbidden attention: finite, so that FP16 and fully padded rows stay numbers."""


class WindowAttention(nn.Module):
    """Multi-head attention among the last `window` steps, with a learned bias for each distance.

    Distances instead of positions: left padding cannot shift them, and keys stay right while they age,
    so a causal layer can keep them from step to step.
    """

    def __init__(self, width: int, heads: int, window: int, *, causal: bool) -> None:
        super().__init__()
        self.heads, self.window, self.causal, self.size = heads, window, causal, width // heads
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.outward = nn.Linear(width, width)
        self.bias = nn.Parameter(torch.zeros(heads, window if causal else 2 * window - 1))

    def forward(self, x: Tensor, valid: Tensor, values_from: Tensor | None = None) -> Tensor:
        """(B, T, width); values may come from another source of the same shape (cross-attention)."""
        q, k, v = self.query(x), self.key(x), self.value(x if values_from is None else values_from)
        steps = torch.arange(x.shape[1])
        back = steps[:, None] - steps[None, :]  # how far the key lies in the past
        low = 0 if self.causal else -(self.window - 1)
        allowed = (back >= low) & (back < self.window)
        bias = self.bias[:, (back - low).clamp(0, self.bias.shape[1] - 1)]
        hide = ~(allowed[None] & valid[:, None, :])
        weights = self._split(q) @ self._split(k).transpose(2, 3) / self.size**0.5 + bias
        weights = (weights + HIDDEN * hide[:, None].to(weights.dtype)).softmax(-1)
        mixed = (weights @ self._split(v)).transpose(1, 2)
        return self.outward(mixed.reshape(x.shape[0], x.shape[1], self.heads * self.size))

    def _split(self, x: Tensor) -> Tensor:
        return x.reshape(x.shape[0], x.shape[1], self.heads, self.size).transpose(1, 2)

    def state_width(self) -> int:
        """Columns of one stored step: key, value and whether it is valid."""
        return 2 * self.heads * self.size + 1

    def step(self, x: Tensor, past: Tensor, values_from: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The output (B, width) of one more step, and the window (B, window, state_width) that follows."""
        width = self.heads * self.size
        new = torch.cat(
            (self.key(x), self.value(x if values_from is None else values_from), torch.ones_like(x[:, :1])), 1
        )
        past = torch.cat((past[:, 1:], new[:, None]), dim=1)
        k, v, there = past[..., :width], past[..., width : 2 * width], past[..., 2 * width]
        q = self.query(x)[:, None]
        weights = self._split(q) @ self._split(k).transpose(2, 3) / self.size**0.5
        weights = weights + self.bias.flip(1)[:, None] + HIDDEN * (1.0 - there)[:, None, None]
        mixed = (weights.softmax(-1) @ self._split(v)).transpose(1, 2)
        return self.outward(mixed.reshape(x.shape[0], width)), past
