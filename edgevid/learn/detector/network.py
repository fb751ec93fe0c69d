"""A compact anchor-free detector: plain 3x3 and 1x1 convolutions, three strides, decoupled head.

Built from the ideas of FCOS (Tian 2019: distances to the four sides), TOOD (Feng 2021: task-aligned
assignment) and generalized focal loss (Li 2020: quality as the soft target of classification), out of
operations that TensorRT and INT8 like: convolution, ReLU, add, nearest upsampling."""

from dataclasses import dataclass
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CLASSES = ("person", "bicycle", "car", "motorcycle", "bus", "truck")
STRIDES = (8, 16, 32)
TOP, ALPHA, BETA = 10, 0.5, 6.0  # Of the assignment: anchors of an object, and the exponents of score and overlap
BOX_GAIN = 2.5  # Weight of the box loss


@dataclass(frozen=True, slots=True)
class Shape:
    """Size of the network and of its input; the default is that of street-nano."""

    width: int = 448
    height: int = 256
    channels: tuple[int, int, int, int, int] = (16, 24, 48, 112, 192)
    """After the two stem convolutions and at strides 8, 16, 32."""
    blocks: tuple[int, int, int] = (2, 2, 2)  # Residual blocks at strides 8, 16, 32
    neck: int = 48
    context: bool = False  # Poolings of 5, 9 and 13 cells next to the deepest features (He 2015, SPP)


