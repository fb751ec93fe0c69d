"""Boxes, masks, key points and angles of Ultralytics' exports, as edgevid and as Ultralytics read them.

    python benchmarks/exports.py                (--quick: the selection that the tests run; --failed: again,
                                                 what was not accepted)

Untrained models with random heads are exported, and each file is read twice: by edgevid, by its draft
recipe, and by Ultralytics' own predictor, on the same input tensor at score 0.001. Results as JSON.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import tempfile
import time
import types
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgevid import kernels
from edgevid.actions.load import load_recognizer
from edgevid.detect.detector import Detector
from edgevid.detect.instance import enclosing, prob_iou
from edgevid.types import Detections, Frame

SCORE = 0.001
RESULT = Path(__file__).parent / "results" / "exports.json"


@dataclass(frozen=True)
class Case:
    """One export."""

    config: str
    classes: int = 80
    size: tuple[int, int] = (160, 160)
    """Height and width."""
    opset: int = 17
    end2end: bool = False
    dynamic: bool = False
    input: str = "float32"
    """"float16" and "uint8" (which is divided by 255 in the graph) replace the input."""
    half: bool = False
    external: bool = False


@dataclass
class Difference:
    """Largest differences between the two readings of one export; boxes of one that the other lacks."""

    boxes: int
    unmatched: int = 0
    borderline: int = 0
    """Boxes that only one of them suppressed, as their overlap is just the threshold: Ultralytics
    adds 7680 px for each class before it measures overlap, which rounds boxes of class 79 to 0.06 px."""
    box_px: float = 0.0
    score: float = 0.0
    mask_pixels: int = 0
    """Most pixels of one mask that differ."""
    keypoint_px: float = 0.0
    angle: float = 0.0

    @property
    def accepted(self) -> bool:
        """Within 1e-3 px and 1e-5 of score, and nothing missing."""
        off = (self.box_px, self.keypoint_px, self.angle)
        return (
            self.boxes > 0 and not self.unmatched and max(off) <= 1e-3 and self.score <= 1e-5 and not self.mask_pixels
        )


def export(case: Case, folder: Path) -> Path:
    """The ONNX file of an untrained model whose heads are random enough to find boxes."""
    os.environ.setdefault("YOLO_AUTOINSTALL", "false")
    import torch
    import ultralytics
    from ultralytics import RTDETR, YOLO

    logging.getLogger("ultralytics").setLevel(logging.ERROR)
    torch.manual_seed(1)
    config = folder / f"{case.config}.yaml"
    stem = case.config if "rtdetr" in case.config else re.sub("n(?=-|$)", "", case.config)
    found = Path(ultralytics.__file__).parent / "cfg" / "models"
    source = next(path for name in (case.config, stem) for path in found.rglob(f"{name}.yaml"))
    lines = source.read_text().splitlines()
    config.write_text("\n".join(f"nc: {case.classes}" if line.startswith("nc:") else line for line in lines))
    model = (RTDETR if "rtdetr" in case.config else YOLO)(str(config))
    _randomize(model.model, case.size)
    here = Path.cwd()
    os.chdir(folder)
    try:
        made = model.export(
            format="onnx", imgsz=list(case.size), opset=case.opset, dynamic=case.dynamic, simplify=False,
            device="cpu", verbose=False, **({"end2end": True} if case.end2end else {}),
            **({"half": True} if case.half else {}),
        )  # fmt: skip
    finally:
        os.chdir(here)
    return (folder / made).resolve()


def _randomize(model: Any, size: tuple[int, int]) -> None:
    """Lets the features vary over the image, and the head's scores over all values.

    An untrained network gives every anchor the same score, near zero: its normalization has not observed an
    image yet, and its head starts from a low bias.
    """
    import torch

    norms = [layer for layer in model.modules() if isinstance(layer, torch.nn.BatchNorm2d)]
    for layer in norms:
        layer.momentum = None
    with torch.no_grad():
        model.train()
        model.model[-1].eval()
        for layer in model.model[-1].modules():
            layer.train(isinstance(layer, torch.nn.BatchNorm2d))
        model(torch.from_numpy(np.stack([scene(size, n).transpose(2, 0, 1) for n in range(4)]) / np.float32(255)))
        model.eval()
        for name, layer in model.model[-1].named_modules():
            classes = name.startswith(("cv3", "one2one_cv3", "enc_score", "dec_score"))
            if classes and getattr(layer, "bias", None) is not None and hasattr(layer, "weight"):
                layer.weight *= 1.0
                layer.bias.copy_(torch.randn_like(layer.bias) - 3.0)


def scene(size: tuple[int, int], seed: int) -> np.ndarray:
    """(height, width, 3) uint8: rectangles of all sizes and colors, since noise looks equal everywhere."""
    random, image = np.random.default_rng(seed), np.zeros((*size, 3), np.uint8)
    for _ in range(120):
        y, x = (int(random.integers(0, n)) for n in size)
        high, wide = random.integers(2, 60, 2)
        image[y : y + high, x : x + wide] = random.integers(0, 256, 3)
    return image


def variant(path: Path, case: Case) -> Path:
    """The file with the input and the storage of its case."""
    if case.input == "float32" and not case.external:
        return path
    model = onnx.load(path)
    graph = model.graph
    image = graph.input[0]
    if case.input != "float32":
        name, nodes = image.name, [helper.make_node("Cast", [image.name], ["as float"], to=TensorProto.FLOAT)]
        if case.input == "uint8":
            graph.initializer.append(numpy_helper.from_array(np.float32(1 / 255), "1/255"))
            nodes.append(helper.make_node("Mul", ["as float", "1/255"], ["scaled"]))
        for node in graph.node:
            node.input[:] = [nodes[-1].output[0] if n == name else n for n in node.input]
        for node in reversed(nodes):
            graph.node.insert(0, node)
        kind = TensorProto.UINT8 if case.input == "uint8" else TensorProto.FLOAT16
        image.type.tensor_type.elem_type = kind
    made = path.with_name("variant.onnx")
    more = {"save_as_external_data": True, "location": "variant.onnx.data", "size_threshold": 0}
    onnx.save(model, made, **(more if case.external else {}))
    return made


def compare(case: Case, folder: Path) -> Difference:
    """Reads the export in both ways."""
    original = export(case, folder)
    path = variant(original, case)
    pixels = scene(case.size, 9)
    if case.config.endswith("-cls"):
        return _compare_classes(path, original, pixels)
    # No limit, as what lies outside of the frame counts for Ultralytics; and half precision gives many equal
    # scores, whose order is chance: nothing is suppressed then.
    iou = 1.0 if case.half else 0.7
    if case.half:  # Ultralytics measures overlap in the precision of the outputs
        original = path = _with_float_outputs(original)
    detector = Detector(path, device="cpu", threads=1, score_threshold=SCORE, max_detections=3000)
    if detector.nms_iou is not None:
        detector.nms_iou = iou
    detector.same_object_iou = None  # Ultralytics lets boxes of different classes overlap
    frame = Frame(pixels, 0.0, 0)
    tensor = next(iter(detector.preprocess([frame])[0].values())).copy()
    found = detector.detect([frame])[0]
    scale = np.float32(1 / 255) if case.input == "uint8" else np.float32(1)
    result = _ultralytics(original, tensor.astype(np.float32) * scale, iou)
    candidates = detector._decode.read(detector.engine.run({detector.recipe.input_name: tensor}), 0, SCORE)
    return _difference(found, result, candidates, half=case.half)


def _with_float_outputs(path: Path) -> Path:
    """The same file with float32 outputs."""
    model = onnx.load(path)
    for output in model.graph.output:
        name = output.name
        for node in model.graph.node:
            node.output[:] = [f"{name} half" if n == name else n for n in node.output]
            node.input[:] = [f"{name} half" if n == name else n for n in node.input]
        model.graph.node.append(helper.make_node("Cast", [f"{name} half"], [name], to=TensorProto.FLOAT))
        output.type.tensor_type.elem_type = TensorProto.FLOAT
    made = path.parent / "float" / path.name
    made.parent.mkdir()
    onnx.save(model, made)
    return made


def _with_nms() -> None:
    """Where torchvision does not load, its NMS is Ultralytics' own, which stands in for it elsewhere, too."""
    try:
        import torchvision  # noqa: F401
    except (ImportError, RuntimeError):
        from ultralytics.utils.nms import TorchNMS

        stand_in: Any = types.ModuleType("torchvision")
        stand_in.ops = types.SimpleNamespace(nms=TorchNMS.nms)
        sys.modules["torchvision"] = stand_in


