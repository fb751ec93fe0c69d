"""What `edgevid train actions` does: reads the data, trains and evaluates, writes what is deployed."""

import json
import os
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch

from edgevid.actions import Aligner, ClipSpec, FeatureExtractor, PoseExtractor, load_extractor
from edgevid.actions.layout import find_layout
from edgevid.detect import Detector
from edgevid.errors import InputError, SourceError, check_choice, log
from edgevid.evaluate.actions import extract
from edgevid.evaluate.actions.data import Corpus, Example, check, list_videos, marks_of, read_poses, read_skeletons
from edgevid.files import sha256, sha256_of, vars_of, write_atomic
from edgevid.learn.actions.experiment import HeadKind, Outcome, Report, Split, run
from edgevid.learn.actions.export import Deployment
from edgevid.learn.actions.fit import TrainOptions, loss_weights
from edgevid.learn.actions.heads import Pooling, Positions
from edgevid.learn.actions.segmentation import SegmentationKind
from edgevid.learn.classifier.network import ImageOptions, augment_crops
from edgevid.models.hub import find_recipe
from edgevid.runtime import read_recipe
from edgevid.runtime.variants import model_digest
from edgevid.types import Array, Progress

LONG, BATCH_STEPS = 512, 1024  # Steps of a window of a long video, and of a batch of them
TRAINING = "training.json"  # Next to a recipe: how it was trained, and what was held out


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """The options of the command."""

    data: Path
    head: HeadKind = "transformer"
    out: Path = Path("runs/actions")
    seeds: int = 3
    epochs: int = 100
    rate_hz: float = 15.0
    window: int = 0  # Steps; 0: 20, or LONG of a head that scores each step
    lookahead: float = 0.0  # Seconds that a head which scores each step sees beyond the one it scores
    layers: int = 0  # Of the head, or of each of its stages; 0: its own number
    pooling: Pooling | Literal[""] = ""  # Of a Transformer's steps; empty: their maximum
    positions: Positions | Literal[""] = ""  # Of a Transformer's steps; empty: learned
    feature_rate: float = extract.FEATURES_HZ  # Of long videos that come as features
    layout: str = ""  # Of skeletons, or of a pose model's joints; empty: by their number, or jhmdb-15
    extractor: str = "movenet-lightning-192"
    flow: str = ""  # Of two streams: "hof", or a network of optical flow
    bidirectional: bool = False
    augmentations: int = 0
    test: float = 0.25
    patience: int = 30
    threads: int = 2
    folds: int = 0  # Folds, each held out once, whole groups at a time; 0: the data's own splits, or one of `test`
    held: tuple[str, ...] = ()
    """Absolute paths of the videos that are held out, with all of their groups; empty: `test` chooses."""
    attribute: str = ""  # Column of the labels; empty: label
    group: str = ""  # What a split keeps on one side, as `list_videos` takes it
    images: ImageOptions | None = None  # Of images of objects; without an `extractor` the head takes their pixels
    learning_curve: bool = False
    seed: int = 0  # Of the split, and of the first training

    def __post_init__(self) -> None:
        check_choice(self.head, get_args(HeadKind), "head")
        for key, words in {"pooling": get_args(Pooling), "positions": get_args(Positions)}.items():
            check_choice((given := getattr(self, key)) or words[0], words, key)
            if given and self.head not in ("transformer", "graph"):
                raise InputError(f"{key}: expected a head transformer or graph, which has it, got {self.head}")


