"""YOLOX-nano as a teacher of the cells: its class scores and features of each composed training image.

Its cells are those of edgevid's detectors (strides 8, 16 and 32, no anchor boxes), so that its scores are soft targets
of the logits cell by cell. At training time only: nothing of it is exported.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from onnx import numpy_helper
from torch import Tensor

from edgevid.learn.detector.network import CLASSES, Truth, loss
from edgevid.learn.detector.train import Trainer
from edgevid.models.hub import resolve_model
from edgevid.runtime.onnxruntime.engine import OrtEngine
from edgevid.runtime.recipe import COCO

WEIGHT = 0.5
"""Of the loss on the teacher's scores, next to that of the labels."""


class Teacher:
    """YOLOX-nano on composed images of any size: at strides 8, 16 and 32 it has the cells that the student has."""

    def __init__(self) -> None:
        model = onnx.load(resolve_model("yolox-nano-416").local)
        graph, made = model.graph, dict[str, Any]()
        for node in graph.node:
            made |= dict.fromkeys(node.output, node)
            if node.op_type == "Reshape":
                for weight in graph.initializer:
                    if weight.name == node.input[1]:  # any batch size
                        weight.CopyFrom(numpy_helper.from_array(np.array([0, 85, -1], np.int64), weight.name))
        for value, words in ((graph.input[0], "b.hw"), (graph.output[0], "bn.")):
            for dim, word in zip(value.type.tensor_type.shape.dim, words, strict=True):
                if word != ".":
                    dim.dim_param = word
        del graph.value_info[:]
        self.levels = []
        for level in range(3):  # back through the four convolutions before the scores, to what feeds both towers
            name = next(n.input[0] for n in graph.node if f"head.cls_preds.{level}.weight" in n.input)
            for _ in range(4):
                gate = made[name]
                name = made[gate.input[0]].input[0]
            self.levels.append(name)
            graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
        self.engine = OrtEngine(model.SerializeToString(), device="cpu", threads=1)
        self.columns = [5 + COCO.index(name) for name in CLASSES]

    def __call__(self, pixels: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Scores (B, N, C) and features (B, 64, h, w) of each stride."""
        given = np.ascontiguousarray(pixels.flip(1).numpy() * 255)
        found = self.engine.run({"images": given})
        output = torch.from_numpy(found["output"])
        return output[:, :, self.columns] * output[:, :, 4:5], [torch.from_numpy(found[n]) for n in self.levels]


def score_loss(raw: Tensor, scores: Tensor) -> Tensor:
    """Quality focal loss (Li 2020) of raw outputs (B, 4 + C, N) towards scores (B, N, C), over their sum."""
    logits = raw[:, 4:].transpose(1, 2).float()
    focus = (scores - logits.sigmoid()).abs().pow(2)
    cells = F.binary_cross_entropy_with_logits(logits, scores, reduction="none") * focus
    return cells.sum() / scores.amax(2).sum().clamp(min=1.0)


class Distilling(Trainer):
    """The training with the teacher's scores of each cell next to the labels."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.teacher = Teacher()

    def loss(self, pixels: Tensor, truth: Truth, points: Tensor, strides: Tensor) -> Tensor:
        raw = self.forward(pixels)
        return loss(raw, truth, points, strides) + WEIGHT * score_loss(raw, self.teacher(pixels)[0])