def _ultralytics(path: Path, tensor: np.ndarray, iou: float) -> Any:
    """Ultralytics' own Results of its own export."""
    import torch
    from ultralytics import RTDETR, YOLO

    _with_nms()
    task = {"seg": "segment", "pose": "pose", "obb": "obb", "cls": "classify"}.get(path.stem.rpartition("-")[2])
    model = (RTDETR if "rtdetr" in path.stem else YOLO)(
        str(path), **({} if "rtdetr" in path.stem else {"task": task or "detect"})
    )
    (result,) = model.predict(
        torch.from_numpy(tensor), conf=SCORE, iou=iou, max_det=3000, verbose=False, save=False, device="cpu",
        imgsz=tensor.shape[2:],
    )  # fmt: skip
    return result


def _difference(found: Detections, result: Any, candidates: Any, *, half: bool) -> Difference:
    """Each of edgevid's boxes against the nearest of Ultralytics' boxes of the same class and score."""
    turned = result.obb is not None
    theirs = (result.obb if turned else result.boxes).data.numpy()
    boxes = theirs[:, :5] if turned else theirs[:, :4]
    scores, labels = theirs[:, -2], theirs[:, -1]
    ours = found.rotated if turned else found.boxes
    size = result.orig_shape[::-1]
    # edgevid clips boxes to the frame and drops those that lie outside, or are inside out.
    upright = np.clip(enclosing(boxes) if turned else boxes, 0, [*size, *size])
    inside = (upright[:, 2] > upright[:, 0]) & (upright[:, 3] > upright[:, 1])
    if turned:
        inside &= (boxes[:, 2:4] > 0).all(1)
    boxes = boxes if turned else upright
    full = None if result.masks is None else result.masks.data.numpy()
    keep = np.ones(len(ours), bool)
    if full is not None:  # Ultralytics drops objects without a pixel
        keep = np.array([bool(m.pixels.any()) for m in found.masks.tolist()], bool)
    made, used = Difference(int(keep.sum())), np.zeros(len(boxes), bool)
    missing = []
    for row in np.flatnonzero(keep):
        off = np.abs(boxes - ours[row]).max(1) + 1e3 * np.abs(scores - found.scores[row])
        off[used | (labels != found.labels[row])] = np.inf
        best = int(off.argmin()) if len(off) else -1
        if best < 0 or not off[best] < 1:
            missing.append((*ours[row], found.scores[row], found.labels[row]))
            continue
        used[best] = True
        made.box_px = max(made.box_px, float(np.abs(boxes[best, :4] - ours[row, :4]).max()))
        made.score = max(made.score, float(abs(scores[best] - found.scores[row])))
        if turned:
            made.angle = max(made.angle, float(abs(boxes[best, 4] - ours[row, 4])))
        if full is not None:
            both = full[best].astype(bool) != found.masks[row].full(size)
            made.mask_pixels = max(made.mask_pixels, int(both.sum()))
        if result.keypoints is not None:
            points = found.keypoints[row].copy()
            points[:, :2] = np.clip(points[:, :2], 0, size)  # as Ultralytics does
            off_by = np.abs(result.keypoints.data.numpy()[best] - points)
            if half:  # Ultralytics moves them in half precision: one step of it is no difference
                off_by = np.maximum(off_by - np.spacing(np.abs(points).astype(np.float16)), 0)
            made.keypoint_px = max(made.keypoint_px, float(off_by.max()))
    theirs = np.column_stack([boxes, scores, labels])
    ours = np.column_stack([ours, found.scores, found.labels])
    if turned:  # Fast NMS: what is suppressed suppresses, too
        theirs_all = ours_all = np.column_stack([candidates[3], candidates[1], candidates[2]])
    else:
        theirs_all, ours_all = theirs, ours
    both = [(np.array(one), theirs_all) for one in missing]
    both += [(one, ours_all) for one in theirs[inside & ~used]]
    lost = [one for one in both if not _is_borderline(*one)]
    first = np.array([one for one, _ in both if not any(one is other for other, _ in lost)]).reshape(-1, ours.shape[1])
    made.unmatched = sum(not _is_borderline(one, first, follows=True) for one, _ in lost)
    made.borderline = len(both) - made.unmatched
    return made


