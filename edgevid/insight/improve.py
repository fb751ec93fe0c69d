"""Retrains an action head with reviewed labels on the same split; it is deployed only where it is better. Each step is
a file in the folder `out`: reviewed/, relabeled.csv, data.csv, model/, before.csv, after.csv, improve.json."""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from edgevid.errors import EdgevidError, InputError
from edgevid.evaluate.actions.data import Corpus, LabeledVideo, list_videos, resample
from edgevid.evaluate.recognition import load_for_rows, replay_rows
from edgevid.evaluate.tune.score_files import LONGEST
from edgevid.evaluate.verdicts import compare, read_tracks
from edgevid.files.atomic import make_folder, write_atomic
from edgevid.insight.review import Review, images_of, write_csv
from edgevid.learn.actions.train import TRAINING, TrainConfig, clip_spec, read_videos, split_by_name, train_actions
from edgevid.models.hub import resolve_model
from edgevid.optimize.fp16 import make_fp16, make_int8_fp16
from edgevid.optimize.quantize.quantizer import quantize
from edgevid.runtime.device import gpus
from edgevid.runtime.load import ENGINE_SUFFIXES, load_engine
from edgevid.runtime.manifest import manifest_path, read_manifest
from edgevid.runtime.variants import record_path, variant_of
from edgevid.video.writer import VideoWriter

Videos = dict[str, LabeledVideo]  # By absolute path
Report = Callable[[str], None]
NONE = "(none of these)"
MOMENTS = 1000  # Of training clips, on which FP16 and INT8 graphs are measured and compared


def improve(recipe: Path, source: Path, out: Path, *, deploy: bool = True, report: Report = print) -> dict[str, Any]:
    """What improve.json holds: "better" decides. `source` is a folder or database that was reviewed. InputError for a
    recipe that `edgevid train actions` did not write for videos or images by class, and where nothing was reviewed."""
    home = recipe if recipe.is_dir() else recipe.parent
    config = _training(home)
    make_folder(out)
    videos = {os.path.abspath(one.path): one._replace(path=one.path.absolute()) for one in list_videos(config.data)[1]}
    reviewed, other = _reviewed(source, videos, out / "reviewed")
    old = {path: videos[path].label for path, new in reviewed.items()
           if path in videos and videos[path].label != new.label}  # fmt: skip
    known = len(reviewed.keys() & videos.keys())
    changed = [(path, videos[path].label, reviewed[path].label) for path in old]
    changed += [(path, videos.pop(path).label, NONE) for path in sorted(other)]
    write_csv(out / "relabeled.csv", ("path", "old", "new"), changed)
    write_csv(out / "data.csv", ("path", "label", "group"), (videos | reviewed).values())
    held = len(old.keys() & set(config.held))
    log: dict[str, Any] = {"recipe": str(recipe), "reviewed": len(reviewed), "new": len(reviewed) - known,
                           "relabeled": len(old), "relabeled in test": held, "left out": len(other)}  # fmt: skip
    if known:
        log["agreement of old and new labels"] = 1 - len(old) / known
    trained = replace(config, data=out / "data.csv", out=out / "model")
    train_actions(trained, report=report)
    rest, corpus = split_by_name(read_videos(trained, clip_spec(trained)), config.held)
    groups = [e.group for e in sorted(corpus.examples, key=lambda e: e.name[-LONGEST:])]
    for end, labels in (("", {}), *([(" by old labels", old)] if held else [])):
        files = [out / f"{name}{end.replace(' ', '-')}.csv" for name in ("before", "after")]
        for file, model in zip(files, (home, out / "model"), strict=True):
            _write_scores(file, model / "recipe.toml", corpus, labels)
        a, b = (read_tracks(file) for file in files)
        shares = {name: float((~one.wrong).mean()) for name, one in (("a", a), ("b", b))}
        log[f"accuracy{end}"] = shares | compare(a, b, groups).figures()["accuracy"]._asdict()
    log["better"] = log["accuracy"]["low"] > 0
    log["deployed"] = log["better"] and deploy
    if log["better"] and (home / "build").is_dir():
        log["built"] = _build_again(home, out / "model", [e.name for e in rest.examples])
    write_atomic(out / "improve.json", json.dumps(log, indent=1) + "\n")
    if log["deployed"]:
        _deploy(out / "model", home, config.extractor, config.flow)
    return log


def _training(home: Path) -> TrainConfig:
    """How the recipe of a folder was trained."""
    if not (home / TRAINING).is_file():
        raise InputError(f"{home}: expected {TRAINING}, which edgevid train actions writes next to a recipe, got none: "
                         "other models are not retrained by this command; train an older head again")  # fmt: skip
    found = json.loads((home / TRAINING).read_bytes())
    if not all(map(os.path.isfile, found["held"])):
        raise InputError(f"{home / TRAINING}: expected videos or images that were held out, got {found['held'][:1]}: "
                         "they moved, or are skeletons of an official split, which takes no more data")  # fmt: skip
    return TrainConfig(**found | {"data": Path(found["data"]), "out": home, "held": tuple(found["held"])})


