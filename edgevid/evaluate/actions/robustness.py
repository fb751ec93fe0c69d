"""Accuracy under corruptions of images (JPEG, blur, noise, scale; kornia) and of poses (noise, losses)."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np

from edgevid._opencv import cv2
from edgevid.actions.load import load_recognizer
from edgevid.errors import InputError, require
from edgevid.evaluate.actions.score import Evaluation, crop_videos, evaluate_crops, evaluate_rows, read_rows
from edgevid.models.hub import resolve_model
from edgevid.types import Array

IMAGE_CORRUPTIONS: Mapping[str, tuple[float, ...]] = {
    "JPEG quality": (100, 95, 75, 50, 30, 20, 10),
    "blur, sigma px": (0, 1, 2, 3, 5),
    "noise, sigma of 255": (0, 5, 10, 20, 40),
    "scale": (1, 0.75, 0.5, 0.33, 0.25),
}
"""Corruptions of images with their strengths; the first changes nothing."""
POSE_CORRUPTIONS: Mapping[str, tuple[float, ...]] = {
    "joint noise, % of body size": (0, 2, 5, 10, 20),
    "joints lost, %": (0, 5, 10, 20, 40),
    "moments lost, %": (0, 10, 25, 50, 75),
}
"""Corruptions of skeletons with their strengths."""

Table = dict[str, list[tuple[float, float]]]


def corrupt_images(crops: Array, seed: int, kind: str, strength: float) -> Array:
    """(T, h, w, 3) uint8 crops after one corruption, with kornia; JPEG by the real codec."""
    if kind not in IMAGE_CORRUPTIONS:
        raise InputError(f"corruption: expected one of {', '.join(IMAGE_CORRUPTIONS)}, got {kind!r}")
    if strength == IMAGE_CORRUPTIONS[kind][0]:
        return crops
    if kind == "JPEG quality":
        coded = [cv2.imencode(".jpg", crop[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, int(strength)])[1] for crop in crops]
        return np.stack([np.asarray(cv2.imdecode(one, cv2.IMREAD_COLOR))[..., ::-1] for one in coded])
    torch = require("torch", extra="train", purpose="robustness")
    kornia = require("kornia", extra="train", purpose="robustness")
    batch = torch.from_numpy(np.ascontiguousarray(crops)).permute(0, 3, 1, 2).float()
    height, width = batch.shape[2:]
    if kind.startswith("blur"):
        side = 2 * int(3 * strength) + 1
        batch = kornia.filters.gaussian_blur2d(batch, (side, side), (strength, strength))
    elif kind.startswith("noise"):
        generator = torch.Generator().manual_seed(seed)
        batch = batch + strength * torch.randn(batch.shape, generator=generator)
    else:
        small = (max(round(height * strength), 1), max(round(width * strength), 1))
        batch = kornia.geometry.resize(batch, small, antialias=True)
        batch = kornia.geometry.resize(batch, (height, width))
    return np.asarray(batch.clamp(0, 255).round().byte().permute(0, 2, 3, 1).numpy())


def corrupt_poses(rows: Array, seed: int, kind: str, strength: float) -> Array:
    """Rows (T, 2 J + 1) after one corruption; lost joints keep their last position, lost moments score 0."""
    if kind not in POSE_CORRUPTIONS:
        raise InputError(f"corruption: expected one of {', '.join(POSE_CORRUPTIONS)}, got {kind!r}")
    rng = np.random.default_rng(seed)
    out = rows.copy()
    points = out[:, :-1].reshape(len(rows), -1, 2)
    if kind.startswith("joint noise"):
        size = np.sqrt(np.square(points - points.mean(1, keepdims=True)).sum(-1).mean())
        points += rng.normal(0, size * strength / 100, points.shape)
    elif kind.startswith("joints lost"):
        lost = rng.random(points.shape[:2]) < strength / 100
        for t in range(1, len(points)):
            points[t][lost[t]] = points[t - 1][lost[t]]
    else:
        out[rng.random(len(out)) < strength / 100, -1] = 0
    return out


def measure(model: str | Path, data: Path, *, report: Callable[[str], None] = lambda line: None) -> Table:
    """Accuracy (abstentions count as errors) by corruption and strength."""
    corpus = read_rows(data, resolve_model(model).names)
    corrupt: Callable[..., Array]
    evaluate: Callable[..., Evaluation]
    if corpus is not None:
        corruptions, corrupt = POSE_CORRUPTIONS, corrupt_poses
        evaluate = partial(evaluate_rows, model, corpus)
    else:
        recognizer = load_recognizer(model)
        corruptions, corrupt = IMAGE_CORRUPTIONS, corrupt_images
        evaluate = partial(evaluate_crops, recognizer, crop_videos(recognizer, data))
    table: Table = {kind: [] for kind in corruptions}
    for kind, strengths in corruptions.items():
        for strength in strengths:
            accuracy = evaluate(corrupt=partial(corrupt, kind=kind, strength=strength)).accuracy_of_all
            table[kind].append((strength, accuracy))
            report(f"{kind} {strength:g}: {100 * accuracy:.1f} %")
    return table