def _is_borderline(one: np.ndarray, others: np.ndarray, *, follows: bool = False) -> bool:
    """Whether a box, score, label that the others lack overlaps one of them by about the threshold.

    Or has the very score of the one that suppresses it; with `follows`, whether it was suppressed by one of
    the others, which are borderline.
    """
    rivals = others[others[:, -1] == one[-1]].astype(np.float32)
    measure, near = (kernels.iou, 0.02) if len(one) == 6 else (prob_iou, 0.001)
    overlap = measure(one[None, :-2].astype(np.float32), np.ascontiguousarray(rivals[:, :-2]))[0]
    ties = (overlap > 0.7) & (np.abs(rivals[:, -2] - one[-2]) < 1e-7)
    if follows:
        return bool((overlap > 0.68).any())
    return bool(((np.abs(overlap - 0.7) < near) | ties).any())


def _compare_classes(path: Path, original: Path, pixels: np.ndarray) -> Difference:
    """The class probabilities of one crop; the difference is that of a score."""
    from edgevid.actions.recognizer import preprocess_crops

    recognizer: Any = load_recognizer(path, device="cpu", threads=1)
    crops = preprocess_crops(pixels[None], recognizer.recipe.input)
    ours = recognizer._probabilities(next(iter(recognizer.engine.run({recognizer._input.name: crops}).values())))
    import torch
    from ultralytics.nn.autobackend import AutoBackend

    _with_nms()
    backend = AutoBackend(str(original), device=torch.device("cpu"), verbose=False)
    scale = np.float32(1 / 255) if crops.dtype == np.uint8 else np.float32(1)
    theirs = np.asarray(backend(torch.from_numpy(crops.astype(np.float32) * scale))).reshape(-1)
    return Difference(1, score=float(np.abs(ours[0] - theirs).max()))


