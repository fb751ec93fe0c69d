"""Temporal heads over features (B, T, D): recurrent ones, and what all heads share. Every head takes `valid` (B, T),
false where a step is padding (usually on the left), and returns logits: (B, C) of a whole clip or (B, T, C) of each
step. Causal heads also have `states` and `step`, one moment of many tracks at a time, equal to the full pass. A state
of many steps is a ring (B, ..., L, W): step n lies in cell n modulo L, and the state "count" (B,) tells n."""

from typing import Any, Literal

import torch
from torch import Tensor, nn

from edgevid.actions.layout import JointLayout
from edgevid.errors import InputError

States = dict[str, Tensor]
Pooling = Literal["max", "mean", "cls"]  # Of the steps of a window; "cls": a learned token that attends to them
Positions = Literal["learned", "sinusoidal", "none"]
"""What tells the distance of two steps that attend: a bias for each, one linear in its sines and cosines, nothing."""
HIDDEN = -1e4  # Added to forbidden attention: finite, so that FP16 and fully padded rows stay numbers
HEADS, DEPTH, DROPOUT = 4, 2, 0.3
BLOCK = 256  # Steps that attend at once: memory grows with the length of a video, not with its square
JOINT_WIDTH = 24  # Channels of each joint in a graph
SMOOTH, LARGEST = 0.15, 4.0  # Of the loss between steps: its weight, and the largest change that counts


class Head(nn.Module):
    """Base class of the heads."""

    per_step = False  # Whether the output has one row per step
    causal = False  # Whether a step's output depends on no later step, so that it can be streamed
    penalty: Tensor | float = 0.0  # Added to the loss of the training step that just ran

    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        if features < 1 or classes < 2:
            raise InputError(f"head: expected features and at least 2 classes, got {features} and {classes}")
        self.features, self.classes = features, classes

    def describe(self, x: Tensor) -> Tensor:
        """(B, T, F) what tells whether inputs (B, T, D) are like those of the training: themselves."""
        return x

    def loss(self, logits: Tensor, labels: Tensor, valid: Tensor, weights: Tensor, smoothing: float) -> Tensor:
        """Cross-entropy of the class of each clip's last step, or `segmentation_loss` of all steps."""
        if self.per_step:
            return segmentation_loss(logits, labels, valid, weights, smoothing)
        return nn.functional.cross_entropy(logits, labels[:, -1], weight=weights, label_smoothing=smoothing)

    def states(self, batch: int) -> States:
        """The states of `batch` tracks that start now: zeros, batch first."""
        if not self.causal:
            how = "bidirectional=False" if isinstance(self, RecurrentHead) else "causal=True"
            raise InputError(f"{type(self).__name__} uses later steps and cannot be streamed; train it with {how}")
        return {"count": torch.zeros(batch, dtype=torch.int64), **self._states(batch)}

    def step(self, x: Tensor, states: States) -> tuple[Tensor, States]:
        """Logits (B, C) after one more moment x (B, D), and the next states. A head that streams has `newest`, the step
        as it is exported: of a ring (B, ..., L, W) it gives only the newest cell (B, ..., W)."""
        logits, new = self.newest(x, states)
        return logits, {name: _written(states[name], value, states["count"]) for name, value in new.items()}


def segmentation_loss(logits: Tensor, labels: Tensor, valid: Tensor, weights: Tensor, smoothing: float) -> Tensor:
    """Cross-entropy of every step that has a label (>= 0) plus MS-TCN's smoothing between steps, over all stages."""
    stages = logits if logits.dim() == 4 else logits.unsqueeze(0)
    total, both, known = stages.new_zeros(()), valid[:, 1:] & valid[:, :-1], valid & (labels >= 0)
    for output in stages:
        cross = nn.functional.cross_entropy(output[known], labels[known], weight=weights, label_smoothing=smoothing)
        log = output.log_softmax(-1)
        change = (log[:, 1:] - log[:, :-1].detach()).abs().clamp(max=LARGEST).square()[both]
        total = total + cross + SMOOTH * change.mean()
    return total


