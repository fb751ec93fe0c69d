"""Temporal segmentation: scores for every step of a long video, whole or streamed. After Yi, Wen and Jiang, "ASFormer:
Transformer for Action Segmentation" (BMVC 2021): blocks of a dilated convolution and attention within a window of the
same reach; an encoder whose output decoders refine. Norms are per step, so that the causal form can be streamed."""

import math

import torch
from torch import Tensor, nn

from edgevid.learn.actions.heads import Head, States, WindowAttention, push

DECODERS, HEADS, DROPOUT = 2, 2, 0.2


class Block(nn.Module):
    """Dilated convolution, then windowed attention, each with its residual."""

    def __init__(self, width: int, level: int, *, causal: bool, cross: bool) -> None:
        super().__init__()
        self.dilation, self.causal = 2**level, causal
        self.conv = nn.Conv1d(width, width, 3, dilation=self.dilation)
        self.norm = nn.LayerNorm(width)
        self.attention = WindowAttention(width, HEADS, 2 ** (level + 1), causal=causal)
        self.join = nn.Linear(2 * width, width) if cross else None
        self.dropout, self.outward = nn.Dropout(DROPOUT), nn.Linear(width, width)

    def forward(self, x: Tensor, valid: Tensor, encoded: Tensor | None, share: float) -> Tensor:
        there = valid.unsqueeze(-1).to(x.dtype)
        reach = 2 * self.dilation
        sides = (reach, 0) if self.causal else (self.dilation, self.dilation)
        wide = nn.functional.pad((x * there).transpose(1, 2), sides)
        h = self.conv(wide).transpose(1, 2).relu()
        n = self.norm(h)
        h = h + share * self.attention(self._queried(n, encoded), valid, n)
        return (x + self.dropout(self.outward(h))) * there

    def _queried(self, n: Tensor, encoded: Tensor | None) -> Tensor:
        return n if self.join is None or encoded is None else self.join(torch.cat((n, encoded), dim=-1))

    def states(self, batch: int, width: int) -> States:
        """A stream's state: the inputs within the convolution's reach, and the attention's window."""
        return {
            "conv": torch.zeros(batch, 2 * self.dilation + 1, width),
            "past": torch.zeros(batch, self.attention.window, self.attention.state_width()),
        }

    def step(self, x: Tensor, states: States, encoded: Tensor | None, share: float) -> tuple[Tensor, States]:
        inputs = push(states["conv"], x)
        taps = inputs[:, :: self.dilation].transpose(1, 2)  # the steps t - 2d, t - d and t
        h = ((taps.unsqueeze(1) * self.conv.weight).sum((2, 3)) + self.conv.bias).relu()
        n = self.norm(h)
        mixed, past = self.attention.step(self._queried(n, encoded), states["past"], n)
        return x + self.outward(h + share * mixed), {"conv": inputs, "past": past}


class ASFormerHead(Head):
    """Scores for each step: an encoder and DECODERS that refine them; `causal` uses no later step."""

    per_step = True

    def __init__(self, features: int, classes: int, *, width: int = 64, levels: int = 5, causal: bool = True) -> None:
        """`levels` blocks reach back 2, 4, 8 ... steps."""
        super().__init__(features, classes)
        self.causal, self.width = causal, width
        self.inward = nn.Sequential(nn.LayerNorm(features), nn.Linear(features, width))
        self.dropout = nn.Dropout(DROPOUT)
        self.stages = nn.ModuleList(
            nn.ModuleList(Block(width, level, causal=causal, cross=stage > 0) for level in range(levels))
            for stage in range(1 + DECODERS)
        )
        self.again = nn.ModuleList(nn.Linear(classes, width) for _ in range(DECODERS))
        self.outward = nn.ModuleList(nn.Linear(width, classes) for _ in range(1 + DECODERS))

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        """(B, T, C) logits; (S, B, T, C) of all stages while training."""
        there = valid.unsqueeze(-1).to(x.dtype)
        x = self.dropout(self.inward(x)) * there
        encoded: Tensor | None = None
        outputs: list[Tensor] = []
        for stage, blocks in enumerate(self.stages):
            if stage:
                encoded = x
                x = self.again[stage - 1](outputs[-1].softmax(-1)) * there
            for block in blocks:
                x = block(x, valid, encoded, _share(stage))
            outputs.append(self.outward[stage](x))
        return torch.stack(outputs) if self.training else outputs[-1]

    def _states(self, batch: int) -> States:
        return {
            f"s{stage}b{level}{name}": value
            for stage, blocks in enumerate(self.stages)
            for level, block in enumerate(blocks)
            for name, value in block.states(batch, self.width).items()
        }

    def step(self, x: Tensor, states: States) -> tuple[Tensor, States]:
        x = self.inward(x)
        encoded: Tensor | None = None
        after: States = {}
        output = x
        for stage, blocks in enumerate(self.stages):
            if stage:
                encoded, x = x, self.again[stage - 1](output.softmax(-1))
            for level, block in enumerate(blocks):
                key = f"s{stage}b{level}"
                mine = {name: states[key + name] for name in ("conv", "past")}
                x, new = block.step(x, mine, encoded, _share(stage))
                after |= {key + name: value for name, value in new.items()}
            output = self.outward[stage](x)
        return output, after


def _share(stage: int) -> float:
    """Weight of attention, which falls with each decoder as in the paper."""
    return 1.0 if stage == 0 else math.exp(-3.0 * (stage - 1))
