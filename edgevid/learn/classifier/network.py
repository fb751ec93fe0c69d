"""A compact image classifier, trained from nothing on gray levels and deployed on the normalized images of a recipe. A
spatial transformer may set images upright before."""

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgevid.files.fields import Count, check_fields
from edgevid.learn.actions.heads import Head
from edgevid.learn.augment import ImageAugmentation, warp
from edgevid.learn.detector.network import Block, convolution

CHANNELS = (16, 32, 64, 128)
STN_CHANNELS, STN_SIDE = (8, 16, 24), 32  # Of the spatial transformer, which looks at small images
UPRIGHT = 3.0  # Weight of the transformer's own loss: it undoes what moved the image
GRAY = 127.5  # Mean and standard deviation of the images


@dataclass(frozen=True, slots=True)
class ImageOptions:
    """Images of objects, and how a network takes them."""

    width: Count = 64
    height: Count = 64
    context: float = 1.0
    """What images show, as a multiple of the object's box."""
    align: Literal["none", "stn", "stn-perspective"] = "none"
    augmentation: ImageAugmentation = ImageAugmentation()

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
        plain, perspective = options.align == "none", options.align == "stn-perspective"
        self.transformer = None if plain else SpatialTransformer(perspective=perspective)
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