class RecurrentHead(Head):
    """Layers of GRU or LSTM; scores from the last state and the mean of all states. A padded step keeps the
    state (equal to packed sequences)."""

    def __init__(self, features: int, classes: int, *, cell: Literal["gru", "lstm"] = "gru", hidden: int = 128,
                 bidirectional: bool = False, window: int = 64, layers: int = DEPTH) -> None:  # fmt: skip
        """`window` is how many steps back the mean reaches. `bidirectional` is for recorded clips only: such a
        head cannot be streamed."""
        super().__init__(features, classes)
        self.cell, self.hidden, self.window, self.layers = cell, hidden, window, layers
        self.bidirectional, self.causal, self.ways = bidirectional, not bidirectional, 2 if bidirectional else 1
        self.inward = nn.Sequential(nn.LayerNorm(features), nn.Linear(features, hidden), nn.GELU())
        sizes = [hidden] + [hidden * self.ways] * (layers - 1)
        self.cells = nn.ModuleList([Cell(cell, size, hidden) for size in sizes for _ in range(self.ways)])
        self.dropout = nn.Dropout(0.5)
        self.outward = nn.Linear(2 * hidden * self.ways, classes)

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        x = self.inward(x)
        for layer in range(self.layers):
            outputs = [self.cells[layer * self.ways].run(x, valid)]
            if self.bidirectional:
                outputs.append(self.cells[layer * self.ways + 1].run(x.flip(1), valid.flip(1)).flip(1))
            x = self.dropout(torch.cat(outputs, dim=-1))
        weight = valid.to(x.dtype).unsqueeze(-1)[:, -self.window :]
        mean = (x[:, -self.window :] * weight).sum(1) / weight.sum(1).clamp(min=1.0)
        last = x[:, -1]
        if self.bidirectional:
            last = torch.cat((last[:, : self.hidden], x[:, 0, self.hidden :]), -1)
        return self.outward(torch.cat((last, mean), dim=-1))

    def _states(self, batch: int) -> States:
        width = self.hidden * (2 if self.cell == "lstm" else 1)
        return {"h": torch.zeros(batch, self.layers, width), "recent": torch.zeros(batch, self.window, self.hidden)}

    def newest(self, x: Tensor, states: States) -> tuple[Tensor, States]:
        x, after = self.inward(x), list[Tensor]()
        for layer, cell in enumerate(self.cells):
            state = cell(cell.inward(x), states["h"][:, layer])
            after.append(state)
            x = state[:, : self.hidden]
        near = (ages(states["count"], self.window) < self.window).to(x.dtype)[:, None]
        total, count = (near @ states["recent"])[:, 0] + x, states["count"] + 1
        logits = self.outward(torch.cat((x, total / count.clamp(max=self.window).to(x.dtype)[:, None]), dim=-1))
        return logits, {"count": count, "h": torch.stack(after, dim=1), "recent": x}


def ages(count: Tensor, length: int) -> Tensor:
    """(B, L) how many steps ago each cell of a ring was written, after `count` (B,) steps: 1 to L - 1, and L of what is
    out of reach, the cell to write next and those never written."""
    back = (count[:, None] - 1 - torch.arange(length)) % length + 1
    return torch.where(back > count[:, None], length, back)


def _written(old: Tensor, new: Tensor, count: Tensor) -> Tensor:
    """A state after a step: `new`, or the ring `old` (B, ..., L, W) with `new` (B, ..., W) in its cell."""
    if new.dim() == old.dim():
        return new
    here = torch.arange(old.shape[-2]) == count.reshape(-1, *[1] * (old.dim() - 2)) % old.shape[-2]
    return torch.where(here.unsqueeze(-1), new.unsqueeze(-2), old)


def part(states: States, key: str) -> States:
    """The states whose names begin with `key`, without it, and the count of steps."""
    mine = {name.removeprefix(key): state for name, state in states.items() if name.startswith(key)}
    return {"count": states["count"], **mine}


