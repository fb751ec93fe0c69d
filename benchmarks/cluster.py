"""Rare groups planted among time series: does each get a cluster of its own? And what a million series cost.

    python benchmarks/cluster.py                  (pip install 'edgevid[cluster]')
    python benchmarks/cluster.py --million        (writes a Parquet file of 200 MB in a temporary folder)

Series of 50 values with noise, of five kinds: a plateau with edges, a hump, a slow wave, a sine, a level. In
each set 5 % belong to four rare groups of 1.25 %, drawn from seven: a spike, a gap, a step, an oscillation, a
drift, a third of the size, two more peaks. Every series is shifted by up to 5 values. A group's purity is its
share of the cluster that holds most of it. The features were designed on seeds 1 and 2; the table has others.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path

import numpy as np
from bench import conditions, save, table

from edgevid.insight import SeriesChunk, cluster
from edgevid.insight.sources import _chunk

LENGTH, RARE, NOISE = 50, 0.05, 0.3
KINDS = ("plateau", "hump", "wave", "sine", "level")
GROUPS = ((0, 1, 2, 3), (4, 5, 6, 1), (0, 6, 3, 2), (3, 4, 1, 6))


def planted(rng: np.random.Generator, kind: str, groups: tuple[int, ...], count: int) -> tuple[np.ndarray, np.ndarray]:
    """(count, 50) series and (count,) groups, 0 for the usual ones."""
    t, shift = np.arange(LENGTH), rng.integers(-5, 6, count)[:, None]
    x = {
        "plateau": 10 / (1 + np.exp(-(t - 12 - shift) / 1.5)) - 10 / (1 + np.exp(-(t - 38 - shift) / 1.5)),
        "hump": 8 * np.exp(-0.5 * ((t - 25 - shift) / 6) ** 2) + 2,
        "wave": 14 + 2 * np.sin((t - shift) / 8),
        "sine": 5 * np.sin(2 * np.pi * (t - shift) / 25),
        "level": np.full((count, LENGTH), 5.0),
    }[kind] * rng.normal(1, 0.08, (count, 1))
    truth = np.zeros(count, int)
    some = rng.choice(count, int(RARE * count), replace=False)
    for number, group in enumerate(groups):
        rows = some[number :: len(groups)]
        s, at = max(float(np.ptp(x[rows], axis=1).mean()), 3), rng.integers(-5, 6, len(rows))[:, None]
        truth[rows] = number + 1
        changes = (
            lambda s, at: s * np.exp(-0.5 * (t - 25 - at) ** 2),
            lambda s, at: -0.8 * s * ((t > 22 + at) & (t < 29 + at)),
            lambda s, at: 0.6 * s * (t > 30 + at),
            lambda s, at: 0.35 * s * np.sin(2 * np.pi * (t - at) / 5),
            lambda s, at: 1.2 * s * (t - 25) / 50 + 0 * at,
            lambda s, at, rows=rows: -0.7 * x[rows],
            lambda s, at: 0.8 * s * sum(np.exp(-0.5 * ((t - c - at) / 2) ** 2) for c in (15, 38)),
        )
        x[rows] += changes[group](s, at)
    return x + rng.normal(0, NOISE, x.shape), truth


def purities(chunk: SeriesChunk, truth: np.ndarray, count: int) -> list[tuple[float, float]]:
    """Purity and recall of each planted group in the cluster that holds most of it."""
    labels = cluster([chunk], count).labels
    found = []
    for group in range(1, truth.max() + 1):
        held = np.bincount(labels[truth == group])
        best = held.argmax()
        found.append((held[best] / (labels == best).sum(), held[best] / held.sum()))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--million", action="store_true")
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--counts", type=int, nargs="*", default=[8, 16, 24, 32], help="numbers of clusters")
    options = parser.parse_args()
    where = conditions({"scikit-learn": metadata.version("scikit-learn")})
    if options.million:
        million(where)
        return
    rows = []
    for count in options.counts:
        results = []
        for seed in range(11, 11 + options.seeds):
            for kind in KINDS:
                for groups in GROUPS:
                    x, truth = planted(np.random.default_rng(seed), kind, groups, 20_000)
                    results.append(
                        purities(_chunk([str(i) for i in range(len(x))], x, (-np.inf, np.inf)), truth, count)
                    )
        pure, recall = np.array(results).transpose(2, 0, 1)
        good = pure >= 0.9
        rows.append(["24 (default)" if count == 24 else str(count), f"{good.mean():.1%}", f"{good.all(1).mean():.0%}",
                     f"{pure.min():.2f}", f"{np.median(recall):.2f}"])  # fmt: skip
        print(rows[-1], flush=True)
    head = ["clusters", "groups of purity 0.9 or more", "sets with all four", "least purity", "median recall"]
    print(table(head, rows))
    print(save("cluster", {"head": head, "rows": rows, "sets": len(results)}, where))


def million(where: dict[str, object]) -> None:
    import pyarrow as arrow
    from pyarrow import parquet

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "series.parquet"
        writer = None
        for seed in range(20):
            x, _ = planted(np.random.default_rng(seed), KINDS[0], GROUPS[0], 50_000)
            batch = arrow.table({f"v{i}": x[:, i].astype(np.float32) for i in range(LENGTH)})
            writer = writer or parquet.ParquetWriter(path, batch.schema)
            writer.write_table(batch)
        writer.close()
        started = time.perf_counter()
        run = [sys.executable, "-m", "edgevid", "cluster", str(path), "--out", str(Path(folder) / "out")]
        subprocess.run(run, check=True, stdout=subprocess.DEVNULL)
        seconds = time.perf_counter() - started
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
    head = ["series", "seconds", "CPU seconds", "largest resident memory, MB"]
    rows = [
        [
            "1,000,000 of 50 values",
            f"{seconds:.0f}",
            f"{used.ru_utime + used.ru_stime:.0f}",
            f"{used.ru_maxrss / 1024:.0f}",
        ]
    ]
    print(table(head, rows))
    print(save("cluster_million", {"head": head, "rows": rows}, where))


if __name__ == "__main__":
    main()