TASKS = ("", "-seg", "-pose", "-obb", "-cls")
QUICK = (
    Case("yolov8n", classes=2), Case("yolov8n-seg", classes=2), Case("yolov8n-pose", classes=1),
    Case("yolo11n-obb", classes=2, dynamic=True), Case("yolo26n", classes=2, end2end=True),
    Case("yolo26n-seg", classes=1, end2end=True), Case("yolo26n-pose", classes=1, end2end=True, opset=22),
    Case("yolo26n-obb", classes=2, end2end=True), Case("yolov8n", classes=2, input="uint8", external=True),
    Case("yolov8n", classes=1, input="float16", size=(96, 160)),
    Case("yolov8n-cls", classes=10, size=(64, 64)),
)  # fmt: skip


def grid() -> list[Case]:
    """Every task, number of classes, opset, storage and input, one thing at a time."""
    cases = list(QUICK)
    for family in ("yolov8n", "yolo11n", "yolo26n"):
        for task in TASKS:
            cases += [Case(family + task, classes=n) for n in (1, 2, 80)]
            cases += [Case(family + task, classes=2, dynamic=True), Case(family + task, classes=2, size=(96, 192))]
            cases += [Case(family + task, classes=2, opset=n) for n in (12, 13, 15, 18, 20, 22)]
            more = [{"input": "uint8"}, {"input": "float16"}, {"external": True}, {"half": True}]
            cases += [Case(family + task, classes=2, **one) for one in more]
    for task in TASKS[:4]:
        cases += [Case("yolo26n" + task, classes=n, end2end=True) for n in (1, 2, 80)]
    cases += [Case("yolov10n", classes=n, end2end=e) for n in (1, 2, 80) for e in (False, True)]
    cases += [Case("yolov8n-p2", classes=2), Case("yolov8n-p6", classes=2, size=(192, 192)), Case("yolov9t", classes=2)]
    cases += [Case("rtdetr-l", classes=n) for n in (1, 2, 80)] + [
        Case("rtdetr-resnet50", classes=2, opset=n) for n in (16, 22)
    ]
    return list(dict.fromkeys(cases))


def measured(case: Case) -> dict[str, Any]:
    """The row of one case; an error is a row that is not accepted."""
    started = time.perf_counter()
    row: dict[str, Any] = json.loads(json.dumps(asdict(case)))
    with tempfile.TemporaryDirectory() as folder:
        try:
            made = compare(case, Path(folder))
            row |= {**asdict(made), "accepted": made.accepted}
        except Exception as error:
            row |= {"error": f"{type(error).__name__}: {str(error)[:300]}", "accepted": False}
    row["seconds"] = round(time.perf_counter() - started, 2)
    print(json.dumps(row), flush=True)
    return row


def main() -> int:
    warnings.filterwarnings("ignore")
    if "--quick" in sys.argv:
        rows = [measured(case) for case in QUICK]
    else:
        again = "--failed" in sys.argv
        old = json.loads(RESULT.read_text())["rows"] if again else []
        keys = asdict(QUICK[0])
        done = [(row, {key: row[key] for key in keys}) for row in old if row["accepted"]]
        known = {json.dumps(case): row for row, case in done}
        rows = [known.get(json.dumps(asdict(case))) or measured(case) for case in grid()]
        packages = ("ultralytics", "torch", "onnx", "onnxruntime", "edgevid")
        found = {name: str(__import__(name).__version__) for name in packages}
        result = {"command": "python benchmarks/exports.py", "versions": found, "score": SCORE, "rows": rows}
        RESULT.write_text(json.dumps(result, indent=1) + "\n")
    failed = [row for row in rows if not row["accepted"]]
    print(f"{len(rows) - len(failed)} of {len(rows)} agree")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