class Cell(nn.Module):
    """One recurrent layer, written out so that padded steps hold their state and one step is one call."""

    def __init__(self, kind: str, features: int, hidden: int) -> None:
        super().__init__()
        self.kind, self.hidden = kind, hidden
        gates = 3 if kind == "gru" else 4
        self.inward = nn.Linear(features, gates * hidden)
        self.inner = nn.Linear(hidden, gates * hidden)
        for weight in (self.inward.weight, self.inner.weight):
            for block in weight.data.split(hidden):
                nn.init.orthogonal_(block)

    def forward(self, x: Tensor, state: Tensor) -> Tensor:
        """The state after one step whose gates' input is x (B, gates * H)."""
        n, h = self.hidden, state[:, : self.hidden]
        g = self.inner(h)
        if self.kind == "gru":
            reset, update = (x[:, : 2 * n] + g[:, : 2 * n]).sigmoid().split(n, dim=1)
            new = (x[:, 2 * n :] + reset * g[:, 2 * n :]).tanh()
            return new + update * (h - new)
        i, f, o = (x[:, : 3 * n] + g[:, : 3 * n]).sigmoid().split(n, dim=1)
        c = f * state[:, n:] + i * (x[:, 3 * n :] + g[:, 3 * n :]).tanh()
        return torch.cat((o * c.tanh(), c), dim=1)

    def run(self, x: Tensor, valid: Tensor) -> Tensor:
        """(B, T, H) hidden states of all steps."""
        x = self.inward(x)
        state = x.new_zeros(x.shape[0], self.hidden * (2 if self.kind == "lstm" else 1))
        outputs = []
        for t in range(x.shape[1]):
            keep = valid[:, t : t + 1].to(x.dtype)
            state = state + keep * (self(x[:, t], state) - state)
            outputs.append(state[:, : self.hidden])
        return torch.stack(outputs, dim=1)


class LinearHead(Head):
    """Mean of the features over time, then one linear layer: the baseline that every head must beat."""

    def __init__(self, features: int, classes: int) -> None:
        super().__init__(features, classes)
        self.norm, self.outward = nn.LayerNorm(features), nn.Linear(features, classes)

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        weight = valid.to(x.dtype).unsqueeze(-1)
        return self.outward(self.norm((x * weight).sum(1) / weight.sum(1).clamp(min=1.0)))


class StepLinearHead(LinearHead):
    """One linear layer for each step alone: the baseline of segmentation."""

    per_step = True

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        return self.outward(self.norm(x))


class WindowAttention(nn.Module):
    """Multi-head attention among the last `window` steps, with a bias for each distance. Distances instead of
    positions: left padding cannot shift them, and keys stay right while they age, so a causal layer can keep them from
    step to step. Sinusoidal ones are those of Dai et al., "Transformer-XL", ACL 2019."""

    code: Tensor | None  # (width, distances) sines and cosines

    def __init__(self, width: int, heads: int, window: int, *, causal: bool, positions: Positions = "learned") -> None:
        super().__init__()
        self.heads, self.window, self.causal, self.size = heads, window, causal, width // heads
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.outward = nn.Linear(width, width)
        distances = torch.arange(0 if causal else 1 - window, window)
        angles = distances * (10_000 ** -(torch.arange(0, width, 2) / width))[:, None]
        code = torch.cat((angles.sin(), angles.cos())) if positions == "sinusoidal" else None
        self.register_buffer("code", code, persistent=False)
        bias = torch.zeros(heads, len(distances) if code is None else len(code))
        self.bias = nn.Parameter(bias, requires_grad=positions != "none")

    def _bias(self) -> Tensor:
        """(heads, distances) from the farthest step ahead to the farthest back."""
        return self.bias if self.code is None else self.bias @ self.code

    def forward(self, x: Tensor, valid: Tensor, values_from: Tensor | None = None) -> Tensor:
        """(B, T, width); values may come from another source of the same shape (cross-attention)."""
        made = (self.query(x), self.key(x), self.value(x if values_from is None else values_from))
        q, k, v = map(self._split, made)
        ahead, steps, mixed = 0 if self.causal else self.window - 1, torch.arange(x.shape[1]), list[Tensor]()
        biases = self._bias()
        for start in range(0, x.shape[1], BLOCK):
            own = slice(start, start + BLOCK)
            near = slice(max(start - self.window + 1, 0), start + BLOCK + ahead)
            back = steps[own, None] - steps[None, near]  # how far the key lies in the past
            allowed = (back >= -ahead) & (back < self.window)
            bias = biases[:, (back + ahead).clamp(0, biases.shape[1] - 1)]
            hide = ~(allowed[None] & valid[:, None, near])
            weights = q[:, :, own] @ k[:, :, near].transpose(2, 3) / self.size**0.5 + bias
            mixed.append((weights + HIDDEN * hide[:, None].to(weights.dtype)).softmax(-1) @ v[:, :, near])
        return self.outward(torch.cat(mixed, dim=2).transpose(1, 2).reshape(x.shape))

    def _split(self, x: Tensor) -> Tensor:
        return x.reshape(x.shape[0], x.shape[1], self.heads, self.size).transpose(1, 2)

    def states(self, batch: int) -> States:
        """Rings of the keys and the values of the steps before."""
        return {name: torch.zeros(batch, self.heads, self.window, self.size) for name in ("keys", "values")}

    def step(self, x: Tensor, states: States, values_from: Tensor | None = None) -> tuple[Tensor, States]:
        """The output (B, width) of one more step, and its key and value."""
        made = (self.query(x), self.key(x), self.value(x if values_from is None else values_from))
        q, k, v = (one.reshape(-1, self.heads, 1, self.size) for one in made)
        near = torch.cat((q @ states["keys"].transpose(2, 3), q @ k.transpose(2, 3)), dim=-1)
        back = nn.functional.pad(ages(states["count"], self.window), (0, 1))  # the step itself is the last
        bias = nn.functional.pad(self._bias(), (0, 1), value=HIDDEN)[:, back].transpose(0, 1).unsqueeze(2)
        weights = (near / self.size**0.5 + bias).softmax(-1)
        mixed = weights[..., :-1] @ states["values"] + weights[..., -1:] * v
        return self.outward(mixed.reshape(x.shape)), {"keys": k.squeeze(2), "values": v.squeeze(2)}