def train_actions(config: TrainConfig, *, report: Report = lambda line: None,
                  progress: Progress = lambda done, total, name: None) -> Outcome:  # fmt: skip
    """Trains and evaluates; `report` gets a line per trial, `progress` the videos whose features are done."""
    if config.head == "compact" and (config.extractor or not config.images):
        raise InputError("head compact: it takes the pixels of images: edgevid train classifier")
    torch.set_num_threads(config.threads)
    if extract.is_features(config.data) and not Path(config.extractor or "-").exists():  # who knows what extracted them
        config = replace(config, extractor="")
    splits = {} if config.folds else official_splits(config.data, config.feature_rate, config.layout)
    spec = clip_spec(config)
    patience, seed = 0 if splits else config.patience, config.seed
    if not splits:
        corpus = check(_read(config, spec, progress))
        if config.folds and not config.held:
            parts = group_folds(corpus, config.folds, seed=seed)
        else:
            parts = [split_by_name(corpus, h) if (h := config.held) else split_by_group(corpus, config.test, seed=seed)]
        for number, (rest, test) in enumerate(parts, 1):
            train, checked = split_by_group(rest, 0.2, seed=seed + 1) if patience else (rest, None)
            name = f"by {config.group or 'group'}" + f" {number}" * (len(parts) > 1)
            splits[name] = Split(train, test, checked)
    first, test, checked = next(iter(splits.values()))
    by_step = config.head in get_args(SegmentationKind)
    lookahead = round(config.lookahead * config.rate_hz)
    window = config.window or (LONG if by_step else window_of(first, config.rate_hz))
    if lookahead and (config.bidirectional or not by_step):
        given = "--bidirectional, which sees all later steps" if by_step else f"--head {config.head}"
        raise InputError(f"lookahead: expected a causal head that scores each step (asformer, mstcn), got {given}")
    if config.flow and first.layout:
        raise InputError("flow: expected videos of which to compute it, got skeletons: their features have movement")
    seen = [*first.examples, *(checked.examples if checked else ())]
    deployment = Deployment(
        first.names, spec, _from(config.out, config.extractor), first.layout, _from(config.out, config.flow),
        stride=max(window // 4, 1), min_steps=1 if by_step else max(window // 4, 1),
        summary=f"{config.attribute} {config.head} head over {config.extractor or 'pixels'}".strip(),
        trained=sorted(set().union(*map(marks_of, seen))), inside=config.images.inside if config.images else "",
    )  # fmt: skip
    counts = f"{len(first.names)} classes, {len(first)} training and {len(test)} held-out clips in {len(splits)}"
    many = f"split{'s' if len(splits) > 1 else ''}: {', '.join(splits)}"
    report(f"{counts} {many}; chance {100 / len(first.names):.1f} %")
    batch = max(BATCH_STEPS // window, 1) if by_step else TrainOptions().batch
    chosen: Any = {key: getattr(config, key) for key in ("seed", "images", "layers", "pooling", "positions")}
    options = TrainOptions(window, lookahead, config.rate_hz, config.epochs, patience, batch, **chosen)
    weights = zip(first.names, loss_weights(first).tolist(), strict=True)
    report("class weights: " + ", ".join(f"{name} {weight:.2f}" for name, weight in weights))
    outcome = run(splits, config.head, config.out, options, deployment, seeds=config.seeds,
                  causal=not config.bidirectional, report=report, progress=progress,
                  learning_curve=config.learning_curve)  # fmt: skip
    if config.images:
        return outcome
    kept = {"data": config.data.resolve(), "held": [os.path.abspath(e.name) for e in test.examples]}
    models = {"extractor": config.extractor, "flow": config.flow}
    kept |= {key: str(path.resolve()) for key, name in models.items() if (path := Path(name or "-")).exists()}
    write_atomic(config.out / TRAINING, json.dumps(vars_of(config) | kept, indent=1, default=str) + "\n")
    return outcome


def _read(config: TrainConfig, spec: ClipSpec, progress: Progress) -> Corpus:
    """The corpus of data without splits of their own."""
    if extract.is_features(config.data):
        return extract.read_features(config.data, config.feature_rate)
    if listed := extract.list_long_videos(config.data):
        return extract.read_long_videos(*listed, _extractor(config), spec, progress)
    return read_poses(config.data, config.layout) or read_videos(config, spec, progress)


def _extractor(config: TrainConfig) -> FeatureExtractor | PoseExtractor:
    layout = find_layout(config.layout or "jhmdb-15")
    return load_extractor(config.extractor, layout=layout, flow=config.flow, threads=config.threads)


def _from(folder: Path, model: str) -> str:
    """A model as a recipe in a folder names it: a path relative to it, or its name."""
    path = Path(model or "-")
    return os.path.relpath(path.resolve(), folder.resolve()) if path.exists() else model


def window_of(corpus: Corpus, rate_hz: float) -> int:
    """Steps of a window: what 95 % of skeletons fit in, from 20 to 64; 20 of videos, which may be long."""
    lengths = [len(example.raw) for example in corpus.examples]
    longest = np.quantile(lengths, 0.95) * rate_hz / corpus.rate_hz if corpus.layout else 0
    return int(np.clip(np.ceil(longest), 20, 64))


def clip_spec(config: TrainConfig) -> ClipSpec:
    """How crops are cut for the extractor, at training and at run time."""
    path, image = Path(config.extractor), config.images
    own = (read_recipe(path) if path.exists() else find_recipe(config.extractor)).input if config.extractor else image
    width, height = (own.width, own.height) if own else (192, 192)
    more: Any = {"fit": "letterbox", "context": image.context} if image else {}
    stride = 0.5 if image and not config.extractor else 0.0
    return ClipSpec(steps=1, rate_hz=config.rate_hz, width=width, height=height, stride_s=stride, **more)


def read_videos(config: TrainConfig, spec: ClipSpec, progress: Progress = lambda done, total, name: None) -> Corpus:
    """The corpus of labeled videos: rows of the extractor at `spec.rate_hz`, from the cache where present.

    Every video goes through the ClipBuffer and the extractor of the pipeline, so there is no second preprocessing
    that could differ. Results are cached, one file per video and augmentation: an interrupted run continues.
    Augmented copies (kornia: geometry, color, JPEG) are for training. Crop videos of several people to the one who
    acts first. Files that cannot be read, or in which nothing is found, are left out and named on the log."""
    names, videos = list_videos(config.data, config.attribute, config.group)
    extractor = _extractor(config) if config.extractor else None
    inside, examples, copies, left_out = config.images.inside if config.images else "", [], {}, list[str]()
    align = Aligner(Detector(inside, threads=config.threads), spec) if inside else None
    each = 1 + config.augmentations
    for number, video in enumerate(videos):
        rows = []
        try:
            for copy in range(each):
                progress(number * each + copy, len(videos) * each, f"reading {video.path.name}")
                if extractor is None:
                    rows.append(_cut(video.path, spec, align)[0].reshape(-1, spec.height * spec.width * 3))
                else:
                    rows.append(_features(video.path, extractor, spec, copy, align))
            if not len(rows[0]):
                raise SourceError(f"{video.path}: " + (f"{inside} finds nothing in it" if inside else "too short"))
        except SourceError as error:
            left_out.append(str(error))
            continue
        label = np.full(len(rows[0]), names.index(video.label))
        examples.append(Example(str(video.path), video.group, rows[0], label, sha256_of(video.path)))
        copies[str(video.path)] = tuple(r for r in rows[1:] if len(r))
    progress(len(videos) * each, len(videos) * each, "")
    joints = extractor.layout if isinstance(extractor, PoseExtractor) else None
    if left_out:
        log.warning("%d of %d files are left out: %s", len(left_out), len(videos), "; ".join(left_out[:8]))
    return Corpus(names, tuple(examples), spec.rate_hz, layout=joints, augmentations=copies)


def _cut(path: Path, spec: ClipSpec, align: Aligner | None) -> tuple[Array, Array]:
    """(L, h, w, 3) crops of each moment, of those in which `align` finds something, and their rectangles (L, 4)."""
    crops, boxes = extract.crop_video(path, align.searched if align else spec)
    crops, found = align(crops) if align else (crops, boxes)
    some = ~np.isnan(found[:, 0])
    return crops[some], boxes[some]


def _features(path: Path, extractor: FeatureExtractor | PoseExtractor, spec: ClipSpec, copy: int,
              align: Aligner | None = None) -> Array:  # fmt: skip
    """(T, R) rows of one video, or of an augmented copy of it, extracted or from the cache."""
    state, identity = path.stat(), extract.identity_of(extractor)
    if align is not None and align.detector.recipe.local:
        identity += f" {align.searched.digest} {model_digest(align.detector.recipe.local)}"
    key = [str(path.resolve()), state.st_size, state.st_mtime_ns, spec.digest, identity, copy]

    def extracted() -> tuple[Array, ...]:
        if extractor.steps:
            if copy or align:
                raise InputError(f"{'augmentations' if copy else 'inside'}: expected a model of single images, got "
                                 f"clips or flow before the head: {extractor.recipe.name}")  # fmt: skip
            return extract.timed_rows(path, extractor, spec)[1:]
        crops, boxes = _cut(path, spec, align)
        if not len(crops):
            return (np.zeros((0, extractor.raw_width), np.float32),)
        shown = augment_crops(crops, int(sha256(json.dumps(key))[:8], 16)) if copy else crops
        return (extractor.extract(shown, boxes),)

    return extract.cached(key, extracted)[0]


def split_by_group(corpus: Corpus, share: float, *, seed: int = 0) -> tuple[Corpus, Corpus]:
    """(rest, held out): about `share` of the examples of every class, whole groups at a time. InputError where a class
    has one group only: a split would put one scene on both sides."""
    if not 0 < share < 1:
        raise InputError(f"split: expected a share between 0 and 1, got {share}")
    rng = np.random.default_rng(seed)
    held: set[str] = set()
    group_of = np.array([e.group for e in corpus.examples])
    has = np.stack([np.isin(range(len(corpus.names)), e.labels) for e in corpus.examples])  # of each its classes
    for label, name in enumerate(corpus.names):
        sizes = Counter(group_of[has[:, label]].tolist())
        if len(sizes) < 2:
            what = f"split: class {name!r} comes from one video or scene only ({', '.join(sizes) or 'none'})"
            remedy = "Add clips from at least one more video, or name the groups in a CSV"
            raise InputError(f"{what}: training and test would see the same scene. {remedy}")
        expected, taken = share * sizes.total(), sum(sizes[group] for group in held)
        free = sorted(sizes.keys() - held)
        for group in (free[i] for i in rng.permutation(len(free))[: len(free) - 1]):
            if taken and taken + sizes[group] / 2 > expected:
                continue
            held.add(group)
            taken += sizes[group]
            if taken >= expected:
                break
    out = np.isin(group_of, sorted(held))
    return corpus.pick(np.flatnonzero(~out)), corpus.pick(np.flatnonzero(out))


def group_folds(corpus: Corpus, count: int, *, seed: int = 0) -> list[tuple[Corpus, Corpus]]:
    """(rest, held out) of each of `count` folds: whole groups at a time, the largest first into the fold that has least
    of its classes. InputError where there are fewer groups, or where a fold holds all clips of a class."""
    groups, of = np.unique([e.group for e in corpus.examples], return_inverse=True)
    if not 2 <= count <= len(groups):
        raise InputError(f"folds: expected 2 to {len(groups)}, the number of groups (subjects or scenes), got {count}")
    table, held = (np.zeros((rows, len(corpus.names))) for rows in (len(groups), count))
    np.add.at(table, (of, corpus.labels), 1)
    fold = np.zeros(len(groups), int)
    for row in sorted(np.random.default_rng(seed).permutation(len(groups)), key=lambda row: -table[row].sum()):
        fold[row] = np.lexsort((held.sum(1), held @ table[row]))[0]
        held[fold[row]] += table[row]
    rows = (np.flatnonzero(fold[of] == n) for n in range(count))
    return [(check(corpus.pick(np.delete(np.arange(len(of)), some))), corpus.pick(some)) for some in rows]


def split_by_name(corpus: Corpus, held: Collection[str]) -> tuple[Corpus, Corpus]:
    """(rest, held out): the videos of these absolute paths; others of their groups are in neither."""
    out = np.array([os.path.abspath(e.name) in held for e in corpus.examples])
    groups = [e.group for e in corpus.examples]
    near = np.isin(groups, [group for group, one in zip(groups, out, strict=True) if one])
    return corpus.pick(np.flatnonzero(~near)), corpus.pick(np.flatnonzero(out))


def official_splits(folder: Path, feature_rate: float = extract.FEATURES_HZ, layout: str = "") -> dict[str, Split]:
    """Training and test data of every pair *_train_K.npz and *_test_K.npz of skeletons, by splits/ of features, or of
    MSRAction3D's odd and even subjects."""
    if folder.suffix == ".zip" and (whole := read_poses(folder)):
        odd = np.array([int(e.group.split()[1]) % 2 for e in whole.examples])
        return {"cross-subject": Split(whole.pick(np.flatnonzero(odd)), whole.pick(np.flatnonzero(1 - odd)))}
    if extract.is_features(folder):
        corpus = check(extract.read_features(folder, feature_rate))
        return {name: Split(*halves) for name, halves in extract.folds(folder, corpus).items()}
    found = {}
    for train in sorted(folder.glob("*_train_*.npz")):
        test = train.with_name(train.name.replace("_train_", "_test_"))
        if not test.is_file():
            raise InputError(f"{train.name}: its test half {test.name} is missing next to it")
        known = read_skeletons(train, layout=layout)
        found[train.stem.rpartition("_")[2]] = Split(known, read_skeletons(test, known.names, layout))
    return found
