"""Label errors by confident learning, near-duplicates with contradictory labels, and outliers of a class. Confident
learning: Northcutt, Jiang and Chuang 2021 (arXiv 1911.00068), from the paper."""

import os
import sqlite3
from base64 import b64encode
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from edgevid.actions.recognizer import softmax
from edgevid.errors import FileFormatError, InputError, require
from edgevid.evaluate.actions.data import Corpus, list_videos, read_poses
from edgevid.evaluate.items import read_table
from edgevid.evaluate.tune.score_files import read_arrays
from edgevid.evaluate.verdicts import read_tracks
from edgevid.files import fill_page
from edgevid.types import U8, Array
from edgevid.video.images import resize_area
from edgevid.video.open import are_images, open_video

FOLDS, NEIGHBORS = 5, 10
NEAR = 0.2  # Near-duplicates are closer than this share of the median distance to the nearest neighbor
FAR = 3.0  # An outlier is this many interquartile ranges farther from its class than three quarters of it
MOST = 10_000  # Items up to which the support vector machine, whose cost is their square, takes part


class LabelErrors(NamedTuple):
    """M suspicious items, the surest first: (M,) rows, kinds, the likelier class, and by how much it is."""

    rows: Array
    kinds: tuple[str, ...]  # "label", "duplicate" and "outlier", as many as apply, joined by "+"
    suggested: Array
    margin: Array  # Probability of the given label minus that of the suggested one
    noise: float  # Estimated share of wrong labels among all items


def find_label_errors(probabilities: Array, labels: Array, features: Array | None = None) -> LabelErrors:
    """From out-of-fold probabilities (N, C), labels (N,) and, for the other kinds, features (N, F). "label": the
    class whose probability reaches its mean over the items of that label (the most probable one of several) is another;
    "duplicate": a near-duplicate has another label; "outlier": far from its class. Mere outliers come last."""
    rows, classes = np.arange(len(labels)), probabilities.shape[1]
    counts, own = np.bincount(labels, minlength=classes), probabilities[rows, labels]
    usual = np.bincount(labels, own, classes) / np.maximum(counts, 1)
    confident = np.where((probabilities >= usual) & (counts > 0), probabilities, -1)
    latent, sure = confident.argmax(1), confident.max(1) >= 0
    joint = np.zeros((classes, classes))
    np.add.at(joint, (labels[sure], latent[sure]), 1)
    joint *= (counts / np.maximum(joint.sum(1), 1))[:, None]
    found = {"label": sure & (latent != labels)}
    if features is not None:
        found |= _neighbors(features, labels)
    masks = np.array(list(found.values()))
    suggested = np.where(masks[0], latent, probabilities.argmax(1))
    margin = own - probabilities[rows, suggested]
    order = np.lexsort((margin, ~masks[:2].any(axis=0)))
    listed = order[np.any(masks, axis=0)[order]]
    kinds = tuple("+".join(kind for kind, mask in found.items() if mask[row]) for row in listed)
    return LabelErrors(listed, kinds, suggested[listed], margin[listed], 1 - float(np.trace(joint) / joint.sum()))


def compare_labels(old: Path, new: Path) -> list[dict[str, Any]]:
    """Agreement of old labels (label_errors.csv or a data set's CSV) with the blind ones of a review's export: a row of
    compare.sql for each old class and one for all. FileFormatError for other files, InputError without common items."""
    with sqlite3.connect(":memory:") as base:
        base.executescript(Path(__file__).with_name("compare.sql").read_text())
        base.row_factory = sqlite3.Row
        for table, path in (("old", old), ("new", new)):
            rows = read_table(path)
            if not rows or "label" not in rows[0] or not {"item", "path"} & rows[0].keys():
                raise FileFormatError(path, "header", expected="label, and item or path", got=[*rows[0]] if rows else 0)
            items = [row.get("source") or row.get("item") or row["path"] for row in rows]
            known = [os.path.abspath(one if os.path.exists(one) else path.parent / one) for one in items]
            more = [row.get("blind", 1) if table == "new" else "kind" in row for row in rows]
            values = zip(known, (row["label"] for row in rows), more, strict=True)
            base.executemany(f"INSERT OR REPLACE INTO {table} VALUES (?, ?, ?)", values)
        found = [dict(row) for row in base.execute("SELECT * FROM compared")]
    if not found:
        raise InputError(f"{new}: expected items of {old} that were labeled blind, got none")
    return found