class Layer(nn.Module):
    """Pre-norm attention and feed-forward."""

    def __init__(self, width: int, window: int, *, causal: bool, positions: Positions = "learned") -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = WindowAttention(width, HEADS, window, causal=causal, positions=positions)
        wide, narrow = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        self.feed = nn.Sequential(wide, nn.GELU(), nn.Dropout(DROPOUT), narrow)
        self.dropout = nn.Dropout(DROPOUT)

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        x = x + self.dropout(self.attention(self.norm1(x), valid))
        return x + self.dropout(self.feed(self.norm2(x)))

    def step(self, x: Tensor, states: States) -> tuple[Tensor, States]:
        mixed, new = self.attention.step(self.norm1(x), states)
        x = x + mixed
        return x + self.feed(self.norm2(x)), new


class TransformerHead(Head):
    """Encoder layers, then the maximum or the mean over the last `window` steps, or what a token gathers that attends
    to the steps and comes after them: all of which a stream can keep. Padding is masked; positions are distances."""

    def __init__(self, features: int, classes: int, *, width: int = 128, window: int = 64, causal: bool = True,
                 layers: int = DEPTH, pooling: Pooling = "max", positions: Positions = "learned") -> None:  # fmt: skip
        """`window` is how many steps back (and ahead, unless causal) a step attends."""
        super().__init__(features, classes)
        self.causal, self.width, self.window, self.pooling = causal, width, window, pooling
        self.inward = nn.Sequential(nn.LayerNorm(features), nn.Linear(features, width), nn.LayerNorm(width))
        self.dropout = nn.Dropout(DROPOUT)
        self.stack = nn.ModuleList([Layer(width, window, causal=causal, positions=positions) for _ in range(layers)])
        self.norm, self.outward = nn.LayerNorm(width), nn.Linear(width, classes)
        self.token = nn.Parameter(torch.randn(1, width) * 0.02) if pooling == "cls" else None

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        x = self.dropout(self.inward(x))
        if self.token is not None:
            x = torch.cat((x, self.token.expand(x.shape[0], 1, -1)), dim=1)
            valid = torch.cat((valid, torch.ones_like(valid[:, :1])), dim=1)
        for layer in self.stack:
            x = layer(x, valid)
        return self.outward(self.dropout(self._pooled(self.norm(x)[:, -self.window :], valid[:, -self.window :])))

    def _pooled(self, x: Tensor, valid: Tensor) -> Tensor:
        if self.pooling == "cls":
            return x[:, -1]
        there = valid.to(x.dtype).unsqueeze(-1)
        if self.pooling == "mean":
            return (x * there).sum(1) / there.sum(1).clamp(min=1)
        return (x + HIDDEN * (1 - there)).amax(1)

    def _states(self, batch: int) -> States:
        states = {} if self.token is not None else {"recent": torch.zeros(batch, self.window, self.width)}
        for i, layer in enumerate(self.stack):
            states |= {f"layer{i}_{name}": ring for name, ring in layer.attention.states(batch).items()}
        return states

    def newest(self, x: Tensor, states: States) -> tuple[Tensor, States]:
        x, new = self.inward(x), {"count": states["count"] + 1}
        token = None if self.token is None else self.token.expand(x.shape[0], -1)
        for i, layer in enumerate(self.stack):
            held = part(states, f"layer{i}_")
            x, cells = layer.step(x, held)
            new |= {f"layer{i}_{name}": cell for name, cell in cells.items()}
            if token is not None:  # it comes after this step, and is forgotten
                after = {name: _written(held[name], cell, held["count"]) for name, cell in cells.items()}
                token, _ = layer.step(token, {"count": new["count"], **after})
        if token is not None:
            return self.outward(self.norm(token)), new
        x = new["recent"] = self.norm(x)
        near = ages(states["count"], self.window) < self.window
        steps = torch.cat((states["recent"], x[:, None]), dim=1)
        return self.outward(self._pooled(steps, torch.cat((near, torch.ones_like(near[:, :1])), dim=1))), new


