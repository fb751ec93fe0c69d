"""k-means++ over the features of series; rare groups first, with advice on the number of clusters."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from edgevid.errors import InputError, require
from edgevid.files import fill_page, read_toml, toml_text, write_atomic
from edgevid.insight.sources import LEAST, TRACK_FEATURES, SeriesChunk, track_series
from edgevid.types import Array, Closing, Event, Frame, Reason, Result

SCHEMA = "edgevid.clusters/1"
HEAD = "# Give a cluster a name: `edgevid cluster --apply` labels series with it."
CLIP = 8.0  # Interquartile ranges beyond which a feature of a series is as strange as it gets
CANDIDATES = (4, 8, 12, 16, 24, 32)
DEFAULT = 24  # More clusters than look best, so that rare groups get their own (benchmarks/cluster.py)
SAMPLE = 5_000  # Series for silhouettes and HDBSCAN, whose cost is the square of the number
FIT = 50_000  # Series on which k-means starts
RARE = 0.03
MEDOIDS = 5
LIMIT = 0.99  # Share of a cluster within its limit: a series beyond it belongs to no cluster


@dataclass(frozen=True, slots=True)
class Clusters:
    """What assigns series to clusters: (F,) center and scale, (K, F) centroids, (K,) limits."""

    features: tuple[str, ...]
    center: Array  # (F,) medians
    scale: Array  # (F,) interquartile ranges
    centroids: Array  # (K, F) scaled features
    limits: Array  # (K,) distances above which a series is in none
    names: tuple[str, ...]  # Of the clusters, "" where no one named it

    def scaled(self, features: Array) -> Array:
        """(N, F) features in interquartile ranges from the median, clipped."""
        return np.clip((features - self.center) / self.scale, -CLIP, CLIP).astype(np.float32)

    def assign(self, features: Array) -> tuple[Array, Array]:
        """(N, F) features -> (N,) nearest cluster, -1 beyond its limit, and (N,) distances."""
        nearest, distance = _nearest(self.scaled(features), self.centroids)
        return np.where(distance <= self.limits[nearest], nearest, -1), distance

    def save(self, path: str | Path) -> None:
        """Writes TOML; a `name` that is typed there is the label of the cluster's series."""
        known = zip(self.names, self.limits.tolist(), self.centroids, strict=True)
        rows = [{"name": n, "limit": round(limit, 5), "centroid": np.round(at, 5).tolist()} for n, limit, at in known]
        top = {"schema": SCHEMA, "features": self.features, "center": self.center, "scale": self.scale}
        write_atomic(Path(path), toml_text({"": [top], "[cluster]": rows}, head=HEAD))


@dataclass(slots=True)
class Clustering:
    """Clusters and what was found about them. N series, K clusters."""

    clusters: Clusters
    ids: list[str]
    labels: Array  # (N,) The cluster of each series
    distances: Array  # (N,) To its centroid, in interquartile ranges
    sizes: Array  # (K,) Series of each cluster
    order: Array  # (K,) Rare clusters first, each kind the farthest from the largest cluster first
    medoids: dict[int, list[int]]  # Rows nearest to each centroid
    curves: dict[int, Array]  # (T,) Values of these, by row
    tried: list[tuple[int, float, float]]  # Per number of clusters inertia per series and silhouette, on the sample
    stability: Array  # (K,) Mean Jaccard index with the nearest cluster of ten repetitions on other samples
    hdbscan: tuple[int, float]  # Its number of clusters on the sample, and share of outliers
    left_out: dict[str, int] = field(default_factory=dict)  # By reason, series that the cleaning rules left out

    def profile(self, number: int, count: int = 4) -> list[tuple[str, float]]:
        """The features that are farthest from the median of all series, in interquartile ranges."""
        place = self.clusters.centroids[number]
        return [(self.clusters.features[i], float(place[i])) for i in np.argsort(-np.abs(place))[:count]]

    def advice(self) -> str:
        """Whether to look at more, or fewer, clusters."""
        count = len(self.sizes)
        best = max(score for _, _, score in self.tried)
        good = [k for k, _, score in self.tried if score >= best - 0.05]
        rare = int((self.sizes < RARE * self.sizes.sum()).sum())
        first = f"{rare} of {count} clusters hold less than {RARE:.0%} of the series each: look at these first"
        best_of = f"The silhouette is best, or within 0.05 of it, with {', '.join(map(str, good))} clusters"
        more = f"More clusters show groups that hide in a large one: try --clusters {2 * count}, too"
        return f"{first}. {best_of}. {more}."


