"""Accuracy against what cameras do to images (kornia) and poses: JPEG, blur, noise, scale, lost joints."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from edgevid.actions.load import load_recognizer
from edgevid.errors import InputError, require
from edgevid.evaluate.actions.score import judge_crops, judge_rows, rows_of, see_videos
from edgevid.types import Array

PICTURES: Mapping[str, tuple[float, ...]] = {
    "JPEG quality": (100, 95, 75, 50, 30, 20, 10),
    "blur, sigma px": (0, 1, 2, 3, 5),
    "noise, sigma of 255": (0, 5, 10, 20, 40),
    "scale": (1, 0.75, 0.5, 0.33, 0.25),
}
"""What images of videos are put through; the first strength leaves them alone."""
POSES: Mapping[str, tuple[float, ...]] = {
    "joint noise, % of body size": (0, 2, 5, 10, 20),
    "joints lost, %": (0, 5, 10, 20, 40),
    "moments lost, %": (0, 10, 25, 50, 75),
}
"""What skeletons are put through."""

Table = dict[str, list[tuple[float, float]]]


def spoil_pictures(crops: Array, kind: str, strength: float, seed: int) -> Array:
    """(T, h, w, 3) uint8 crops after one corruption, with kornia; JPEG by the real codec."""
    if kind not in PICTURES:
        raise InputError(f"corruption: expected one of {', '.join(PICTURES)}, got {kind!r}")
    if strength == PICTURES[kind][0]:
        return crops
    if kind == "JPEG quality":
        return np.stack([_jpeg(c, int(strength)) for c in crops])
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


def _jpeg(crop: Array, quality: int) -> Array:
    import cv2

    _, data = cv2.imencode(".jpg", crop[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    decoded: Array = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))
    return decoded[..., ::-1]


def spoil_poses(rows: Array, kind: str, strength: float, seed: int) -> Array:
    """Rows (T, 2 J + 1) after one corruption; lost joints stay where they last were, lost moments score 0."""
    if kind not in POSES:
        raise InputError(f"corruption: expected one of {', '.join(POSES)}, got {kind!r}")
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


def measure(model: str | Path, data: Path, *, say: Callable[[str], None] = lambda line: None) -> Table:
    """Accuracy (silence counts as a mistake) by corruption and strength."""
    recognizer = None
    names = load_names(model)
    corpus = rows_of(data, names)
    seen = None
    if corpus is None:
        recognizer = load_recognizer(model)
        seen = see_videos(recognizer, data)
    table: Table = {}
    for kind, strengths in (PICTURES if corpus is None else POSES).items():
        for strength in strengths:
            if corpus is not None:
                judged = judge_rows(model, corpus, spoil=_poses(kind, strength))
            else:
                assert recognizer is not None
                assert seen is not None
                judged = judge_crops(recognizer, seen, spoil=_pictures(kind, strength))
            table.setdefault(kind, []).append((strength, judged.accuracy_of_all))
            say(f"{kind} {strength:g}: {100 * judged.accuracy_of_all:.1f} %")
    return table


def _poses(kind: str, strength: float) -> Callable[[Array, int], Array]:
    return lambda rows, number: spoil_poses(rows, kind, strength, number)


def _pictures(kind: str, strength: float) -> Callable[[Array, int], Array]:
    return lambda crops, number: spoil_pictures(crops, kind, strength, number)


def load_names(model: str | Path) -> tuple[str, ...]:
    """The classes of a model's recipe."""
    from edgevid.models.hub import resolve_model

    return resolve_model(model).names
