"""A Transformer encoder over a clip's features: whole clips, or causal and streamed."""

import torch
from torch import Tensor, nn

from edgevid.errors import InputError
from edgevid.learn.actions.heads import HIDDEN, Head, States, WindowAttention, push

HEADS, LAYERS, DROPOUT = 4, 2, 0.3


class Layer(nn.Module):
    """Pre-norm attention and feed-forward."""

    def __init__(self, width: int, window: int, *, causal: bool) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = WindowAttention(width, HEADS, window, causal=causal)
        self.feed = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Dropout(DROPOUT), nn.Linear(2 * width, width)
        )
        self.dropout = nn.Dropout(DROPOUT)

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        x = x + self.dropout(self.attention(self.norm1(x), valid))
        return x + self.dropout(self.feed(self.norm2(x)))

    def step(self, x: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
        mixed, past = self.attention.step(self.norm1(x), past)
        x = x + mixed
        return x + self.feed(self.norm2(x)), past


class TransformerHead(Head):
    """Encoder layers, then the maximum over the last `window` steps, which a stream can keep.

    Padding is masked; positions are distances between steps.
    """

    def __init__(self, features: int, classes: int, *, width: int = 128, window: int = 64, causal: bool = True) -> None:
        """`window` is how many steps back (and ahead, unless causal) a step attends."""
        super().__init__(features, classes)
        if width % HEADS:
            raise InputError(f"width: expected a multiple of heads={HEADS}, got {width}")
        self.causal, self.width, self.window = causal, width, window
        self.inward = nn.Sequential(nn.LayerNorm(features), nn.Linear(features, width), nn.LayerNorm(width))
        self.dropout = nn.Dropout(DROPOUT)
        self.stack = nn.ModuleList([Layer(width, window, causal=causal) for _ in range(LAYERS)])
        self.norm, self.outward = nn.LayerNorm(width), nn.Linear(width, classes)

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        x = self.dropout(self.inward(x))
        for layer in self.stack:
            x = layer(x, valid)
        hide = (~valid).to(x.dtype).unsqueeze(-1) * HIDDEN
        return self.outward(self.dropout((self.norm(x) + hide)[:, -self.window :].amax(1)))

    def _states(self, batch: int) -> States:
        states = {
            f"past{i}": torch.zeros(batch, self.window, layer.attention.state_width())
            for i, layer in enumerate(self.stack)
        }
        # Each stored step has a valid flag, so zeros mean "no step yet".
        return {**states, "recent": torch.zeros(batch, self.window, self.width + 1)}

    def step(self, x: Tensor, states: States) -> tuple[Tensor, States]:
        x, after = self.inward(x), {}
        for i, layer in enumerate(self.stack):
            x, after[f"past{i}"] = layer.step(x, states[f"past{i}"])
        x = self.norm(x)
        recent = push(states["recent"], torch.cat((x, torch.ones_like(x[:, :1])), dim=1))
        after["recent"] = recent
        high = (recent[..., :-1] + HIDDEN * (1.0 - recent[..., -1:])).amax(1)
        return self.outward(high), after