def out_of_fold(features: Array, labels: Array, groups: Array | None = None, *, seed: int = 0) -> Array:
    """(N, C) probabilities of each item by models that did not see it, nor any other of its group. The mean of 10
    nearest neighbors, a logistic regression and a support vector machine, over five folds. InputError where a class has
    fewer than five items or groups; MissingExtraError without scikit-learn."""
    require("sklearn", extra="cluster", purpose="label errors")
    from sklearn import linear_model, model_selection, neighbors, pipeline, preprocessing, svm

    scenes = np.arange(len(labels)) if groups is None else groups
    many = [len(np.unique(scenes[labels == k])) for k in range(labels.max() + 1)]
    if min(many) < FOLDS or len(many) < 2:
        of = "items" if groups is None else "groups (scenes)"
        raise InputError(f"label errors: expected 2 or more classes of {FOLDS} or more {of} each, got {many}")
    linear = linear_model.LogisticRegression(C=0.05, max_iter=1000)
    models = [neighbors.KNeighborsClassifier(NEIGHBORS, weights="distance"),
              pipeline.make_pipeline(preprocessing.StandardScaler(), linear), svm.SVC()]  # fmt: skip
    models = models[: 3 if len(labels) <= MOST else 2]
    kind = model_selection.StratifiedKFold if groups is None else model_selection.StratifiedGroupKFold
    found = np.zeros((len(labels), len(many)))
    for train, test in kind(FOLDS, shuffle=True, random_state=seed).split(features, labels, groups):
        for model in (one.fit(features[train], labels[train]) for one in models):
            if hasattr(model, "predict_proba"):
                shares = model.predict_proba(features[test])
            else:
                decided = model.decision_function(features[test])
                shares = softmax(2 * (decided if decided.ndim == 2 else np.stack([-decided, decided], 1)))
            found[np.ix_(test, model.classes_)] += shares / len(models)
    return found


def _neighbors(features: Array, labels: Array) -> dict[str, Array]:
    from sklearn.neighbors import NearestNeighbors

    def nearest(some: Array) -> tuple[Array, Array]:
        count = min(NEIGHBORS, len(some) - 1)
        return NearestNeighbors(n_neighbors=count).fit(some).kneighbors()  # type: ignore[no-any-return]

    distance, index = nearest(features)
    near, outlier = distance <= NEAR * np.median(distance[:, 0]), np.zeros(len(labels), bool)
    for rows in (np.flatnonzero(labels == label) for label in np.unique(labels)):
        if len(rows) > NEIGHBORS:
            far = nearest(features[rows])[0][:, -1]
            low, high = np.quantile(far, [0.25, 0.75])
            outlier[rows] = far > high + FAR * (high - low)
    return {"duplicate": (near & (labels[index] != labels[:, None])).any(1), "outlier": outlier}


SIDE = 16  # Pixels of the side of the gray image that describes an image without an extractor


class Labeled(NamedTuple):
    """N labeled items of C classes: (N,) labels, and (N, F) features or (N, C) out-of-fold probabilities."""

    items: tuple[str, ...]  # Their paths, tracks or numbers
    names: tuple[str, ...]
    labels: Array
    features: Any = None
    groups: Array | None = None  # (N,) scenes, where they are known
    probabilities: Array | None = None
    images: Array | None = None  # (N, h, w), where they were given; else items may be files of images

    def image(self, row: int) -> U8 | None:
        """(h, w, 3) RGB of an item; None where it has none."""
        if self.images is None:
            return _first_image(Path(self.items[row])) if Path(self.items[row]).is_file() else None
        low, high = float(self.images.min()), float(self.images.max())
        shown = (255 * (self.images[row] - low) / max(high - low, 1e-9)).astype(np.uint8)
        return np.repeat(shown[..., None], 3, 2)


