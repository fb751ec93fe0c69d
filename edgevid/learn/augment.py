"""Augmentation of images in torch: geometry, color and JPEG."""

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from edgevid.errors import require
from edgevid.types import Array

SHIFT, SCALE, COLOR = 0.06, 0.1, 0.2  # Largest shift as a share of the side, logarithm of the size, and change of color


@dataclass(frozen=True, slots=True)
class ImageAugmentation:
    """Random changes: a rotation of up to `rotation` degrees, shift, size, brightness, contrast and saturation; with
    `flip` half of the images are mirrored, with `jpeg` half go through a JPEG of quality 10 to 95."""

    rotation: float = 8.0
    flip: bool = True
    jpeg: bool = False

    def __call__(self, images: Tensor, *, together: bool = False) -> tuple[Tensor, Tensor]:
        """Augmented images (B, 3, h, w), 0 to 1, and (B, 3, 3) how they were moved, mirroring left out; all in the same
        way where `together`."""
        count, aspect = 1 if together else len(images), images.shape[3] / images.shape[2]
        uniform = 2 * torch.rand(9, count) - 1
        angle, size = uniform[0] * math.radians(self.rotation), torch.exp(SCALE * uniform[1])
        moved = torch.eye(3).repeat(count, 1, 1)
        moved[:, 0, 0] = moved[:, 1, 1] = size * angle.cos()
        moved[:, 0, 1], moved[:, 1, 0] = -size * angle.sin() / aspect, size * angle.sin() * aspect
        moved[:, :2, 2] = 2 * SHIFT * uniform[2:4].T
        mirror = torch.ones(count, 3)
        mirror[:, 0] -= 2.0 * (self.flip & (uniform[4] > 0))
        images = warp(images, (mirror.diag_embed() @ moved).expand(len(images), 3, 3))
        bright, contrast, saturation = (COLOR * uniform[5:8])[..., None, None, None]
        gray = images.mean(1, keepdim=True)
        images = (gray - 0.5) * (1 + contrast) + 0.5 + bright / 2 + (images - gray) * (1 + saturation)
        images, coded = images.clamp(0, 1), (self.jpeg & (uniform[8] > 0)).expand(len(images))
        if coded.any():
            quality = 10 + 85 * torch.rand(count).expand(len(images))
            images[coded] = jpeg(images[coded], quality[coded])
        return images, moved


def warp(images: Tensor, transform: Tensor) -> Tensor:
    """Images (B, C, h, w) sampled at homographies (B, 3, 3) of coordinates from -1 to 1; edges repeat. The same as
    kornia's `homography_warp`, in as few operations as a runtime needs."""
    height, width = int(images.shape[2]), int(images.shape[3])
    y, x = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij")
    points = torch.stack([x, y, torch.ones_like(x)], -1).reshape(1, -1, 3) @ transform.transpose(1, 2)
    places = (points[..., :2] / points[..., 2:]).reshape(-1, height, width, 2)
    return F.grid_sample(images, places, padding_mode="border", align_corners=True)


def jpeg(batch: Tensor, quality: Tensor) -> Tensor:
    """kornia's differentiable JPEG of images (B, 3, h, w), 0 to 1; sides are padded to multiples of 16."""
    kornia = require("kornia", extra="train", purpose="the JPEG codec")
    height, width = batch.shape[2:]
    wide = F.pad(batch, (0, -width % 16, 0, -height % 16), mode="replicate")
    done: Tensor = kornia.enhance.jpeg_codec_differentiable(wide, quality)
    return done[:, :, :height, :width]


def augment_crops(crops: Array, seed: int) -> Array:
    """(T, h, w, 3) uint8 crops of one clip, all augmented in the same way, which avoids flicker."""
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(seed)
        batch = torch.from_numpy(np.ascontiguousarray(crops)).permute(0, 3, 1, 2).float() / 255
        done, _ = ImageAugmentation(jpeg=True)(batch, together=True)
        return np.asarray((done.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).numpy())