def _reviewed(source: Path, videos: Videos, out: Path) -> tuple[Videos, set[str]]:
    """What was decided: training data of `data errors`, and new objects as films or crops; and data of no class."""
    found: Videos = {}
    with Review(source) as review:
        none = review.rows("SELECT source FROM items JOIN answers a ON a.item = id WHERE a.label = ?", NONE)
        other = {os.path.abspath(row["source"]) for row in none} & videos.keys()
        for number, row in enumerate(review.rows("SELECT * FROM labeled WHERE path IS NOT NULL ORDER BY utc, path")):
            path, origin = (review.folder / row["path"]).absolute(), os.path.abspath(row["source"])
            if origin in videos:
                found[origin] = videos[origin]._replace(label=row["label"])
                continue
            if row["film"]:
                make_folder(out)
                with VideoWriter(path := out.absolute() / f"{number}.mp4", quality=18) as video:
                    for time, image in images_of(row, review.folder):
                        video.write(image, time)
            found[str(path)] = LabeledVideo(path, row["label"], row["group"])
    if not (found or other):
        raise InputError(f"{source}: expected labels with images, got none: label some with edgevid review {source}")
    return found, other


def _write_scores(path: Path, model: Path, corpus: Corpus, labels: dict[str, str]) -> None:
    """The probabilities that a deployed head ends each example with; `labels` in the place of the corpus's."""
    recognizer, rows = load_for_rows(model, corpus, threads=1), []
    for number, example in enumerate(corpus.examples):
        moments = resample(example.raw, corpus.rate_hz / recognizer.spec.rate_hz)
        last = replay_rows(recognizer, number + 1, moments)[-1]
        shares = np.full(len(recognizer.names), 1 / len(recognizer.names)) if last is None else last
        label = labels.get(example.name, corpus.names[example.label])
        rows.append((example.name[-LONGEST:], label, *(f"{share:.7f}" for share in shares)))
    write_csv(path, ("track", "label", *recognizer.names), rows)


def _build_again(home: Path, model: Path, clips: list[str]) -> dict[str, str]:
    """What became of the deployed head's FP16, INT8 and engine files: made again and verified on `clips`, or why."""
    shutil.rmtree(model / "build", ignore_errors=True)  # of an earlier run
    files = [one for one in (home / "build").glob(f"{resolve_model(home / 'recipe.toml').local.stem}.*")
             if one.suffix in (".onnx", *ENGINE_SUFFIXES)]  # fmt: skip
    files.sort(key=lambda one: (one.suffix != ".onnx", one.stem))  # engines are made of graphs
    return {one.name: _made(one, model / "recipe.toml", clips) for one in files}


def _made(old: Path, recipe: Path, clips: list[str]) -> str:
    try:
        if old.suffix == ".onnx":
            return _graph(variant_of(old), recipe, clips)
        manifest = read_manifest(manifest_path(old))
        if not gpus():
            return f"not made: no NVIDIA device here; build it there: {manifest.rebuild_command(old.parents[1])}"
        load_engine(resolve_model(recipe), precision=manifest.precision, rebuild=True).close()
        return "made, not compared with FP32"
    except (EdgevidError, OSError) as error:
        return f"not made: {error}"


def _graph(kind: Any, recipe: Path, clips: list[str]) -> str:
    if kind == "int8-trt-fp16":
        return f"made of {make_int8_fp16(recipe).path.name.replace('-fp16', '')}"
    if kind == "fp16":
        report: Any = make_fp16(recipe, clips, max_frames=MOMENTS)
    else:
        ranges = recipe.with_name(f"{kind}.ranges.toml")
        report = quantize(recipe, clips, variants=[kind], save_ranges=ranges, max_frames=MOMENTS)
    file, floor = report if kind == "fp16" else report.files[0], report.floor.value
    told = f"{file.agreement.agreement:.1%} of {file.agreement.count} moments as in FP32 (minimum {floor:.1%})"
    if not report.failed:
        return f"made: {told}"
    file.path.unlink()
    record_path(file.path).unlink()
    return f"rejected: {told}; the head runs in FP32"


def _deploy(model: Path, home: Path, *extractors: str) -> None:
    """Puts the new files in the place of the old ones, which move to previous/; the recipe comes last."""
    make_folder(home / "previous")
    shutil.rmtree(home / "previous/build", ignore_errors=True)
    if (home / "build").is_dir():  # of the old head
        shutil.move(home / "build", home / "previous")
    for one in [*home.iterdir(), *sorted(model.iterdir(), key=lambda one: one.name == "recipe.toml")]:
        if one.is_file():
            text = one.read_bytes()
            if one.parent == model and one.suffix == ".toml":
                for name in filter(None, extractors):
                    there, here = (f'"{os.path.relpath(name, folder.resolve())}"' for folder in (model, home))
                    text = text.replace(there.encode(), here.encode())
            write_atomic((home / "previous" if one.parent == home else home) / one.name, text)
    if (model / "build").is_dir():
        shutil.copytree(model / "build", home / "build")
