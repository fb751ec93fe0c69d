"""Robustness: what a model gets right, gets wrong and abstains from as images or poses get worse. One that knows its
limits abstains more there, and is not wrong more often."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgevid._opencv import cv2
from edgevid.abstain import Policy, read_policy
from edgevid.actions.layout import JointLayout
from edgevid.actions.load import load_recognizer
from edgevid.detect.detector import Detector
from edgevid.errors import InputError
from edgevid.evaluate import recognition
from edgevid.evaluate.actions.data import SKELETONS_HZ, list_videos, resample
from edgevid.evaluate.boxes import MATCHED, TRUE, Box, BoxTable, aligned
from edgevid.evaluate.detection import match
from edgevid.evaluate.evaluation import Evaluation, Plot, Table
from edgevid.evaluate.items import read_items
from edgevid.files import read_toml
from edgevid.models.hub import resolve_model
from edgevid.runtime.recipe import LocalRecipe
from edgevid.types import Array, Frame
from edgevid.video.images import read_image, resize_area

Kinds = Mapping[str, Sequence[float]]  # Corruptions by name, with their strengths, the weakest first
IMAGES, POSES = read_toml(Path(__file__).with_suffix(".toml")).values()
OUTCOMES = ("correct", "wrong", "abstained")
Run = Callable[[str, float], Array]  # Of a corruption and its strength: (G, 3) outcomes of each group
Parts = tuple[Kinds, list[str], Run, Sequence[str]]  # Corruptions, groups, what counts outcomes, and notes


def evaluate(model: str, truth: Path, *, policy: Path | None = None) -> Evaluation:
    """Shares of what is correct, wrong and abstained from, by corruption. Of a recognizer on labeled clips, whose
    verdicts the `policy` decides (None: the default one); of a detector on a folder with images/ and labels/, where an
    object that is not found is abstained from, and a box without an object is wrong (IoU 0.5, the recipe's score)."""
    recipe = resolve_model(model)
    kinds, groups, run, notes = (
        _of_images(recipe, truth) if recipe.task == "detect" else _of_clips(model, truth, policy))  # fmt: skip
    keys = [("untouched", 0.0), *((kind, strength) for kind, many in kinds.items() for strength in many)]
    where = {kind: [n for n, key in enumerate(keys) if key[0] == kind] for kind in kinds}
    tables = np.array([run(*key) for key in keys])

    def shares(weights: Array) -> Array:
        sums = weights @ tables
        return np.asarray(sums / np.maximum(sums.sum(1, keepdims=True), 1))

    def measure(weights: Array) -> dict[str, float]:
        found = shares(weights)
        values = dict(zip(OUTCOMES, found[0].tolist(), strict=True))
        for kind, rows in where.items():
            values[f"least: {kind}"], values[f"most wrong: {kind}"] = found[rows, 0].min(), found[rows, 1].max()
        return values

    every = shares(np.ones(len(groups), np.int64))
    rows = [(*key, *one) for key, one in zip(keys, every.tolist(), strict=True)]
    plots = {
        kind: Plot("strength", "share", {name: (many, every[where[kind], n]) for n, name in enumerate(OUTCOMES)})
        for kind, many in kinds.items()
    }
    heads = ("corruption", "strength", *(f"{name} %" for name in OUTCOMES))
    shown = {"By corruption": Table(heads, rows)}
    return Evaluation("robustness", groups, "scene", measure, tables=shown, plots=plots, notes=notes)


def _of_clips(model: str, truth: Path, policy: Path | None) -> Parts:
    """The corruptions, the scenes, and what counts verdicts on clips that the model was not trained on."""
    recipe = resolve_model(model)
    names, clips = recipe.names, list[tuple[str, int, Array, Array]]()
    corpus = recognition.read_rows(truth, recipe)
    layout = None if corpus is None else corpus.layout
    if corpus is not None and layout is None:
        raise InputError(f"{truth}: expected labeled clips or skeletons, got features, which have no corruptions")
    rules = read_policy(policy, names=names).policy() if policy else Policy(names)
    recognizer: Any = load_recognizer(model) if corpus is None else recognition.load_for_rows(model, corpus, threads=1)
    given: Any = list_videos(truth)[1] if corpus is None else corpus.examples
    chosen, notes = recognition.untrained(model, given, truth)
    videos = [given[n] for n in chosen]
    if corpus is None:
        recognition.check_classes(names, tuple(one.label for one in videos))
        for one, (crops, boxes, label) in zip(videos, recognition.crop_videos(recognizer, videos), strict=True):
            clips.append((one.group, label, crops, boxes))
    else:
        labels = [names.index(name) for name in corpus.names]
        clips = [(one.group, labels[one.label], one.raw, one.labels) for one in videos]
    groups = list(dict.fromkeys(group for group, *_ in clips))

    def run(kind: str, strength: float) -> Array:
        recognizer.reset()
        rules.reset()
        table = np.zeros((len(groups), len(OUTCOMES)))
        for number, (group, label, shown, boxes) in enumerate(clips, 1):
            if layout is None:
                spoiled = corrupt_images(shown, number, kind, strength)
                found = recognition.crop_scores(recognizer, spoiled, boxes, number)
            else:
                spoiled = corrupt_poses(shown, number, kind, strength, layout)
                rows = resample(spoiled, SKELETONS_HZ / recognizer.spec.rate_hz)
                found = recognition.row_scores(recognizer, number, rows)
            emitted = recognition.decided(rules, found, number)
            table[groups.index(group), int(emitted != [label]) if emitted else 2] += 1
        return table

    return IMAGES if layout is None else POSES, groups, run, notes


def _of_images(recipe: LocalRecipe, truth: Path) -> Parts:
    """The corruptions, the clips, and what counts boxes in images."""
    items, detector = read_items(truth)[0], Detector(recipe)
    if any(one.labels for one in items):
        raise InputError(f"{truth}: expected images/ and labels/, as a detector is trained on, got classes of whole "
                         "images")  # fmt: skip
    groups = list(dict.fromkeys(one.group for one in items))
    frames = [(one.group, n) for n, one in enumerate(items)]
    places = np.array([groups.index(one.group) for one in items])

    def run(kind: str, strength: float) -> Array:
        known, seen = list[Box](), list[Box]()
        for frame, item in zip(frames, items, strict=True):
            if (image := read_image(item.path)) is None:
                continue
            size, degrees = image.shape[1::-1], strength * kind.startswith("rotation")
            for name, *corners, weight in item.boxes:
                name = recipe.names[int(name)] if name.isdecimal() else name
                box = np.array(corners) * (np.tile(size, 2) if max(corners) <= 1 else 1)
                known.append(Box(*frame, name, tuple(turned(box, size, degrees)), role=TRUE if weight > 0 else MATCHED))
            shown = Frame(corrupt_images(image[None], frame[1], kind, strength)[0], 0.0, 0)
            seen += [Box(*frame, recipe.names[one.label], one.box, one.score) for one in detector.detect([shown])[0]]
        true, found, _ = aligned(BoxTable.of(known, frames), BoxTable.of(seen, frames))
        table = np.zeros((len(groups), len(OUTCOMES)))
        for one in match(true, found, places, len(groups)):
            hit, counted = one.hits[0], one.counted[0]
            right, wrong = (np.bincount(one.groups[some], minlength=len(groups)) for some in (hit, counted & ~hit))
            table += np.stack([right, wrong, one.truth - right], 1)
        return table

    return IMAGES, groups, run, ()


def corrupt_images(crops: Array, seed: int, kind: str, strength: float) -> Array:
    """(T, h, w, 3) uint8 images after one corruption, none of strength 0; JPEG by the real codec."""
    height, width = crops.shape[1:3]
    if not strength or not len(crops):
        return crops
    if kind.startswith("JPEG"):
        coded = [cv2.imencode(".jpg", crop[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, int(strength)])[1] for crop in crops]
        return np.stack([np.asarray(cv2.imdecode(one, cv2.IMREAD_COLOR))[..., ::-1] for one in coded])
    if kind.startswith("blur"):
        return np.stack([cv2.GaussianBlur(crop, (0, 0), strength) for crop in crops])
    if kind.startswith("scale"):
        small = (max(round(width * strength), 1), max(round(height * strength), 1))
        return np.stack([cv2.resize(resize_area(crop, small), (width, height)) for crop in crops])
    if kind.startswith("rotation"):
        matrix = cv2.getRotationMatrix2D((width / 2, height / 2), strength, 1.0)
        reflected = cv2.BORDER_REFLECT_101
        return np.stack([cv2.warpAffine(crop, matrix, (width, height), borderMode=reflected) for crop in crops])
    light, noise = (strength, 2.0) if kind.startswith("dark") else (1.0, strength)  # a dark image has noise, too
    noisy = crops * light + np.random.default_rng(seed).normal(0, noise, crops.shape)
    return noisy.round().clip(0, 255).astype(np.uint8)


def turned(box: Array, size: Sequence[int], degrees: float) -> Array:
    """(4,) x1, y1, x2, y2 around the ellipse that fills `box`, after the image is rotated about its center."""
    middle, half, angle = np.array(size) / 2, (box[2:] - box[:2]) / 2, np.radians(degrees)
    c, s = np.cos(angle), np.sin(angle)
    center = np.array([[c, s], [-s, c]]) @ ((box[:2] + box[2:]) / 2 - middle) + middle
    half = np.hypot(half * c, half[::-1] * s)
    return np.asarray(np.clip(np.concatenate([center - half, center + half]), 0, np.tile(size, 2)))


def corrupt_poses(rows: Array, seed: int, kind: str, strength: float, layout: JointLayout) -> Array:
    """Rows (T, R) after one corruption, none of strength 0: lost joints keep their place, lost moments are unseen."""
    rng = np.random.default_rng(seed)
    points, confidence = layout.split(rows.copy())
    if kind.startswith("joint noise"):
        size = np.sqrt(np.square(points - points.mean(1, keepdims=True)).sum(-1).mean())
        points += rng.normal(0, size * strength / 100, points.shape)
    elif kind.startswith("joints lost"):
        lost = rng.random(points.shape[:2]) < strength / 100
        for t in range(1, len(points)):
            points[t][lost[t]] = points[t - 1][lost[t]]
    elif kind.startswith("moments lost"):
        confidence[rng.random(len(rows)) < strength / 100] = 0
    return layout.rows(points, confidence)