def convolution(inside: int, outside: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    """Convolution, batch normalization and ReLU."""
    layer = nn.Conv2d(inside, outside, kernel, stride, kernel // 2, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(outside), nn.ReLU(inplace=True))


class Block(nn.Module):
    """Residual bottleneck: 1x1 to half the channels, 3x3 back."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.squeeze = convolution(channels, channels // 2, 1)
        self.expand = nn.Sequential(nn.Conv2d(channels // 2, channels, 3, 1, 1, bias=False), nn.BatchNorm2d(channels))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.expand(self.squeeze(x)))


class _Context(nn.Module):
    """Spatial pyramid pooling: what lies around each cell, at four sizes."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.squeeze = convolution(channels, channels // 2, 1)
        self.join = convolution(2 * channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        levels = [self.squeeze(x)]
        for _ in range(3):
            levels.append(F.max_pool2d(levels[-1], 5, 1, 2))
        joined: Tensor = self.join(torch.cat(levels, 1))
        return joined


class StreetDetector(nn.Module):
    """(B, 3, H, W) RGB in 0..1 -> raw (B, 4 + C, N): softplus-able distances in strides, class logits."""

    def __init__(self, shape: Shape | None = None) -> None:
        super().__init__()
        self.shape = shape = shape or Shape()
        a, b, *deep = shape.channels
        self.stem = nn.Sequential(convolution(3, a, 3, 2), convolution(a, b, 3, 2))
        stages = ((convolution(inside, outside, 3, 2), *(Block(outside) for _ in range(blocks)))
                  for inside, outside, blocks in zip((b, *deep[:2]), deep, shape.blocks, strict=True))  # fmt: skip
        self.stages = nn.ModuleList(nn.Sequential(*layers) for layers in stages)
        if shape.context:
            self.stages[-1].append(_Context(deep[2]))
        neck = shape.neck
        self.lateral = nn.ModuleList(convolution(c, neck, 1) for c in deep)
        self.see = nn.ModuleList(convolution(neck, neck) for _ in STRIDES)
        self.place = nn.ModuleList(convolution(neck, neck) for _ in STRIDES)
        self.to_class = nn.ModuleList(nn.Conv2d(neck, len(CLASSES), 1) for _ in STRIDES)
        self.to_box = nn.ModuleList(nn.Conv2d(neck, 4, 1) for _ in STRIDES)
        for layer in self.to_class:
            nn.init.constant_(layer.bias, -4.6)  # a prior of one object in a hundred anchors

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        features = []
        for stage, lateral in zip(self.stages, self.lateral, strict=True):
            x = stage(x)
            features.append(lateral(x))
        for level in (1, 0):  # top-down
            features[level] = features[level] + F.interpolate(features[level + 1], scale_factor=2.0)
        levels = []
        for n, feature in enumerate(features):
            box = self.to_box[n](self.place[n](feature))
            levels.append(torch.cat([box, self.to_class[n](self.see[n](feature))], 1).flatten(2))
        return torch.cat(levels, 2)


@lru_cache(8)
def anchor_points(shape: Shape) -> tuple[Tensor, Tensor]:
    """Cell centers (N, 2) in input pixels and the stride (N,) of each, in the order of the output."""
    points, strides = [], []
    for stride in STRIDES:
        y, x = torch.meshgrid(torch.arange(shape.height // stride), torch.arange(shape.width // stride), indexing="ij")
        points.append((torch.stack([x, y], -1).reshape(-1, 2) + 0.5) * stride)
        strides.append(torch.full((x.numel(),), float(stride)))
    return torch.cat(points), torch.cat(strides)


def to_boxes(raw: Tensor, points: Tensor, strides: Tensor) -> Tensor:
    """Boxes (B, N, 4) x1, y1, x2, y2 in input pixels from the raw distances (B, 4, N)."""
    distances = F.softplus(raw.transpose(1, 2)) * strides[:, None]
    return torch.cat([points - distances[..., :2], points + distances[..., 2:]], -1)


class Deployed(nn.Module):
    """The detector as it is exported: (B, 3, H, W) -> (B, 4 + C, N), center x, y, width, height, scores."""

    def __init__(self, network: StreetDetector) -> None:
        super().__init__()
        self.network = network
        points, strides = anchor_points(network.shape)
        self.register_buffer("points", points.T[None].contiguous())
        self.register_buffer("strides", strides[None, None])

    def forward(self, x: Tensor) -> Tensor:
        raw = self.network(x)
        distance = F.softplus(raw[:, :4]) * self.strides
        before, after = distance[:, :2], distance[:, 2:]
        center = self.points + (after - before) * 0.5
        return torch.cat([center, before + after, raw[:, 4:].sigmoid()], 1)


@dataclass(frozen=True, slots=True)
class Truth:
    """Labels of a batch, padded to G objects per image."""

    boxes: Tensor  # (B, G, 4) x1, y1, x2, y2 in input pixels
    labels: Tensor  # (B, G) class index
    weights: Tensor  # (B, G) confidence of the label, 0 to 1; 0 is padding; negative marks an ignored region


def pair_iou(a: Tensor, b: Tensor) -> Tensor:
    """(G, N) intersection over union of boxes a (G, 4) and b (N, 4)."""
    low = torch.maximum(a[:, None, :2], b[None, :, :2])
    high = torch.minimum(a[:, None, 2:], b[None, :, 2:])
    inter = (high - low).clamp(min=0).prod(-1)
    area_a = (a[:, 2:] - a[:, :2]).clamp(min=0).prod(-1)
    area_b = (b[:, 2:] - b[:, :2]).clamp(min=0).prod(-1)
    return inter / (area_a[:, None] + area_b[None] - inter + 1e-7)


def _inside(points: Tensor, boxes: Tensor) -> Tensor:
    """(G, N) whether each point (N, 2) lies in each box (G, 4)."""
    return ((points > boxes[:, None, :2]) & (points < boxes[:, None, 2:])).all(-1)


@torch.no_grad()
def assign(scores: Tensor, boxes: Tensor, truth: Truth, points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Task-aligned assignment: the object of each anchor, and its target quality.

    `scores` (B, N, C) 0..1 and `boxes` (B, N, 4) are the predictions. Returns the object's row (B, N),
    -1 for background, the soft class target (B, N), and a mask (B, N) of anchors that count."""
    batch, places = scores.shape[:2]
    owner = torch.full((batch, places), -1, dtype=torch.long, device=scores.device)
    quality = torch.zeros(batch, places, device=scores.device)
    counts = torch.ones(batch, places, dtype=torch.bool, device=scores.device)
    for n in range(batch):  # one image at a time: crowds are rare, and padding to the largest is slow
        real = (truth.weights[n] > 0).nonzero()[:, 0]
        ignored = truth.weights[n] < 0
        if bool(ignored.any()):
            counts[n] = ~_inside(points, truth.boxes[n][ignored]).any(0)
        if not len(real):
            continue
        expected = truth.boxes[n][real]
        overlap = pair_iou(expected, boxes[n])
        score = scores[n].T[truth.labels[n][real].long()]
        metric = score.pow(ALPHA) * overlap.pow(BETA) * _inside(points, expected)
        best = metric.topk(min(TOP, places), dim=1)
        chosen = torch.zeros_like(metric, dtype=torch.bool).scatter_(1, best.indices, best.values > 1e-9)
        value, row = torch.where(chosen, overlap, -1.0).max(0)
        kept = chosen & (torch.arange(len(real), device=row.device)[:, None] == row)
        metric = metric * kept
        scale = (overlap * kept).amax(1) / (metric.amax(1) + 1e-9) * truth.weights[n][real]
        quality[n] = (metric * scale[:, None]).amax(0)
        owner[n] = torch.where(value >= 0, real[row], -1)
        counts[n] |= value >= 0
    return owner, quality, counts


def complete_iou(a: Tensor, b: Tensor) -> Tensor:
    """(K,) complete IoU (Zheng 2020) of paired boxes (K, 4): overlap, center distance, aspect."""
    low, high = torch.maximum(a[:, :2], b[:, :2]), torch.minimum(a[:, 2:], b[:, 2:])
    inter = (high - low).clamp(min=0).prod(1)
    size_a, size_b = (a[:, 2:] - a[:, :2]).clamp(min=1e-3), (b[:, 2:] - b[:, :2]).clamp(min=1e-3)
    iou = inter / (size_a.prod(1) + size_b.prod(1) - inter + 1e-7)
    hull = torch.maximum(a[:, 2:], b[:, 2:]) - torch.minimum(a[:, :2], b[:, :2])
    apart = ((a[:, :2] + a[:, 2:] - b[:, :2] - b[:, 2:]) / 2).pow(2).sum(1)
    angle_a, angle_b = (torch.atan(size[:, 0] / size[:, 1]) for size in (size_a, size_b))
    aspect = (4 / torch.pi**2) * (angle_b - angle_a).pow(2)
    with torch.no_grad():
        balance = aspect / (1 - iou + aspect + 1e-7)
    return iou - apart / (hull.pow(2).sum(1) + 1e-7) - balance * aspect


def loss(raw: Tensor, truth: Truth, points: Tensor, strides: Tensor) -> Tensor:
    """Scalar loss of a batch: quality focal loss of the classes plus complete IoU of the boxes."""
    logits = raw[:, 4:].transpose(1, 2).float()
    boxes = to_boxes(raw[:, :4].float(), points, strides)
    owner, quality, counts = assign(logits.sigmoid(), boxes, truth, points)
    positive = owner >= 0
    picked = owner.clamp(min=0)
    target = torch.zeros_like(logits)
    label = truth.labels.long().gather(1, picked)
    target.scatter_(2, label[..., None], torch.where(positive, quality, 0.0)[..., None])
    focus = (target - logits.sigmoid()).abs().pow(2)
    classes = F.binary_cross_entropy_with_logits(logits, target, reduction="none") * focus
    total = quality[positive].sum().clamp(min=1.0)
    class_loss = (classes.sum(2) * counts).sum() / total
    expected = truth.boxes.gather(1, picked[..., None].expand(-1, -1, 4))[positive]
    box_loss = ((1 - complete_iou(boxes[positive], expected)) * quality[positive]).sum() / total
    return class_loss + BOX_GAIN * box_loss
