"""Actions of no known class and clips far from the training: how many of them are rejected, and at what cost.

    python benchmarks/unlike.py [--data FOLDER] [--videos FOLDER] [--cache FOLDER] [--seeds 3]

Four of JHMDB's 14 classes, drawn per split and seed, are left out of the training of the head that
`edgevid train actions --head transformer` trains; clips of the other ten in the test part are known, those of the four
unknown. Everything is measured on the same clips: AUROC of unknown against known, and, with the limit chosen on
one half of the known scenes, the shares rejected of the other half and of the unknown. The measure that edgevid uses
was chosen on other classes: three of the ten, left out of a training on 70 % of the scenes of the training part
(`inner`; splits 1 and 2).

Clips far from the training go through the detector, the tracker and the pose model as in a run; each person counts
once, by the mean over the track. `--cache` keeps trained heads and poses, so that a run can go on.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from abstain import sources
from bench import conditions, save, table

from edgevid import Detector, Tracker, open_video
from edgevid.actions.clip_buffer import ClipBuffer
from edgevid.actions.clip_spec import ClipSpec
from edgevid.actions.features import JHMDB15, encode
from edgevid.actions.load import load_extractor
from edgevid.actions.recognizer import newest_crops, softmax
from edgevid.actions.typicality import Typicality, pool
from edgevid.evaluate.actions.data import Corpus, read_skeletons
from edgevid.learn.actions.experiment import make_head
from edgevid.learn.actions.fit import TrainOptions, fit, windows_of
from edgevid.types import Array

OUT, INNER, SPLITS = 4, 3, (1, 2, 3)
FAR = {
    "gymnasts": "felix_exercise.avi", "walkers": "pets09_s2l1_vtest.avi",
    "pedestrians": "ahmetozlu_pedestrian_surveillance.mp4",
}  # fmt: skip
MEASURES = ("max softmax", "max softmax, mixed", "max logit", "energy", "Mahalanobis", "k-NN", "length", "residual",
            "on its class", "opinion", "typicality")  # fmt: skip
SECONDS, MIN_STEPS = 25.0, 20
AXES = 60  # Principal axes of the pooled training features, outside of which a residual is measured
Part = dict[str, Array]


def main() -> None:
    options = asked(__doc__, "runs/unlike")
    far = {name: far_windows(options.videos / file, options.cache / f"far_{name}.npz") for name, file in FAR.items()}
    rows: dict[str, list[dict[str, Any]]] = {"inner": [], "outer": []}
    for split in SPLITS:
        for seed in range(options.seeds):
            for kind in ("inner", "outer")[split == 3 :]:
                case = Case(options.data, options.cache, split, seed, kind == "inner")
                rows[kind].append(judge(case, far if kind == "outer" else {}))
    found = {kind: summary(some) for kind, some in rows.items()} | {"trainings": rows}
    for kind in rows:
        print(f"{kind}: {len(rows[kind])} trainings\n" + table(*shown(found[kind])))
        print({key: value for key, value in found[kind].items() if key.startswith(("walkers", "known"))})
    print(f"wrote {save('unlike', found, conditions({'torch': torch.__version__}))}")


def asked(text: str | None, cache: str) -> argparse.Namespace:
    """The options of a benchmark that trains on JHMDB with one thread and keeps its heads in a folder."""
    parser = argparse.ArgumentParser(description=(text or "").splitlines()[0])
    shared = Path(__file__).resolve().parents[2] / "shared/data"
    parser.add_argument("--data", type=Path, default=shared / "actions/jhmdb_skeleton")
    parser.add_argument("--videos", type=Path, default=shared / "videos")
    parser.add_argument("--cache", type=Path, default=Path(cache))
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.cache.mkdir(parents=True, exist_ok=True)
    return options


class Case:
    """One training: which classes it knows, and the outputs for its training, known and unknown clips."""

    def __init__(self, data: Path, cache: Path, split: int, seed: int, inner: bool) -> None:
        self.split, self.seed, self.options = split, seed, TrainOptions(20, rate_hz=15.0, epochs=100, seed=seed)
        with np.load(data / f"GT_train_{split}.npz") as file:
            names = tuple(sorted(set(map(str, file["label"]))))
        train, test = (read_skeletons(data / f"GT_{part}_{split}.npz", names) for part in ("train", "test"))
        rng = np.random.default_rng([split, seed])
        self.out = sorted(rng.choice(names, OUT, replace=False).tolist())
        known = [name for name in names if name not in self.out]
        asked = sorted(rng.choice(known, INNER, replace=False).tolist())
        labels = np.array([names[e.label] for e in train.examples])
        scenes = sources(data, split, labels)
        if inner:
            self.out, known = asked, [name for name in known if name not in asked]
            all_scenes = np.unique(scenes)
            apart = np.isin(scenes, rng.permutation(all_scenes)[: int(0.3 * len(all_scenes))])
            test, train = train.pick(np.flatnonzero(apart)), train.pick(np.flatnonzero(~apart))
            unknown = read_skeletons(data / f"GT_train_{split}.npz", names)
        else:
            unknown = test
        self.parts = {"train": some(train, known), "known": some(test, known), "unknown": some(unknown, self.out)}
        self.path = cache / f"transformer_{split}_{seed}_{'inner' if inner else 'outer'}.pt"

    def outputs(self) -> tuple[Any, dict[str, Part]]:
        """The trained head, and logits, the last layer's inputs and pooled features of each part."""
        train = self.parts["train"]
        make = lambda: make_head("transformer", train.width, len(train.names), self.options)  # noqa: E731
        if self.path.exists():
            head = make()
            head.load_state_dict(torch.load(self.path))
        else:
            head = fit(make, train, None, self.options).head
            torch.save(head.state_dict(), self.path)
        head.eval()
        made = {}
        for name, corpus in self.parts.items():
            features, valid, _ = (one.numpy() for one in windows_of(corpus, self.options))
            made[name] = of_windows(head, features, valid) | {"labels": corpus.labels}
        return head, made


