"""What changes of street-nano's training gain: each is tried alone, from the shipped ONNX, in equally many steps.

    python benchmarks/detector_ablation.py DATA OUT [--steps N] [--only NAME ...]

DATA is the test data, OUT the folder of benchmarks/street_nano.py, whose labeled images are prepared where they are
not there. Resumes after an interruption and prints a line a minute; OUT/ablation gets a folder for each change.

A part of the training images is held out from every run: runs of 20 consecutive pictures of Nepal's streets and every
sixth photo of Open Images. They alone rank the changes, by the mean AP50 of the classes; roads/val, the photos and the
clips by eye are for information and choose nothing. The boxes of the teachers are no change: the labels of the recipe
have them already. The shipped ONNX, from which each run starts, had learned from the held-out images too: its own
figure there is too high, and the runs are compared with the baseline alone, which was run with two seeds.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

os.environ.update(OMP_NUM_THREADS="1", OMP_WAIT_POLICY="passive")

import numpy as np
import torch
import torch.nn.functional as F
from bench import conditions, save, table
from detector_cases import EYE, average_precision, cases_of, eye, photos, roads
from detector_data_curve import detect_image
from detector_teacher import WEIGHT, Teacher, score_loss
from street_nano import AUGMENTATIONS, BATCH, SHAPES, a_line_a_minute, judged_images, prepare, thawed
from torch import Tensor, nn
from tracker_peers import version

from edgevid._opencv import cv2
from edgevid.learn.detector.data import Composer, load
from edgevid.learn.detector.export import export_onnx, write_recipe
from edgevid.learn.detector.network import CLASSES, Deployed, StreetDetector, Truth, loss
from edgevid.learn.detector.train import Schedule, Trainer
from edgevid.models.hub import resolve_model
from edgevid.optimize.quantize import quantize
from edgevid.runtime.onnxruntime.engine import OrtEngine
from edgevid.types import Array

NAME = "street-nano"
SHAPE = replace(SHAPES[NAME], width=320, height=192)
"""A smaller input than the shipped detector's takes half the time: only the order of the figures is meaningful."""
RUN, EVERY = 20, 6
"""Pictures of Nepal's streets in a held-out run, and the share of all pictures that is held out."""
FEWEST = 20
"""Objects of a class from which its AP50 counts in the mean."""


@dataclass(frozen=True)
class Arm:
    """A change of the training; the defaults are the committed recipe."""

    seed: int = 5
    single: float = 0.0  # share of the steps at the end without mosaics and pasted objects
    scores: float = 0.0  # weight of the loss on YOLOX-nano's class scores of each cell
    features: float = 0.0  # weight of the distance to YOLOX-nano's features through a 1x1 convolution
    branches: bool = False  # 1x1 and identity next to each 3x3 convolution (RepVGG, Ding 2021)
    quantized: float = 0.0  # share of the steps at the end with rounded weights and activations (Jacob 2018)


ARMS = {
    "baseline": Arm(),
    "single views in the last 40 %": Arm(single=0.4),
    "YOLOX-nano's scores of each cell": Arm(scores=WEIGHT),
    "re-parameterization": Arm(branches=True),
    "baseline, another seed": Arm(seed=6),
    "YOLOX-nano's features": Arm(features=1.0),
    "quantization-aware in the last 25 %": Arm(quantized=0.25),
}
INTEGER = ("baseline", "quantization-aware in the last 25 %")
"""Changes whose INT8 file is evaluated too; nothing in it but the last layers is excluded."""
CALIBRATION = 60
"""Images of the calibration of INT8."""