def read_labeled(path: Path, extractor: str = "") -> Labeled:
    """Reads out-of-fold scores (CSV or NPZ, docs/abstain.md), features (NPZ with `features`, `labels` and optional
    `items`, `groups`, `images`), skeletons, or a folder or CSV as of `edgevid train actions`. `extractor` describes
    images and videos; without one, images are described by their pixels."""
    kind = path.suffix.lower()
    arrays = read_arrays(path) if kind == ".npz" else {}
    if "joints" in arrays and (corpus := read_poses(path)):
        return _of_corpus(corpus)
    if {"features", "labels"} <= arrays.keys():
        classes, labels = np.unique(arrays["labels"].astype(str), return_inverse=True)
        items = tuple(map(str, arrays.get("items", range(len(labels)))))
        known = {name: arrays.get(name) for name in ("features", "groups", "images")}
        return Labeled(items, tuple(classes.tolist()), labels.reshape(-1), **known)
    if arrays or (kind == ".csv" and path.is_file() and b"path" not in path.open("rb").readline()):
        found = read_tracks(path)
        return Labeled(found.items, found.names, found.labels, probabilities=found.probabilities)
    if extractor:
        from edgevid.learn.actions.train import TrainConfig, clip_spec, read_videos

        config = TrainConfig(path, extractor=extractor)
        return _of_corpus(read_videos(config, clip_spec(config)))
    names, videos = list_videos(path)
    if video := next((one.path for one in videos if not are_images(str(one.path))), None):
        raise InputError(f"{video}: expected images, got a video; name the model that describes it: --extractor")
    pixels = [resize_area(_first_image(one.path), (SIDE, SIDE)).mean(2).ravel() / 255 for one in videos]
    labels, groups = np.array([names.index(one.label) for one in videos]), np.array([one.group for one in videos])
    return Labeled(tuple(str(one.path) for one in videos), names, labels, np.array(pixels), groups)


def _of_corpus(corpus: Corpus) -> Labeled:
    """Mean and standard deviation over time of each example's features, each column of variance 1."""
    rows = []
    for example in corpus.examples:
        steps, valid = corpus.encode(example.raw, np.ones(len(example.raw), bool))
        known = steps[valid] if valid.any() else steps
        rows.append(np.concatenate([known.mean(0), known.std(0)]))
    found = np.array(rows, np.float64)
    found = (found - found.mean(0)) / np.maximum(found.std(0), 1e-9)
    items, groups = ([getattr(e, key) for e in corpus.examples] for key in ("name", "group"))
    return Labeled(tuple(items), corpus.names, corpus.labels, found, np.array(groups))


def _first_image(path: Path) -> U8:
    with open_video(path) as video:
        return next(iter(video)).image


def errors_page(found: LabelErrors, data: Labeled, title: str, images: list[bytes | None]) -> str:
    """The page of label errors as HTML; `images` are JPEGs of the first of them, which are shown."""
    rows = zip(found.rows.tolist(), found.kinds, found.suggested.tolist(), images, strict=False)
    cards = [{"item": data.items[row], "kind": kind, "given": data.names[data.labels[row]], "new": data.names[new],
              "image": b64encode(jpeg or b"").decode()} for row, kind, new, jpeg in rows]  # fmt: skip
    values = {"cards": cards, "listed": len(found.rows), "total": len(data.labels), "noise": found.noise,
              "pixels": data.images is not None}  # fmt: skip
    return fill_page(Path(__file__).with_name("errors.html"), title, values)
