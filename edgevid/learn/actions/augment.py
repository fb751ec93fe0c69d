"""Augmentations that preserve the action: of joints, of features, and of images."""

from dataclasses import dataclass

import numpy as np

from edgevid.actions import skeleton
from edgevid.errors import require
from edgevid.evaluate.actions.data import resample
from edgevid.types import Array

Rng = np.random.Generator


@dataclass(frozen=True, slots=True)
class Augmentation:
    """Strengths of a sequence's augmentations; zeros change nothing."""

    flip: float = 0.5
    """Share of sequences flipped horizontally (joints only: a flipped image has other features)."""
    rotation: float = 0.15
    """Standard deviation of a rotation in the image, radians (joints only)."""
    scale: float = 0.1
    """Standard deviation of the logarithm of scales along x and y (joints only)."""
    noise: float = 0.02
    """Of each value, as a share of its own spread over the sequence."""
    speed: float = 0.25
    """Largest logarithm of the change of speed."""
    drop: float = 0.0
    """Largest share of moments without a pose (joints only): slow cameras, missed people."""
    trim: float = 0.2
    """Largest share trimmed off the end, in half of the sequences."""


def augment(raw: Array, joints: str, step: float, strength: Augmentation, rng: Rng) -> Array:
    """An augmented sequence of about every `step`-th row."""
    last = len(raw) - 1
    speed = step * float(np.exp(rng.uniform(-strength.speed, strength.speed)))
    end = last * (1 - rng.uniform(0, strength.trim)) if rng.random() < 0.5 else last
    out = resample(raw, speed, rng.uniform(0, min(step, last)), end)
    if not len(out):
        out = raw[-1:].copy()
    if joints:
        out[:, :-1] = _augment_joints(out[:, :-1], joints, strength, rng)
        if strength.drop:
            dropped = rng.random(len(out)) < strength.drop * rng.random()
            out[:-1, -1][dropped[:-1]] = 0  # the last one stays: a clip ends with an observation
        return out
    spread = raw.std(axis=0, keepdims=True) + 1e-6
    return np.asarray((out + rng.normal(0, strength.noise, out.shape) * spread).astype(np.float32))


def _augment_joints(rows: Array, joints: str, strength: Augmentation, rng: Rng) -> Array:
    names = skeleton.JOINT_SETS[joints]
    points = rows.reshape(len(rows), -1, 2).astype(np.float64)
    center = points.mean((0, 1))
    size = np.sqrt(np.square(points - points.mean(1, keepdims=True)).sum(-1).mean()) + 1e-9
    points = points - center
    if rng.random() < strength.flip:
        points = points[:, skeleton.mirror_order(names)] * (-1, 1)
    angle = rng.normal(0, strength.rotation)
    c, s = np.cos(angle), np.sin(angle)
    points = points @ np.array([[c, s], [-s, c]]) * np.exp(rng.normal(0, strength.scale, 2))
    points = points + rng.normal(0, strength.noise * size, points.shape)
    return np.asarray((points + center).reshape(len(rows), -1).astype(np.float32))


def augment_crops(crops: Array, seed: int) -> Array:
    """(T, h, w, 3) uint8 crops of one clip, all augmented the same way: flip, rotation, scale, color, JPEG.
    With kornia (extra `train`); one draw for the whole clip avoids flicker. The JPEG codec is kornia's
    differentiable one, quality 20 to 95 in half of the clips."""
    torch = require("torch", extra="train", purpose="augmentation of images")
    kornia = require("kornia", extra="train", purpose="augmentation of images")
    k = kornia.augmentation
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(seed)
        batch = torch.from_numpy(np.ascontiguousarray(crops)).permute(0, 3, 1, 2).float() / 255
        geometry = k.AugmentationSequential(
            k.RandomHorizontalFlip(p=0.5),
            k.RandomAffine(degrees=8.0, translate=(0.06, 0.06), scale=(0.9, 1.1), p=0.8),
            k.ColorJiggle(0.2, 0.2, 0.2, 0.03, p=0.5),
            same_on_batch=True,
        )
        batch = geometry(batch)
        if torch.rand(()) < 0.5:
            quality = 20.0 + 75.0 * torch.rand(1)
            batch = jpeg(batch, quality.expand(len(batch)))
        return np.asarray((batch.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).numpy())


def jpeg(batch: Array, quality: Array) -> Array:
    """kornia's differentiable JPEG of a tensor (B, 3, H, W) in 0..1; sides are padded to multiples of 16."""
    torch = require("torch", extra="train", purpose="the JPEG codec")
    kornia = require("kornia", extra="train", purpose="the JPEG codec")
    height, width = batch.shape[2:]
    wide = torch.nn.functional.pad(batch, (0, -width % 16, 0, -height % 16), mode="replicate")
    done = kornia.enhance.jpeg_codec_differentiable(wide, quality)
    return done[:, :, :height, :width]  # type: ignore[no-any-return]