def split(data: Path, out: Path) -> tuple[Path, Path]:
    """The folders of the images that are learned from and of those held out."""
    kept, held, raw = out / "ablation" / "train", out / "ablation" / "held", data / "roads" / "train"
    if not (out / "ablation" / "split").exists():
        stems = sorted(path.stem for path in (raw / "images").glob("*.jpg"))
        nepal, photographs = ([s for s in stems if s.startswith(start)] for start in ("nepal", "oi"))
        away = {s for n, s in enumerate(nepal) if n // RUN % EVERY == EVERY - 1}
        away |= {s for n, s in enumerate(photographs) if n % EVERY == EVERY - 1}
        here = {path.stem for path in (out / "train" / "images").glob("*.jpg")}
        for folder, source, names in ((kept, out / "train", here - away), (held, raw, away)):
            for kind, suffix in (("images", "jpg"), ("labels", "txt")):
                (folder / kind).mkdir(parents=True, exist_ok=True)
                for name in names:
                    link = folder / kind / f"{name}.{suffix}"
                    if not link.exists():
                        link.symlink_to(source.resolve() / kind / link.name)
        (out / "ablation" / "split").touch()
    return kept, held


class Composing(Composer):
    """Composes single views from a step on."""

    def __init__(self, *args: Any, single_from: float, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.single_from, self.begun = single_from, 0

    def resume(self, step: int) -> None:
        super().resume(step)
        self.begun = step

    def batches(
        self, size: int, shapes: Iterable[tuple[int, int]] | None = None
    ) -> Iterator[tuple[Array, Array, Array, Array]]:
        return super().batches(size, self._counted(shapes or ()))

    def _counted(self, shapes: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
        for step, shape in enumerate(shapes, self.begun):
            if step >= self.single_from:
                self.mosaic = self.paste = 0.0
            yield shape


class Branches(nn.Module):
    """A 3x3 convolution and, next to it, a 1x1 one and the identity, each with its normalization. The new ones begin
    as additions of zero: at first the function stays."""

    def __init__(self, conv: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
        super().__init__()
        inside, outside = conv.in_channels, conv.out_channels
        self.conv, self.norm = conv, norm
        self.point = nn.Conv2d(inside, outside, 1, conv.stride, bias=False)
        self.point_norm = nn.BatchNorm2d(outside)
        nn.init.zeros_(self.point_norm.weight)
        self.same_norm = nn.BatchNorm2d(outside) if inside == outside and conv.stride == (1, 1) else None
        if self.same_norm:
            nn.init.zeros_(self.same_norm.weight)

    def forward(self, x: Tensor) -> Tensor:
        total: Tensor = self.norm(self.conv(x)) + self.point_norm(self.point(x))
        return total + self.same_norm(x) if self.same_norm else total

    @torch.no_grad()
    def folded(self) -> tuple[nn.Conv2d, nn.BatchNorm2d]:
        """One 3x3 convolution with the same outputs."""
        parts = [(self.conv.weight, self.norm), (F.pad(self.point.weight, (1, 1, 1, 1)), self.point_norm)]
        if self.same_norm:
            same = torch.eye(self.conv.out_channels)[..., None, None]
            parts.append((F.pad(same, (1, 1, 1, 1)), self.same_norm))
        scales = [norm.weight * (norm.running_var + norm.eps).rsqrt() for _, norm in parts]
        conv, norm = copy.deepcopy(self.conv), nn.BatchNorm2d(self.conv.out_channels, eps=0.0)
        conv.weight.copy_(sum(w * s[:, None, None, None] for (w, _), s in zip(parts, scales, strict=True)))
        norm.bias.copy_(sum(n.bias - n.running_mean * s for (_, n), s in zip(parts, scales, strict=True)))
        return conv, norm.eval()


def branched(network: StreetDetector) -> StreetDetector:
    """The network with branches next to each 3x3 convolution, as the same function."""
    for layer in list(network.modules()):
        if isinstance(layer, nn.Sequential) and isinstance(layer[0], nn.Conv2d) and layer[0].kernel_size == (3, 3):
            layer[0], layer[1] = Branches(layer[0], layer[1]), nn.Identity()
    return network


def folded(network: StreetDetector) -> StreetDetector:
    """The network that is exported: branches folded, nothing of the training left."""
    network = copy.deepcopy(network)
    for layer in list(network.modules()):
        if isinstance(layer, nn.Sequential) and isinstance(layer[0], Branches):
            layer[0], layer[1] = layer[0].folded()
    network._modules.pop("adapters", None)
    return network


def round_layers(network: StreetDetector) -> None:
    """Rounds weights (a scale for each output channel) and inputs (0 to a moving maximum, 255 steps) of all
    convolutions but the last ones, which stay float in the INT8 file; gradients pass."""
    last = {id(layer) for layers in (network.to_class, network.to_box) for layer in layers}
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d) and id(layer) not in last:
            layer.forward = _Rounded(layer)


class _Rounded:
    def __init__(self, layer: nn.Conv2d) -> None:
        self.layer, self.top = layer, 0.0
        self.zeros = torch.zeros(layer.out_channels, dtype=torch.int32)

    def __call__(self, x: Tensor) -> Tensor:
        layer, x = self.layer, x.float()
        most = max(float(x.detach().max()), 1e-6)
        self.top = 0.99 * self.top + 0.01 * most if self.top else most
        x = torch.fake_quantize_per_tensor_affine(x, self.top / 255, 0, 0, 255)
        scale = layer.weight.detach().abs().amax((1, 2, 3)).clamp(min=1e-9) / 127
        weight = torch.fake_quantize_per_channel_affine(layer.weight, scale, self.zeros, 0, -127, 127)
        return F.conv2d(x, weight, layer.bias, layer.stride, layer.padding)


def begun(start: Path) -> StreetDetector:
    """The network that every run begins with."""
    network = StreetDetector(SHAPE)
    network.load_state_dict(torch.load(start, weights_only=True)["average"])
    return network


class Study(Trainer):
    """The training with a change."""

    def __init__(self, arm: Arm, composer: Composing, schedule: Schedule, start: Path) -> None:
        torch.manual_seed(schedule.seed)
        network = begun(start)
        if arm.branches:
            branched(network)
        if arm.features:
            network.adapters = nn.ModuleList(nn.Conv2d(SHAPE.neck, 64, 1) for _ in range(3))
        super().__init__(composer, schedule, SHAPE, network=network)
        self.arm, self.teacher = arm, Teacher() if arm.scores or arm.features else None
        self.neck: dict[int, Tensor] = {}
        for n, layer in enumerate(self.network.see):
            layer.register_forward_pre_hook(lambda _, given, n=n: self.neck.update({n: given[0]}))
        self.rounds = False

    def loss(self, pixels: Tensor, truth: Truth, points: Tensor, strides: Tensor) -> Tensor:
        arm = self.arm
        if arm.quantized and not self.rounds and self.step >= (1 - arm.quantized) * self.schedule.steps:
            round_layers(self.network)
            self.rounds = True
        raw = self.forward(pixels)
        with torch.autocast("cpu", torch.bfloat16, self._half):
            maps = [layer(self.neck[n]) for n, layer in enumerate(self.network.adapters)] if arm.features else []
        total = loss(raw, truth, points, strides)
        if self.teacher:
            scores, features = self.teacher(pixels)
            if arm.scores:
                total = total + arm.scores * score_loss(raw, scores)
            for own, other in zip(maps, features, strict=True) if arm.features else ():
                mean, deviation = other.mean((0, 2, 3), keepdim=True), other.std((0, 2, 3), keepdim=True)
                total = total + arm.features / 3 * F.mse_loss(own.float(), (other - mean) / (deviation + 1e-3))
        return total


def train(arm: Arm, steps: int, data: Path, start: Path, checkpoint: Path, name: str) -> StreetDetector:
    """The averaged network of a change, as it would be exported."""
    schedule = Schedule(steps=steps, batch=BATCH, learning_rate=2e-3, warmup_steps=100, weight_decay=0.04,
                        seed=arm.seed)  # fmt: skip
    samples = load(data, CLASSES)
    composer = Composing(samples, SHAPE.width, SHAPE.height, seed=arm.seed, single_from=(1 - arm.single) * steps,
                         **AUGMENTATIONS)  # fmt: skip
    trainer = Study(arm, composer, schedule, start)
    trainer.run(checkpoint, save_every=100, progress=a_line_a_minute(f"{name} "))
    return folded(trainer.average)


class Exam:
    """The images that evaluate: AP50 of each class on the held-out part, and elsewhere for information."""

    def __init__(self, data: Path, held: Path, kept: Path) -> None:
        samples = judged_images(held, kept)
        self.sets = {"held out": {kind: cases_of(samples, kind) for kind in CLASSES}}
        self.counts = {k: sum(len(case.truth) for case in cases) for k, cases in self.sets["held out"].items()}
        kinds = ("car", "truck", "bus", "motorcycle", "person")
        self.sets["roads/val"] = {kind: roads(data, kind) for kind in kinds}
        self.sets["photos"] = {"person": photos(data)}
        for name, kind in EYE:
            self.sets[f"by eye, {kind}"] = {kind: eye(data, name)}

    def figures(self, network: Any) -> dict[str, float]:
        """AP50 by "class, images", and the mean over the classes of the held-out part."""
        result = {}
        for where, kinds in self.sets.items():
            found = [detect_image(network, case.frame.image) for case in next(iter(kinds.values()))]
            for kind, cases in kinds.items():
                mine = [one[one.labels == CLASSES.index(kind)] for one in found]
                rows = [(m, case.truth, case.neither) for m, case in zip(mine, cases, strict=True)]
                result[f"{kind}, {where}"] = round(average_precision(rows), 4)
        counted = [f"{kind}, held out" for kind, count in self.counts.items() if count >= FEWEST]
        return {"mean, held out": round(float(np.mean([result[k] for k in counted])), 4)} | result


class Integer:
    """The INT8 file of a trained network, in the place of the network."""

    def __init__(self, folder: Path, images: list[Path]) -> None:
        made = quantize(resolve_model(str(folder)), images, variants=("int8-cpu",), min_agreement=0.0, out=folder,
                        max_frames=CALIBRATION, save_ranges=folder / "ranges.toml", calibrator="min-max")  # fmt: skip
        self.engine, self.network = OrtEngine(made.files[0].path, device="cpu", threads=1), StreetDetector(SHAPE)

    def __call__(self, planes: Tensor) -> Tensor:
        return torch.from_numpy(self.engine.run({"images": planes.numpy()})["output"].copy())


def write(path: Path, figures: dict[str, float]) -> None:
    path.write_text(json.dumps(figures, indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--only", nargs="+", choices=[*ARMS, "start"], help="only these changes; nothing is saved")
    given = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    prepare(given.data, given.out)
    kept, held = split(given.data, given.out)
    folder = given.out / "ablation"
    start = thawed(resolve_model(NAME).local, SHAPE, kept, folder / "start.pt")
    exam = cache(lambda: Exam(given.data, held, given.out / "teachers"))  # the images are read after the training
    results: dict[str, Any] = {}
    for name, arm in {**ARMS, "start": None}.items():
        mine = folder / ("".join(c if c.isalnum() else "-" for c in name) + f"-{given.steps}")
        if not (mine / "figures.json").exists():
            if given.only and name not in given.only:
                continue
            mine.mkdir(exist_ok=True)
            if arm is None:
                network = begun(start)
            else:
                network = train(arm, given.steps, kept, start, mine / "checkpoint.pt", name)
                write_recipe(mine, export_onnx(network, mine / "network.onnx").name, network, name=mine.name,
                             summary=name, nms_iou=0.5)  # fmt: skip
            write(mine / "figures.json", exam().figures(Deployed(network).eval()))
            if arm and name in INTEGER:
                calibrating = sorted((kept / "images").iterdir())[::EVERY]
                write(mine / "int8.json", exam().figures(Integer(mine, calibrating)))
        for kind, file in (("", "figures.json"), (", as INT8", "int8.json")):
            if (mine / file).exists():
                results[name + kind] = json.loads((mine / file).read_text())
                print(name + kind, results[name + kind], flush=True)
    head = ["change", *next(iter(results.values()))]
    rows = [[name, *(f"{value:.3f}" for value in figures.values())] for name, figures in results.items()]
    print(table(head, rows))
    where = conditions({"torch": version("torch")})
    where["command"] = "python benchmarks/detector_ablation.py DATA OUT"
    if not given.only:
        found = {"steps": given.steps, "batch": BATCH, "objects held out": exam().counts, "head": head, "rows": rows}
        save("detector_ablation", found, where)


if __name__ == "__main__":
    main()
