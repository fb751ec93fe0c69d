"""The review page: 300 tracks by keyboard, two reviewers, kill -9, axe, look-alikes, and what an audit certifies.

    python benchmarks/review_page.py [--tracks 300] [--simulations 500] [--kills 10]

A real headless Chromium without a mouse; drawn shapes whose class is known. Coverage: verdicts with a known share
of errors are sampled as `--save-abstained --audit` samples them, decided, and the sentence that `edgevid review
--audit` prints is compared with the true share. Look-alikes: scikit-learn's digits, which no setting was chosen on.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
from bench import conditions, save, table

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "support"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "insight"))
import review_samples as samples
import test_review as audits
import test_review_page as pages

from edgevid.evaluate.tune.risk import upper_bound
from edgevid.insight.review import Review, audit_text
from edgevid.video.images import resize_area, to_jpeg
from edgevid.viewer.review import review_app
from edgevid.viewer.serve import Server

SIZES = ((1440, "dark"), (1440, "light"), (390, "dark"), (390, "light"))
RATES = (0.005, 0.02, 0.05, 0.2)


def folder_of(place: Path, tracks: int) -> Path:
    return samples.write_folder(place, tracks, audit=0.2, below=1.0)


def one_reviewer(browser: Any, review: Review, found: dict[str, Any]) -> None:
    with Server(review_app(review), port=0) as server:
        page = pages.opened(browser, server.url, "ann")
        start = time.perf_counter()
        keys = pages.label_all(page, review, most=5000)
        pages.saved(page)
        found["keyboard"] = {
            "tracks": len(audits.ids(review)), "keys": keys, "seconds": round(time.perf_counter() - start, 1),
            "labeled": len(audits.answers(review)), "wrong": wrong(review), "complaints": len(page.complaints),
        }  # fmt: skip
        found["axe"] = {}
        for width, scheme in SIZES:
            shown = pages.opened(browser, server.url, "eve", width=width, scheme=scheme)
            for queue in ("others", "second", "mine"):
                shown.select_option("[name=queue]", queue)
                shown.wait_for_timeout(500)
                faults = pages.axe.Axe().run(shown).response["violations"]
                found["axe"][f"{width} {scheme} {queue}"] = [(one["id"], one["impact"]) for one in faults]


def wrong(review: Review) -> int:
    tracks = {row["id"]: row["track"] for row in review.rows("SELECT id, track FROM items")}
    return sum(samples.NAMES[samples.truth(tracks[item])] != label for item, label in audits.answers(review).items())


def two_reviewers(browser: Any, review: Review, found: dict[str, Any]) -> None:
    """Each in a browser of its own, in turns."""
    tracks = {row["id"]: row["track"] for row in review.rows("SELECT id, track FROM items")}
    with Server(review_app(review), port=0) as server:
        shown = [pages.opened(browser, server.url, name) for name in ("ann", "bob")]
        for _ in range(len(tracks)):
            items = [page.evaluate("document.documentElement.dataset.item") for page in shown]
            if not any(items):
                break
            for page, item in zip(shown, items, strict=True):
                if item:
                    page.keyboard.press(str(samples.truth(tracks[item]) + 1))
                    if page.locator(".card[aria-current=true]").count():
                        page.keyboard.press("Enter")
        for page in shown:
            pages.saved(page)
    rows = review.rows("SELECT reviewer, count(*) AS n FROM votes GROUP BY reviewer")
    found["two reviewers"] = {row["reviewer"]: row["n"] for row in rows} | {
        "labeled": len(audits.answers(review)), "wrong": wrong(review),
        "by both": len(review.rows("SELECT item FROM votes GROUP BY item HAVING count(*) > 1")),
    }  # fmt: skip


def served(folder: Path, port: int = 0) -> tuple[subprocess.Popen[str], str]:
    command = [sys.executable, "-m", "edgevid", "review", str(folder), "--no-browser", "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, process.stdout.readline().split()[2]


def kills(folder: Path, count: int, found: dict[str, Any]) -> None:
    """Two clients decide as fast as they can; the server is killed at a random moment."""
    rng, answered = np.random.default_rng(0), set[str]()
    for turn in range(count):
        process, url = served(folder)

        def decide(name: str, turn: int = turn, url: str = url) -> None:
            for n in range(100_000):
                batch = f"{turn} {name} {n}"
                body = json.dumps({"batch": batch, "reviewer": name, "labels": {f"item {n}": "a"}}).encode()
                try:
                    urllib.request.urlopen(urllib.request.Request(f"{url}api/review", body), timeout=10).read()
                except OSError:
                    return
                answered.add(batch)

        threads = [threading.Thread(target=decide, args=(name,)) for name in ("ann", "bob")]
        for thread in threads:
            thread.start()
        time.sleep(float(rng.uniform(0.5, 2)))
        process.kill()
        process.wait()
        for thread in threads:
            thread.join()
    base = sqlite3.connect(folder / "review.db")
    stored = {row[0] for row in base.execute("SELECT batch FROM decisions")}
    found["kill -9"] = {"kills": count, "answered": len(answered), "lost": len(answered - stored),
                        "integrity": base.execute("PRAGMA integrity_check").fetchone()[0]}  # fmt: skip


def killed_under_a_browser(browser: Any, folder: Path, found: dict[str, Any]) -> None:
    """The server is killed while a reviewer works, and starts again: the page sends what waited."""
    process, url = served(folder)
    page, labels = pages.opened(browser, url, "ann"), 0
    with Review(folder) as review:
        tracks = {row["id"]: row["track"] for row in review.rows("SELECT id, track FROM items")}
        for turn in range(20):
            if turn == 8:
                process.kill()
                process.wait()
            item, group = page.evaluate("document.documentElement.dataset.item"), page.locator(".card").count()
            for key in [str(samples.truth(tracks[item]) + 1), *(["Enter"] if group > 1 else [])]:
                page.keyboard.press(key)
            labels += group
        process, _ = served(folder, int(url.rsplit(":")[-1].strip("/")))
        pages.saved(page)
        found["killed under a browser"] = {"labels": labels, "lost": labels - len(audits.answers(review)),
                                           "wrong": wrong(review)}  # fmt: skip
    process.kill()
    process.wait()


def coverage(count: int, found: dict[str, Any]) -> None:
    """Of `count` audits of 2,000 verdicts each, a tenth sampled; at 5 % by the files and the printed sentence."""
    found["coverage"] = {}
    for error in RATES:
        rng, covered, bounds = np.random.default_rng(int(1000 * error)), 0, []
        for _ in range(count):
            errors = rng.random(2000) < error
            sample = errors[rng.random(2000) < 0.1]
            bounds.append(upper_bound(int(sample.sum()), len(sample), 0.05))
            covered += errors.mean() <= bounds[-1]
        found["coverage"][f"{error:.1%}"] = {"covered": covered / count, "mean bound": float(np.mean(bounds))}
    rng, covered = np.random.default_rng(5), 0
    with tempfile.TemporaryDirectory() as place:
        for turn in range(count):
            errors, folder = rng.random(300) < 0.05, Path(place) / str(turn)
            folder.mkdir()
            audits.write_verdicts(folder, wrong=errors, rate=0.25, run=f"20260101T{turn:09d}")
            with Review(folder) as review:
                audits.decide_all(review)
                covered += errors.mean() <= float(audit_text(review).split()[2]) / 100
    found["coverage"]["5.0%, by the command"] = {"covered": covered / count}


def look_alikes(found: dict[str, Any]) -> None:
    from sklearn.datasets import load_digits

    images, labels = (some[:900] for some in load_digits(return_X_y=True))
    with tempfile.TemporaryDirectory() as place:
        for n, image in enumerate(images):
            stem = f"20260101T000000000-digit-{n:06d}"
            gray = np.repeat((image.reshape(8, 8, 1) * 15.9).astype(np.uint8), 3, 2)
            (Path(place) / f"{stem}.jpg").write_bytes(to_jpeg(resize_area(gray, (64, 64))))
            about = {"task": "digit", "track": n, "reason": "LOW_CONFIDENCE", "label": -1, "confidence": 0.3,
                     "names": list("0123456789"), "source": "digits", "crop": f"{stem}.jpg"}  # fmt: skip
            (Path(place) / f"{stem}.json").write_text(json.dumps(about))
        with Review(place) as review:
            start = time.perf_counter()
            review.group()
            seconds = time.perf_counter() - start
            rows = review.rows('SELECT id, track, coalesce("group", id) AS leader FROM items')
    track = {row["id"]: row["track"] for row in rows}
    grouped = [row for row in rows if row["leader"] != row["id"]]
    same = np.mean([labels[row["track"]] == labels[track[row["leader"]]] for row in grouped])
    found["look-alikes"] = {"images": len(rows), "seconds": round(seconds, 1), "cards": len(rows) - len(grouped),
                            "of the class of their group": round(float(same), 4)}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tracks", type=int, default=300)
    parser.add_argument("--simulations", type=int, default=500)
    parser.add_argument("--kills", type=int, default=10)
    given = parser.parse_args()
    where = conditions()
    found: dict[str, Any] = {}
    with pages.api.sync_playwright() as playwright, tempfile.TemporaryDirectory() as place:
        browser = playwright.chromium.launch(
            executable_path=pages.CHROMIUM, args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        )
        written = folder_of(Path(place) / "one", given.tracks)
        for name, work in (("two", two_reviewers), ("one", one_reviewer)):
            folder = Path(place) / name
            if not folder.exists():
                shutil.copytree(written, folder)
            with Review(folder) as review:
                review.group()
                work(browser, review, found)
            print(found, file=sys.stderr)
        killed_under_a_browser(browser, folder_of(Path(place) / "browser", 60), found)
        browser.close()
        kills(folder_of(Path(place) / "kills", 4), given.kills, found)
    print(found, file=sys.stderr)
    coverage(given.simulations, found)
    print(found, file=sys.stderr)
    look_alikes(found)
    keys, two, kill, again, digits = (
        found[name] for name in ("keyboard", "two reviewers", "kill -9", "killed under a browser", "look-alikes")
    )
    faults, views = sum(len(one) for one in found["axe"].values()), len(found["axe"])
    labeled = f"{keys['labeled']} of {keys['tracks']}, {keys['wrong']} wrong, {keys['keys']} keys, {keys['seconds']} s"
    rows = [
        ["tracks labeled by keyboard alone", str(given.tracks), labeled],
        ["two reviewers at once", "all labeled", f"{two['ann']} and {two['bob']}, of these {two['by both']} by both"],
        [f"decisions lost by {kill['kills']} kill -9", "0", f"{kill['lost']} of {kill['answered']:,} answered"],
        ["labels lost by a kill -9 under a browser", "0", f"{again['lost']} of {again['labels']}"],
        ["faults that axe finds", "none serious", f"{faults} in {views} views"],
        *([f"audits whose bound covers the truth, errors {name}", "at least 95 %", f"{one['covered']:.1%}"]
          for name, one in found["coverage"].items()),
        ["look-alikes (digits) of the class of their group", "-",
         f"{digits['of the class of their group']:.1%}; {digits['images']:,} images on {digits['cards']:,} cards"],
    ]  # fmt: skip
    print(table(["what", "bar", "measured"], rows))
    save("review_page", {"head": ["what", "bar", "measured"], "rows": rows, **found}, where)


if __name__ == "__main__":
    main()