def cluster(chunks: Iterable[SeriesChunk], count: int | None = None, *, seed: int = 0) -> Clustering:
    """Clusters series that are read in chunks; `count` clusters, 24 by default. k-means++ (Arthur, Vassilvitskii 2007)
    on robustly scaled features; the choice of `count` is evaluated by inertia, silhouettes and HDBSCAN on a seeded
    sample of 5,000. InputError below 10 series a cluster, MissingExtraError without scikit-learn."""
    learn = require("sklearn.cluster", extra="cluster", purpose="clusters")
    ids: list[str] = []
    parts, curves, left_out = list[Array](), list[Array](), Counter[str]()
    names: tuple[str, ...] = ()
    for chunk in chunks:
        ids += chunk.ids
        names = chunk.names
        parts.append(chunk.features)
        curves.extend(chunk.values.astype(np.float16 if np.abs(chunk.values).max(initial=0) < 6e4 else np.float32))
        left_out.update(chunk.left_out)
    if len(ids) < 10 * (count or 4):
        lost = "".join(f"; {number} left out: {why}" for why, number in left_out.items())
        raise InputError(f"expected at least {10 * (count or 4)} series for {count or 4} clusters, got "
                         f"{len(ids)}{lost}")  # fmt: skip
    features = np.concatenate(parts)
    del parts
    rng = np.random.default_rng(seed)
    some = _sample(rng, len(ids), FIT)
    clusters = _unfitted(names, features[some])
    scaled = clusters.scaled(features)
    del features
    few = _sample(rng, len(ids), SAMPLE)
    tried = _tried(learn, scaled[few], seed)
    dense = learn.HDBSCAN(min_cluster_size=max(10, len(few) // 200), copy=True).fit(scaled[few]).labels_
    k = count or min(DEFAULT, len(ids) // 20)
    start = learn.KMeans(k, n_init=3, random_state=seed).fit(scaled[some])
    model = learn.KMeans(k, init=start.cluster_centers_, n_init=1, max_iter=50, tol=1e-3).fit(scaled)
    labels, distances = _nearest(scaled, model.cluster_centers_)
    sizes = np.bincount(labels, minlength=k)
    limits = np.array([np.quantile(distances[labels == i], LIMIT) if sizes[i] else 0.0 for i in range(k)])
    fitted = Clusters(names, clusters.center, clusters.scale, model.cluster_centers_, limits, ("",) * k)
    nearest = np.lexsort((distances, labels))
    first = np.cumsum(sizes) - sizes
    medoids = {i: nearest[first[i] :][: min(MEDOIDS, sizes[i])].tolist() for i in range(k) if sizes[i]}
    shown = {row: np.asarray(curves[row], float) for rows in medoids.values() for row in rows}
    far = np.linalg.norm(model.cluster_centers_ - model.cluster_centers_[sizes.argmax()], axis=1)
    order = np.lexsort((-far, sizes >= RARE * len(ids)))
    return Clustering(fitted, ids, labels, distances, sizes, order[sizes[order] > 0], medoids, shown, tried,
                      _stability(learn, scaled, labels, k, rng), (int(dense.max() + 1), float((dense < 0).mean())),
                      dict(left_out))  # fmt: skip


def read_clusters(path: str | Path) -> Clusters:
    """Clusters that were saved; InputError where the file holds none."""
    found = read_toml(path)
    try:
        rows = found["cluster"]
        return Clusters(tuple(found["features"]), np.array(found["center"], float), np.array(found["scale"], float),
                        np.array([row["centroid"] for row in rows], float),
                        np.array([row["limit"] for row in rows], float),
                        tuple(str(row.get("name", "")) for row in rows))  # fmt: skip
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: expected clusters as `edgevid cluster` writes them, got a file in which {error!r} "
                         "is missing or wrong; write it again") from None  # fmt: skip


def _sample(rng: np.random.Generator, count: int, most: int) -> Array:
    return np.sort(rng.choice(count, most, replace=False)) if count > most else np.arange(count)


def _unfitted(names: tuple[str, ...], features: Array) -> Clusters:
    """Medians and interquartile ranges; where most series share a value, the standard deviation."""
    center = np.median(features, axis=0)
    low, high = np.quantile(features, [0.25, 0.75], axis=0)
    spread = features.std(axis=0)
    scale = np.where(high - low > 0.05 * spread, high - low, np.where(spread > 0, spread, 1.0))
    return Clusters(names, center, scale, np.empty((0, len(names))), np.empty(0), ())


def _nearest(scaled: Array, centroids: Array) -> tuple[Array, Array]:
    """(N,) nearest centroid and distance, in blocks that stay small."""
    labels, distances = np.empty(len(scaled), np.int64), np.empty(len(scaled))
    norms = (centroids**2).sum(1)
    for at in range(0, len(scaled), FIT):
        block = scaled[at : at + FIT]
        squares = norms - 2 * block @ centroids.T
        labels[at : at + FIT] = nearest = squares.argmin(1)
        square = squares[np.arange(len(block)), nearest] + (block.astype(float) ** 2).sum(1)
        distances[at : at + FIT] = np.sqrt(np.maximum(square, 0))
    return labels, distances


def _tried(learn: Any, sample: Array, seed: int) -> list[tuple[int, float, float]]:
    from sklearn.metrics import silhouette_score

    found = []
    for k in (k for k in CANDIDATES if k <= len(sample) // 10):
        model = learn.KMeans(k, n_init=3, random_state=seed).fit(sample)
        found.append((k, model.inertia_ / len(sample), float(silhouette_score(sample, model.labels_))))
    return found


def _stability(learn: Any, scaled: Array, labels: Array, k: int, rng: np.random.Generator) -> Array:
    """(K,) how much of each cluster is found again by k-means on ten other samples (Hennig 2007)."""
    total = np.zeros(k)
    for turn in range(10):
        rows = _sample(rng, len(scaled), 2 * SAMPLE)
        rows = rng.choice(rows, len(rows))  # a bootstrap
        again = learn.KMeans(k, n_init=1, random_state=turn).fit(scaled[rows]).labels_
        table = np.zeros((k, k))
        np.add.at(table, (labels[rows], again), 1)
        union = table.sum(1, keepdims=True) + table.sum(0) - table
        total += (table / np.maximum(union, 1)).max(1)
    return total / 10


MOST = 4096  # Moments that are kept of a track; of a longer one every second is left out


class ClusterLabels(Closing):
    """A sink that puts labels into the events "track-ended"; give it to `run` before the others. `task` is "cluster".
    The label is the name of the nearest cluster; LOW_CONFIDENCE is beyond the limit of all, TOO_SHORT below 8 frames,
    UNCERTAIN a motion that no object has. Tracks of unnamed clusters have no label."""

    def __init__(self, path: str | Path) -> None:
        """`path`: clusters.toml; InputError unless its clusters are of tracks and one has a name."""
        self._clusters = read_clusters(path)
        if self._clusters.features != TRACK_FEATURES or not any(self._clusters.names):
            raise InputError(f"{path}: expected clusters of tracks, one of which has a name, got none: take those that "
                             "edgevid cluster writes of a database, and type names")  # fmt: skip
        self._rows, self._steps = dict[int, list[tuple[float, ...]]](), dict[int, int]()

    def write(self, frame: Frame, result: Result) -> None:
        """Notes where each object is, and its speed."""
        speeds = {i: one.mps for i, one in result.display_speeds().items()}
        for i, (x1, y1, x2, y2) in zip(result.tracks.ids.tolist(), result.tracks.boxes.tolist(), strict=True):
            rows, step = self._rows.setdefault(i, []), self._steps.setdefault(i, 1)
            if result.frame_index % step == 0:
                rows.append((result.time, (x1 + x2) / 2, y2, y2 - y1, speeds.get(i, np.nan)))
            if len(rows) == MOST:
                self._rows[i], self._steps[i] = rows[::2], 2 * step

    def annotate(self, event: Event) -> Event:
        """The event, with a label where a track ended."""
        if event.kind != "track-ended" or event.track not in self._rows:
            return event
        self._steps.pop(event.track)
        times, x, y, height, speed = np.array(self._rows.pop(event.track), float).T
        found = track_series(times, np.column_stack([x, y]), height, speed)
        reason = Reason.TOO_SHORT if len(times) < LEAST else Reason.UNCERTAIN
        if not isinstance(found, str):
            ((cluster,), _) = self._clusters.assign(found[0][None])
            if cluster >= 0:
                return replace(event, task="cluster", label=self._clusters.names[cluster])
            reason = Reason.LOW_CONFIDENCE
        return replace(event, task="cluster", reason=reason.name)

    def close(self) -> None:
        """Nothing is left to do."""


def page(found: Clustering, title: str, clips: Mapping[str, str] | None = None) -> str:
    """The page of clusters as HTML. `clips` are links by id."""
    total, names = int(found.sizes.sum()), found.clusters.names
    cards = [{"name": names[k] or f"Cluster {k}", "size": int(found.sizes[k]), "share": found.sizes[k] / total,
              "stability": float(found.stability[k]), "profile": found.profile(k),
              "curves": [found.curves[row].tolist() for row in found.medoids[k]],
              "nearest": [(found.ids[row], (clips or {}).get(found.ids[row], "")) for row in found.medoids[k]]}
             for k in found.order.tolist()]  # fmt: skip
    units = "speed over time" if "duration_s" in found.clusters.features else "values in order"
    data = {"cards": cards, "total": total, "advice": found.advice(), "left_out": found.left_out, "tried": found.tried,
            "hdbscan": found.hdbscan, "units": units, "rare": RARE, "longest": CLIP}  # fmt: skip
    return fill_page(Path(__file__).with_name("page.html"), title, data)