def of_windows(head: Any, features: Array, valid: Array) -> Part:
    seen: list[Array] = []
    hook = head.outward.register_forward_pre_hook(lambda _, given: seen.append(given[0].numpy()))
    with torch.no_grad():
        logits = head(torch.from_numpy(features), torch.from_numpy(valid)).numpy()
    hook.remove()
    return {"features": features, "valid": valid, "logits": logits, "last": seen[0], "pooled": pool(features, valid)}


def some(corpus: Corpus, names: list[str]) -> Corpus:
    """The examples of these classes, with them alone as its classes."""
    chosen = [
        replace(e, labels=np.full(len(e.labels), names.index(corpus.names[e.label])))
        for e in corpus.examples if corpus.names[e.label] in names
    ]  # fmt: skip
    return Corpus(tuple(names), tuple(chosen), corpus.rate_hz, layout=corpus.layout)


# Measures: the larger, the less like the training --------------------------------------------------


def measures(parts: dict[str, Part]) -> dict[str, Callable[[Part], Array]]:
    train, known = parts["train"], parts["known"]
    typicality = Typicality.fit(train["features"], train["valid"], train["labels"], train["logits"].shape[1])
    typicality = typicality.calibrated(*(known[key] for key in ("logits", "features", "valid", "labels")))
    parts_of = lambda part: typicality._measures(  # noqa: E731
        part["logits"], typicality.opinion(part["features"], part["valid"])
    )
    unit = lambda part: (part["pooled"] - typicality.center) / typicality.scale  # noqa: E731
    axes = np.linalg.svd(unit(train), full_matrices=False)[2][:AXES]
    return {
        "max softmax": lambda part: -np.exp(part["logits"].max(1) - energy(part["logits"])),
        "max softmax, mixed": lambda part: (
            -typicality.mixed(softmax(part["logits"]), typicality.opinion(part["features"], part["valid"])).max(1)
        ),
        "max logit": lambda part: -part["logits"].max(1),
        "energy": lambda part: -energy(part["logits"]),
        "Mahalanobis": mahalanobis(train["last"], train["labels"]),
        "k-NN": nearest(train["last"]),
        "length": lambda part: np.linalg.norm(unit(part), axis=1),
        "residual": lambda part: np.linalg.norm(unit(part) - unit(part) @ axes.T @ axes, axis=1),
        "on its class": lambda part: parts_of(part)[:, 1],
        "opinion": lambda part: parts_of(part)[:, 2],
        "typicality": lambda part: typicality._sums(parts_of(part)),
    }


