"""Temporal segmentation: scores for every step of a long video, whole or streamed. Stages of residual blocks, each of
which refines the probabilities of the one before. MS-TCN (Farha and Gall, CVPR 2019): blocks of a dilated convolution.
ASFormer (Yi, Wen and Jiang, BMVC 2021): each also attends within a window of the same reach, in an encoder and its
decoders. Norms are per step, so that the causal form can be streamed."""

import math
from typing import Literal

import torch
from torch import Tensor, nn

from edgevid.learn.actions.heads import Head, States, WindowAttention, ages, part

SegmentationKind = Literal["asformer", "mstcn"]
HEADS = 2  # Of ASFormer's attention
LAYERS = 6  # Of each stage
STAGES = {"asformer": 3, "mstcn": 4}
DROPOUT = {"asformer": 0.2, "mstcn": 0.5}


class Block(nn.Module):
    """Dilated convolution, then ASFormer's windowed attention, each with its residual."""

    def __init__(self, kind: SegmentationKind, width: int, level: int, *, causal: bool, cross: bool) -> None:
        super().__init__()
        self.dilation, self.causal = 2**level, causal
        self.conv = nn.Conv1d(width, width, 3, dilation=self.dilation)
        self.attention: WindowAttention | None = None
        if kind == "asformer":
            self.norm = nn.LayerNorm(width)
            self.attention = WindowAttention(width, HEADS, 2 ** (level + 1), causal=causal)
        self.join = nn.Linear(2 * width, width) if cross else None
        self.dropout, self.outward = nn.Dropout(DROPOUT[kind]), nn.Linear(width, width)

    def forward(self, x: Tensor, valid: Tensor, encoded: Tensor | None, share: float) -> Tensor:
        there = valid.unsqueeze(-1).to(x.dtype)
        sides = (2 * self.dilation, 0) if self.causal else (self.dilation, self.dilation)
        h = self.conv(nn.functional.pad((x * there).transpose(1, 2), sides)).transpose(1, 2).relu()
        if self.attention is not None:
            n = self.norm(h)
            h = h + share * self.attention(self._queried(n, encoded), valid, n)
        return (x + self.dropout(self.outward(h))) * there

    def _queried(self, n: Tensor, encoded: Tensor | None) -> Tensor:
        return n if self.join is None or encoded is None else self.join(torch.cat((n, encoded), dim=-1))

    def states(self, batch: int, width: int) -> States:
        """Rings of the inputs within the convolution's reach, and of the attention's keys and values."""
        states = {"conv": torch.zeros(batch, 2 * self.dilation, width)}
        return states | self.attention.states(batch) if self.attention is not None else states

    def step(self, x: Tensor, states: States, encoded: Tensor | None, share: float) -> tuple[Tensor, States]:
        back = torch.tensor([[2 * self.dilation], [self.dilation]])
        chosen = (ages(states["count"], 2 * self.dilation)[:, None] == back).to(x.dtype)
        taps = torch.cat(((chosen @ states["conv"]).flatten(1), x), dim=1)  # the steps t - 2d, t - d and t
        h = nn.functional.linear(taps, self.conv.weight.transpose(1, 2).flatten(1), self.conv.bias).relu()
        new = {"conv": x}
        if self.attention is not None:
            n = self.norm(h)
            mixed, cells = self.attention.step(self._queried(n, encoded), states, n)
            h, new = h + share * mixed, new | cells
        return x + self.outward(h), new


class SegmentationHead(Head):
    """Scores for each step: a first stage, and others that refine its scores; `causal` uses no later step."""

    per_step = True

    def __init__(self, features: int, classes: int, *, kind: SegmentationKind, width: int = 64, layers: int = LAYERS,
                 causal: bool = True) -> None:  # fmt: skip
        """The blocks of each stage, `layers`, reach back 2, 4, 8 ... steps."""
        super().__init__(features, classes)
        self.causal, self.width = causal, width
        self.inward = nn.Sequential(nn.LayerNorm(features), nn.Linear(features, width))
        self.dropout = nn.Dropout(DROPOUT["asformer"])
        self.stages = nn.ModuleList()
        for cross in (stage > 0 and kind == "asformer" for stage in range(STAGES[kind])):
            blocks = (Block(kind, width, level, causal=causal, cross=cross) for level in range(layers))
            self.stages.append(nn.ModuleList(blocks))
        self.again = nn.ModuleList(nn.Linear(classes, width) for _ in self.stages[1:])
        self.outward = nn.ModuleList(nn.Linear(width, classes) for _ in self.stages)

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
        states = States()
        for stage, blocks in enumerate(self.stages):
            for level, block in enumerate(blocks):
                states |= {f"s{stage}b{level}_{name}": ring for name, ring in block.states(batch, self.width).items()}
        return states

    def newest(self, x: Tensor, states: States) -> tuple[Tensor, States]:
        x = self.inward(x)
        encoded: Tensor | None = None
        new, output = {"count": states["count"] + 1}, x
        for stage, blocks in enumerate(self.stages):
            if stage:
                encoded, x = x, self.again[stage - 1](output.softmax(-1))
            for level, block in enumerate(blocks):
                key = f"s{stage}b{level}_"
                x, cells = block.step(x, part(states, key), encoded, _share(stage))
                new |= {key + name: cell for name, cell in cells.items()}
            output = self.outward[stage](x)
        return output, new


def _share(stage: int) -> float:
    """Weight of attention, which falls with each decoder as in the paper."""
    return 1.0 if stage == 0 else math.exp(-3.0 * (stage - 1))