class JointGraph(nn.Module):
    """Channels of joints mixed along the bones of a skeleton, within each step: what each joint takes from itself, from
    toward the root and from away from it, by weights that are learned and refined by the step (as Shi et al., CVPR
    2019, and Chen et al., "Channel-wise Topology Refinement Graph Convolution", ICCV 2021, do over whole clips)."""

    def __init__(self, features: int, layout: JointLayout, width: int) -> None:
        super().__init__()
        self.joints, self.sizes = len(layout.joints), [JOINT_WIDTH // 2] * 2 + [JOINT_WIDTH] * 3
        self.inward = nn.Linear(features // self.joints, JOINT_WIDTH)
        self.place = nn.Parameter(torch.randn(self.joints, JOINT_WIDTH) * 0.1)
        up = torch.eye(self.joints)[torch.from_numpy(layout.roots)]
        ways = torch.stack((torch.eye(self.joints), up, up.T / up.sum(0).clamp(min=1)[:, None]))
        self.ways = nn.ParameterList([nn.Parameter(ways.clone()) for _ in range(DEPTH)])
        self.norms = nn.ModuleList([nn.LayerNorm(JOINT_WIDTH) for _ in range(DEPTH)])
        self.mixes = nn.ModuleList([nn.Linear(JOINT_WIDTH, sum(self.sizes)) for _ in range(DEPTH)])
        self.gates = nn.Parameter(torch.zeros(DEPTH))
        self.outward = nn.Linear(self.joints * JOINT_WIDTH, width)

    def forward(self, x: Tensor) -> Tensor:
        """(..., width) of channels (..., J * C)."""
        lead = x.shape[:-1]
        x = self.inward(x.reshape(-1, self.joints, x.shape[-1] // self.joints)) + self.place
        for ways, norm, mix, gate in zip(self.ways, self.norms, self.mixes, self.gates, strict=True):
            one, other, *parts = mix(norm(x)).split(self.sizes, dim=-1)
            refined = gate * (one @ other.transpose(1, 2) / self.sizes[0] ** 0.5).tanh()
            mixed = [(way + refined) @ part for way, part in zip(ways.unbind(0), parts, strict=True)]
            x = x + nn.functional.gelu(mixed[0] + mixed[1] + mixed[2])
        return self.outward(x.reshape(*lead, -1))


class GraphHead(TransformerHead):
    """The Transformer over steps in which a graph has mixed the joints of a skeleton."""

    def __init__(self, features: int, classes: int, layout: JointLayout, *, width: int = 128, **options: Any) -> None:
        """`options` are those of `TransformerHead`."""
        super().__init__(features, classes, width=width, **options)
        self.inward = nn.Sequential(nn.LayerNorm(features), JointGraph(features, layout, width), nn.LayerNorm(width))