def energy(logits: Array) -> Array:
    high = logits.max(1)
    return np.asarray(high + np.log(np.exp(logits - high[:, None]).sum(1)))


def mahalanobis(train: Array, labels: Array, shrink: float = 0.1) -> Callable[[Part], Array]:
    """To the nearest class mean, with one covariance (Lee et al. 2018), of the last layer's inputs."""
    means = np.stack([train[labels == c].mean(0) for c in np.unique(labels)])
    rest = train - means[labels]
    covariance = rest.T @ rest / len(rest)
    covariance = (1 - shrink) * covariance + shrink * np.trace(covariance) / len(covariance) * np.eye(len(covariance))
    inverse = np.linalg.inv(covariance)
    away = lambda x: np.stack([np.einsum("ij,jk,ik->i", x - m, inverse, x - m) for m in means], 1)  # noqa: E731
    return lambda part: away(part["last"]).min(1)


def nearest(train: Array, k: int = 5) -> Callable[[Part], Array]:
    """Distance to the k-th nearest training clip by direction (Sun et al. 2022), of the last layer's inputs."""
    unit = lambda x: (z := (x - train.mean(0)) / (train.std(0) + 1e-6)) / np.linalg.norm(z, axis=1, keepdims=True)  # noqa: E731
    own = unit(train)
    return lambda part: np.sort(np.sqrt(np.maximum(2 - 2 * unit(part["last"]) @ own.T, 0)), axis=1)[:, k - 1]


def auroc(known: Array, unknown: Array) -> float:
    """The probability that an unknown clip has a larger measure than a known one."""
    ordered = np.sort(known)
    ranks = np.searchsorted(ordered, unknown, "left") + np.searchsorted(ordered, unknown, "right")
    return float(ranks.mean() / 2 / len(known))


