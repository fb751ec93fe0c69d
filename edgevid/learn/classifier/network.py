"""A compact image classifier, trained from nothing on gray levels and deployed on the normalized images of a recipe. A
spatial transformer may set images upright before. Its images are augmented in torch: geometry, color and JPEG; so are
the crops of clips."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgevid.errors import require
from edgevid.files.fields import Count, check_fields
from edgevid.learn.actions.heads import Head
from edgevid.learn.detector.network import Block, convolution
from edgevid.types import Array

CHANNELS = (16, 32, 64, 128)
STN_CHANNELS, STN_SIDE = (8, 16, 24), 32  # Of the spatial transformer, which looks at small images
UPRIGHT = 3.0  # Weight of the transformer's own loss: it undoes what moved the image
GRAY = 127.5  # Mean and standard deviation of the images
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


@dataclass(frozen=True, slots=True)
class ImageOptions:
    """Images of objects, and how a network takes them."""

    width: Count = 64
    height: Count = 64
    context: float = 1.0  # What images show, as a multiple of the object's box
    align: Literal["none", "landmarks", "stn", "stn-perspective"] = "none"
    augmentation: ImageAugmentation = ImageAugmentation()
    inside: str = ""  # With `align` "landmarks": the detector of the part of an object that is recognized

    def __post_init__(self) -> None:
        check_fields(self, "train classifier")


class SpatialTransformer(nn.Module):
    """Finds how each image lies and samples it upright (Jaderberg 2015): affine, or with a perspective."""

    def __init__(self, *, perspective: bool) -> None:
        super().__init__()
        a, b, c = STN_CHANNELS
        layers = [convolution(3, a, 3, 2), convolution(a, b, 3, 2), convolution(b, c, 3, 2), nn.Flatten()]
        self.find = nn.Sequential(*layers, nn.Linear(c * (STN_SIDE // 8) ** 2, c), nn.ReLU(inplace=True))
        self.place = nn.Linear(c, 8 if perspective else 6)
        nn.init.zeros_(self.place.weight)
        nn.init.zeros_(self.place.bias)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Upright images, and the (B, 3, 3) homographies of coordinates from -1 to 1 that they were sampled at."""
        small = F.interpolate(images, (STN_SIDE, STN_SIDE), mode="bilinear", align_corners=False)
        found = F.pad(self.place(self.find(small)), (0, 9 - self.place.out_features))
        transform = found.reshape(-1, 3, 3) + torch.eye(3)
        return warp(images, transform), transform


class ImageHead(Head):
    """A classifier of images whose rows (B, 1, h * w * 3) are gray levels, RGB."""

    def __init__(self, classes: int, options: ImageOptions) -> None:
        a, b, c, d = CHANNELS
        super().__init__(options.height * options.width * 3, classes)
        layers = [convolution(3, a, 3, 2), convolution(a, b, 3, 2), Block(b), convolution(b, c, 3, 2), Block(c)]
        layers += [convolution(c, d, 3, 2), Block(d), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        self.options, self.body = options, nn.Sequential(*layers)
        turns, perspective = options.align.startswith("stn"), options.align == "stn-perspective"
        self.transformer = SpatialTransformer(perspective=perspective) if turns else None
        self.dropout, self.outward = nn.Dropout(0.2), nn.Linear(d, classes)

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        """Logits; in training the images are augmented."""
        images = self.normalized(x)
        if not self.training:
            return self.deployed(images)[0]
        with torch.no_grad():
            images, moved = self.options.augmentation((images + 1) / 2)
        images = 2 * images - 1
        if self.transformer is not None:
            images, transform = self.transformer(images)
            self.penalty = UPRIGHT * (moved @ transform - torch.eye(3)).square().sum((1, 2)).mean()
        return self.outward(self.dropout(self.body(images)))

    def normalized(self, x: Tensor) -> Tensor:
        """(B, 3, h, w) the deployed network's images of rows."""
        return (x.reshape(-1, self.options.height, self.options.width, 3).permute(0, 3, 1, 2) - GRAY) / GRAY

    def deployed(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and features of normalized images: what is exported."""
        features = self.body(images if self.transformer is None else self.transformer(images)[0])
        return self.outward(features), features

    def describe(self, x: Tensor) -> Tensor:
        """(B, 1, D) the network's features."""
        return self.deployed(self.normalized(x))[1][:, None]