def judge(case: Case, far: dict[str, list[tuple[Array, Array]]]) -> dict[str, Any]:
    """One training's figures. Known test clips calibrate in one half and are judged in the other (by scene order)."""
    head, parts = case.outputs()
    row: dict[str, Any] = {"split": case.split, "seed": case.seed, "left out": case.out}
    known = parts["known"]
    row["known accuracy"] = float((known["logits"].argmax(1) == known["labels"]).mean())
    row["auroc"] = {name: auroc(m(known), m(parts["unknown"])) for name, m in measures(parts).items()}
    # The test part lists clips class by class, scene after scene: blocks of ten keep most scenes on one side.
    half = np.arange(len(known["labels"])) // 10 % 2 == 0
    first, second = ({k: v[rows] for k, v in known.items()} for rows in (half, ~half))
    found = {name: (m(first), m) for name, m in measures(parts | {"known": first}).items()}
    for name in ("max softmax", "typicality"):
        own, measure = found[name]
        limit = np.sort(own)[-max(1, int(0.1 * (len(own) + 1)))]
        rejected = {
            "known": float((measure(second) > limit).mean()),
            "unknown": float((measure(parts["unknown"]) > limit).mean()),
        }
        for clip, tracks in far.items():
            values = [measure(of_windows(head, *windows)).mean() for windows in tracks]
            rejected[clip] = float(np.mean(np.array(values) > limit))
        row[f"rejected by {name}"] = rejected
    print(row["split"], row["seed"], row["left out"], {k: round(v, 3) for k, v in row["auroc"].items()}, flush=True)
    return row


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Means over trainings, and the 95 % interval over splits of the gain over max softmax (t, n - 1)."""
    made: dict[str, Any] = {"trainings": len(rows), "auroc": {}, "gain over max softmax": {}}
    for name in MEASURES:
        made["auroc"][name] = float(np.mean([row["auroc"][name] for row in rows]))
        gains = {s: [r["auroc"][name] - r["auroc"]["max softmax"] for r in rows if r["split"] == s] for s in SPLITS}
        means = np.array([np.mean(v) for v in gains.values() if v])
        wide = 4.303 * means.std(ddof=1) / np.sqrt(len(means)) if len(means) == 3 else None
        interval = [] if wide is None else [float(means.mean() - wide), float(means.mean() + wide)]
        made["gain over max softmax"][name] = [float(means.mean()), *interval]
    for key in ("rejected by max softmax", "rejected by typicality"):
        made[key] = {clip: float(np.mean([row[key][clip] for row in rows])) for clip in rows[0][key]}
    for key in ("walk is known", "walk is left out"):
        shares = [
            r["rejected by typicality"].get("walkers") for r in rows if ("walk" in r["left out"]) == key.endswith("out")
        ]
        if shares and shares[0] is not None:
            made[f"walkers rejected where {key}"] = float(np.mean(shares))
    made["known accuracy"] = float(np.mean([row["known accuracy"] for row in rows]))
    return made


def shown(found: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    body = []
    for name in MEASURES:
        mean, *wide = found["gain over max softmax"][name]
        rejected = found.get(f"rejected by {name}", {})
        shares = ", ".join(f"{clip} {share:.0%}" for clip, share in rejected.items())
        body.append(
            [
                name,
                f"{found['auroc'][name]:.3f}",
                " ".join([f"{mean:+.3f}", *(f"({wide[0]:+.3f} to {wide[1]:+.3f})" for _ in wide[:1])]),
                shares,
            ]
        )
    return ["measure", "AUROC", "over max softmax (95 %)", "rejected at 10 % of known"], body


# Clips far from the training -----------------------------------------------------------------------


def far_windows(path: Path, cache: Path) -> list[tuple[Array, Array]]:
    """By tracked person: the windows (M, 20, D) and valid steps of each moment from a full window on."""
    if not cache.exists():
        np.savez(cache, **{str(i): np.array(rows, np.float32) for i, rows in pose_rows(path).items()})
    with np.load(cache) as file:
        tracks = [file[name] for name in file.files]
    made = []
    for rows in tracks:
        moments = np.round(rows[:, 0] * 15).astype(int)
        raw = np.zeros((moments[-1] - moments[0] + 1, rows.shape[1] - 1), np.float32)
        there = np.zeros(len(raw), bool)
        raw[moments - moments[0]], there[moments - moments[0]] = rows[:, 1:], True
        if len(raw) < MIN_STEPS:
            continue
        starts = range(0, len(raw) - 19, 5)
        windows = np.stack([raw[n : n + 20] for n in starts]), np.stack([there[n : n + 20] for n in starts])
        features, valid = encode(*windows, JHMDB15)
        enough = (valid.sum(1) >= 5) & valid[:, :10].any(1)
        if enough.any():
            made.append((features[enough], valid[enough]))
    return made


def pose_rows(path: Path) -> dict[int, list[Array]]:
    """By track: rows of time and joints, from detector, tracker and pose model."""
    extractor, tracker = load_extractor("movenet-lightning-192", threads=1), Tracker()
    detector = Detector.load("yolox-nano-416", threads=1, score_threshold=0.1, classes=("person",))
    buffer = ClipBuffer(ClipSpec(steps=1, rate_hz=15.0, width=192, height=192, stride_s=0.0), budget=None)
    rows: dict[int, list[Array]] = {}
    with open_video(path) as video:
        for frame in video:
            if frame.time > SECONDS:
                break
            clips = buffer.update(frame, tracker.update(detector.detect([frame])[0], frame.time))
            if len(clips):
                crops, times, boxes = newest_crops(clips)
                for number, time, row in zip(clips.ids.tolist(), times, extractor.extract(crops, boxes), strict=True):
                    rows.setdefault(number, []).append(np.concatenate(([time], row)))
    return rows


if __name__ == "__main__":
    main()
